"""pan-os-python with its traps closed: every call goes over a `Line`, keygen included.

By itself it verifies no certificate, sends the key in the body, knows one timeout, and reads
`.panrc` files wherever it runs (pan-os-python 1.13, pan-python 0.17: `pan/xapi.py`).
"""

import random
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

from lxml import etree
from panos.base import PanDevice
from panos.panorama import Panorama

from sync.sources.panos_line import Line, NoSuchNodeError, PanoramaError

_TRIES: Final = 3
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_NOT_PRESENT: Final = "7"  # the code of a success that holds nothing

Credentials = Callable[[], "Key"]


class Key:
    """An API key, or a user and a password that one is made for; in no text of itself."""

    __slots__ = ("_key", "_password", "user")

    def __init__(self, key: str | None, user: str = "", password: str = "") -> None:
        self._key, self.user, self._password = key, user, password

    @property
    def key(self) -> str | None:
        return self._key

    @property
    def password(self) -> str:
        return self._password


class Member:
    """One host of a Panorama: its running and its candidate configuration, and what it tells.

    Threads may share it. `credentials` are asked for when a key is needed: files may have changed.
    """

    def __init__(
        self,
        line: Line,
        credentials: Credentials,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.line = line
        self.host = line.host
        self._credentials = credentials
        self._sleep = sleep
        self._key: str | None = None
        self._lock = Lock()

    def show(self, xpath: str) -> etree._Element | None:
        """What the running configuration has at an xpath, inside a `<result>`; None: nothing."""
        return self._config("show", xpath)

    def get(self, xpath: str) -> etree._Element | None:
        """The same of the candidate configuration."""
        return self._config("get", xpath)

    def op(self, cmd: str, **extra: str) -> etree._Element:
        """The `<result>` of an operational command in XML; `extra` as `target`."""
        found = self._patiently({"type": "op", "cmd": cmd, **extra}).find("result")
        return etree.Element("result") if found is None else found

    def _config(self, action: str, xpath: str) -> etree._Element | None:
        form = {"type": "config", "action": action, "xpath": xpath}
        try:
            answer = self._patiently(form)
        except NoSuchNodeError:
            return None
        found = answer.find("result")
        if found is not None and len(found):
            return found
        if answer.get("code") == _NOT_PRESENT:
            return None
        raise PanoramaError(
            f"{self.line.where} answers with nothing where it has something or says that it has "
            f"not ({xpath}); the next poll tries again"
        )

    def _patiently(self, form: Mapping[str, str]) -> etree._Element:
        """An answer; a call that may succeed later is repeated, a key that ran out made anew."""
        wait = _FIRST_WAIT
        renewed = False
        tries_left = _TRIES
        while True:
            key = None
            try:
                key = self._current_key()
                return self.line.post(form, key)
            except PanoramaError as error:
                if key and error.unauthorized and not renewed and self._renewable(key):
                    renewed = True
                    continue
                tries_left -= 1
                if not error.passing or not tries_left:
                    raise
                spread = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                self._sleep(max(error.retry_after, wait * spread))
                wait = min(wait * 4, _LONGEST_WAIT)

    # --- keys -------------------------------------------------------------------------------------

    def _current_key(self) -> str:
        with self._lock:
            if self._key is None:
                given = self._credentials()
                self._key = given.key or self._generated(given)
            return self._key

    def _renewable(self, refused: str) -> bool:
        """Forget a key that was refused, if there may be another one."""
        with self._lock:
            if self._key != refused:
                return True
            given = self._credentials()
            if given.key == refused:
                return False
            self._key = None
            return True

    def _generated(self, given: Key) -> str:
        return generated_key(self.line, given.user, given.password)


def generated_key(line: Line, user: str, password: str) -> str:
    """A new API key. Not pan-python's own way, which logs the answer."""
    answer = line.post({"type": "keygen", "user": user, "password": password}, None)
    key = (answer.findtext("result/key") or "").strip()
    if not key:
        raise PanoramaError(
            f"{line.where} makes no API key for {user}; give that user's role the XML API, or name "
            "a key in api_key_file"
        )
    return key


class _Xapi(PanDevice.XapiWrapper):  # type: ignore[misc]  # pan-os-python has no types
    """What pan-os-python sends with: the query is its own, the way is the line's."""

    def __init__(self, line: Line, **given: Any) -> None:
        super().__init__(**given)
        self._line = line
        # A .panrc may have named a firewall to pass everything on to.
        self.serial = None

    def _PanXapi__api_request(self, query: Mapping[str, str]) -> "_Answer":  # noqa: N802
        form = dict(query)
        key = form.pop("key", None)
        try:
            root = self._line.post(form, unquote(key) if key is not None else None)
        except NoSuchNodeError:
            root = etree.fromstring(
                b'<response status="error"><msg><line>No such node</line></msg></response>'
            )
        return _Answer(etree.tostring(root))


class _Answer:
    """An answer as `pan.xapi` reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self) -> bytes:
        return self._body

    def getheader(self, name: str) -> str:
        del name
        return "application/xml; charset=utf-8"


class Verified(Panorama):  # type: ignore[misc]
    """pan-os-python's Panorama over a line. It is for one thread."""

    def __init__(self, line: Line, key: str | None) -> None:
        self._line = line
        # It would ask for a key at once if it had none.
        super().__init__(line.host, api_key=key or "none yet", port=line.port)

    def generate_xapi(self) -> _Xapi:
        return self._xapi(api_key=self.api_key)

    def _retrieve_api_key(self) -> str:
        return generated_key(self._line, self._api_username, self._api_password)

    def _xapi(self, **given: Any) -> _Xapi:
        return _Xapi(self._line, pan_device=self, hostname=self.hostname, port=self.port, **given)

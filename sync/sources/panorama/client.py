"""Calls to one host of a Panorama: its API key, its configuration, and retries."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from lxml import etree

from sync.sources.panorama.connection import PanoramaConnection
from sync.sources.panorama.devices import Firewall, Panorama, Xapi
from sync.sources.panorama.errors import NoSuchNodeError, PanoramaError
from sync.transport.backoff import Backoff
from sync.transport.errors import Retryable, TimedOut, Unauthenticated

_TRIES: Final = 3
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_NOT_PRESENT: Final = "7"  # the code of a success that holds nothing

Credentials = Callable[[], "ApiKey"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, or a user and a password that one is made for; in no text of itself."""

    key: str | None = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)


class PanoramaHost:
    """One host of a Panorama: its configurations and operational commands, those of firewalls too.

    Threads may share it. `credentials` is called when a key is needed: files may have changed.
    By default it waits between tries until the connection is stopping.
    """

    def __init__(
        self,
        line: PanoramaConnection,
        credentials: Credentials,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.line = line
        self.host = line.host
        self._credentials = credentials
        self._sleep = sleep or line.stopping.wait
        self._key: str | None = None
        self._lock = Lock()
        # The vendor's devices refer to one another in circles, which the collector frees late:
        # they must hold neither this object nor its connections.
        ours = weakref.ref(self)
        self._panorama = Panorama(line, lambda: _key_of(ours))
        weakref.finalize(self, line.close)

    def op(self, cmd: str, serial: str = "", vsys: str = "") -> etree._Element:
        """The `<result>` of an operational command in XML; with a serial, that of a firewall."""
        device = self._panorama.managed(serial, vsys) if serial else self._panorama
        found = self._patiently(device, lambda xapi: xapi.op(cmd, device.vsys)).find("result")
        return etree.Element("result") if found is None else found

    def show(self, xpath: str) -> etree._Element | None:
        """Return the running configuration at an xpath, inside a `<result>`; None: nothing."""
        return self._configured(xpath, Xapi.show)

    def get(self, xpath: str) -> etree._Element | None:
        """The same of the candidate configuration."""
        return self._configured(xpath, Xapi.get)

    def require_up(self) -> None:
        """Raise the Panorama's own error: a firewall may be silent because the Panorama is down."""
        self.op("<show><system><info></info></system></show>")

    def _configured(
        self, xpath: str, action: Callable[[Xapi, str], etree._Element]
    ) -> etree._Element | None:
        try:
            answer = self._patiently(self._panorama, lambda xapi: action(xapi, xpath))
        except NoSuchNodeError:
            return None
        found = answer.find("result")
        if found is not None and len(found):
            return found
        if answer.get("code") == _NOT_PRESENT:
            return None
        raise PanoramaError(
            f"{self.line.where} answers with an empty result, neither a configuration nor the "
            f"error that there is none ({xpath}); the next poll tries again"
        )

    def _patiently(
        self, device: Panorama | Firewall, call: Callable[[Xapi], etree._Element]
    ) -> etree._Element:
        """Call, retry what may succeed later, and renew a key that has expired."""
        backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT, factor=4)
        renewed = False
        tries = 0
        while True:
            key = None
            try:
                xapi = device.xapi
                key = xapi.api_key
                return call(xapi)
            except PanoramaError as error:
                unauthenticated = isinstance(error, Unauthenticated)
                if key and unauthenticated and not renewed and self._renewable(key):
                    renewed = True
                    continue
                tries += 1
                # One firewall that hangs must not delay the answers of all the others.
                hangs = isinstance(error, TimedOut) and device is not self._panorama
                if not isinstance(error, Retryable) or tries == _TRIES or hangs:
                    raise
                self._sleep(backoff.wait(error.after))

    # --- keys -------------------------------------------------------------------------------------

    def current_key(self) -> str:
        """Return the API key; generates one first where there is none yet."""
        with self._lock:
            if self._key is None:
                given = self._credentials()
                self._key = given.key or self._panorama.generated_key(given.user, given.password)
            return self._key

    def _renewable(self, refused: str) -> bool:
        """Forget a refused key; whether another one may exist."""
        with self._lock:
            if self._key != refused:
                return True
            given = self._credentials()
            if given.key == refused:
                return False
            self._key = None
            return True


def _key_of(member: "weakref.ref[PanoramaHost]") -> str:
    found = member()
    assert found is not None, "the caller holds it"
    return found.current_key()

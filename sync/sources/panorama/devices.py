"""pan-os-python's devices, whose calls go over our verified connection.

By itself pan-os-python verifies no certificate, sends the key in the body, reads `.panrc` files,
logs what it hears and parses and copies each answer. Here it builds the requests, and
`PanoramaConnection` sends them and reads the answers.

Source: pan-os-python 1.13 (`panos/base.py`, `XapiWrapper`), pan-python 0.17 (`pan/xapi.py`).
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Final

from lxml import etree
from pan.xapi import PanXapi, PanXapiError
from panos import firewall, panorama
from panos.base import PanDevice

from sync.sources.panorama.connection import PanoramaConnection
from sync.sources.panorama.errors import PanoramaError

_PARAMETERS: Final = ("type", "action", "user", "password", "cmd", "xpath", "target", "vsys")
"""All that a request may hold besides the key, in the order in which it is sent."""


class Xapi(PanDevice.XapiWrapper):  # type: ignore[misc]  # pan-os-python has no types
    """One call to a Panorama, or through it to the firewall `serial`. Errors are our own.

    It is not wrapped as pan-os-python wraps it: no copy of the answer, no call of an HA peer.
    """

    def __init__(
        self,
        device: PanDevice,
        line: PanoramaConnection,
        key: str | None,
        serial: str | None = None,
    ):
        # PanXapi.__init__ is not called: it reads .panrc files.
        self.pan_device = device
        self.api_key = key
        self.api_username: str | None = None
        self.api_password: str | None = None
        self.serial = serial
        self._line = line

    def _log(self, *arguments: object) -> None:
        """Log nothing: some of what pan-python logs holds keys."""

    def op(
        self,
        cmd: str | None = None,
        vsys: str | None = None,
        cmd_xml: bool = False,  # noqa: FBT001, FBT002 - as PanXapi has it
        extra_qs: Mapping[str, str] | None = None,
        *,
        retry_on_peer: bool = False,
    ) -> etree._Element:
        """The `<response>` to an operational command."""
        del retry_on_peer
        PanXapi.op(self, cmd, vsys, cmd_xml, extra_qs)
        return self.element_root

    def show(self, xpath: str, *, retry_on_peer: bool = False) -> etree._Element:
        """The `<response>` with what the running configuration has at an xpath."""
        del retry_on_peer
        PanXapi.show(self, xpath)
        return self.element_root

    def get(self, xpath: str, *, retry_on_peer: bool = False) -> etree._Element:
        """The `<response>` with what the candidate configuration has at an xpath."""
        del retry_on_peer
        PanXapi.get(self, xpath)
        return self.element_root

    def keygen(self, user: str, password: str) -> str:
        """A new API key, empty if the answer holds none."""
        self.api_username, self.api_password = user, password
        try:
            return (PanXapi.keygen(self) or "").strip()
        except PanXapiError:
            return ""

    # PanXapi's __api_request and __set_response, by the names that Python gives them.

    def _PanXapi__api_request(self, query: Mapping[str, str]) -> bool:  # noqa: N802
        ordered = sorted(query.keys() - {"key"}, key=_PARAMETERS.index)
        form = {name: query[name] for name in ordered}
        self.element_root = self._line.post(form, query.get("key"))
        return True

    def _PanXapi__set_response(self, response: bool) -> bool:  # noqa: FBT001, N802
        self.status = "success"
        self.element_result = self.element_root.find("result")
        return response


class Firewall(firewall.Firewall):  # type: ignore[misc]  # pan-os-python has no types
    """A firewall, asked through the Panorama that it hangs under. Threads may share it."""

    @property
    def api_key(self) -> str:
        found: str = self.panorama().api_key
        return found

    def generate_xapi(self) -> Xapi:
        found: Xapi = self.panorama().xapi_to(self, self.serial)
        return found

    @property
    def xapi(self) -> Xapi:
        return self.generate_xapi()


class Panorama(panorama.Panorama):  # type: ignore[misc]  # pan-os-python has no types
    """One host of a Panorama over a line. Threads may share it: each call has an `xapi` of its own.

    `current_key` is asked for the API key before each call.
    """

    FIREWALL_CLASS = Firewall

    def __init__(self, line: PanoramaConnection, current_key: Callable[[], str]) -> None:
        super().__init__(line.host, port=line.port)
        self._line = line
        self._current_key = current_key
        self._firewall = Firewall()
        self._firewall.parent = self

    @property
    def api_key(self) -> str:
        return self._current_key()

    def generate_xapi(self) -> Xapi:
        return self.xapi_to(self)

    @property
    def xapi(self) -> Xapi:
        return self.generate_xapi()

    def xapi_to(self, device: PanDevice, serial: str | None = None) -> Xapi:
        """A call to a device: this one or, with a serial number, a firewall."""
        return Xapi(device, self._line, self.api_key, serial)

    def managed(self, serial: str, vsys: str = "") -> Firewall:
        """A firewall of this Panorama, or one virtual system of it."""
        # A copy: each new device gives a logger one more handler, and none is ever taken away.
        found = copy(self._firewall)
        found.serial, found.vsys = serial, vsys or None
        return found

    def generated_key(self, user: str, password: str) -> str:
        """A new API key of a user; `PanoramaError` if there is none."""
        key = Xapi(self, self._line, None).keygen(user, password)
        if not key:
            raise PanoramaError(
                f"{self._line.where} makes no API key for {user}; give that user's role the XML "
                "API, or name a key in api_key_file"
            )
        return key

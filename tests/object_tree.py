"""pan-os-python's own object tree over our verified line: what the bulk reader is held to."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from lxml import etree
from panos.base import PanDevice, PanObject
from panos.objects import (
    AddressGroup,
    AddressObject,
    ApplicationFilter,
    ApplicationGroup,
    ApplicationObject,
    Edl,
    Region,
    ServiceGroup,
    ServiceObject,
    Tag,
)
from panos.panorama import DeviceGroup, Panorama, Template, TemplateStack
from panos.policies import PostRulebase, PreRulebase, SecurityRule

from sync.sources.panorama import devices
from sync.sources.panorama.connection import PanoramaConnection
from sync.sources.panorama.errors import NoSuchNodeError


class _Xapi(PanDevice.XapiWrapper):  # type: ignore[misc]  # pan-os-python has no types
    """What pan-os-python sends with: the query is its own, the way is the line's."""

    def __init__(self, line: PanoramaConnection, **given: Any) -> None:
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

    def __init__(self, line: PanoramaConnection, key: str | None) -> None:
        self._line = line
        # It would ask for a key at once if it had none.
        super().__init__(line.host, api_key=key or "none yet", port=line.port)

    def generate_xapi(self) -> _Xapi:
        return self._xapi(api_key=self.api_key)

    def _retrieve_api_key(self) -> str:
        ours = devices.Panorama(self._line, lambda: "")
        return ours.generated_key(self._api_username, self._api_password)

    def _xapi(self, **given: Any) -> _Xapi:
        return _Xapi(self._line, pan_device=self, hostname=self.hostname, port=self.port, **given)


KINDS = (
    *(Tag, AddressObject, AddressGroup, ServiceObject, ServiceGroup, ApplicationObject),
    *(ApplicationGroup, ApplicationFilter, Region, Edl),
)
"""The classes whose elements the bulk reader reads too, besides rules and templates."""


def refresh(device: Verified) -> None:
    """Hang the running configuration under a Panorama: a call for each kind in each scope.

    So its documentation has it (pan-os-python, "Working with configuration objects"). Templates
    and stacks come whole, each kind in one call, since they alone know their virtual systems.
    """
    refresh_shared(device)
    for name in device.opstate.dg_hierarchy.fetch():
        _refresh_scope(device.add(DeviceGroup(name)))
    refresh_templates(device)


def refresh_shared(device: Verified) -> None:
    """What Shared holds."""
    _refresh_scope(device)


def refresh_templates(device: Verified) -> None:
    """Templates and stacks with all that is in them."""
    for kind in (Template, TemplateStack):
        kind.refreshall(device, running_config=True)


def _refresh_scope(scope: PanObject) -> None:
    for kind in KINDS:
        kind.refreshall(scope, running_config=True)
    for rulebase in (PreRulebase, PostRulebase):
        SecurityRule.refreshall(scope.add(rulebase()), running_config=True)

"""Firewalls that are out of sync with their Panorama, as it reports them."""

from collections.abc import Collection
from typing import Final

from sync.firewall.configuration import Configuration, family_of
from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.errors import PanoramaError

_DEVICE_GROUPS: Final = "<show><devicegroups></devicegroups></show>"
_STATUS: Final = "shared-policy-status"
_PUSHED: Final = "In Sync"


def not_pushed(
    member: PanoramaHost, configuration: Configuration, device_groups: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Find firewalls that are out of sync: serial numbers by device group, with those below it.

    Firewalls in no device group are left out. A firewall that the Panorama does not report counts
    as out of sync, connected or not. `PanoramaError` if the answer is missing or of unknown shape.
    """
    told = member.op(_DEVICE_GROUPS).find("devicegroups")
    if told is None or any(each.tag != "entry" or not each.get("name") for each in told):
        raise PanoramaError(f"{member.line.where} reports its device groups in an unknown shape")
    pushed = {
        (group.get("name"), device.findtext("serial") or device.get("name"))
        for group in told
        for device in group.iterfind("devices/entry")
        if {(each.text or "").strip() for each in device.iter(_STATUS)} == {_PUSHED}
    }
    found = {
        name: tuple(
            sorted(
                {
                    serial
                    for group in family_of(configuration, name)
                    for serial, _ in group.devices
                    if (group.name, serial) not in pushed
                }
            )
        )
        for name in sorted(device_groups)
        if name in configuration.device_groups
    }
    return {name: serials for name, serials in found.items() if serials}

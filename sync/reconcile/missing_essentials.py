"""Warn where enforced zones have no essentials for DNS or the API server.

On a live cluster the guard `essentials` knows better, but only before the first policies of a zone.
A directory tells nothing of the cluster that applies it, so there the settings must.
"""

from collections.abc import Sequence
from typing import Final

from sync.options import Essential, ZoneOptions
from sync.reconcile.device_groups import TierBinding

_DNS: Final = 53


def missing_essentials(
    cluster: str, device_groups: Sequence[TierBinding], zones: ZoneOptions
) -> list[str]:
    """Return a warning if a cluster's device groups with zones are enforced without essentials."""
    enforced = [here.tier for here in device_groups if here.mode == "enforced"]
    missing = [
        what
        for what, has in (("cluster DNS (53/udp)", _has_dns), ("the API server", _has_api_server))
        if not any(each.direction == "egress" and has(each) for each in zones.essentials)
    ]
    if not (enforced and missing):
        return []
    zoned = f"tier {enforced[0]}" if len(enforced) == 1 else f"tiers {', '.join(enforced)}"
    warning = (
        f"cluster {cluster}: the zones of {zoned} are ENFORCED, and no essential lets their pods "
        f"reach {' or '.join(missing)}; add what they need to zones.essentials, or see that the "
        "firewall's rules allow it"
    )
    return [warning]


def _has_dns(essential: Essential) -> bool:
    return not essential.ports or any(_holds(each, "udp") for each in essential.ports)


def _has_api_server(essential: Essential) -> bool:
    """Whether it may be for the API server, whose port differs: any TCP port but that of DNS."""
    tcp = [each for each in essential.ports if each.endswith("/tcp")]
    return not essential.ports or any(each != f"{_DNS}/tcp" for each in tcp)


def _holds(written: str, protocol: str) -> bool:
    ports, _, named = written.partition("/")
    first, _, last = ports.partition("-")
    return named == protocol and int(first) <= _DNS <= int(last or first)

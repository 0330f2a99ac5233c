"""The zones of a report as text for people and as a document.

Names come from configurations that others write: control characters never reach a terminal.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.calico import selectors
from sync.text import counted, printable
from sync.translate.fidelity import Report, RuleFidelity, ZoneFidelity
from sync.translate.zones import PODS

_ITEMS: Final = 10  # networks and rules of a zone that are named

BY_POD_LABEL: Final = "depends on pod labels alone: anyone who can create a pod can put it there"
_UNKNOWN_NETWORKS: Final = (
    "Which addresses outside pods are in these zones is unknown: no rule that names one is exact.",
    "Set `zones.definitions.NAME.networks`: [] if a zone is pods only, else its networks.",
)


def zones_text(report: Report, label: str) -> str:
    """The zones for a terminal, those without known networks last; ends with a line break.

    `label` is the key of the pod label that names a zone.
    """
    known, unknown = _known_and_unknown(report)
    summary = f"Cluster {report.cluster}: {counted(len(report.zones), 'zone')}"
    if unknown:
        summary += f", {len(unknown)} without known networks"
    lines = [f"{summary}."]
    for zone in known:
        lines += ["", *_zone_lines(zone, label)]
    if unknown:
        lines += ["", "Without known networks", *(f"  {line}" for line in _UNKNOWN_NETWORKS)]
        for zone in unknown:
            lines += ["", *_zone_lines(zone, label)]
    return "".join(f"{printable(line)}\n" for line in lines)


def zones_document(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The zones for `--output json`; of each cluster those without known networks (null) last."""
    return [
        {"cluster": report.cluster, **zone_document(each)}
        for report in reports
        for some in _known_and_unknown(report)
        for each in some
    ]


def zone_document(zone: ZoneFidelity) -> dict[str, Any]:
    """One zone for `--output json`."""
    return {
        "source": zone.source,
        "target": zone.target,
        "name": zone.name,
        "label_value": zone.label_value,
        "workloads": zone.workloads,
        "networks": None if zone.networks is None else list(zone.networks),
        "origin": zone.origin,
        "rules": list(zone.rules),
        "by_pod_label": zone.by_pod_label,
        "remedies": list(zone.remedies),
    }


def _known_and_unknown(report: Report) -> tuple[list[ZoneFidelity], list[ZoneFidelity]]:
    known = [each for each in report.zones if each.networks is not None]
    return known, [each for each in report.zones if each.networks is None]


def _zone_lines(zone: ZoneFidelity, label: str) -> Iterator[str]:
    yield f"{zone.name!r} of device group {device_group(zone)}"
    chosen = selectors.equals(label, zone.label_value)
    # A definition with a selector takes the place of the label.
    if zone.workloads.startswith(f"{PODS} && ({chosen}"):
        yield f"  label      kubectl label pod POD {label}={zone.label_value}"
    else:
        yield "  label      none is needed: zones.definitions selects its pods"
    yield f"  workloads  {zone.workloads} ({len(zone.workloads.encode()):,} bytes)"
    if zone.by_pod_label:
        yield f"             {BY_POD_LABEL}"
    if zone.networks is None:
        yield f"  networks   unknown: {zone.origin}"
    else:
        yield f"  networks   {listed(zone.networks) or 'none, pods only'} ({zone.origin})"
    yield f"  rules      {listed([f'{each!r}' for each in zone.rules]) or 'none names it'}"


def listed(items: Sequence[str]) -> str:
    rest = len(items) - _ITEMS
    more = f" and {rest:,} more (--output json has all)" if rest > 0 else ""
    return ", ".join(items[:_ITEMS]) + more


def device_group(each: RuleFidelity | ZoneFidelity) -> str:
    """The device group that the cluster stands for; two sources may have one of that name."""
    return f"{each.source}/{each.target}"

"""Render a report as text, as Markdown for merge requests and as JSON.

Numbers first, then every rule on one line, the groups and the zones. Names come from configurations
that others write: control characters never reach a terminal, nothing in them is Markdown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from sync.firewall.rules import Rule
from sync.render.why import because, headlines, shadow_document, why
from sync.render.zones import BY_POD_LABEL, device_group, listed, zones_document
from sync.text import counted, markdown_escaped, printable
from sync.translate.fidelity import GroupFidelity, Report, RuleFidelity, Status, ZoneFidelity

_COLORS: Final = {
    Status.EXACT: "\x1b[32m",
    Status.NARROWED: "\x1b[33m",
    Status.WIDENED: "\x1b[33m",
    Status.LEFT_OUT: "\x1b[31m",
    Status.MORE_PERMISSIVE: "\x1b[31m",
    Status.NOT_ENFORCED: "\x1b[31m",
    Status.MATCHES_NOTHING: "\x1b[2m",
    Status.NOT_TARGETED: "\x1b[2m",
    Status.DISABLED: "\x1b[2m",
}
_RESET: Final = "\x1b[0m"
_WIDTH: Final = max(len(str(status)) for status in Status)

_FEW: Final = 3  # Calico rules of a rule that are named

MEANINGS: Final = {
    Status.EXACT: "as on the firewall",
    Status.NARROWED: "an allow that shrank",
    Status.WIDENED: "a deny that grew",
    Status.LEFT_OUT: "an allow without Calico rules",
    Status.MORE_PERMISSIVE: "a loss that the configuration accepts",
    Status.NOT_ENFORCED: "a rule of no pod or network here",
    Status.MATCHES_NOTHING: "on the firewall either",
    Status.NOT_TARGETED: "a rule of other firewalls",
    Status.DISABLED: "on the firewall",
}
_ALWAYS: Final = tuple(Status)[: Status.MORE_PERMISSIVE + 1]
NO_ESSENTIALS: Final = "none: no flow of zoned pods comes before the rules"


def text(report: Report, *, verbose: bool = False, color: bool = False) -> str:
    """Render the report for a terminal, one line a rule; ends with a line break.

    With `verbose` a rule's line names every Calico rule; otherwise many are only counted.
    """
    lines = [printable(f"Cluster {report.cluster}: {summarise(report)}")]
    lines += (printable(f"  ! {each}.") for each in headlines(report))
    lines += ["", "Essentials, before all rules"]
    lines += (printable(f"  {each}") for each in report.essentials or (NO_ESSENTIALS,))
    for target, rules in _by_target(report.rules):
        lines += ["", printable(f"Rules of device group {target}")]
        lines += (_line(each.status, _rule(each, verbose=verbose), color=color) for each in rules)
    if report.groups:
        lines += ["", "Address groups"]
        lines += (_line(each.status, _group(each), color=color) for each in report.groups)
    if report.zones:
        lines += ["", "Zones"]
        lines += (printable(f"  {_zone(each)}") for each in report.zones)
    return "".join(f"{line}\n" for line in lines)


def markdown(report: Report, *, verbose: bool = False) -> str:
    """Render the report as Markdown, one row a rule; ends with a line break."""
    lines = [f"## {markdown_escaped(report.cluster)}", "", f"**{summarise(report)}**"]
    lines += (f"\n**{markdown_escaped(each)}.**" for each in headlines(report))
    lines += ["", "### Essentials, before all rules", ""]
    lines += (f"- {markdown_escaped(each)}" for each in report.essentials or (NO_ESSENTIALS,))
    for target, rules in _by_target(report.rules):
        lines += ["", f"### Rules of device group {markdown_escaped(target)}", ""]
        lines += _table(
            ("Status", "Place", "Rule", "Why", "Calico rules"),
            (_rule_cells(each, verbose=verbose) for each in rules),
        )
    if report.groups:
        lines += ["", "### Address groups", ""]
        lines += _table(("Status", "Address group", "Why"), map(group_cells, report.groups))
    if report.zones:
        lines += ["", "### Zones", ""]
        lines += _table(ZONE_HEADS, map(zone_cells, report.zones))
    return "\n".join([*lines, ""])


def document(reports: Sequence[Report]) -> dict[str, Any]:
    """The reports of some clusters for `--output json`; every entry names its cluster."""
    return {
        "headlines": [
            {"cluster": report.cluster, "headline": each}
            for report in reports
            for each in headlines(report)
        ],
        "device_groups": [
            {
                "cluster": report.cluster,
                "source": each.source,
                "target": each.target,
                "tier": each.tier,
                "mode": each.mode,
                "zones": each.zones,
            }
            for report in reports
            for each in report.device_groups
        ],
        "essentials": [
            {"cluster": report.cluster, "essential": each}
            for report in reports
            for each in report.essentials
        ],
        "rules": [
            rule_document(report.cluster, each) for report in reports for each in report.rules
        ],
        "groups": [
            {"cluster": report.cluster, **group_document(each)}
            for report in reports
            for each in report.groups
        ],
        "zones": zones_document(reports),
    }


def rule_document(cluster: str, rule: RuleFidelity) -> dict[str, Any]:
    """One rule for `--output json`."""
    return {
        "cluster": cluster,
        "source": rule.source,
        "target": rule.target,
        "device_group": rule.device_group,
        "rulebase": rule.rulebase,
        "position": rule.position,
        "name": rule.name,
        "uuid": rule.uuid,
        "allow": rule.allow,
        "disabled": rule.disabled,
        **written_document(rule.rule),
        "status": str(rule.status),
        "reasons": list(rule.reasons),
        "calico": list(rule.calico),
        "nat": list(rule.nat),
        "remedies": list(rule.remedies),
        "shadow": {
            "calico": shadow_document(rule.shadow),
            "firewall": shadow_document(rule.firewall_shadow),
        },
    }


def group_document(group: GroupFidelity) -> dict[str, Any]:
    """One address group for `--output json`."""
    return {
        "name": group.name,
        "status": str(group.status),
        "reasons": list(group.reasons),
        "remedies": list(group.remedies),
    }


def written_document(rule: Rule | None) -> dict[str, Any]:
    """The columns of a rule as Panorama has them; empty lists where they are not known."""
    rule = rule or _UNKNOWN
    return {
        "action": rule.action,
        "from_zones": list(rule.from_zones),
        "to_zones": list(rule.to_zones),
        "sources": list(rule.sources),
        "negate_source": rule.negate_source,
        "destinations": list(rule.destinations),
        "negate_destination": rule.negate_destination,
        "applications": list(rule.applications),
        "services": list(rule.services),
        "tags": list(rule.tags),
    }


_UNKNOWN: Final = Rule("", "", (), (), (), (), applications=(), services=(), action="")


def summarise(report: Report) -> str:
    """The number of rules of each status."""
    counts = Counter(each.status for each in report.rules)
    always = ", ".join(f"{counts[status]} {status}" for status in _ALWAYS)
    # Every report has the words of faithful and unfaithful rules; the others only if it has such.
    others = [f"{counts[status]} {status}" for status in Status if status not in _ALWAYS]
    said = "; ".join([always, *(each for each in others if not each.startswith("0 "))])
    return f"{counted(len(report.rules), 'rule')}: {said}."


def _by_target(rules: Sequence[RuleFidelity]) -> Iterator[tuple[str, Iterator[RuleFidelity]]]:
    return groupby(rules, key=device_group)


def _line(status: Status, said: str, *, color: bool) -> str:
    shown = f"{status!s:<{_WIDTH}}"
    if color:
        shown = f"{_COLORS[status]}{shown}{_RESET}"
    return f"  {shown} {printable(said)}"


def _rule(rule: RuleFidelity, *, verbose: bool) -> str:
    _, place, _, clauses, calico = _rule_cells(rule, verbose=verbose)
    said = f": {clauses}" if clauses else ""
    return f"{place} {rule.name!r}{_mark(rule)}{said} -> {calico}"


def _rule_cells(rule: RuleFidelity, *, verbose: bool) -> tuple[str, ...]:
    return (
        str(rule.status),
        f"{rule.device_group} {rule.rulebase} {rule.position}",
        f"{rule.name}{_mark(rule)}",
        why(rule),
        calico_words(rule, verbose=verbose),
    )


def _mark(rule: RuleFidelity) -> str:
    """The suffix of a rule's name; NAT translates nothing for a disabled rule."""
    if rule.disabled:
        return ""
    return f" (nat: {listed([f'{each!r}' for each in rule.nat])})" if rule.nat else ""


def calico_words(rule: RuleFidelity, *, verbose: bool) -> str:
    """The Calico rules of a rule, or how many there are in how many policies."""
    if verbose or len(rule.calico) <= _FEW:
        return ", ".join(rule.calico) or "no Calico rules"
    policies = {each.partition("[")[0] for each in rule.calico}
    within = "one policy" if len(policies) == 1 else f"{len(policies):,} policies"
    return f"{len(rule.calico):,} rules in {within}"


def _group(group: GroupFidelity) -> str:
    return f"{group.name!r}: {because(group)}" if group.reasons else f"{group.name!r}"


def group_cells(group: GroupFidelity) -> tuple[str, ...]:
    """Status, name and reasons of an address group."""
    return str(group.status), group.name, because(group)


ZONE_HEADS: Final = ("Zone", "Device group", "Label value", "Networks", "Rules", "Note", "Remedy")


def _zone(zone: ZoneFidelity) -> str:
    _, target, label, networks, rules, note, remedy = zone_cells(zone)
    said = f"{zone.name!r} of {target}: label value {label}; networks {networks}"
    said += f"; {rules}{f'; {note}' if note else ''}"
    return f"{said} (remedy: {remedy})" if remedy else said


def zone_cells(zone: ZoneFidelity) -> tuple[str, ...]:
    """The cells of a zone, as in `ZONE_HEADS`."""
    if zone.networks is None:
        networks = f"unknown: {zone.origin}"
    else:
        networks = f"{counted(len(zone.networks), 'CIDR')}, {zone.origin}"
    rules = f"{counted(len(zone.rules), 'rule')} by name"
    note = BY_POD_LABEL if zone.by_pod_label else ""
    remedy = "; ".join(zone.remedies)
    return zone.name, device_group(zone), zone.label_value, networks, rules, note, remedy


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(markdown_escaped, row))} |"

"""Who may reach whom, as a document and as text.

Names come from configurations that others write: who prints a line escapes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sync.verify.matrix import Cell, DecidingRule, Matrix, Reach

_NAMED: Final = 6  # services of a cell


def matrix_document(cluster: str, matrix: Matrix) -> dict[str, Any]:
    """One matrix for `--output json`."""
    return {
        "cluster": cluster,
        "source": matrix.source,
        "target": matrix.device_group,
        "tier": matrix.tier,
        "zones": list(matrix.zones),
        "pods_only": list(matrix.pods_only),
        "because": matrix.because,
        "cells": [
            {
                "from": each.source,
                "to": each.destination,
                "unlike": each.unlike,
                "lost": each.lost,
                "gained": each.gained,
                "firewall": _reach(each.firewall),
                "calico": _reach(each.calico),
            }
            for each in matrix.cells
        ],
    }


def _reach(reach: Reach) -> dict[str, Any]:
    return {
        "state": reach.state,
        "services": list(reach.services),
        "partly": list(reach.partly),
        "perhaps": list(reach.perhaps),
        "rules": [_rule(each) for each in reach.rules],
        "because": reach.because,
    }


def _rule(rule: DecidingRule) -> dict[str, Any]:
    place = rule.place
    return {
        "name": rule.rule,
        "action": rule.action,
        "device_group": place[2] if place else None,
        "rulebase": place[3] if place else None,
        "position": place[4] if place else None,
        "calico": list(rule.places),
    }


def matrix_lines(matrix: Matrix) -> Iterator[str]:
    """The matrix as lines: zones that may reach the same, or differ alike, are in one line."""
    yield f"Who may reach whom: zones of device group {matrix.source}/{matrix.device_group}"
    if matrix.because:
        yield f"  unknown: {matrix.because}"
        return
    if matrix.pods_only:
        yield f"  only pods are judged, not other addresses, of {', '.join(matrix.pods_only)}"
    for source in matrix.zones:
        alike: dict[tuple[str, str, str], list[Cell]] = {}
        for cell in matrix.cells:
            if cell.source == source and cell.calico.state != "no flows":
                key = (said(cell.firewall), said(cell.calico), cell.unlike)
                alike.setdefault(key, []).append(cell)
        for (firewall, calico, unlike), cells in alike.items():
            to = ", ".join(each.destination for each in cells)
            yield f"  {'!' if unlike else ' '} {source} -> {to}"
            if firewall == calico:
                yield f"      firewall and Calico: {calico}"
                yield from (f"      {each}" for each in _between(cells[0]))
            else:
                yield f"      firewall: {firewall}"
                yield f"      Calico:   {calico}{_differ(unlike)}"


def _differ(unlike: str) -> str:
    """How Calico's flows differ, where its services do too."""
    words = {"less": "less", "more": "more", "less and more": "other flows"}
    return f" ({words[unlike]} than the firewall)" if unlike in words else ""


def _between(cell: Cell) -> Iterator[str]:
    """Which flows differ where the services read the same: they go between other addresses."""
    if cell.unlike == "unknown":
        yield "whether they differ is unknown"
    if cell.lost:
        yield f"but Calico denies some that the firewall may allow, such as {cell.lost}"
    if cell.gained:
        yield f"but Calico allows some that the firewall may deny, such as {cell.gained}"


def said(reach: Reach) -> str:
    """What may go by one list of rules, in a clause."""
    if reach.state != "some":
        return f"unknown ({reach.because})" if reach.because else reach.state
    parts = [
        f"{words}{_listed(services)}"
        for words, services in (
            ("", reach.services),
            ("for some addresses ", reach.partly),
            ("perhaps ", reach.perhaps),
        )
        if services
    ]
    return "; ".join(parts)


def _listed(services: Sequence[str]) -> str:
    rest = len(services) - _NAMED
    return ", ".join(services[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

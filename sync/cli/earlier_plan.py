"""`zonebridge plan --from PLAN.json`: what is left out is new compared with an earlier plan.

A pipeline whose store is empty each time has no last sync to compare with; it keeps a plan instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from sync.errors import UsageError
from sync.plan.omission import digest_of
from sync.reconcile.result import Result

Known = Mapping[str, frozenset[str]]
"""The digests of what was left out, by cluster."""


def known_of(given: Sequence[str]) -> Known | None:
    """Read what `plan --output json` printed; None if the files given are no JSON.

    Raises `UsageError` for a file that is missing or empty, for JSON that is no plan, and for
    several files.
    """
    contents = [_beginning(each) for each in given]
    if not any(content.startswith(b"{") for content in contents):
        return None
    if len(given) > 1:
        raise UsageError("--from takes one plan; name one file with the plans of all clusters")
    try:
        return {
            cluster["cluster"]: _digests(cluster["plan"])
            for cluster in orjson.loads(Path(given[0]).read_bytes())["clusters"]
            if cluster["plan"] is not None
        }
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--from {given[0]} is JSON and no plan; write it with `zonebridge plan --output json`"
        ) from error


def compared_with(results: Sequence[Result], known: Known) -> list[Result]:
    """Say of each plan what is new; of a cluster without an earlier plan everything is."""
    return [
        replace(each, plan=replace(each.plan, known=known.get(each.cluster, frozenset())))
        if each.plan
        else each
        for each in results
    ]


def _digests(plan: Mapping[str, Any]) -> frozenset[str]:
    parts = [*plan["left_out"], *plan.get("rules", ())]
    return frozenset(digest_of(part["subject"], part["reason"]) for part in parts)


def _beginning(given: str) -> bytes:
    try:
        with Path(given).open("rb") as opened:
            found = opened.read(64)
    except (OSError, ValueError) as error:
        if "=" in given:
            return b""  # NAME=FILE is an export, and is read as such
        why = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    else:
        if found:
            return found.lstrip()
        why = "is empty"
    raise UsageError(
        f"--from {given} {why}; name a plan that `zonebridge plan --output json` wrote, or an "
        "export together with --to"
    )

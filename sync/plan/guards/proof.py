"""Guards: the policies are not proven to give the firewall's verdicts."""

import hashlib
from collections.abc import Sequence

from sync.plan.guards import Blocker


def verification(disagreement: str) -> Blocker:
    """Block policies that give other verdicts than the firewall; `disagreement` is a clause."""
    return Blocker(
        "verification",
        f"{disagreement}; nothing in this cluster is written, please report this",
        approvable=False,
    )


def report_mismatch(disagreement: str, covers: Sequence[str]) -> Blocker:
    """Block a plan whose report calls rules exact that the proof finds inexact.

    No flow is misjudged. `disagreement` is a clause to show; `covers` is what an approval covers.
    """
    return Blocker(
        "report-mismatch",
        f"{disagreement}; the proof found no flow that Calico would judge differently, "
        "so nothing is opened, and the report alone is wrong: please report this",
        approvable=True,
        covers=hashlib.sha256(repr(sorted(covers)).encode()).hexdigest(),
    )


def undecided(because: str) -> Blocker:
    """Block policies that could not be proven to give the firewall's verdicts."""
    return Blocker(
        "undecided",
        f"it is not proven that the policies give the firewall's verdicts: {because}; "
        "`zonebridge verify` has more",
        approvable=True,
        covers=because,
    )

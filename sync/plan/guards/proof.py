"""Policies that are not proven to give the verdicts of the firewall."""

import hashlib
from collections.abc import Sequence

from sync.plan.guards import Blocker


def verification(disagreement: str) -> Blocker:
    """What would be written allows or denies what it must not; `disagreement` is a clause."""
    return Blocker(
        "verification",
        f"{disagreement}; nothing in this cluster is written, please report this",
        approvable=False,
    )


def report_mismatch(disagreement: str, covers: Sequence[str]) -> Blocker:
    """The report says that rules are exact and the proof does not, though no flow is misjudged.

    `disagreement` is a clause for people, `covers` all that is seen with an approval.
    """
    return Blocker(
        "report-mismatch",
        f"{disagreement}; the proof found no flow that would be judged otherwise than by the "
        "firewall, so nothing is opened, and the report alone is wrong: please report this",
        approvable=True,
        covers=hashlib.sha256(repr(sorted(covers)).encode()).hexdigest(),
    )


def undecided(because: str) -> Blocker:
    """What would be written could not be proven to give the firewall's verdicts."""
    return Blocker(
        "undecided",
        f"it is not proven that the policies give the firewall's verdicts: {because}; "
        "`zonebridge verify` has more",
        approvable=True,
        covers=because,
    )

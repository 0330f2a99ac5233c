"""With `drift: report`, what is written is written together with all that it needs."""

from collections.abc import Sequence

import pytest

from sync.calico.manifest import Manifest
from sync.plan.changes import Change
from sync.plan.differences import Differences
from sync.plan.plan import make_plan
from tests.unit.plan.words import DRIFT, a_set, create, delete, policy, tier, update


class Standing:
    """A policy that stands and is ours."""

    changed_by = foreign_because = ""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = self.stands = manifest
        self.document = manifest.document()


def repaired(written: Sequence[Change], drifted: Change, *standing: Manifest) -> bool:
    """Whether drift is repaired, though drift is reported alone, since what is written needs it."""
    live = {(each.kind, each.name): Standing(each) for each in standing}
    found = Differences((*written, drifted), (), (), (), 0)
    plan = make_plan("prod", [], found, [], repair_drift=False, live=live)
    assert (drifted in plan.changes) != (drifted in plan.drift)
    return drifted in plan.changes


WRITTEN = update(
    policy("p", 1, chain="z", groups=("old",)), policy("p", 1, chain="z", groups=("g",))
)
OTHER_TIER = policy("q", 1, chain="z", tier="other")


@pytest.mark.parametrize(
    ("drifted", "needed"),
    [
        (create(tier(), DRIFT), True),
        (update(tier(order=7), tier(), DRIFT), True),
        (create(tier("other"), DRIFT), False),
        (create(policy("unknown-zone", 9), DRIFT), True),
        (create(policy("unknown-zone", 9, tier="other"), DRIFT), False),
        (create(policy("first", 0, chain="z"), DRIFT), True),
        (update(policy("r", 0, chain="z", groups=("x",)), policy("r", 0, chain="z"), DRIFT), True),
        (create(policy("first", 0, chain="y"), DRIFT), False),
        (create(OTHER_TIER, DRIFT), False),
        (create(a_set("g"), DRIFT), True),
        (create(a_set("old"), DRIFT), False),
        (create(a_set("free"), DRIFT), False),
    ],
)  # fmt: skip
def test_a_policy_is_written_with_its_tier_its_sets_and_its_chain(
    drifted: Change, needed: bool
) -> None:
    assert repaired([WRITTEN], drifted) is needed


def test_drift_alone_is_left() -> None:
    for drifted in (create(tier(), DRIFT), create(a_set("g"), DRIFT), create(OTHER_TIER, DRIFT)):
        assert not repaired([], drifted)


def test_a_policy_that_goes_needs_what_stands_behind_it() -> None:
    """Its pods fall to the policy of pods whose label names no zone."""
    gone = delete(policy("p", 1, chain="z"))
    stays = update(policy("q", 1, chain="y"), policy("q", 1, chain="y", groups=("g",)))
    behind = create(policy("unknown-zone", 9), DRIFT)
    assert repaired([gone], behind)
    assert repaired([gone, stays], behind)


def test_what_a_set_gains_needs_the_chains_that_select_it() -> None:
    """A deny that another hand took away would have to stand before what becomes allowed."""
    gains = update(a_set("g"), a_set("g", "10.0.0.1/32"))
    selecting = policy("p", 2, chain="z", groups=("g",))
    first = create(policy("first", 1, chain="z"), DRIFT)
    assert repaired([gains], first, selecting)
    assert not repaired([gains], create(policy("first", 1, chain="y"), DRIFT), selecting)


def test_what_is_needed_needs_more() -> None:
    first = create(policy("first", 1, chain="z", groups=("h",)), DRIFT)
    found = Differences((WRITTEN, first, create(a_set("h"), DRIFT)), (), (), (), 0)
    plan = make_plan("prod", [], found, [], repair_drift=False)
    assert plan.drift == ()

"""Adoption: which foreign objects a plan takes over, and how the change tells it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkSet
from sync.calico.ownership import owner_labels
from sync.plan.changes import Action, Cause, Change
from sync.plan.differences import Differences, Key, differences
from sync.plan.guards.foreign import foreign_object
from sync.plan.plan import make_plan

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
KEY = ("GlobalNetworkSet", "x")


def made(*nets: str, name: str = "x", group: str = "") -> Manifest:
    annotations = (("firewall.tigera.io/name", group),) if group else ()
    return GlobalNetworkSet(name, nets, OWNER, annotations).manifest()


D, W, X = made("10.0.0.1/32"), made("10.0.0.2/32"), made("10.0.0.3/32")
THEIRS = GlobalNetworkSet(
    "x", ("192.0.2.0/24",), annotations=(("firewall.tigera.io/name", "old"),)
).manifest()


@dataclass(frozen=True)
class Held:
    """An object in a cluster: ours with a manifest, else foreign; `stands` may be written over."""

    manifest: Manifest | None
    stands: Manifest | None
    foreign_because: str = ""
    changed_by: str = ""


LEFT_BEHIND = Held(None, THEIRS, "is somebody else's", "kubectl at noon")
CLAIMED = Held(None, None, "belongs to another installation")


def found(
    desired: Manifest | None, written: Manifest | None, live: Held | None, *, adopt: bool = True
) -> Differences:
    return differences(
        {KEY: desired} if desired else {},
        {KEY: written} if written else {},
        {KEY: live} if live else {},
        adopt=adopt,
    )


@pytest.mark.parametrize("written", [None, D, W])
def test_a_foreign_object_in_our_place_is_changed_from_what_it_holds(
    written: Manifest | None,
) -> None:
    """Also what we wrote and another hand took our labels off."""
    change = Change(THEIRS, D, Cause.CONFIGURATION, groups=("old",))
    assert found(D, written, LEFT_BEHIND) == Differences((change,), (), (), (), 0)
    assert change.action is Action.UPDATE


def test_adoption_that_was_asked_for_is_done_where_drift_is_only_reported() -> None:
    plan = make_plan("prod", [], found(D, D, LEFT_BEHIND), [], repair_drift=False)
    assert (len(plan.changes), plan.drift) == (1, ())


@pytest.mark.parametrize("written", [None, D, W])
def test_unless_it_was_asked_for_a_foreign_object_blocks(written: Manifest | None) -> None:
    blocker = foreign_object(*KEY, "is somebody else's")
    held = Change(THEIRS, D, Cause.DRIFT, groups=("old",), changed_by="kubectl at noon")
    assert found(D, written, LEFT_BEHIND, adopt=False) == Differences(
        (), (), (), (blocker,), 0, (held,)
    )


def test_one_that_was_asked_for_is_taken_over_as_it_was_seen_and_no_other() -> None:
    def kept(*asked: tuple[str, str, str]) -> tuple[Change, ...]:
        return differences({KEY: D}, {}, {KEY: LEFT_BEHIND}, asked=asked).held

    assert kept((*KEY, THEIRS.digest)) == ()
    for other in ((*KEY, W.digest), ("Tier", "x", THEIRS.digest), (KEY[0], "y", THEIRS.digest)):
        assert len(kept(other)) == 1
    # What another installation claims never.
    claimed = differences({KEY: D}, {}, {KEY: CLAIMED}, asked=[(*KEY, THEIRS.digest)])
    assert (len(claimed.held), claimed.changes) == (1, ())


def test_what_another_installation_claims_blocks_all_the_same() -> None:
    blocker = foreign_object(*KEY, "belongs to another installation", adoptable=False)
    held = Change(None, D, Cause.DRIFT)
    assert found(D, None, CLAIMED) == Differences((), (), (), (blocker,), 0, (held,))
    assert "zonebridge adopt" not in blocker.message
    assert "the address group is renamed" in blocker.message
    of_tier = foreign_object("Tier", "fw", "belongs to another installation", adoptable=False)
    assert "another tier (device_groups[].tier)" in of_tier.message


def test_a_foreign_object_that_we_do_not_want_stays() -> None:
    assert found(None, None, LEFT_BEHIND) == Differences((), (), (), (), 0)
    lost = Change(W, None, Cause.DRIFT)
    assert found(None, W, LEFT_BEHIND) == Differences((), (), (lost,), (), 0)


@pytest.mark.parametrize("desired", [None, D])
@pytest.mark.parametrize("written", [None, D, W])
@pytest.mark.parametrize("live", [None, Held(D, D), Held(X, X)])
def test_for_all_else_it_makes_no_difference(
    desired: Manifest | None, written: Manifest | None, live: Held | None
) -> None:
    asked, not_asked = (found(desired, written, live, adopt=adopt) for adopt in (True, False))
    assert asked == not_asked


names = st.sampled_from(["a", "b", "c"])


@given(st.sets(names), st.sets(names), st.sets(names), st.sets(names))
def test_nothing_foreign_that_is_not_wanted_or_is_claimed_is_ever_touched(
    wanted: set[str], written: set[str], left_behind: set[str], claimed: set[str]
) -> None:
    def key(name: str) -> Key:
        return ("GlobalNetworkSet", name)

    theirs = {name: made("192.0.2.0/24", name=name) for name in left_behind}
    live = {key(name): Held(None, stands) for name, stands in theirs.items()} | {
        key(name): CLAIMED for name in claimed
    }
    differing = differences(
        {key(name): made("10.0.0.1/32", name=name) for name in wanted},
        {key(name): made("10.0.0.2/32", name=name) for name in written},
        live,
        adopt=True,
    )
    touched = {change.name for change in differing.changes} & (left_behind | claimed)
    assert touched == (wanted & left_behind) - claimed
    assert len(differing.blockers) == len(wanted & claimed)

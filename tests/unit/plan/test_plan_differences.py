"""The table of `sync.plan.differences`, row by row, and the plan that is made of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.calico import names
from sync.calico.manifest import Manifest
from sync.calico.objects import EntityRule, GlobalNetworkPolicy, GlobalNetworkSet
from sync.calico.objects import Rule as CalicoRule
from sync.calico.ownership import owner_labels
from sync.plan.changes import Cause, Change
from sync.plan.differences import Differences, Key, change_between, differences
from sync.plan.guards.foreign import foreign_object
from sync.plan.origin import NotPushed, Origin
from sync.plan.plan import LeftOut, Plan, make_plan
from tests.memory import MemoryCluster

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
KIND = "GlobalNetworkSet"
ORIGIN = Origin("main", "412", ("alice",), "more web")


def made(name: str, *nets: str, group: str = "") -> Manifest:
    annotations = (("firewall.tigera.io/name", group),) if group else ()
    return GlobalNetworkSet(name, nets, OWNER, annotations).manifest()


D, W, X = made("x", "10.0.0.1/32"), made("x", "10.0.0.2/32"), made("x", "10.0.0.3/32")


@dataclass(frozen=True)
class Held:
    """An object in a cluster; None is a foreign one."""

    manifest: Manifest | None
    foreign_because: str = ""
    changed_by: str = ""

    @property
    def stands(self) -> Manifest | None:
        """What may be written over: of a foreign one something that never equals ours."""
        return self.manifest or X


FOREIGN = Held(None, "is somebody else's")


def found(
    desired: Manifest | None, written: Manifest | None, live: Held | Manifest | None
) -> Differences:
    """The differences over one object."""
    key = (KIND, "x")
    held = Held(live) if isinstance(live, Manifest) else live
    return differences(
        {key: desired} if desired else {},
        {key: written} if written else {},
        {key: held} if held else {},
    )


# --- the table ------------------------------------------------------------------------------------

CONFIGURATION, DRIFT = Cause.CONFIGURATION, Cause.DRIFT


@pytest.mark.parametrize(
    ("desired", "written", "live", "change"),
    [
        (D, None, None, Change(None, D, CONFIGURATION)),
        (D, D, None, Change(None, D, DRIFT)),
        (D, D, X, Change(X, D, DRIFT)),
        (D, W, None, Change(None, D, CONFIGURATION)),
        (D, W, X, Change(X, D, CONFIGURATION)),
        (D, W, W, Change(W, D, CONFIGURATION)),
        (D, None, X, Change(X, D, CONFIGURATION)),
        (None, None, X, Change(X, None, CONFIGURATION)),
        (None, W, X, Change(X, None, CONFIGURATION)),
        (None, W, W, Change(W, None, CONFIGURATION)),
        (None, W, None, Change(W, None, CONFIGURATION)),
    ],
)
def test_a_row_of_the_table_is_one_change(
    desired: Manifest | None, written: Manifest | None, live: Manifest | None, change: Change
) -> None:
    assert found(desired, written, live) == Differences((change,), (), (), (), 0)


def test_what_is_as_we_wrote_it_and_as_it_shall_be_is_unchanged() -> None:
    assert found(D, D, D) == Differences((), (), (), (), 1)


@pytest.mark.parametrize("written", [None, W])
def test_what_another_hand_made_as_it_shall_be_is_adopted(written: Manifest | None) -> None:
    assert found(D, written, D) == Differences((), (Change(written, D, DRIFT),), (), (), 1)


@pytest.mark.parametrize("written", [None, D, W])
def test_a_foreign_object_where_one_of_ours_shall_stand_blocks(written: Manifest | None) -> None:
    blocker = foreign_object(KIND, "x", "is somebody else's", adoptable=FOREIGN.stands is not None)
    held = Change(FOREIGN.stands, D, DRIFT)
    assert found(D, written, FOREIGN) == Differences((), (), (), (blocker,), 0, (held,))


def test_a_foreign_object_elsewhere_is_nobodys_business() -> None:
    assert found(None, None, FOREIGN) == Differences((), (), (), (), 0)


def test_what_we_wrote_and_may_no_longer_remove_is_said() -> None:
    lost = Change(W, None, DRIFT)
    assert found(None, W, FOREIGN) == Differences((), (), (lost,), (), 0)
    assert plan(found(None, W, FOREIGN)).drift == (lost,)


def test_nothing_at_all_is_no_difference() -> None:
    assert found(None, None, None) == Differences((), (), (), (), 0)


def test_changes_are_sorted_by_kind_and_name() -> None:
    tier = Manifest.of({"kind": "Tier", "metadata": {"name": "a"}})
    sets = [made(name) for name in ("z", "a", "m")]
    desired = {(each.kind, each.name): each for each in (tier, *sets)}
    changes = differences(desired, {}, {}).changes
    assert [(each.kind, each.name) for each in changes] == [
        (KIND, "a"),
        (KIND, "m"),
        (KIND, "z"),
        ("Tier", "a"),
    ]


def test_a_change_names_the_groups_on_either_side() -> None:
    (change,) = found(made("x", group="new"), None, made("x", group="old")).changes
    assert change.groups == ("new", "old")
    (change,) = found(None, made("x", group="only"), None).changes
    assert change.groups == ("only",)


# --- the plan -------------------------------------------------------------------------------------


def plan(differing: Differences, *, repair_drift: bool = True, **fields: object) -> Plan:
    made_of = make_plan("prod", [ORIGIN], differing, [], repair_drift=repair_drift)
    return replace(made_of, **fields)  # type: ignore[arg-type]  # the fields of a plan


def test_drift_is_repaired_or_only_reported() -> None:
    both = differences(
        {(KIND, "x"): D, (KIND, "y"): made("y")}, {(KIND, "x"): D}, {(KIND, "x"): Held(X)}
    )
    repaired, reported = plan(both), plan(both, repair_drift=False)
    assert [change.name for change in repaired.changes] == ["x", "y"]
    assert repaired.drift == ()
    assert [change.name for change in reported.changes] == ["y"]
    assert [change.name for change in reported.drift] == ["x"]


def test_an_object_that_is_gone_is_drift_too() -> None:
    reported = plan(found(D, D, None), repair_drift=False)
    assert (reported.changes, len(reported.drift)) == ((), 1)


def test_what_is_left_out_is_sorted_and_said_once() -> None:
    left = [LeftOut("b", "x"), LeftOut("a", "y"), LeftOut("a", "x"), LeftOut("b", "x")]
    made_of = make_plan("prod", [], Differences((), (), (), (), 0), left, repair_drift=True)
    assert made_of.left_out == (LeftOut("a", "x"), LeftOut("a", "y"), LeftOut("b", "x"))


# --- the digest -----------------------------------------------------------------------------------

BASE = plan(found(D, W, X))


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, origins=()),
        replace(BASE, origins=(replace(ORIGIN, version="413"),)),
        replace(BASE, unchanged=17),
        replace(BASE, not_pushed=(NotPushed("main", "dg", ("0001",)),)),
        replace(BASE, compared_with=(ORIGIN,)),
        replace(BASE, left_out=(LeftOut("a", "b"),)),
        replace(BASE, warnings=("this Calico is known to fail",)),
        replace(BASE, drift=found(D, D, X).changes),
        replace(BASE, changes=(replace(BASE.changes[0], cause=DRIFT, groups=("g",)),)),
    ],
    ids=[
        "origins",
        "version",
        "unchanged",
        "not pushed",
        "compared with",
        "left out",
        "warnings",
        "drift",
        "cause",
    ],
)
def test_the_digest_says_what_is_done_and_nothing_else(same: Plan) -> None:
    assert same.digest == BASE.digest


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, cluster="other"),
        replace(BASE, changes=()),
        plan(found(D, W, W)),
        plan(found(W, W, X)),
        plan(found(None, W, X)),
        plan(found(D, W, None)),
        replace(BASE, blockers=(foreign_object(KIND, "y", "is theirs"),)),
    ],
    ids=["cluster", "nothing", "before", "after", "delete", "create", "blocked"],
)
def test_another_change_has_another_digest(other: Plan) -> None:
    assert other.digest != BASE.digest


def test_the_digest_is_a_contract() -> None:
    # Stored approvals name it: a new version must find the same one.
    essence = b'{"blockers":[],"changes":[],"cluster":"prod"}'
    assert plan(Differences((), (), (), (), 0)).digest == hashlib.sha256(essence).hexdigest()


def test_the_digest_covers_every_write_and_the_order() -> None:
    # The same two changes: after each other, at once, or with a content in between.
    one, other = (made(f"x{each}", f"10.0.0.{each}/32") for each in (1, 2))
    policy = GlobalNetworkPolicy("fw.p", "fw", 1, "all()").manifest()
    moved = GlobalNetworkPolicy("fw.p", "fw", 2, "all()").manifest()
    selecting = GlobalNetworkPolicy(
        "fw.q",
        "fw",
        3,
        "all()",
        egress=(CalicoRule("Deny", destination=EntityRule(f"has({names.MANAGED_BY})")),),
    ).manifest()
    changes = tuple(
        Change(old, new, Cause.CONFIGURATION)
        for old, new in ((policy, moved), (one, replace_nets(one, other)))
    )
    free = plan(Differences(changes, (), (), (), 0))
    selected = replace(free, beside=(selecting,))
    assert [len(some) for some in free.writes] == [1, 1]
    assert [len(some) for some in selected.writes] == [1, 1, 1]
    assert len({free.digest, selected.digest}) == 2
    # What changes no write is no other plan.
    assert replace(free, beside=(replace_name(selecting),)).digest != selected.digest
    assert replace(free, beside=(policy,)).digest == free.digest


def replace_nets(manifest: Manifest, other: Manifest) -> Manifest:
    """The set of one name with the nets of another."""
    return made(manifest.name, *other.contents.nets)


def replace_name(policy: Manifest) -> Manifest:
    """A policy of the same place that selects nothing."""
    return GlobalNetworkPolicy(policy.name, "fw", 3, "all()").manifest()


def test_the_document_counts_and_shows_both_sides() -> None:
    document = replace(BASE, blockers=(foreign_object(KIND, "y", "is theirs"),)).document()
    assert document["summary"] == {
        "create": 0,
        "update": 1,
        "delete": 0,
        "unchanged": 0,
        "drift": 0,
        "adopted": 0,
        "blocked": True,
        "left_out": 0,
        "omissions": {},
    }
    (change,) = document["changes"]
    assert (change["before"], change["after"]) == (X.document(), D.document())
    assert document["blockers"][0]["guard"] == "foreign-object"


# --- plan(apply(plan)) is empty -------------------------------------------------------------------

keys = st.sampled_from([(KIND, name) for name in ("a", "b", "c", "d")])
bodies = st.sampled_from([("10.0.0.1/32",), ("10.0.0.2/32",), ()])


@st.composite
def manifests(draw: st.DrawFn) -> dict[Key, Manifest]:
    chosen = draw(st.dictionaries(keys, bodies))
    return {key: made(key[1], *nets) for key, nets in chosen.items()}


def applied(
    made_of: Plan, cluster: MemoryCluster, written: Mapping[Key, Manifest]
) -> dict[Key, Manifest]:
    """Write a plan as a cycle would; what is believed of the cluster afterwards."""
    live = cluster.read()
    believed = dict(written)
    for chain in (chain for step in made_of.steps() for chain in step):
        for change in chain:
            key = (change.kind, change.name)
            if change.after is None:
                if key in live:
                    cluster.delete(live[key])
                del believed[key]
            else:
                if change.before is None:
                    cluster.create(change.after)
                else:
                    cluster.replace(change.after, live[key])
                believed[key] = change.after
    return believed


@given(manifests(), manifests(), manifests(), st.sets(keys), st.booleans())
def test_a_plan_that_was_applied_leaves_nothing_to_do(
    desired: dict[Key, Manifest],
    written: dict[Key, Manifest],
    live: dict[Key, Manifest],
    foreign: set[Key],
    repair: bool,
) -> None:
    cluster = MemoryCluster(OWNER, {key: each.document() for key, each in live.items()})
    for key in foreign:
        cluster.documents[key] = {"kind": key[0], "metadata": {"name": key[1]}, "spec": {}}
    theirs = {key: dict(cluster.documents[key]) for key in foreign}
    # Only what is believed to be there can be removed again.
    written = {
        **written,
        **{k: v for k, v in live.items() if k not in written and k not in foreign},
    }

    def planned() -> Plan:
        differing = differences(desired, written, cluster.read())
        return make_plan("memory", [], differing, [], repair_drift=repair)

    first = planned()
    written = applied(first, cluster, written)
    second = planned()
    assert second.changes == ()
    assert second.drift == first.drift
    assert second.blockers == first.blockers
    assert second.unchanged == first.unchanged + sum(
        change.after is not None for change in first.changes
    )
    assert {key: cluster.documents[key] for key in foreign} == theirs
    if repair and not foreign:
        assert cluster.documents == {key: each.document() for key, each in desired.items()}


def ruled(*rules: tuple[str, int]) -> Manifest:
    """A policy of the firewall's rules, each with a port, and of a default that is none."""
    said = [
        CalicoRule(
            "Pass",
            "TCP",
            destination=EntityRule(ports=(port,)),
            annotations=(
                (names.RULE_ANNOTATION, name),
                (names.SOURCE_ANNOTATION, "any"),
                (names.RANK_ANNOTATION, str(rank)),
            ),
        )
        for rank, (name, port) in enumerate(rules)
    ]
    last = CalicoRule("Deny", annotations=((names.RULE_ANNOTATION, "interzone-default"),))
    return GlobalNetworkPolicy("fw.p", "fw", 1, "all()", egress=(*said, last)).manifest()


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        (None, ruled(("a", 1), ("b", 2)), ("a", "b")),
        (ruled(("a", 1), ("b", 2)), None, ("a", "b")),
        (ruled(("a", 1), ("b", 2)), ruled(("a", 1), ("b", 3)), ("b",)),
        (ruled(("a", 1), ("b", 2)), ruled(("new", 9), ("a", 1), ("b", 2)), ("new",)),
        (ruled(("a", 1), ("b", 2)), ruled(("b", 2), ("a", 1)), ("a", "b")),
    ],
)
def test_a_change_of_a_policy_names_the_rules_that_changed_it(
    before: Manifest | None, after: Manifest | None, rules: tuple[str, ...]
) -> None:
    assert change_between(before, after, Cause.CONFIGURATION).rules == rules

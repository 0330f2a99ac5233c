"""The guards, and what of a plan they hold back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from sync.calico.manifest import Manifest
from sync.calico.names import (
    ADDRESS_GROUP_LABEL,
    DEVICE_GROUP_ANNOTATION,
    RULE_ANNOTATION,
    SCOPES_ANNOTATION,
    SOURCE_ANNOTATION,
)
from sync.calico.objects import GlobalNetworkPolicy, Rule, StagedGlobalNetworkPolicy, Tier
from sync.calico.references import carried, named
from sync.plan.changes import Change
from sync.plan.differences import Differences
from sync.plan.guards import Blocker
from sync.plan.guards.empty_source import Rules, empty_rulebases, empty_sources
from sync.plan.guards.foreign import foreign_object, foreign_policies, foreign_policy
from sync.plan.guards.live_tier import closed_tiers, left_tiers, live_tiers
from sync.plan.guards.referenced_set import referenced_sets
from sync.plan.plan import Plan, make_plan
from tests.unit.plan.words import a_set, create, delete, policy, tier, update


@dataclass(frozen=True)
class Held:
    """An object in a cluster, by its whole document."""

    document: dict[str, Any]
    foreign_because: str = ""
    manifest: Manifest | None = field(default=None)


def live(*manifests: Manifest, foreign: tuple[Manifest, ...] = ()) -> dict[tuple[str, str], Held]:
    held = {(each.kind, each.name): Held(each.document()) for each in manifests}
    theirs = {(each.kind, each.name): Held(each.document(), "is theirs") for each in foreign}
    return held | theirs


def guards(blockers: list[Blocker]) -> list[str]:
    return [each.guard for each in blockers]


# --- labels ---------------------------------------------------------------------------------------

KEY = ADDRESS_GROUP_LABEL


def selecting(selector: str, end: str = "destination", key: str = "selector") -> dict[str, Any]:
    return {"spec": {"ingress": [{"action": "Deny", end: {key: selector}}]}}


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        (f"{KEY} == 'web'", {(KEY, "web")}),
        (f'{KEY}=="web"&&!has(a/b)', {(KEY, "web"), ("a/b", None)}),
        (f"!({KEY} != 'web') || a not in {{'b', \"c\"}}", {(KEY, "web"), ("a", "b"), ("a", "c")}),
        ("a in{'b'}", {("a", "b")}),
        ("a starts with 'b' && c contains 'd'", {("a", None), ("c", None)}),
        ("all()", set()),
    ],
)
def test_the_labels_that_a_selector_names(selector: str, labels: set[tuple[str, str]]) -> None:
    assert named(selecting(selector)) == labels
    assert named(selecting(selector, "source", "notSelector")) == labels


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"spec": "x"},
        {"spec": {"ingress": {"a": 1}, "egress": [7, {"source": [], "destination": None}]}},
        {"spec": {"egress": [{"source": {"selector": 7}}]}},
    ],
)
def test_whatever_others_wrote_names_nothing(document: dict[str, Any]) -> None:
    assert named(document) == carried({"metadata": {"labels": [1]}}) == frozenset()


# --- foreign-object -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("GlobalNetworkSet", "the address group is renamed"),
        ("GlobalNetworkPolicy", "until it is removed"),
        ("GlobalNetworkPolicy", "`zonebridge adopt GlobalNetworkPolicy x`"),
        ("Tier", "the configuration names another tier"),
    ],
)
def test_a_foreign_object_blocks_with_what_to_do_about_its_kind(kind: str, way_out: str) -> None:
    blocker = foreign_object(kind, "x", "is theirs")
    assert blocker.message.startswith(f"{kind} x is theirs; ")
    assert way_out in blocker.message
    assert not blocker.approvable


# --- foreign-policy -------------------------------------------------------------------------------


def test_policies_of_others_in_a_tier_of_ours_block_and_can_be_approved() -> None:
    theirs = (policy("a"), policy("b"), policy("c", staged=True), policy("d", tier="other"))
    [blocker] = foreign_policies(live(policy("ours"), foreign=theirs), ["fw", "empty"], {})
    assert (blocker.guard, blocker.approvable) == ("foreign-policy", True)
    assert (
        "2 policies of others in the tier fw (GlobalNetworkPolicy fw.a, GlobalNetworkPolicy fw.b)"
        in blocker.message
    )


def test_those_of_namespaces_count_too() -> None:
    facts = {
        "fw": ("NetworkPolicy ns/a", "StagedNetworkPolicy ns/b"),
        "other": ("NetworkPolicy x",),
    }
    [blocker] = foreign_policies({}, ["fw"], facts)
    assert "1 policy of others in the tier fw (NetworkPolicy ns/a)" in blocker.message


def test_a_message_names_a_few_only() -> None:
    message = foreign_policy("fw", [f"p{number}" for number in range(9)]).message
    assert "9 policies of others in the tier fw (p0, p1, p2, p3, p4 and 4 more)" in message


# --- live-tier ------------------------------------------------------------------------------------

DENIES = Tier("fw", 101, "Deny").manifest()


def says_nothing() -> Manifest:
    document = DENIES.document()
    del document["spec"]["defaultAction"]
    return Manifest.of(document)


@pytest.mark.parametrize("standing", [DENIES, says_nothing()], ids=["Deny", "nothing"])
def test_a_tier_that_denies_at_its_end_does_so_while_enforced_policies_of_others_are_in_it(
    standing: Manifest,
) -> None:
    theirs = (policy("a"), policy("b", staged=True), policy("c", tier="other"))
    held = live(standing, foreign=theirs)
    found = closed_tiers([tier()], held, held, {})
    assert found == {
        "fw": "tier fw keeps its default action Deny while 1 enforced policy of others in it "
        "(GlobalNetworkPolicy fw.a) may leave flows to its end; it becomes Pass once this is gone"
    }
    held = live(foreign=(standing, *theirs[1:]))
    assert closed_tiers([tier()], held, held, {}) == {}
    [said] = closed_tiers([tier()], held, held, {"fw": ["NetworkPolicy a/b"]}).values()
    assert "1 enforced policy of others in it (NetworkPolicy a/b)" in said


def test_a_tier_that_passes_at_its_end_or_is_new_is_not_closed() -> None:
    for held in (live(tier(), foreign=(policy("a"),)), live(foreign=(policy("a"),))):
        assert closed_tiers([tier()], held, held, {}, "the right is missing") == {}


def test_a_tier_that_denies_is_kept_where_it_is_unknown_whose_policies_are_in_it() -> None:
    [said] = closed_tiers([tier()], live(DENIES), {}, {}, "the right is missing").values()
    assert "while it is unknown whether others have policies in it: the right is missing" in said


def test_a_tier_does_not_move_under_policies_of_others() -> None:
    [blocker] = live_tiers([update(tier(order=7), tier())], live(foreign=(policy("a"),)), {})
    assert "the tier fw would move from order 7 to 101 while" in blocker.message


@pytest.mark.parametrize(
    ("change", "foreign"),
    [
        (update(tier(order=7), tier()), (policy("a", staged=True), policy("b", tier="other"))),
        (update(DENIES, tier()), (policy("a"),)),
        (update(tier(), tier(owner=(("a", "b"),))), (policy("a"),)),
        (create(tier()), (policy("a"),)),
    ],
    ids=["nobody's", "its end", "labels", "new"],
)
def test_a_tier_that_changes_nothing_for_others_is_free(
    change: Change, foreign: tuple[Manifest, ...]
) -> None:
    assert live_tiers([change], live(policy("ours"), foreign=foreign), {}) == []


def allowing(name: str, tier: str = "fw", *, staged: bool = False) -> Manifest:
    kind = StagedGlobalNetworkPolicy if staged else GlobalNetworkPolicy
    return kind(f"{tier}.{name}", tier, 5, "all()", ingress=(Rule("Allow"),)).manifest()


@pytest.mark.parametrize("change", [delete(DENIES), delete(policy("ours"))], ids=["it", "ours"])
def test_a_tier_is_not_left_to_policies_of_others_that_allow(change: Change) -> None:
    """Calico keeps such a tier; they would decide what ours denied, and select sets that grow."""
    left = left_tiers([change], ["other"])
    assert left == {"fw"}
    [blocker] = live_tiers([change], live(foreign=(allowing("a"), policy("b"))), {}, left)
    assert (blocker.guard, blocker.approvable) == ("live-tier", True)
    assert blocker.message == (
        "the tier fw would be left to others while 1 foreign policy is in it (GlobalNetworkPolicy "
        "fw.a): flows that the tier stops now may pass; keep it in device_groups[].tier until they "
        "are gone, or remove them first"
    )
    assert blocker.covers
    # What is not known may allow.
    [blocker] = live_tiers([change], {}, {"fw": ["NetworkPolicy a/b"]}, left)
    assert "NetworkPolicy a/b" in blocker.message


def test_a_tier_is_left_to_policies_of_others_that_only_deny() -> None:
    changes = [delete(DENIES), delete(policy("ours"))]
    free = (policy("b"), allowing("s", staged=True), allowing("e", "other"))
    held = live(allowing("a"), foreign=free)
    assert live_tiers(changes, held, {}, left_tiers(changes, [])) == []


def test_only_what_is_enforced_and_no_longer_configured_is_left() -> None:
    staged = delete(policy("s", staged=True))
    assert left_tiers([delete(policy("ours")), delete(DENIES)], ["fw"]) == frozenset()
    assert left_tiers([staged, create(tier()), update(DENIES, tier())], []) == frozenset()


def test_an_approval_of_a_tier_covers_what_stood_in_it() -> None:
    change = update(tier(order=7), tier())
    [one] = live_tiers([change], live(foreign=(policy("a"),)), {})
    [same] = live_tiers([change], live(foreign=(policy("a"),)), {})
    [other] = live_tiers([change], live(foreign=(policy("a", 5),)), {})
    assert one.covers == same.covers != other.covers


# --- referenced-set -------------------------------------------------------------------------------

WEB = a_set("pan.web", "10.0.0.1/32", group="web")
USER = policy("user", groups=("web",))


def test_a_set_that_a_remaining_policy_names_is_not_removed() -> None:
    for cluster in (live(WEB, USER), live(WEB, foreign=(USER,))):
        [blocker] = referenced_sets([delete(WEB)], cluster)
        assert (blocker.guard, blocker.approvable) == ("referenced-set", False)
        for word in ("pan.web", "1 policy (GlobalNetworkPolicy fw.user)", f"{KEY} == 'web'"):
            assert word in blocker.message


def test_a_set_that_is_taken_over_keeps_the_labels_that_policies_name() -> None:
    theirs = a_set("pan.web", "10.0.0.1/32", group="old-web")
    user = policy("user", groups=("old-web",))
    [blocker] = referenced_sets([update(theirs, WEB)], live(foreign=(theirs, user)))
    assert (blocker.guard, blocker.approvable) == ("referenced-set", False)
    assert blocker.message.startswith(
        "GlobalNetworkSet pan.web would be taken over and lose a label from under 1 policy "
        f"(GlobalNetworkPolicy fw.user) that still name {KEY} == 'old-web'"
    )
    assert referenced_sets([update(theirs, WEB)], live(foreign=(theirs,))) == []
    assert referenced_sets([update(theirs, WEB)], live(theirs, user)) == []


@pytest.mark.parametrize(
    "change",
    [
        delete(USER),
        update(USER, policy("user")),
        create(a_set("pan.web-2", group="web")),
        create(policy("other", groups=("db",))),
    ],
    ids=["policy goes", "policy changes", "another set", "another policy"],
)
def test_a_set_goes_when_nothing_names_it_any_more_or_another_has_its_label(
    change: Change,
) -> None:
    cluster = live(WEB, USER) if change.name != "fw.other" else live(WEB)
    assert referenced_sets([delete(WEB), change], cluster) == []


def test_a_set_of_others_with_the_label_is_as_good() -> None:
    assert referenced_sets([delete(WEB)], live(WEB, USER, foreign=(a_set("x", group="web"),))) == []


def test_a_policy_that_is_to_come_counts() -> None:
    assert guards(referenced_sets([delete(WEB), create(USER)], live(WEB))) == ["referenced-set"]


def test_a_plan_that_removes_no_set_is_not_looked_at() -> None:
    assert referenced_sets([create(WEB)], live(USER)) == []


# --- what is held back ----------------------------------------------------------------------------

THEIRS = foreign_policy("fw", ["p"])
NEVER = foreign_object("Tier", "fw", "is theirs")


def plan(*changes: Change, blockers: tuple[Blocker, ...], **options: Any) -> Plan:
    found = Differences(changes, (), (), (), 0)
    return make_plan("prod", [], found, [], repair_drift=True, blockers=blockers, **options)


def test_blockers_of_other_guards_hold_a_plan_back() -> None:
    blocked = plan(create(tier()), blockers=(THEIRS,))
    assert blocked.blockers == (THEIRS,)
    assert blocked.approvable
    assert not plan(create(tier()), blockers=(THEIRS, NEVER)).approvable
    assert not plan(create(tier()), blockers=()).approvable


def test_a_plan_without_changes_is_held_back_by_nothing_that_could_be_approved() -> None:
    idle = plan(blockers=(THEIRS,))
    assert (idle.blockers, idle.let_through) == ((), (THEIRS,))
    assert plan(blockers=(THEIRS, NEVER)).blockers == (NEVER,)


def test_an_approved_plan_is_the_same_plan_with_nothing_that_holds_it_back() -> None:
    blocked = plan(create(tier()), blockers=(THEIRS,))
    approved = blocked.approved()
    assert (approved.blockers, approved.let_through) == ((), (THEIRS,))
    assert approved.digest == blocked.digest != plan(create(tier()), blockers=()).digest
    assert approved.steps() == blocked.steps()
    [shown] = approved.document()["blockers"]
    assert (shown["guard"], shown["let_through"]) == ("foreign-policy", True)
    assert not approved.document()["summary"]["blocked"]
    assert not blocked.document()["blockers"][0]["let_through"]


# --- what a tier is made from ---------------------------------------------------------------------

LINE = {"fw": ("leaf", "top", "shared")}


def made_from(*scopes: object, name: str = "fw", said: str = "") -> dict[tuple[str, str], Manifest]:
    """A tier that says it is made from these, or exactly this."""
    annotations = ((SCOPES_ANNOTATION, said or orjson.dumps(scopes).decode()),)
    return {("Tier", name): Tier(name, 101, annotations=annotations).manifest()}


def test_a_scope_that_holds_nothing_any_more_is_told_and_one_that_is_elsewhere() -> None:
    stands = made_from("aside", "leaf", "shared", "top")
    blockers = empty_sources(stands, made_from("top"), LINE)
    assert guards(blockers) == ["empty-source"] * 3
    assert [each.covers for each in blockers] == ["aside", "leaf", "shared"]
    assert all(each.approvable for each in blockers)
    aside, leaf, shared = (each.message for each in blockers)
    assert aside == (
        "device group aside held rules or addresses for the tier fw, and its device group is no "
        "longer in it or below it; see that it was moved on purpose"
    )
    assert leaf == (
        "device group leaf held rules or addresses for the tier fw and holds none any more; "
        "check that the API key's user may read all of it"
    )
    assert shared.startswith("Shared held rules or addresses for the tier fw and holds none ")


def test_a_scope_of_several_tiers_is_told_once() -> None:
    both = LINE | {"other": ("top", "shared")}
    stands = made_from("top") | made_from("top", name="other")
    shall = made_from() | made_from(name="other")
    [emptied] = empty_sources(stands, shall, both)
    assert "for the tiers fw, other and holds none" in emptied.message
    [moved] = empty_sources(stands, shall, dict.fromkeys(both, ("shared",)))
    assert "for the tiers fw, other, and their device groups are no longer" in moved.message


@pytest.mark.parametrize(
    "stands",
    [
        {},
        {("Tier", "fw"): tier()},
        made_from("leaf"),
        made_from(said="leaf"),
        made_from(said="[" * 100_000),
        made_from(said='{"gone": 1}'),
        made_from("gone", 7),
        made_from(["gone"]),
        made_from("gone", name="given-up"),
    ],
    ids=["none", "older", "same", "garbled", "deep", "mapping", "number", "nested", "other tier"],
)
def test_where_nothing_is_lost_or_nobody_said_it_nothing_is_guarded(
    stands: dict[tuple[str, str], Manifest],
) -> None:
    assert empty_sources(stands, made_from("leaf", "top"), LINE) == []


def made_of(tier: str, *origins: tuple[str, str], ends: bool = True) -> Manifest:
    """A policy of a tier, made of rules of these scopes and names; defaults name no ends."""
    said = [
        Rule(
            "Pass",
            annotations=(
                (DEVICE_GROUP_ANNOTATION, scope),
                (RULE_ANNOTATION, name),
                *([(SOURCE_ANNOTATION, "any")] if ends else []),
            ),
        )
        for scope, name in origins
    ]
    policy = GlobalNetworkPolicy(f"{tier}.x", tier, 1, "all()", egress=tuple(said))
    return policy.manifest()


def emptied(
    standing: Sequence[Manifest],
    *enabled: tuple[str, str, str, str],
    tiers: Sequence[str] = ("fw",),
) -> list[Blocker]:
    """Ask the guard about these policies; `enabled` are tier, scope, rulebase and name."""
    tier = {
        key: each for name in tiers for key, each in made_from("leaf", "top", name=name).items()
    }
    now = Rules({(t, scope, rulebase): [name] for t, scope, rulebase, name in enabled}, {})
    stood = tier | {(each.kind, each.name): each for each in standing}
    return empty_rulebases(stood, tier, now, dict.fromkeys(tiers, ("leaf", "top", "shared")))


def test_a_scope_without_rules_is_missed_where_policies_are_made_of_some() -> None:
    standing = [made_of("fw", ("leaf", "a"), ("leaf", "b"), ("top", "c"))]
    [leaf] = emptied(standing, ("fw", "top", "post", "other"))
    assert (leaf.covers, leaf.approvable) == ("leaf rules", True)
    assert leaf.message == (
        "device group leaf held rules for the tier fw (2 rules would go) and holds none any more; "
        "check that the API key's user may read all of it"
    )
    # Of other tiers, of scopes that are not above, defaults, and what names nothing: no rules.
    assert emptied([made_of("other", ("leaf", "a"))]) == []
    assert emptied([made_of("fw", ("aside", "a"))]) == []
    assert emptied([made_of("fw", ("leaf", "a"), ends=False)]) == []
    assert emptied([made_of("fw", ("leaf", "a"))], ("fw", "leaf", "post", "a")) == []


def test_rules_of_one_scope_that_several_tiers_are_made_of_are_missed_once() -> None:
    standing = [made_of("fw", ("top", "a")), made_of("gw", ("top", "a"), ("top", "b"))]
    [blocker] = emptied(standing, tiers=("fw", "gw"))
    assert "for the tiers fw, gw (2 rules would go)" in blocker.message


def test_a_tier_that_says_nothing_is_guarded_by_its_rules_alone() -> None:
    """An older version wrote it, or someone else."""
    stood = {("Tier", "fw"): tier(), ("P", "x"): made_of("fw", ("leaf", "a"))}
    [blocker] = empty_rulebases(stood, made_from("leaf"), Rules({}, {}), LINE)
    assert blocker.covers == "leaf rules"


def test_the_whole_cluster_is_looked_at_for_sets_in_use() -> None:
    blocked = plan(delete(WEB), blockers=(), live=live(WEB, USER))
    assert guards(list(blocked.blockers)) == ["referenced-set"]


def test_an_approval_covers_the_policies_that_it_has_seen_and_no_others() -> None:
    def digest(**theirs: int) -> str:
        foreign = tuple(policy(name, order) for name, order in theirs.items())
        nothing = Differences((), (), (), (), 0)
        [blocker] = foreign_policies(live(foreign=foreign), ["fw"], {})
        plan = make_plan("prod", [], nothing, [], repair_drift=True, live={}, blockers=[blocker])
        return plan.digest

    seen = digest(mine=1)
    assert digest(mine=1) == seen
    assert len({seen, digest(mine=2), digest(mine=1, second=1), digest(second=1)}) == 4

"""Whole syncs of a source whose rules are suddenly gone: they stay, until somebody says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.cli.exit_codes import of_sync
from sync.clusters.cluster import NotWrittenError
from sync.errors import SourceError
from sync.reconcile.result import Result
from tests.integration.test_cycle import TIER, A, B, World, changed
from tests.unit.store.words import new_store, ticking
from tests.words import Word, document, group, rule

GROUP = group("web", "a", "b")


def allows(name: str, *, rulebase: str = "pre", disabled: bool = False) -> Word:
    return rule(
        name,
        from_=["web"],
        to=["db"],
        source=["web"],
        destination=["any"],
        service=["any"],
        application=["any"],
        action="allow",
        disabled="yes" if disabled else "no",
        rulebase=rulebase,
    )


BEFORE = (A, B, GROUP, allows("one"), allows("two"), allows("last", rulebase="post"))


@pytest.fixture(params=["cluster", "directory"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A store, and a cluster in memory or a directory of manifests."""
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        found = World(tmp_path, store)
        if request.param == "cluster":
            found.keep_in_memory()
        yield found


def policies(world: World) -> dict[str, bytes]:
    """Our policies that the cluster holds, by the trail and as they are."""
    live = world.cluster("prod").reader.read()
    return {
        name: each.manifest.body
        for (kind, name), each in live.items()
        if kind.endswith("Policy") and each.manifest
    }


def blocked(world: World) -> Result:
    """A sync that a guard blocks: it writes nothing, and a dry run says the same."""
    before = policies(world)
    result = world.only()
    assert (result.state, result.applied, policies(world)) == ("blocked", (), before)
    assert of_sync([result], detailed=False) == 3
    assert world.only(dry=True).plan == result.plan
    return result


@pytest.mark.parametrize(
    ("after", "covers", "said"),
    [
        (
            (A, B, GROUP),
            "dg rules",
            (
                f"device group dg held rules for the tier {TIER} (3 rules would go) and holds none "
                "any more; check that the API key's user may read all of it"
            ),
        ),
        (
            (A, B, GROUP, *(allows(name, disabled=True) for name in ("one", "two", "last"))),
            "dg rules",
            (
                f"device group dg has only disabled rules now, and held others for the tier {TIER} "
                "(3 rules would go); see that they were disabled on purpose"
            ),
        ),
        (
            (A, B, GROUP, allows("last", rulebase="post")),
            "dg pre",
            (
                f"the pre-rulebase of device group dg held rules for the tier {TIER} (2 rules "
                "would go) and holds none any more; check that the API key's user may read all "
                "of it"
            ),
        ),
        (
            (A, B, GROUP, allows("one"), allows("two")),
            "dg post",
            (
                f"the post-rulebase of device group dg held rules for the tier {TIER} (1 rule "
                "would go) and holds none any more; check that the API key's user may read all "
                "of it"
            ),
        ),
    ],
    ids=["all", "all disabled", "pre", "post"],
)
def test_rules_that_are_suddenly_gone_stay_until_it_is_approved(
    world: World, after: tuple[Word, ...], covers: str, said: str
) -> None:
    world.export(*BEFORE)
    assert changed(world.only())
    world.export(*after)
    result = blocked(world)
    assert result.plan
    [blocker] = result.plan.blockers
    assert (blocker.guard, blocker.covers, blocker.approvable) == ("empty-source", covers, True)
    assert blocker.message == said
    # It asks for as long as it is so, and for no longer.
    blocked(world)
    world.store.run("alice").approve(result.plan.digest)
    assert changed(world.only())
    again = world.only()
    assert (again.state, changed(again)) == ("in sync", [])
    assert again.plan
    assert again.plan.let_through == ()
    assert world.verified()


def test_rules_that_are_back_need_nobody(world: World) -> None:
    world.export(*BEFORE)
    world.only()
    world.export(A, B, GROUP)
    blocked(world)
    world.export(*BEFORE, allows("new"))
    assert changed(world.only())


@pytest.mark.parametrize(
    "after",
    [
        (allows("two"), allows("last", rulebase="post")),
        (allows("other"), allows("last", rulebase="post")),
        (*(allows(name, rulebase="post") for name in ("one", "two", "last")),),
        (*(allows(name) for name in ("last", "one", "two")),),
        (allows("one", disabled=True), allows("two"), allows("last", rulebase="post")),
    ],
    ids=["one gone", "renamed", "moved to post", "moved to pre", "one disabled"],
)
def test_what_leaves_rules_asks_nobody(world: World, after: tuple[Word, ...]) -> None:
    world.export(*BEFORE)
    world.only()
    world.export(A, B, GROUP, *after)
    result = world.only()
    assert (result.state, result.plan and result.plan.blockers) == ("in sync", ())


def test_a_device_group_that_is_not_in_the_export_leaves_its_cluster_as_it_is(
    world: World,
) -> None:
    world.export(*BEFORE)
    world.only()
    before = policies(world)
    world.export(data=document((), {"other": (A,)}))
    result = world.only()
    assert isinstance(result.error, SourceError)
    assert of_sync([result], detailed=False) == 4
    assert policies(world) == before


def test_rules_that_were_never_written_are_not_missed(world: World) -> None:
    world.export(A, B, GROUP, allows("off", disabled=True), allows("on", rulebase="post"))
    world.only()
    world.export(A, B, GROUP, allows("on", rulebase="post"))
    result = world.only()
    assert (result.state, result.plan and result.plan.blockers) == ("in sync", ())


def test_rules_of_ancestors_are_guarded_too_and_a_scope_that_is_all_gone_asks_once(
    world: World,
) -> None:
    def export(up: tuple[Word, ...], shared: tuple[Word, ...]) -> None:
        dg = (A, B, GROUP, allows("own"))
        world.export(data=document(shared, {"dg": dg, "up": up}, parents={"dg": "up"}))

    export((A, allows("of-up")), (allows("of-shared"),))
    world.only()
    export((A,), ())
    result = blocked(world)
    assert result.plan
    assert [each.covers for each in result.plan.blockers] == ["shared", "up rules"]
    assert result.plan.blockers[0].message.startswith("Shared held rules or addresses for ")


@pytest.mark.parametrize("kept", [b"", b"[", b'[["x"]]', b"7", b'{"a": 1}'])
def test_without_a_memory_whole_scopes_are_guarded_and_rulebases_are_learnt(
    world: World, kept: bytes
) -> None:
    world.export(*BEFORE)
    world.only()
    # A runner whose store is new each time, one of an older version, or one that is damaged.
    world.store.memory("cluster/prod").remember("rulebases", "", kept)
    world.export(A, B, GROUP)
    blocked(world)
    world.export(A, B, GROUP, allows("last", rulebase="post"))
    assert changed(world.only())
    world.export(*BEFORE)
    world.only()
    world.export(A, B, GROUP, allows("last", rulebase="post"))
    blocked(world)


def test_a_device_group_that_is_let_go_half_way_goes_on(world: World) -> None:
    """The rest of an approved plan asks nobody again."""
    kept = world.kept.get("prod")
    if not kept:
        pytest.skip("writes fail in memory")
    world.export(*BEFORE)
    world.only()
    world.export()
    result = blocked(world)
    assert result.plan
    assert [each.covers for each in result.plan.blockers] == ["dg"]
    world.store.run("alice").approve(result.plan.digest)

    def fails(name: str) -> None:
        if name != TIER:
            raise NotWrittenError("refused")

    kept.before_write = fails
    assert [each.name for each in world.only().applied] == [TIER]
    kept.before_write = lambda name: None
    assert changed(world.only())
    assert world.only().state == "in sync"


def test_what_someone_else_made_of_the_policies_changes_no_question(world: World) -> None:
    """What was written counts, not what another hand has made of it."""
    kept = world.kept.get("prod")
    if not kept:
        pytest.skip("drift is made in memory")
    world.export(A, B, GROUP, allows("one"))
    world.only()
    for (kind, _), each in kept.documents.items():
        if kind.endswith("Policy"):
            each["spec"]["egress"] = []
            each["spec"]["ingress"] = []
    world.export(A, B, GROUP)
    blocked(world)


def test_a_device_group_that_is_renamed_and_empty_says_that_its_rules_go(world: World) -> None:
    """An access domain names device groups: the key's user may not read the new name."""
    world.export(*BEFORE)
    world.only()
    world.stands_for["prod"] = (("main", "dg2"),)
    world.export(data=document((), {"dg2": ()}))
    assert "(3 rules would go), and its device group is no longer in it" in blocked(world).detail
    # Its rules are there: none goes.
    world.export(data=document((), {"dg2": BEFORE}))
    assert "would go" not in blocked(world).detail

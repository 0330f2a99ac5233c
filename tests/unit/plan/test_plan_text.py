"""Plans as people read them, in a terminal and in a merge request."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION, LIST_LABEL
from sync.calico.objects import (
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Icmp,
    Rule,
    Tier,
)
from sync.calico.ownership import owner_labels
from sync.calico.selectors import equals
from sync.plan.changes import Cause, Change
from sync.plan.guards import Blocker
from sync.plan.guards.foreign import foreign_object, foreign_policy
from sync.plan.origin import NotPushed, Origin
from sync.plan.plan import LeftOut, Plan
from sync.render.markdown import markdown
from sync.render.plan import text
from sync.text import printable

KIND = "GlobalNetworkSet"


def made(name: str, *nets: str, spec: Any = None, **annotations: str) -> Manifest:
    metadata = {"name": name} | ({"annotations": annotations} if annotations else {})
    return Manifest.of(
        {"kind": KIND, "metadata": metadata, "spec": {"nets": list(nets)} if spec is None else spec}
    )


def change(
    before: Manifest | None, after: Manifest | None, cause: Cause = Cause.CONFIGURATION
) -> Change:
    return Change(before, after, cause)


def plan(
    *changes: Change,
    cluster: str = "prod",
    drift: tuple[Change, ...] = (),
    blockers: tuple[Blocker, ...] = (),
    left_out: tuple[LeftOut, ...] = (),
    origins: tuple[Origin, ...] = (),
    not_pushed: tuple[NotPushed, ...] = (),
    compared_with: tuple[Origin, ...] = (),
) -> Plan:
    return Plan(
        cluster,
        origins,
        changes,
        (),
        drift,
        blockers,
        left_out,
        unchanged=4,
        not_pushed=not_pushed,
        compared_with=compared_with,
    )


FULL = plan(
    change(None, made("new", "10.0.0.1/32")),
    change(made("old", "10.0.0.1/32", "10.0.0.2/32"), None),
    change(made("x", "10.0.0.1/32", "10.0.0.9/32"), made("x", "10.0.0.2/32", "10.0.0.9/32")),
    drift=(change(made("y", "10.0.0.1/32", a="1"), made("y", "10.0.0.1/32", a="2"), Cause.DRIFT),),
    blockers=(foreign_object(KIND, "theirs", "is theirs"),),
    left_out=(LeftOut("rules", "not yet"),),
    origins=(Origin("main", "412", ("alice", "bob")), Origin("second", "9")),
)


def test_the_text_has_the_summary_once_and_first() -> None:
    lines = text(FULL).splitlines()
    assert [line for line in lines if "to create" in line] == lines[:1]
    assert lines[0] == (
        "Cluster prod: 1 to create, 1 to update, 1 to delete; 4 unchanged; "
        "1 changed by someone else and left as they are; 1 left out; BLOCKED by 1."
    )
    assert text(FULL).endswith("\n")


def test_the_text_has_one_line_an_object() -> None:
    assert text(FULL).splitlines()[1:] == [
        "From source main, version 412, committed by alice, bob.",
        "From source second, version 9.",
        "",
        "Changes",
        f"  + {KIND} new (1 net)",
        f"  - {KIND} old (2 nets)",
        f"  ~ {KIND} x (nets: +10.0.0.2/32 -10.0.0.1/32)",
        "",
        "Drift: changed by someone else and left; what a repair would do",
        f"  ~ {KIND} y (annotations: a 1 -> 2; drift)",
        "",
        "Blocked",
        f"  ! foreign-object: {foreign_object(KIND, 'theirs', 'is theirs').message}",
        "",
        "Left out (1)",
        "  ! rules: not yet",
        "",
        f"Plan digest {FULL.digest}: `zonebridge sync --plan` with it writes exactly this plan.",
    ]


def test_verbose_text_has_a_line_for_every_member_and_label() -> None:
    lines = text(FULL, verbose=True).splitlines()
    assert lines[5:12] == [
        f"  + {KIND} new (1 net)",
        "  +     10.0.0.1/32",
        f"  - {KIND} old (2 nets)",
        "  -     10.0.0.1/32",
        "  -     10.0.0.2/32",
        f"  ~ {KIND} x (nets: +10.0.0.2/32 -10.0.0.1/32)",
        "  -     10.0.0.1/32",
    ]
    assert "  -     annotations: a=1" in lines
    assert "  +     annotations: a=2" in lines
    assert not [line for line in lines if "10.0.0.9" in line]


def test_members_keep_the_order_of_the_set() -> None:
    both = plan(
        change(made("x", "9.0.0.0/8", "10.0.0.0/8"), made("x", "11.0.0.0/8", "100.0.0.0/8"))
    )
    nets = re.findall(r"[-+] {5}(\S+)", text(both, verbose=True))
    assert nets == ["9.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8", "100.0.0.0/8"]


def test_a_change_of_another_field_is_said() -> None:
    other = plan(change(made("x", spec={"a": 1}), made("x", spec={"a": 2})))
    assert f"~ {KIND} x (a 1 -> 2)" in text(other)


def test_a_plan_without_anything_to_say_is_one_line() -> None:
    assert text(plan()) == "Cluster prod: no changes; 4 unchanged.\n"
    assert plan().summary == "no changes; 4 unchanged."


# --- where it comes from --------------------------------------------------------------------------


def test_a_comparison_names_both_versions_in_one_line() -> None:
    compared = plan(
        origins=(Origin("lab", "7"), Origin("main", "413", ("bob",))),
        compared_with=(Origin("lab", "6"), Origin("main", "412", ("alice",))),
    )
    lines = [
        "From source lab, version 6, to version 7.",
        "From source main, version 412, committed by alice, to version 413, committed by bob.",
    ]
    assert text(compared).splitlines()[1:] == lines
    assert [line for line in markdown(compared).splitlines() if "From" in line] == [
        line.replace(".", r"\.") for line in lines
    ]


def test_what_is_only_compared_can_be_approved_by_nobody() -> None:
    blocked = plan(change(None, made("x")), blockers=(foreign_policy("fw", ["x"]),))
    assert "zonebridge approve" in text(blocked)
    compared = replace(blocked, origins=(Origin("a", "2"),), compared_with=(Origin("a", "1"),))
    assert "! foreign-policy: " in text(compared)
    assert "zonebridge approve" not in text(compared) + markdown(compared)


def test_a_candidate_is_committed_by_nobody() -> None:
    candidate = Origin("main", "413 with pending changes", ("alice",), pending=True)
    both = plan(origins=(Origin("lab", "7", ("bob",)), candidate))
    assert text(both).splitlines()[1:] == [
        "From source lab, version 7, committed by bob.",
        "From source main, version 413 with pending changes, changed by alice.",
    ]
    assert [each["pending"] for each in both.document()["origins"]] == [False, True]


def test_firewalls_that_lag_behind_are_named() -> None:
    few = NotPushed("main", "dg-eu", ("0001", "0002"))
    many = NotPushed("main", "dg-us", tuple(f"000{each}" for each in range(9)))
    lagging = plan(not_pushed=(few, many))
    lines = [
        f"Not enforced by every firewall yet: device group {said}."
        for said in (
            "dg-eu of main is not pushed to 0001, 0002",
            "dg-us of main is not pushed to 0000, 0001, 0002, 0003, 0004 and 4 more",
        )
    ]
    assert text(lagging).splitlines()[1:] == lines
    shown = markdown(lagging).replace("\\", "")
    assert all(line in shown.splitlines() for line in lines)
    assert lagging.document()["not_pushed"][0] == {
        "source": "main",
        "device_group": "dg-eu",
        "devices": ["0001", "0002"],
    }


def test_warnings_stand_below_all_else_and_hold_nothing_back() -> None:
    warned = replace(plan(), warnings=("a warning", "another"))
    summary = "Cluster prod: no changes; 4 unchanged."
    shown = ["Warnings", "  ! a warning", "  ! another"]
    assert text(warned).splitlines() == [summary, "", *shown]
    assert "### Warnings\n\n```diff\n! a warning\n! another\n```\n" in markdown(warned)
    assert warned.document()["warnings"] == ["a warning", "another"]
    assert plan().document()["warnings"] == []


# --- colours --------------------------------------------------------------------------------------


def test_colours_come_only_when_asked_for() -> None:
    assert "\x1b" not in text(FULL, verbose=True)
    assert "\x1b" not in markdown(FULL, verbose=True)
    colored = text(FULL, color=True)
    assert f"\x1b[32m  + {KIND} new (1 net)\x1b[0m\n" in colored
    assert f"\x1b[31m  - {KIND} old (2 nets)\x1b[0m\n" in colored
    assert f"\x1b[33m  ~ {KIND} x" in colored
    assert "\x1b[31m  ! foreign-object" in colored
    assert re.sub(r"\x1b\[\d*m", "", colored) == text(FULL)


# --- hostile names --------------------------------------------------------------------------------

HOSTILE = "a\x1b[2Jb\x07\r\nc\x9bd‮e\x00"


def hostile() -> Plan:
    shown = plan(
        change(None, made(HOSTILE, HOSTILE, **{"x" + HOSTILE: HOSTILE})),
        change(made("x", HOSTILE, a=HOSTILE), made("x", "10.0.0.1/32", a="b")),
        cluster=HOSTILE,
        drift=(change(made(HOSTILE), None, Cause.DRIFT),),
        blockers=(
            foreign_object(KIND, HOSTILE, HOSTILE),
            Blocker(HOSTILE, HOSTILE, approvable=True),
        ),
        left_out=(LeftOut(HOSTILE, HOSTILE),),
        origins=(Origin(HOSTILE, HOSTILE, (HOSTILE,), HOSTILE),),
        not_pushed=(NotPushed(HOSTILE, HOSTILE, (HOSTILE,)),),
        compared_with=(Origin(HOSTILE, HOSTILE, (HOSTILE,), HOSTILE),),
    )
    return replace(shown, warnings=(HOSTILE,))


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_that_a_terminal_obeys_is_printed(verbose: bool) -> None:
    for shown in (text(hostile(), verbose=verbose), markdown(hostile(), verbose=verbose)):
        assert shown.replace("\n", "").isprintable()
        assert r"a\x1b[2J" in shown or r"a\\x1b\[2J" in shown
    lines = text(hostile(), verbose=verbose).splitlines()
    assert not [line for line in lines if line.startswith("c")]


def test_printable_keeps_letters_of_every_script() -> None:
    assert printable("Zürich 東京 naïve ✓") == "Zürich 東京 naïve ✓"
    assert printable("a\tb\nc") == r"a\tb\nc"


@pytest.mark.parametrize(
    "name", ["```", "`````\n# x", "~~~", "</code>", "x\n```\n<script>", "`" * 50]
)
def test_a_fence_cannot_be_closed_from_within(name: str) -> None:
    shown = markdown(
        plan(change(None, made(name, name, a=name)), left_out=(LeftOut(name, name),)), verbose=True
    )
    fence = ""
    inside: list[str] = []
    for line in shown.splitlines():
        # CommonMark: a fence is closed by at least as many backticks with nothing after them.
        if fence and line.startswith(fence) and not line.strip("`"):
            fence = ""
        elif fence:
            # Nothing in a row can be taken for the end of the fence, however it is read.
            assert fence not in line
            inside.append(line)
        elif line.startswith("```"):
            fence = "`" * (len(line) - len(line.lstrip("`")))
    assert fence == ""
    assert len(inside) == 4
    assert all(line[0] in "+!" for line in inside)


def test_markdown_has_a_heading_a_summary_and_the_digest() -> None:
    lines = markdown(FULL).splitlines()
    assert lines[0] == "## prod"
    assert lines[2] == f"**{FULL.summary}**"
    assert lines[-1] == f"Plan digest `{FULL.digest}`"
    assert lines[4:7:2] == [
        r"From source main, version 412, committed by alice, bob\.",
        r"From source second, version 9\.",
    ]
    assert lines[8:12] == ["### Changes", "", "```diff", f"+ {KIND} new (1 net)"]


def test_a_cluster_name_is_not_markdown() -> None:
    shown = markdown(plan(cluster="[x](http://evil) <b>`*_#"))
    assert shown.splitlines()[0] == r"## \[x\]\(http://evil\) \<b\>\`\*\_\#"


# --- what another hand wrote ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        [],
        "x",
        17,
        {"nets": None},
        {"nets": "10.0.0.0/8"},
        {"nets": {"a": 1}},
        {"nets": [{"a": 1}, ["b"], None, 7]},
    ],
)
def test_whatever_stands_in_the_cluster_can_be_shown(spec: Any) -> None:
    before = made("x", spec=spec)
    shown = plan(change(before, made("x", "10.0.0.1/32"), Cause.DRIFT), change(before, None))
    assert f"~ {KIND} x (" in text(shown, verbose=True)
    assert f"~ {KIND} x (" in markdown(shown, verbose=True)


# --- tiers and policies ---------------------------------------------------------------------------


def ruled(*egress: Rule, order: int = 1000, ingress: tuple[Rule, ...] = ()) -> Manifest:
    return GlobalNetworkPolicy(
        "fw.x", "fw", order, "all()", ("Ingress", "Egress"), ingress, egress
    ).manifest()


def said(name: str, rank: int = 0, **fields: Any) -> Rule:
    """A rule of the firewall of this name and rank."""
    annotations = (("firewall.tigera.io/rank", str(rank)), ("firewall.tigera.io/rule", name))
    return Rule("Pass", annotations=annotations, **fields)


WEB, DB = said("web"), said("db", protocol="TCP", destination=EntityRule(ports=(443, "8000:8080")))


def lines(*changes: Change, verbose: bool = False) -> list[str]:
    return text(plan(*changes), verbose=verbose).splitlines()[3:-2]


def test_a_policy_is_shown_with_how_many_rules_it_has() -> None:
    assert lines(change(None, ruled(WEB, DB, ingress=(DB,)))) == [
        "  + GlobalNetworkPolicy fw.x (1 ingress, 2 egress rules)"
    ]
    assert lines(change(ruled(WEB), None)) == [
        "  - GlobalNetworkPolicy fw.x (0 ingress, 1 egress rule)"
    ]


def test_an_update_of_a_policy_says_how_many_rules_come_and_go() -> None:
    assert lines(change(ruled(WEB), ruled(DB, said("web", 1), said("new", 2)))) == [
        "  ~ GlobalNetworkPolicy fw.x (+2 rules 'db', 'new')"
    ]
    assert lines(change(ruled(WEB, DB), ruled(DB, WEB, order=2000))) == [
        "  ~ GlobalNetworkPolicy fw.x (moved 1 rule 'db'; order 1000 -> 2000)"
    ]
    assert lines(change(ruled(WEB), ruled(said("web", 7)))) == [
        "  ~ GlobalNetworkPolicy fw.x (numbers of rules)"
    ]


def test_verbose_text_shows_each_rule_that_comes_or_goes_on_one_line() -> None:
    nets = tuple(f"10.0.0.{host}/32" for host in range(6))
    come = said(
        "ping",
        ip_version=4,
        protocol="ICMP",
        icmp=Icmp(8, 0),
        source=EntityRule("a == 'b'", nets=nets),
        destination=EntityRule(not_selector="c == 'd'", not_nets=("10.1.0.0/16",)),
    )
    assert lines(change(ruled(DB, WEB), ruled(WEB, come)), verbose=True)[1:] == [
        "  -     egress 0: Pass TCP to ports 443 8000:8080  # db",
        (
            "  +     egress 1: Pass IPv4 ICMP type 8 code 0 from a == 'b', 10.0.0.0/32 10.0.0.1/32 "
            "10.0.0.2/32 10.0.0.3/32 and 2 more to not c == 'd', not 10.1.0.0/16  # ping"
        ),
    ]


def test_equal_rules_are_counted_and_not_lost() -> None:
    assert lines(change(ruled(WEB, WEB, WEB), ruled(WEB)), verbose=True) == [
        "  ~ GlobalNetworkPolicy fw.x (~1 rule 'web': -2 Calico rules)",
        "  -     egress 1-2: Pass  # web",
    ]


# --- what is different ------------------------------------------------------------------------


def test_addresses_are_the_difference_and_not_the_nets_that_hold_them() -> None:
    halved = change(made("x", "10.20.40.10/31"), made("x", "10.20.40.10/32", "10.20.40.13/32"))
    assert lines(halved, verbose=True) == [
        f"  ~ {KIND} x (nets: +10.20.40.13/32 -10.20.40.11/32)",
        "  -     10.20.40.11/32",
        "  +     10.20.40.13/32",
    ]
    joined = change(made("x", "10.0.0.0/32", "10.0.0.1/32"), made("x", "10.0.0.0/31"))
    assert lines(joined) == [f"  ~ {KIND} x (nets: the same, written otherwise)"]


def test_of_thousands_of_nets_a_line_has_the_count_and_the_first_few() -> None:
    many = [f"10.{high}.{low}.1/32" for high in range(20) for low in range(200)]
    [line] = lines(change(made("x"), made("x", *many)))
    assert line == f"  ~ {KIND} x (nets: +4,000 (10.0.0.1/32 10.0.1.1/32 10.0.2.1/32 …))"
    assert len(lines(change(made("x"), made("x", *many)), verbose=True)) == 4001


def numbered(*names: str, **changed: EntityRule) -> list[Rule]:
    return [
        said(name, rank, destination=changed.get(name, EntityRule(ports=(443,))))
        for rank, name in enumerate(names)
    ]


def test_rules_differ_by_what_was_inserted_removed_moved_or_changed() -> None:
    """A rule at the top changes the place and the rank of all others, and that is no difference."""
    names = [f"r{number}" for number in range(28)]
    before = ruled(*numbered(*names))
    after = ["new", *names[:3], *names[4:10], *names[11:], names[3]]
    other = ruled(*numbered(*after, r5=EntityRule(ports=(443, 8443))))
    assert lines(change(before, other), verbose=True) == [
        (
            "  ~ GlobalNetworkPolicy fw.x (+1 rule 'new'; -1 rule 'r10'; "
            "~1 rule 'r5': destination ports +8443; moved 1 rule 'r3')"
        ),
        "  +     egress 0: Pass to ports 443  # new",
        "  ~     egress 5: destination ports +8443  # r5",
        "  -     egress 10: Pass to ports 443  # r10",
        "  ~     egress 27 (was 3): moved  # r3",
    ]


def test_rules_that_follow_one_another_and_differ_alike_are_one_row() -> None:
    old, new = (EntityRule(nets=(f"10.0.0.{host}/32",)) for host in (8, 9))
    before = ruled(*(said("a", rank, destination=old) for rank in range(5)))
    after = ruled(said("b"), *(said("a", rank, destination=new) for rank in range(5)))
    assert lines(change(before, after), verbose=True) == [
        (
            "  ~ GlobalNetworkPolicy fw.x "
            "(+1 rule 'b'; ~1 rule 'a': destination nets +10.0.0.9/32 -10.0.0.8/32)"
        ),
        "  +     egress 0: Pass  # b",
        "  ~     egress 1-5 (was 0-4): destination nets +10.0.0.9/32 -10.0.0.8/32  # a",
    ]


def test_a_line_counts_rules_of_the_firewall_however_many_they_are_in_calico() -> None:
    """One rule of two services, to three zones, is six rules each way."""

    def rules_of(*names: str) -> tuple[Rule, ...]:
        return tuple(
            said(name, protocol=protocol, destination=EntityRule(ports=(443 + zone,)))
            for name in names
            for protocol in ("TCP", "UDP")
            for zone in range(3)
        )

    def policy(*names: str, less: int = 0) -> Manifest:
        some = rules_of(*names)
        return ruled(*some[: len(some) - less], ingress=rules_of(*names))

    moved = change(policy("a", "b", "c"), policy("b", "c", "a"))
    assert lines(moved) == ["  ~ GlobalNetworkPolicy fw.x (moved 1 rule 'a')"]
    swapped = change(policy("a", "b"), policy("b", "a", "c"))
    assert lines(swapped) == ["  ~ GlobalNetworkPolicy fw.x (+1 rule 'c'; moved 1 rule 'b')"]
    gone = change(policy("a", "b"), policy("b"))
    assert lines(gone) == ["  ~ GlobalNetworkPolicy fw.x (-1 rule 'a')"]
    # A part of a rule that comes or goes is no rule that does.
    fewer = change(policy("a", "b"), policy("a", "b", less=1))
    assert lines(fewer) == ["  ~ GlobalNetworkPolicy fw.x (~1 rule 'b': -1 Calico rule)"]
    more = change(policy("a", "b", less=4), policy("a", "b"))
    assert lines(more) == ["  ~ GlobalNetworkPolicy fw.x (~1 rule 'b': +4 Calico rules)"]


def test_where_two_rules_may_have_moved_it_is_the_one_that_moved_the_other_way_too() -> None:
    """`a` passed `b` and `c`; ingress holds only two of them, either of which may have moved."""
    for some in ("ab", "ac", "cab"):
        last = sorted(some, key=lambda each: (each == "a", each))
        before = ruled(*numbered(*"abc"), ingress=tuple(numbered(*sorted(some))))
        after = ruled(*numbered(*"bca"), ingress=tuple(numbered(*last)))
        assert lines(change(before, after)) == ["  ~ GlobalNetworkPolicy fw.x (moved 1 rule 'a')"]


def test_a_rule_of_the_firewall_that_changes_alike_in_both_directions_is_said_once() -> None:
    sides = (said("a", source=EntityRule(nets=(f"10.0.0.{host}/32",))) for host in (8, 9))
    before, after = (ruled(each, ingress=(each,)) for each in sides)
    assert lines(change(before, after)) == [
        "  ~ GlobalNetworkPolicy fw.x (~1 rule 'a': source nets +10.0.0.9/32 -10.0.0.8/32)"
    ]


def test_a_rule_that_only_has_another_name_is_changed() -> None:
    assert lines(change(ruled(said("old")), ruled(said("new")))) == [
        "  ~ GlobalNetworkPolicy fw.x (~1 rule 'new': rule old -> new)"
    ]


def test_a_long_selector_is_cut_to_where_it_differs() -> None:
    long = " || ".join(f"zone == 'z{number}'" for number in range(20))
    before, after = (
        ruled(said("a", source=EntityRule(f"{long} || zone == '{end}'"))) for end in ("x", "y")
    )
    [line, *more] = lines(change(before, after), verbose=True)
    assert "source selector …" in line
    assert line.endswith("zone == 'y')")
    assert len(line) < 200
    assert long in more[0]


def test_labels_and_annotations_are_shown_by_key() -> None:
    def labelled(**labels: str) -> Manifest:
        return Manifest.of({"kind": KIND, "metadata": {"name": "x", "labels": labels}, "spec": {}})

    moved = change(labelled(a="1", b="2", c="3"), labelled(b="4", c="3", d="5"))
    assert lines(moved) == [f"  ~ {KIND} x (labels: -a, b 2 -> 4, +d=5)"]


def chained(name: str, chain: str, *egress: Rule, order: int = 0) -> Manifest:
    annotations = ((CHAIN_ANNOTATION, chain),)
    return GlobalNetworkPolicy(
        f"fw.{name}", "fw", order, "all()", egress=egress, annotations=annotations
    ).manifest()


def test_a_chain_that_moves_to_other_policies_is_compared_as_a_whole() -> None:
    names = [f"r{number}" for number in range(6)]
    old, new = numbered(*names), numbered("top", *names)
    moved = (
        change(None, chained("b1", "web", *new[:3])),
        change(None, chained("b2", "web", *new[3:], order=10)),
        change(chained("a1", "web", *old[:4], order=20), None),
        change(chained("a2", "web", *old[4:], order=30), None),
    )
    assert lines(*moved, verbose=True)[-4:] == [
        "",
        "Zones whose rules move to other policies; what changes in them",
        "  ~ zone web, tier fw (+1 rule 'top')",
        "  +     egress 0: Pass to ports 443  # top",
    ]
    # The same rules are not shown a second time as removed and created.
    assert len(lines(*moved, verbose=True)) == 8 + 2 * 4


def test_a_list_names_the_rules_that_it_was_made_for() -> None:
    def listed(*nets: str) -> Manifest:
        return GlobalNetworkSet("pan-list.1", nets, ((LIST_LABEL, "1"),)).manifest()

    using = ruled(said("block", destination=EntityRule(equals(LIST_LABEL, "1"))))
    shown = replace(plan(change(None, listed("10.0.0.1/32"))), beside=(using,))
    assert f"  + {KIND} pan-list.1 (1 net; list of rule 'block')" in text(shown)


def test_json_has_the_differences_too() -> None:
    def difference(one: Change) -> Any:
        return plan(one).document()["changes"][0]["difference"]

    found = difference(change(made("x", "10.0.0.0/31", a="1"), made("x", "10.0.0.1/32", a="2")))
    assert found == {
        "nets_added": [],
        "nets_removed": ["10.0.0.0/32"],
        "rules": [],
        "metadata": [{"path": "annotations.a", "before": "1", "after": "2"}],
        "fields": [],
    }
    [rule] = difference(change(ruled(WEB), ruled(DB, WEB)))["rules"]
    assert rule == {
        "how": "inserted",
        "direction": "egress",
        "was": None,
        "position": 0,
        "rule": "db",
        "fields": [],
    }
    assert difference(change(None, made("x"))) is None


# --- the digest -------------------------------------------------------------------------------


def test_what_no_sync_can_write_has_no_digest_to_name() -> None:
    shown = plan(change(None, made("x")))
    assert f"Plan digest {shown.digest}: " in text(shown)
    compared = replace(shown, origins=(Origin("a", "2"),), compared_with=(Origin("a", "1"),))
    assert "Plan digest" not in text(compared)
    no_store = GlobalNetworkSet("x", (), owner_labels("i", str(UUID(int=0)))).manifest()
    assert "Plan digest: none yet" in text(plan(change(None, no_store)))
    assert "Plan digest" not in text(plan())


def test_a_tier_is_shown_with_its_order() -> None:
    before, after = (Tier("fw", order).manifest() for order in (101, 102))
    assert lines(change(None, before)) == ["  + Tier fw (order 101)"]
    assert lines(change(before, after)) == ["  ~ Tier fw (order 101 -> 102)"]


@pytest.mark.parametrize("spec", [7, [], {"ingress": 7, "egress": [7, {"source": 7}, HOSTILE]}])
def test_whatever_another_hand_made_of_a_policy_can_be_shown(spec: Any) -> None:
    before = Manifest.of(
        {"kind": "GlobalNetworkPolicy", "metadata": {"name": "fw.x"}, "spec": spec}
    )
    shown = text(plan(change(before, ruled(WEB)), change(before, None)), verbose=True)
    assert shown.replace("\n", "").isprintable()


# --- approvals ------------------------------------------------------------------------------------

THEIRS = foreign_policy("fw", ["p"])


def test_a_plan_that_can_be_approved_says_how() -> None:
    blocked = plan(change(None, made("x")), blockers=(THEIRS,))
    approve = f"zonebridge approve {blocked.digest[:12]}"
    assert approve in text(blocked)
    assert approve in markdown(blocked)
    never = (THEIRS, foreign_object(KIND, "x", "is theirs"))
    assert "zonebridge approve" not in text(replace(blocked, blockers=never))


def test_what_an_approval_lets_through_is_shown_and_blocks_nothing() -> None:
    shown = text(plan(change(None, made("x")), blockers=(THEIRS,)).approved())
    assert "let through by an approval" in shown.splitlines()[0]
    assert "Let through by an approval\n  ! foreign-policy:" in shown
    assert "BLOCKED" not in shown
    idle = text(replace(plan(), let_through=(THEIRS,)))
    assert "Stands in spite of a guard\n  ! foreign-policy:" in idle
    assert "approval" not in idle

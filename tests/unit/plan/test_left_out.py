"""What is not in a cluster as the firewall has it: named by kind, counted, and told once."""

import re
from dataclasses import replace

import pytest

from sync.plan.guards import Blocker
from sync.plan.guards.foreign import foreign_object
from sync.plan.omission import LeftOut, Omission
from sync.plan.plan import Plan
from sync.reconcile.omissions import inexact_rules
from sync.render import blockers
from sync.render.markdown import LIMIT, markdown
from sync.render.plan import text
from sync.render.report import summarise
from sync.translate.fidelity import Report, RuleFidelity, Status

GROUPS = tuple(
    LeftOut(f"address group 'g{n}'", "its member is an FQDN", Omission.SMALLER) for n in range(9)
)
REMARK = LeftOut("/config/x", "cannot be read", Omission.UNREADABLE)
LABEL = LeftOut("pods labelled zone: 'wbe'", "no zone has that label", Omission.UNKNOWN_ZONE)
RULE = LeftOut("rule 'deny users' of device group 'dg'", "it names users", Omission.WIDER)
COUNTS = LeftOut("rules of device group 'dg'", "1 widened; see `zonebridge report`", Omission.RULES)


def plan(*left_out: LeftOut, rules: tuple[LeftOut, ...] = (), known: object = None) -> Plan:
    made = Plan("prod", (), (), (), (), (), tuple(left_out), unchanged=4, rules=rules)
    assert known is None or isinstance(known, frozenset)
    return replace(made, known=known)


def digests(*parts: LeftOut) -> frozenset[str]:
    return frozenset(part.digest for part in parts)


def test_each_kind_is_called_what_it_is_and_counted() -> None:
    shown = plan(*GROUPS, REMARK, COUNTS, rules=(RULE,))
    assert shown.summary == (
        "no changes; 4 unchanged; 9 address groups written smaller, 1 deny widened, 1 unreadable."
    )
    assert text(shown).splitlines()[1:] == [
        "",
        "Written smaller than the firewall has it (9)",
        (
            "  ! address group 'g0', address group 'g1', address group 'g2' and 6 more: its member "
            "is an FQDN"
        ),
        "",
        "Unreadable, and unknown wherever it is used (1)",
        "  ! /config/x: cannot be read",
    ]
    document = shown.document()
    assert document["summary"]["omissions"] == {"smaller": 9, "wider": 1, "unreadable": 1}
    # As before, and a kind for each.
    assert document["summary"]["left_out"] == len(document["left_out"]) == 11
    assert [each["kind"] for each in document["left_out"][-2:]] == ["unreadable", "rules"]
    assert document["rules"] == [
        {"subject": RULE.subject, "reason": RULE.reason, "kind": "wider", "new": True}
    ]


def test_at_first_rules_are_counted_and_read_in_the_report() -> None:
    narrowed = replace(RULE, kind=Omission.SMALLER)
    lines = text(plan(GROUPS[0], rules=(narrowed, RULE))).splitlines()
    assert lines[2:] == [
        "Written smaller than the firewall has it (2; 1 rule: see `zonebridge report`)",
        "  ! address group 'g0': its member is an FQDN",
    ]


def test_the_counts_of_rules_are_those_of_the_report() -> None:
    """A group is no rule, one that is not enforced is not left out, and two of a name are two."""

    def inexact(name: str, status: Status) -> RuleFidelity:
        place = ("main", "dg", "dg", "pre", 1)
        return RuleFidelity(*place, name, "", True, False, status, ("because",), ())

    rules = [
        inexact(name, status)
        for name, status in (
            ("a", Status.NARROWED),
            ("a", Status.NARROWED),
            ("b", Status.WIDENED),
            ("c", Status.LEFT_OUT),
            ("d", Status.NOT_ENFORCED),
            ("e", Status.MORE_PERMISSIVE),
            ("f", Status.EXACT),
        )
    ]
    report = Report("prod", tuple(rules), (), (), ())
    shown = plan(*GROUPS[:1], COUNTS, rules=tuple(inexact_rules(report)), known=frozenset())
    assert shown.summary == (
        "no changes; 4 unchanged; 2 rules and 1 address group written smaller, 1 deny widened, "
        "1 left out, 1 more permissive, 1 not enforced (7 new)."
    )
    assert summarise(report) == (
        "7 rules: 1 exact, 2 narrowed, 1 widened, 1 left-out, 1 more-permissive; 1 not-enforced."
    )
    assert "Written smaller than the firewall has it (3 new of 3)" in text(shown).splitlines()
    assert shown.document()["summary"]["omissions"] == {
        "smaller": 3,
        "wider": 1,
        "left-out": 1,
        "more-permissive": 1,
        "not-enforced": 1,
    }
    assert "; 2 rules written smaller." in plan(rules=tuple(inexact_rules(report)[:2])).summary


def test_what_the_last_sync_left_out_is_only_counted() -> None:
    shown = plan(*GROUPS, REMARK, COUNTS, rules=(RULE,), known=digests(*GROUPS, REMARK, RULE))
    assert text(shown) == (
        "Cluster prod: no changes; 4 unchanged; 9 address groups written smaller, 1 deny "
        "widened, 1 unreadable (none new).\n"
    )
    assert "<details>" not in markdown(shown)
    assert not any(each["new"] for each in shown.document()["rules"])


def test_what_is_new_is_named_rules_too() -> None:
    shown = plan(*GROUPS, REMARK, rules=(RULE,), known=digests(*GROUPS[1:], REMARK))
    assert text(shown).splitlines() == [
        (
            "Cluster prod: no changes; 4 unchanged; 9 address groups written smaller, "
            "1 deny widened, 1 unreadable (2 new)."
        ),
        "",
        "Written smaller than the firewall has it (1 new of 9)",
        "  ! address group 'g0': its member is an FQDN",
        "",
        "Denies written wider than the firewall has them (1 new of 1)",
        "  ! rule 'deny users' of device group 'dg': it names users",
    ]


def test_another_reason_is_news() -> None:
    other = replace(GROUPS[0], reason="its member is gone")
    assert "(1 new of 1)" in text(plan(other, known=digests(*GROUPS)))


def test_what_someone_can_mend_now_is_said_each_time() -> None:
    shown = plan(LABEL, known=digests(LABEL))
    assert "Pods whose zone label names no zone (1)\n  ! pods labelled" in text(shown)


def test_many_reasons_are_cut_unless_all_are_asked_for() -> None:
    many = [replace(each, reason=each.subject) for each in (*GROUPS, REMARK)]
    many += [LeftOut(f"x{n}", f"y{n}", Omission.UNREADABLE) for n in range(1_300)]
    lines = text(plan(*many)).splitlines()
    assert len(lines) < 30
    assert lines[-1] == "  ! … and 1,291 more lines: --verbose, or `zonebridge report`"
    assert len(text(plan(*many), verbose=True).splitlines()) > 1_300


def test_a_thousand_new_lines_and_a_name_without_end_fit_into_a_comment() -> None:
    many = [LeftOut(f"/config/{n}", f"odd {n}" * 9, Omission.UNREADABLE) for n in range(5000)]
    shown = markdown(plan(*many, LeftOut("`<b>" * 250_000, "x", Omission.SMALLER)))
    assert 50_000 < len(shown) <= LIMIT
    # What is small is whole; the large kind is folded, and says how much of it is missing.
    assert "### Written smaller than the firewall has it (1)" in shown
    assert "(5,000)</b>: 5,000 lines</summary>" in shown
    [missing] = re.findall(r"And ([0-9,]+) more lines", shown)
    assert int(missing.replace(",", "")) == 5_000 - shown.count("! /config/")


# --- blockers -------------------------------------------------------------------------------------


def test_blockers_that_differ_in_their_object_alone_are_one_line() -> None:
    because = "does not carry the labels of this installation"
    many = [foreign_object("GlobalNetworkSet", f"pan.g{n}", because) for n in range(37)]
    other = foreign_object("GlobalNetworkSet", "pan.web", "was written with another store (x)")
    first, second = blockers.rows([*many, other])
    assert first == (
        f"! foreign-object (37): {many[0].message}; and likewise GlobalNetworkSet pan.g1, "
        "GlobalNetworkSet pan.g2, GlobalNetworkSet pan.g3, GlobalNetworkSet pan.g4 and 32 more"
    )
    assert second == f"! foreign-object: {other.message}"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_equal_blockers_are_counted(number: int) -> None:
    same = [Blocker("undecided", "it is unknown", approvable=True)] * number
    [row] = blockers.rows(same)
    assert (
        row
        == {
            1: "! undecided: it is unknown",
            2: "! undecided (2): it is unknown; and once more",
            3: "! undecided (3): it is unknown; and 2 times more",
        }[number]
    )


# --- the mode -------------------------------------------------------------------------------------


def test_the_first_line_says_whether_policies_take_effect() -> None:
    def first(*modes: tuple[str, str]) -> str:
        shown = replace(plan(), modes=modes)
        assert markdown(shown).splitlines()[0].replace("\\", "") == (
            "## " + text(shown).partition(": no")[0].removeprefix("Cluster ")
        )
        return text(shown).splitlines()[0]

    assert first(("fw", "enforced")) == "Cluster prod (ENFORCED): no changes; 4 unchanged."
    assert first(("a", "staged"), ("b", "staged")).startswith("Cluster prod (staged): ")
    assert first(("a", "enforced"), ("b", "staged")).startswith(
        "Cluster prod (a ENFORCED, b staged): "
    )
    assert first() == "Cluster prod: no changes; 4 unchanged."
    document = replace(plan(), modes=(("fw", "enforced"),)).document()
    assert document["mode"] == "ENFORCED"
    assert document["tiers"] == [{"tier": "fw", "mode": "enforced"}]

"""Reports as people read them: in a terminal, in a merge request and as a page."""

import re
from dataclasses import replace
from typing import Any

import pytest

from sync.firewall.reasons import Reason
from sync.firewall.rules import Rule
from sync.render.page import Sheet, html
from sync.render.report import (
    document,
    markdown,
    text,
)
from sync.render.why import headlines, why
from sync.render.zones import zones_document, zones_text
from sync.translate.fidelity import (
    DeviceGroupFidelity,
    Extent,
    GroupFidelity,
    Report,
    RuleFidelity,
    Shadow,
    Status,
    Taker,
    ZoneFidelity,
)
from sync.translate.remedies import REMEDIES

LABEL = "firewall.tigera.io/zone"
PODS = "projectcalico.org/orchestrator == 'k8s'"


def rule(
    name: str = "web to db",
    status: Status = Status.EXACT,
    *reasons: str,
    calico: tuple[str, ...] = ("fw.pan-zone-web[egress 0]",),
    position: int = 1,
    **fields: Any,
) -> RuleFidelity:
    made = RuleFidelity(
        source="main",
        target="eu",
        device_group="shared",
        rulebase="pre",
        position=position,
        name=name,
        uuid="",
        allow=True,
        disabled=False,
        status=status,
        reasons=reasons,
        calico=calico,
    )
    return replace(made, **fields)


def zone(name: str = "web", **fields: Any) -> ZoneFidelity:
    made = ZoneFidelity(
        source="main",
        target="eu",
        name=name,
        label_value=name,
        workloads=f"{PODS} && ({LABEL} == '{name}' && !(pcns.team == 'db'))",
        networks=("10.1.0.0/16", "2001:db8::/32"),
        origin="derived from templates",
        rules=("web to db",),
        by_pod_label=True,
    )
    return replace(made, **fields)


WRITTEN = Rule(
    "bad users",
    from_zones=("web",),
    destinations=("db-1",),
    negate_destination=True,
    services=("tcp-443",),
    action="deny",
    tags=("k8s",),
)
UNKNOWN = zone(
    "untrust",
    networks=None,
    origin="no networks are configured for it",
    rules=("out",),
    remedies=("give it networks", "give it a selector"),
)
FULL = Report(
    cluster="prod",
    rules=(
        rule("web to db", calico=("fw.pan-zone-db[ingress 0]", "fw.pan-zone-web[egress 0]")),
        rule(
            "bad users",
            Status.WIDENED,
            "users are unsayable",
            "so are devices",
            position=2,
            rule=WRITTEN,
        ),
        rule("out", Status.NARROWED, "half of it", position=3, device_group="eu"),
        rule("gone", Status.LEFT_OUT, "an FQDN", calico=(), position=1, rulebase="post"),
        rule("apps", Status.MORE_PERMISSIVE, "by its ports", position=2, rulebase="post"),
        rule("old", Status.DISABLED, calico=(), disabled=True, position=3, rulebase="post"),
    ),
    groups=(
        GroupFidelity("servers", Status.EXACT, ()),
        GroupFidelity("open", Status.NARROWED, ("a member is missing",)),
    ),
    zones=(UNKNOWN, zone()),
    essentials=("egress on all(): 10.96.0.10/32 53/udp",),
)
EMPTY = Report("prod", (), (), (), ())


def test_the_text_opens_with_numbers_and_has_one_line_a_rule() -> None:
    assert text(FULL).splitlines() == [
        (
            "Cluster prod: 6 rules: 1 exact, 1 narrowed, 1 widened, 1 left-out, 1 more-permissive; "
            "1 disabled."
        ),
        "",
        "Essentials, before all rules",
        "  egress on all(): 10.96.0.10/32 53/udp",
        "",
        "Rules of device group main/eu",
        (
            "  exact           shared pre 1 'web to db' -> "
            "fw.pan-zone-db[ingress 0], fw.pan-zone-web[egress 0]"
        ),
        (
            "  widened         shared pre 2 'bad users': users are unsayable; so are devices -> "
            "fw.pan-zone-web[egress 0]"
        ),
        "  narrowed        eu pre 3 'out': half of it -> fw.pan-zone-web[egress 0]",
        "  left-out        shared post 1 'gone': an FQDN -> no Calico rules",
        "  more-permissive shared post 2 'apps': by its ports -> fw.pan-zone-web[egress 0]",
        "  disabled        shared post 3 'old' -> no Calico rules",
        "",
        "Address groups",
        "  exact           'servers'",
        "  narrowed        'open': a member is missing",
        "",
        "Zones",
        (
            "  'untrust' of main/eu: label value untrust; "
            "networks unknown: no networks are configured for it; 1 rule by name; "
            "depends on pod labels alone: anyone who can create a pod can put it there "
            "(remedy: give it networks; give it a selector)"
        ),
        (
            "  'web' of main/eu: label value web; networks 2 CIDRs, derived from templates; "
            "1 rule by name; depends on pod labels alone: anyone who can create a pod can put it "
            "there"
        ),
    ]
    assert text(FULL).endswith("\n")


def test_many_calico_rules_are_counted_unless_asked_for() -> None:
    calico = tuple(f"fw.pan-zone-{zone}[egress {place}]" for zone in "ab" for place in (0, 1))
    report = replace(EMPTY, rules=(rule(calico=calico), rule(calico=(*calico[:2], *calico[:2]))))
    counted = text(report)
    assert "-> 4 rules in 2 policies\n" in counted
    assert "-> 4 rules in one policy\n" in counted
    assert f"-> {', '.join(calico)}\n" in text(report, verbose=True)
    assert "4 rules in 2 policies" in markdown(report)


def test_a_rule_with_translated_destinations_names_the_nat_rules() -> None:
    report = replace(EMPTY, rules=(rule("to shop", Status.NARROWED, "half", nat=("shop", "mail")),))
    assert "shared pre 1 'to shop' (nat: 'shop', 'mail'): half; NAT may translate " in text(report)
    assert r"| to shop \(nat: 'shop', 'mail'\) | half; NAT may translate" in markdown(report)
    many = replace(EMPTY, rules=(rule(nat=tuple(f"n{number}" for number in range(12))),))
    assert "'n9' and 2 more (--output json has all)): NAT may translate" in text(many)


def test_an_empty_report_says_so() -> None:
    assert text(EMPTY).splitlines() == [
        "Cluster prod: 0 rules: 0 exact, 0 narrowed, 0 widened, 0 left-out, 0 more-permissive.",
        "",
        "Essentials, before all rules",
        "  none: no flow of zoned pods comes before the rules",
    ]
    assert zones_text(EMPTY, LABEL) == "Cluster prod: 0 zones.\n"


HIDDEN = Report(
    "prod",
    rules=(
        rule("no", Status.WIDENED, "users", allow=False, remedies=("nothing: they are users",)),
        rule(
            "dead",
            shadow=Shadow(Extent.WHOLE, (Taker("no", None, allow=False, widened=True),), "a flow"),
            firewall_shadow=Shadow(Extent.PART, (Taker("no", None, allow=False),), "another"),
        ),
        rule("gone", allow=False, shadow=Shadow(Extent.WHOLE, (Taker("dead", None, allow=True),))),
        rule("part", shadow=Shadow(Extent.PART, (Taker("no", None, allow=False),), "a flow")),
        rule("same", shadow=Shadow(Extent.PART, (Taker("dead", None, allow=True),), "a flow")),
        rule("vms", shadow=Shadow(Extent.EMPTY)),
        rule("hard", shadow=Shadow(Extent.UNKNOWN, because="it is long")),
        rule(
            "free",
            shadow=Shadow(Extent.NONE),
            firewall_shadow=Shadow(Extent.WHOLE, (Taker("x", None, allow=True, widened=True),)),
        ),
    ),
    groups=(GroupFidelity("open", Status.NARROWED, ("b", "c"), ("do b", "do c")),),
    zones=(),
    essentials=(),
    device_groups=(
        DeviceGroupFidelity("main", "eu", "fw", "enforced", 2),
        DeviceGroupFidelity("main", "us", "fw", "staged", 0),
    ),
)


def test_what_needs_attention_comes_first() -> None:
    assert headlines(HIDDEN) == [
        "0 zones: no rule of us is enforced",
        "us is staged: its policies decide nothing yet",
        "1 allow rule can never match here: dead",
        "1 deny rule can never match here: gone",
        "1 rule has no flow of a pod here: vms",
    ]
    assert text(HIDDEN).splitlines()[1] == "  ! 0 zones: no rule of us is enforced."
    assert "\n**1 allow rule can never match here: dead.**\n" in markdown(HIDDEN)
    assert "1 allow rule can never match here: dead" in html([Sheet(HIDDEN)])
    assert document([HIDDEN])["headlines"][2] == {
        "cluster": "prod",
        "headline": "1 allow rule can never match here: dead",
    }
    assert not headlines(EMPTY)
    many = tuple(rule(f"r{number}", shadow=Shadow(Extent.WHOLE)) for number in range(1200))
    (said,) = headlines(replace(EMPTY, rules=many))
    assert said == "1,200 allow rules can never match here: r0, r1, r2, r3, r4 and 1,195 more"


def test_a_rule_that_hides_most_others_is_named_first() -> None:
    by = Shadow(Extent.WHOLE, (Taker("no", None, allow=False),))
    other = Shadow(Extent.WHOLE, (Taker("x", None, allow=False),))
    some = (rule("a", shadow=by), rule("b", shadow=by))
    (said,) = headlines(replace(EMPTY, rules=some))
    assert said == "2 allow rules can never match here: a, b, all because of 'no'"
    (said,) = headlines(replace(EMPTY, rules=(*some, rule("c", shadow=other))))
    assert said.endswith("here: a, b, c, most because of 'no'")
    (said,) = headlines(replace(EMPTY, rules=(some[0], rule("c", shadow=other))))
    assert said.endswith("here: a, c")


def test_a_rule_that_only_denies_here_hide_is_never_to_be_deleted() -> None:
    denies = tuple(Taker(name, None, allow=False, widened=True) for name in ("a", "b"))
    hidden = Shadow(Extent.WHOLE, denies)
    last = replace(rule("last", shadow=hidden), allow=False)
    # What is denied anyway loses nothing, and on the firewall the rule matches.
    assert why(last).endswith("taken by 'a', 'b' (remedy: nothing: these decide the same)")
    # Not all of those that hide it are named, and another one may allow.
    some = replace(last, shadow=replace(hidden, more=True))
    assert why(some).endswith("(remedy: move it before these in Panorama)")
    dead = replace(last, firewall_shadow=hidden, own=True)
    moved = "(remedy: move it before these in Panorama"
    assert why(dead).count(f"{moved}, or delete it there)") == 2


def test_a_rule_that_another_firewall_may_need_is_never_to_be_deleted() -> None:
    hidden = Shadow(Extent.WHOLE, (Taker("a", None, allow=True),))
    dead = replace(rule("last", firewall_shadow=hidden), allow=False, own=True)
    assert "or delete it there" in why(dead)
    some = replace(hidden, by=(Taker("a", None, allow=True, targeted=True),))
    for other in (
        replace(dead, own=False),
        replace(dead, firewall_shadow=replace(hidden, more=True)),
        replace(dead, firewall_shadow=some),
    ):
        assert why(other).endswith("(remedy: move it before these in Panorama)")


def test_a_rule_says_what_to_do_and_what_hides_it() -> None:
    never = "it never matches"
    larger = "(remedy: see 'no', which is larger here than on the firewall)"
    moved = "(remedy: nothing: these decide the same)"
    counts = "(remedy: nothing: it counts all the same)"
    empty = f"(remedy: {REMEDIES[Reason.NO_ENDS].fix})"
    assert [why(each) for each in HIDDEN.rules] == [
        "users (remedy: nothing: they are users)",
        f"{never} here: all that it matches is taken by 'no' (widened), such as a flow {larger}",
        (
            f"{never} here: all that it matches is taken by 'dead' "
            "(remedy: move it before these in Panorama)"
        ),
        "a part of it is taken by 'no', such as a flow",
        "",
        f"{never} here: no pod here is an end of its flows {empty}",
        f"whether earlier rules hide it is unknown: it is long {counts}",
        f"{never} on the firewall: all that it matches is taken by 'x' {moved}",
    ]
    assert "'open': b; c (remedy: do b; do c)" in text(HIDDEN)
    one = document([HIDDEN])["rules"][1]["shadow"]
    assert one["firewall"]["extent"] == "part"
    assert one["calico"] == {
        "extent": "whole",
        "by": [
            {
                "name": "no",
                "device_group": None,
                "rulebase": None,
                "position": None,
                "allow": False,
                "widened": True,
            }
        ],
        "flow": "a flow",
        "because": "",
        "more": False,
    }


def test_rules_of_several_device_groups_stand_apart() -> None:
    lines = text(replace(EMPTY, rules=(rule(), rule(target="us")))).splitlines()
    assert "Rules of device group main/eu" in lines
    assert "Rules of device group main/us" in lines


def test_colours_only_where_they_are_wanted() -> None:
    assert "\x1b" not in text(FULL)
    colored = text(FULL, color=True)
    assert "\x1b[33mnarrowed" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == text(FULL)


def test_names_never_reach_the_terminal_as_commands_or_lines() -> None:
    evil = "a\x1b[2J\nEVIL"
    hostile = Report(
        evil,
        (rule(evil, Status.NARROWED, evil, target=evil, device_group=evil, nat=(evil,)),),
        (GroupFidelity(evil, Status.EXACT, ()),),
        (zone(evil, origin=evil, rules=(evil,)),),
        (evil,),
    )
    for shown in (text(hostile), zones_text(hostile, LABEL), markdown(hostile)):
        assert "\x1b" not in shown
        assert not any(line.startswith("EVIL") for line in shown.splitlines())
    assert len(text(hostile).splitlines()) == len(text(_tame(hostile)).splitlines())


def _tame(report: Report) -> Report:
    return replace(
        report,
        cluster="c",
        rules=(rule("n", Status.NARROWED, "r"),),
        groups=(GroupFidelity("g", Status.EXACT, ()),),
        zones=(zone("z"),),
        essentials=("e",),
    )


def test_markdown_is_tables_in_which_no_name_is_markdown() -> None:
    shown = markdown(replace(FULL, rules=(rule("a | b `c` <i>*d*", Status.LEFT_OUT, "e_f|"),)))
    assert (
        r"| left\-out | shared pre 1 | a \| b \`c\` \<i\>\*d\* | e\_f\| | "
        r"fw\.pan\-zone\-web\[egress 0\] |"
    ) in shown.splitlines()
    for line in shown.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 6, 8)
    assert shown.startswith("## prod\n\n**1 rule: 0 exact, ")
    assert shown.endswith("|\n")


def test_device_groups_of_one_name_from_two_sources_are_told_apart() -> None:
    widened = rule("no", Status.WIDENED, allow=False)
    report = replace(EMPTY, rules=(widened, rule("yes", source="other")))
    lines = text(report).splitlines()
    assert [each for each in lines if each.startswith("Rules of")] == [
        "Rules of device group main/eu",
        "Rules of device group other/eu",
    ]


def test_the_document_keeps_its_keys() -> None:
    found = document([FULL])
    assert found["essentials"] == [
        {"cluster": "prod", "essential": "egress on all(): 10.96.0.10/32 53/udp"}
    ]
    assert found["rules"][1] == {
        "cluster": "prod",
        "allow": True,
        "source": "main",
        "target": "eu",
        "device_group": "shared",
        "rulebase": "pre",
        "position": 2,
        "name": "bad users",
        "uuid": "",
        "disabled": False,
        "action": "deny",
        "from_zones": ["web"],
        "to_zones": ["any"],
        "sources": ["any"],
        "negate_source": False,
        "destinations": ["db-1"],
        "negate_destination": True,
        "applications": ["any"],
        "services": ["tcp-443"],
        "tags": ["k8s"],
        "status": "widened",
        "reasons": ["users are unsayable", "so are devices"],
        "calico": ["fw.pan-zone-web[egress 0]"],
        "nat": [],
        "remedies": [],
        "shadow": {"calico": None, "firewall": None},
    }
    published = replace(EMPTY, rules=(rule(nat=("shop", "mail")),))
    assert document([published])["rules"][0]["nat"] == ["shop", "mail"]
    assert found["groups"][1] == {
        "cluster": "prod",
        "name": "open",
        "status": "narrowed",
        "reasons": ["a member is missing"],
        "remedies": [],
    }
    assert found["zones"] == zones_document([FULL])
    assert found["zones"][0] == {
        "cluster": "prod",
        "source": "main",
        "target": "eu",
        "name": "web",
        "label_value": "web",
        "workloads": zone().workloads,
        "networks": ["10.1.0.0/16", "2001:db8::/32"],
        "origin": "derived from templates",
        "rules": ["web to db"],
        "by_pod_label": True,
        "remedies": [],
    }
    assert found["zones"][1]["networks"] is None


def test_zones_without_known_networks_come_last_with_what_to_do() -> None:
    size = len(zone().workloads)
    note = "             depends on pod labels alone: anyone who can create a pod can put it there"
    assert zones_text(FULL, LABEL).splitlines() == [
        "Cluster prod: 2 zones, 1 without known networks.",
        "",
        "'web' of device group main/eu",
        "  label      kubectl label pod POD firewall.tigera.io/zone=web",
        f"  workloads  {zone().workloads} ({size} bytes)",
        note,
        "  networks   10.1.0.0/16, 2001:db8::/32 (derived from templates)",
        "  rules      'web to db'",
        "",
        "Without known networks",
        (
            "  Which addresses outside pods are in these zones is unknown: no rule that names one "
            "is exact."
        ),
        "  Set `zones.definitions.NAME.networks`: [] if a zone is pods only, else its networks.",
        "",
        "'untrust' of device group main/eu",
        "  label      kubectl label pod POD firewall.tigera.io/zone=untrust",
        f"  workloads  {UNKNOWN.workloads} ({len(UNKNOWN.workloads)} bytes)",
        note,
        "  networks   unknown: no networks are configured for it",
        "  rules      'out'",
    ]


@pytest.mark.parametrize(
    ("selector", "labelled"),
    [
        (f"({LABEL} == 'web')", True),
        (f"({LABEL} == 'web' && !((app == 'x')))", True),
        ("((app == 'web'))", False),
        (f"((app == 'x') && !(({LABEL} == 'web')))", False),
    ],
)
def test_only_zones_by_label_ask_for_the_label(selector: str, labelled: bool) -> None:
    report = replace(EMPTY, zones=(zone(workloads=f"{PODS} && {selector}"),))
    assert ("kubectl label" in zones_text(report, LABEL)) is labelled
    assert ("zones.definitions selects" in zones_text(report, LABEL)) is not labelled


def test_a_zone_says_that_it_has_no_networks_and_that_no_rule_names_it() -> None:
    alone = zone(networks=(), origin="configured", rules=(), by_pod_label=False)
    shown = zones_text(replace(EMPTY, zones=(alone,)), LABEL)
    assert "  networks   none, pods only (configured)\n" in shown
    assert "  rules      none names it\n" in shown
    assert "pod labels alone" not in shown


def test_long_lists_of_a_zone_are_cut() -> None:
    nets = tuple(f"10.{number}.0.0/16" for number in range(12))
    shown = zones_text(replace(EMPTY, zones=(zone(networks=nets),)), LABEL)
    assert "10.9.0.0/16 and 2 more (--output json has all) (derived" in shown
    assert "10.10.0.0/16" not in shown

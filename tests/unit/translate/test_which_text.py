"""What holds an address, as people and programs read it."""

import json
from dataclasses import replace

import orjson
import pytest

from sync.firewall.effective import EffectiveRule
from sync.firewall.membership import HeldGroup, HeldObject, Holds
from sync.firewall.rules import Rule
from sync.net.addresses import network
from sync.queries.which import (
    DeviceGroupHolders,
    HeldEnd,
    HeldRule,
    HeldSet,
    HeldZone,
    Holders,
)
from sync.render.which import document, text

ASKED = network("10.1.2.3")
ALL, PART, MAYBE = Holds.ALL, Holds.PART, Holds.MAYBE
GROUP = HeldGroup(
    "web", ALL, None, ("web-servers",), ("web", "web-servers", "host-1"), "10.1.2.3/32", ()
)
UNSURE = HeldGroup(
    "open", MAYBE, "'x' or 'y'", (), (), "", ("its member 'n' is the FQDN n.example",)
)


def placed(*ends: HeldEnd, name: str = "web to db", disabled: bool = False) -> HeldRule:
    rule = Rule(name, uuid="1-2", disabled=disabled)
    return HeldRule(EffectiveRule(rule, "shared", "pre", 3), ends)


SOURCE = HeldEnd("source", ALL, False, ("web",), ())
DG = DeviceGroupHolders(
    source="main",
    name="dg-eu",
    objects=(HeldObject("host-1", "ip-netmask", "10.1.2.3/32", ALL),),
    groups=(UNSURE, GROUP),
    zones=(HeldZone("web", ALL, ("10.1.0.0/16",), "configured"),),
    in_no_zone=None,
    rules=(placed(SOURCE),),
    any_source=1,
    any_destination=1200,
)
FULL = Holders("prod", (HeldSet("pan.web", "web", ALL, ("10.1.2.3/32",)),), (DG,), None, False)


def lines(asked: str = "10.1.2.3", **fields: object) -> list[str]:
    """The text of a cluster whose device group has other fields."""
    changed = replace(DG, **fields)  # type: ignore[arg-type]  # as the test names them
    return text(replace(FULL, device_groups=(changed,)), network(asked)).splitlines()


def test_the_text_tells_everything_in_a_line_each() -> None:
    assert (
        text(FULL, ASKED)
        == """\
Cluster prod: 10.1.2.3 is in 1 set
  pan.web (10.1.2.3/32)

Device group main/dg-eu
  Address objects
    host-1 (ip-netmask 10.1.2.3/32)
  Address groups
    web > web-servers > host-1 (10.1.2.3/32)
  Address groups that may hold it
    'open': its member 'n' is the FQDN n.example
  Zones
    'web': 10.1.0.0/16, configured
  Rules
    shared pre 3 'web to db' (allow): source by 'web'
  For any address: 1 rule by source, 1,200 by destination
"""
    )


def test_an_address_that_nothing_holds_says_so() -> None:
    nothing = replace(DG, objects=(), groups=(), zones=(), in_no_zone=ALL, rules=(), any_source=0)
    assert (
        text(replace(FULL, sets=(), device_groups=(nothing,)), ASKED)
        == """\
Cluster prod: 10.1.2.3 is in 0 sets

Device group main/dg-eu
  Zones
    no zone is known to hold it
  For any address: 0 rules by source, 1,200 by destination
"""
    )


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (
            replace(
                GROUP, way=("web", "10.1.2.0/24"), value="10.1.2.0/24", members=("10.1.2.0/24",)
            ),
            "web > 10.1.2.0/24",
        ),
        (
            replace(GROUP, filter="'web' and 'prod'"),
            "web > web-servers > host-1 (10.1.2.3/32), by its filter 'web' and 'prod'",
        ),
        (
            replace(GROUP, members=("a", "b", "c", "d", "web-servers")),
            "web > web-servers > host-1 (10.1.2.3/32), and by 'a', 'b', 'c' and 1 more",
        ),
        (
            replace(GROUP, holds=PART, open_because=("half of it",)),
            "web > web-servers > host-1 (10.1.2.3/32): a part of it, and may hold more: half of it",
        ),
        (
            replace(GROUP, way=(*map(str, range(100)), "host-1"), members=("1",)),
            "0 > 1 > 2 > 3 > 4 > 5 > 6 > … 92 more … > 99 > host-1 (10.1.2.3/32)",
        ),
    ],
)
def test_a_group_is_said_with_its_way(group: HeldGroup, said: str) -> None:
    assert f"    {said}" in lines(groups=(group,))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (SOURCE, "source by 'web'"),
        (HeldEnd("source", PART, False, ("web",), ()), "source by 'web': a part of it"),
        (
            HeldEnd("destination", PART, False, ("web",), ("a", "b", "c", "d")),
            "destination by 'web': a part of it, and may hold more: a; b; c; and 1 more",
        ),
        (HeldEnd("source", MAYBE, False, (), ("why",)), "source may hold it: why"),
        (HeldEnd("source", MAYBE, True, (), ("why",)), "negated source may hold it: why"),
        (HeldEnd("source", ALL, True, (), ()), "negated source, which does not name it"),
        (
            HeldEnd("source", PART, True, ("web",), ()),
            "negated source, all but 'web': a part of it",
        ),
    ],
)
def test_an_end_of_a_rule_is_said_with_its_members(end: HeldEnd, said: str) -> None:
    assert f"    shared pre 3 'web to db' (allow): {said}" in lines(rules=(placed(end),))


def test_rules_that_may_hold_it_stand_apart_and_disabled_ones_say_so() -> None:
    unsure = HeldEnd("source", MAYBE, False, (), ("why",))
    both = HeldEnd("destination", ALL, False, ("db",), ())
    found = lines(
        rules=(placed(unsure), placed(unsure, both, name="two"), placed(SOURCE, disabled=True))
    )
    assert found[found.index("  Rules") :] == [
        "  Rules",
        "    shared pre 3 'two' (allow): source may hold it: why; destination by 'db'",
        "    shared pre 3 'web to db' (allow, disabled): source by 'web'",
        "  Rules that may hold it",
        "    shared pre 3 'web to db' (allow): source may hold it: why",
        "  For any address: 1 rule by source, 1,200 by destination",
    ]


def test_zones_that_may_hold_it_stand_after_what_is_in_none() -> None:
    found = lines(
        "10.0.0.0/8",
        zones=(
            HeldZone("db", MAYBE, (), "nobody knows"),
            HeldZone("web", PART, ("10.1.0.0/16",), "configured"),
        ),
        in_no_zone=PART,
    )
    assert found[0] == "Cluster prod: 10.0.0.0/8 is wholly or partly in 1 set"
    start = found.index("  Zones") + 1
    assert found[start : start + 3] == [
        "    'web': 10.1.0.0/16, configured: a part of it",
        "    no zone is known to hold a part of it",
        "    'db' may hold it: nobody knows",
    ]


def test_pods_networks_are_told() -> None:
    said = "lies in clusters[].pod_cidrs; a pod's zone is that of its labels\n"
    assert f"\nPods: it {said}" in text(replace(FULL, among_pods=ALL, pods_known=True), ASKED)
    assert f"\nPods: a part of it {said}" in text(replace(FULL, among_pods=PART), ASKED)
    assert "Pods" not in text(FULL, ASKED)


def test_long_lists_are_counted_and_the_document_has_all() -> None:
    rules = tuple(placed(SOURCE, name=f"rule {number}") for number in range(1500))
    nets = tuple(f"10.1.2.{number}/32" for number in range(9))
    some_set = HeldSet("pan-list.1", "", PART, nets)
    many = replace(FULL, sets=(some_set,), device_groups=(replace(DG, rules=rules),))
    shown = text(many, ASKED).splitlines()
    assert len(shown) < 50
    assert "    and 1,480 more (--output json has all)" in shown
    assert shown[1] == (
        "  pan-list.1 (10.1.2.0/32, 10.1.2.1/32, 10.1.2.2/32 and 6 more, a list of a rule)"
        ": a part of it"
    )
    found = document([many], ASKED)
    assert len(found["rules"]) == 1500
    assert found["sets"][0]["nets"] == [*nets]


def test_hostile_names_move_no_terminal() -> None:
    bad = "\x1b[2J\n\u202e"
    end = HeldEnd("source", PART, False, (bad,), (bad,))
    group = HeldGroup(bad, PART, bad * 100, (bad, "x"), (bad, "x", bad), bad, (bad,))
    hostile = replace(
        DG,
        source=bad,
        name=bad,
        objects=(HeldObject(bad, "fqdn", bad, ALL),),
        groups=(group, replace(UNSURE, name=bad, open_because=(bad,))),
        zones=(HeldZone(bad, ALL, (bad,), bad), HeldZone(bad, MAYBE, (), bad)),
        rules=(placed(end, name=bad),),
    )
    sets = (HeldSet(bad, bad, ALL, (bad,)),)
    found = replace(FULL, cluster=bad, sets=sets, device_groups=(hostile,))
    shown = text(found, ASKED)
    assert all(line.isprintable() for line in shown.splitlines())
    assert max(map(len, shown.splitlines())) < 2000
    assert json.loads(orjson.dumps(document([found], ASKED)))["rules"][0]["name"] == bad


def test_the_document_says_of_which_cluster_and_device_group_everything_is() -> None:
    found = orjson.loads(orjson.dumps(document([FULL], ASKED)))
    place = {"cluster": "prod", "source": "main", "target": "dg-eu"}
    assert found == {
        "address": "10.1.2.3",
        "sets": [
            {
                "cluster": "prod",
                "name": "pan.web",
                "group": "web",
                "holds": "all",
                "nets": ["10.1.2.3/32"],
            }
        ],
        "objects": [
            {
                **place,
                "name": "host-1",
                "kind": "ip-netmask",
                "value": "10.1.2.3/32",
                "holds": "all",
            }
        ],
        "groups": [
            {
                **place,
                "name": "open",
                "holds": "maybe",
                "filter": "'x' or 'y'",
                "members": [],
                "way": [],
                "value": "",
                "reasons": ["its member 'n' is the FQDN n.example"],
            },
            {
                **place,
                "name": "web",
                "holds": "all",
                "filter": None,
                "members": ["web-servers"],
                "way": ["web", "web-servers", "host-1"],
                "value": "10.1.2.3/32",
                "reasons": [],
            },
        ],
        "zones": [
            {
                **place,
                "name": "web",
                "holds": "all",
                "networks": ["10.1.0.0/16"],
                "origin": "configured",
            }
        ],
        "rules": [
            {
                **place,
                "device_group": "shared",
                "rulebase": "pre",
                "position": 3,
                "name": "web to db",
                "uuid": "1-2",
                "action": "allow",
                "disabled": False,
                "ends": [
                    {
                        "end": "source",
                        "holds": "all",
                        "negated": False,
                        "members": ["web"],
                        "reasons": [],
                    }
                ],
            }
        ],
        "device_groups": [
            {
                **place,
                "in_no_zone": "none",
                "among_pods": None,
                "any_source": 1,
                "any_destination": 1200,
            }
        ],
    }


def test_pods_in_the_document_are_none_where_their_networks_are_known() -> None:
    for pods, said in ((None, "none"), (PART, "part")):
        (only,) = document([replace(FULL, pods_known=True, among_pods=pods)], ASKED)[
            "device_groups"
        ]
        assert only["among_pods"] == said

"""Which sets, zones and rules hold an address, of one cluster and its device groups."""

from collections.abc import Mapping, Sequence

import pytest

from sync.errors import UsageError
from sync.firewall.membership import Holds
from sync.firewall.zone_networks import NOTHING, Derived
from sync.net.addresses import AddressSet, network
from sync.options import ZoneDefinition, ZoneOptions
from sync.queries.which import (
    DeviceGroupHolders,
    HeldEnd,
    HeldZone,
    Holders,
    wanted,
    which,
    written,
)
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.words import Word, address, dynamic, group, rule, seen_by, tag

HOST = address("host", "10.1.2.3")
NAME = address("name", "www.example.com", kind="fqdn")
WEB = group("web", "host")
OPEN = group("open", "name")
IS_FQDN = "in 'open', its member 'name' is the FQDN www.example.com"


def found_in(
    asked: str,
    groups: Mapping[str, Sequence[Word]],
    *,
    parents: Mapping[str, str] | None = None,
    derived: Derived = NOTHING,
    pod_cidrs: Sequence[str] = (),
    registered: bool = True,
    tags: tuple[str, ...] = (),
    zones: Mapping[str, ZoneDefinition] | None = None,
) -> Holders:
    """What holds it in a cluster for all these device groups."""
    targets = [
        Target(
            "main", seen_by(name, groups, parents=parents), f"fw-{name}", order, "staged", derived
        )
        for order, name in enumerate(groups, 101)
    ]
    options = Options(
        tags,
        registered,
        (),
        zones=ZoneOptions(definitions=zones or {}),
        pod_cidrs=AddressSet.union(map(network, pod_cidrs)) if pod_cidrs else None,
    )
    return which("eu", wanted(asked), targets, options)


def here(asked: str, *words: Word, **networks: Sequence[str]) -> DeviceGroupHolders:
    """What holds it in a device group, where zones have configured networks."""
    zones = {name: ZoneDefinition(networks=tuple(nets)) for name, nets in networks.items()}
    (only,) = found_in(asked, {"dg": words}, zones=zones).device_groups
    return only


def ends(asked: str, *words: Word) -> dict[str, list[HeldEnd]]:
    """The ends of each rule that hold it or may, by the rule's name."""
    objects = (HOST, NAME, WEB, OPEN)
    return {each.placed.rule.name: [*each.ends] for each in here(asked, *objects, *words).rules}


def end(which_end: str, holds: Holds, *members: str, negated: bool = False) -> HeldEnd:
    return HeldEnd(which_end, holds, negated, members, ())


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3", "::ffff:a01:203"),
    ],
)
def test_an_address_or_a_network_is_shown_in_its_one_form(text: str, shown: str) -> None:
    assert written(wanted(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web-1",
        "10.1.2",
        "10.1.2.300",
        "10.1.2.3/33",
        "10.1.2.3/",
        "10.1.2.1-10.1.2.9",
        "\x1b[2J",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match="is neither an address nor a network; write") as refused:
        wanted(text)
    assert repr(text) in str(refused.value)


def test_an_address_with_a_mask_is_refused_with_both_that_it_may_mean() -> None:
    with pytest.raises(UsageError, match=r"write 10\.1\.2\.0/24 .*, or 10\.1\.2\.3 for"):
        wanted("10.1.2.3/24")
    with pytest.raises(UsageError, match=r"write 2001:db8::/64 .*, or 2001:db8::1 for"):
        wanted("2001:db8::1/64")


# --- sets -----------------------------------------------------------------------------------------


def test_sets_are_told_as_the_cluster_gets_them() -> None:
    # One more than a rule itself takes.
    nets = [f"10.{number}.0.0/17" for number in range(256)] + ["192.0.2.0/24"]
    listed = rule("list", source=nets, destination=["any"], from_=["a"], to=["b"])
    found = found_in("10.1.2.3", {"dg": [HOST, WEB, OPEN, NAME, listed]})
    assert [(each.group, each.nets) for each in found.sets] == [
        ("web", ("10.1.2.3/32",)),
        ("", ("10.1.0.0/17",)),
    ]
    assert [each.name[:9] for each in found.sets] == ["pan.web", "pan-list."]


def test_a_rule_for_any_address_may_have_a_list_of_what_wildcards_leave_of_it() -> None:
    words = (
        # 512 nets, more than a rule itself takes.
        address("wild", "10.0.3.3/0.255.4.0", kind="ip-wildcard"),
        rule("deny", source=["wild"], from_=["a"], to=["b"], action="deny"),
        rule("allow", source=["any"], from_=["a"], to=["b"], service=["any"]),
    )
    (left,) = found_in("10.7.0.0", {"dg": words}).sets
    assert (left.group, left.nets) == ("", ("10.7.0.0/23",))
    denied, left = found_in("10.7.3.0/24", {"dg": words}).sets
    assert {denied.holds, left.holds} == {Holds.PART}
    assert {("10.7.3.3/32",)} & {denied.nets, left.nets}


def test_a_set_holds_a_network_whole_or_in_part() -> None:
    words = (HOST, WEB, address("net", "10.0.0.0/8"), group("wide", "net"))
    found = found_in("10.1.0.0/16", {"dg": words})
    assert {each.group: (each.holds, each.nets) for each in found.sets} == {
        "web": (Holds.PART, ("10.1.2.3/32",)),
        "wide": (Holds.ALL, ("10.0.0.0/8",)),
    }


def test_what_calico_would_read_as_ipv4_is_in_the_group_and_in_no_set() -> None:
    found = found_in("::ffff:a01:203", {"dg": [group("mapped", "::ffff:10.1.2.3")]})
    assert found.sets == ()
    assert [each.name for each in found.device_groups[0].groups] == ["mapped"]


def test_groups_that_the_cluster_does_not_get_are_told_all_the_same() -> None:
    disabled = rule("old", source=["web"], disabled="yes")
    found = found_in("10.1.2.3", {"dg": [HOST, WEB, disabled]}, tags=("k8s",))
    assert found.sets == ()
    (only,) = found.device_groups
    assert [each.name for each in only.groups] == ["web"]
    assert [each.placed.rule.disabled for each in only.rules] == [True]


# --- zones ----------------------------------------------------------------------------------------


def test_the_zone_is_that_of_the_longest_prefix() -> None:
    found = here(
        "10.1.2.3",
        trust=["10.0.0.0/8"],
        web=["10.1.0.0/16"],
    )
    assert found.zones == (HeldZone("web", Holds.ALL, ("10.1.0.0/16",), "configured"),)
    assert found.in_no_zone is None


def test_a_network_may_lie_in_several_zones_and_in_none() -> None:
    found = here(
        "10.0.0.0/14",
        trust=["10.0.0.0/16"],
        web=["10.1.0.0/16"],
    )
    assert [(each.name, each.holds) for each in found.zones] == [
        ("trust", Holds.PART),
        ("web", Holds.PART),
    ]
    assert found.in_no_zone is Holds.PART


def test_what_no_zone_is_known_to_hold_may_be_in_those_without_known_networks() -> None:
    between = rule("it", from_=["web"], to=["db"])
    found = here("10.1.2.3", between, web=["10.2.0.0/16"])
    reason = "no template of the device group names it"
    assert found.zones == (HeldZone("db", Holds.MAYBE, (), reason),)
    assert found.in_no_zone is Holds.ALL
    known = here("10.2.0.1", between, web=["10.2.0.0/16"])
    assert [each.name for each in known.zones] == ["web"]


def test_derived_networks_and_multicast_say_where_they_come_from() -> None:
    derived = Derived(("web",), {"web": ("10.1.0.0/16",)}, {})
    (only,) = found_in("10.1.2.3", {"dg": ()}, derived=derived).device_groups
    assert [each.origin for each in only.zones] == ["derived from templates"]
    assert [each.name for each in here("224.0.0.5").zones] == ["multicast"]


def test_pods_are_told_of_where_their_networks_are_configured() -> None:
    found = found_in("10.1.2.3", {"dg": ()}, pod_cidrs=["10.1.0.0/16"])
    assert (found.among_pods, found.pods_known) == (Holds.ALL, True)
    found = found_in("10.0.0.0/8", {"dg": ()}, pod_cidrs=["10.1.0.0/16"])
    assert found.among_pods is Holds.PART
    found = found_in("10.9.0.1", {"dg": ()}, pod_cidrs=["10.1.0.0/16"])
    assert (found.among_pods, found.pods_known) == (None, True)
    assert not found_in("10.9.0.1", {"dg": ()}).pods_known


# --- rules ----------------------------------------------------------------------------------------


def test_a_rule_tells_at_which_end_and_by_which_members() -> None:
    found = ends(
        "10.1.2.3",
        rule("from", source=["web", "192.0.2.1", "10.1.2.0/24"], destination=["192.0.2.1"]),
        rule("both", source=["host"], destination=["10.1.2.1-10.1.2.9"]),
        rule("neither", source=["192.0.2.1"], destination=["any"]),
    )
    assert found == {
        "from": [end("source", Holds.ALL, "web", "10.1.2.0/24")],
        "both": [
            end("source", Holds.ALL, "host"),
            end("destination", Holds.ALL, "10.1.2.1-10.1.2.9"),
        ],
    }


def test_a_negated_list_holds_what_it_does_not_name() -> None:
    found = ends(
        "10.1.2.3",
        rule("all but it", source=["web"], negate_source="yes"),
        rule("all but another", source=["192.0.2.1"], negate_source="yes"),
        rule("not any", source=["any"], negate_source="yes"),
        rule("not even it", source=["web", "open"], negate_source="yes"),
        rule("who knows", source=["open"], negate_source="yes"),
    )
    assert found == {
        "all but another": [end("source", Holds.ALL, negated=True)],
        "who knows": [HeldEnd("source", Holds.MAYBE, True, (), (IS_FQDN,))],
    }


def test_of_a_network_a_negated_list_may_spare_a_part() -> None:
    found = ends("10.1.2.0/24", rule("most", destination=["web"], negate_destination="yes"))
    assert found == {"most": [end("destination", Holds.PART, "web", negated=True)]}


def test_an_open_list_may_hold_it_unless_it_does() -> None:
    found = ends(
        "10.1.2.3",
        rule("does", source=["web", "open"]),
        rule("may", source=["192.0.2.1", "open"]),
        rule("missing", source=["nowhere"]),
    )
    assert found == {
        "does": [end("source", Holds.ALL, "web")],
        "may": [HeldEnd("source", Holds.MAYBE, False, (), (IS_FQDN,))],
        "missing": [
            HeldEnd(
                "source",
                Holds.MAYBE,
                False,
                (),
                ("'nowhere' is not an address object, group or address that is known here",),
            )
        ],
    }


def test_of_a_network_an_open_list_may_hold_more_than_its_part() -> None:
    found = ends("10.1.2.0/24", rule("some", source=["web", "open"]))
    assert found == {"some": [HeldEnd("source", Holds.PART, False, ("web",), (IS_FQDN,))]}


def test_a_dynamic_group_without_registered_addresses_leaves_a_rule_open() -> None:
    words = (dynamic("tagged", "'web'"), rule("it", source=["tagged"]))
    (only,) = found_in("10.1.2.3", {"dg": words}, registered=False).device_groups
    (held,) = only.rules[0].ends
    assert held.holds is Holds.MAYBE
    assert held.reasons == (
        "group 'tagged' is dynamic, and registered addresses are not known here",
    )


def test_rules_for_any_address_are_counted_without_disabled_ones() -> None:
    found = here(
        "10.1.2.3",
        HOST,
        rule("to", source=["any"], destination=["host"]),
        rule("default"),
        rule("off", disabled="yes"),
        rule("nobody", source=["any"], negate_source="yes"),
    )
    assert (found.any_source, found.any_destination) == (2, 2)
    assert [each.placed.rule.name for each in found.rules] == ["to"]


def test_a_rule_that_could_not_be_read_is_not_taken_for_any() -> None:
    twice = tag("source", tag("member", "host")) * 2
    found = here("10.1.2.3", HOST, rule("it", twice, destination=["host"]))
    (only,) = found.rules
    assert [(each.end, each.holds) for each in only.ends] == [
        ("source", Holds.MAYBE),
        ("destination", Holds.ALL),
    ]
    assert only.ends[0].reasons == ("<source> occurs more than once",)
    assert (found.any_source, found.any_destination) == (0, 0)


def test_rules_stand_in_the_order_of_the_effective_rulebase() -> None:
    groups = {
        "child": [
            rule("first of child", source=["host"]),
            rule("last of child", source=["host"], rulebase="post"),
        ],
        "parent": [
            HOST,
            rule("off", source=["host"], disabled="yes"),
            rule("of parent", source=["host"]),
        ],
    }
    found = found_in("10.1.2.3", groups, parents={"child": "parent"})
    child, parent = found.device_groups
    assert [
        (each.placed.device_group, each.placed.rulebase, each.placed.position)
        for each in child.rules
    ] == [("parent", "pre", 1), ("parent", "pre", 2), ("child", "pre", 1), ("child", "post", 1)]
    assert [each.placed.rule.name for each in parent.rules] == ["off", "of parent"]


# --- several device groups ------------------------------------------------------------------------


def test_each_device_group_has_its_own_answer_and_the_cluster_all_sets() -> None:
    groups = {
        "a": [HOST, WEB, rule("it", source=["web"], from_=["web"], to=["db"])],
        "b": [address("host", "192.0.2.1"), WEB, rule("it", source=["web"])],
    }
    found = found_in("10.1.2.3", groups)
    assert [each.nets for each in found.sets] == [("10.1.2.3/32",)]
    a, b = found.device_groups
    assert (a.source, a.name, b.name) == ("main", "a", "b")
    assert [len(each) for each in (a.objects, a.groups, a.rules)] == [1, 1, 1]
    assert [len(each) for each in (b.objects, b.groups, b.rules)] == [0, 0, 0]
    # The other's set has a name of its own.
    (other,) = found_in("192.0.2.1", groups).sets
    assert other.group == "web"
    assert other.name != "pan.web"

"""Which rules a report marks because NAT rules translate their destinations."""

from collections.abc import Sequence

import pytest

from sync.firewall.zone_networks import Derived
from sync.translate.nat import nat_rules
from sync.translate.network_sets import Target
from tests.words import (
    Word,
    address,
    both_ways,
    dynamic,
    group,
    members,
    nat_rule,
    rule,
    seen_by,
    to_server,
)

WORDS = (
    address("shop", "192.0.2.10"),
    address("mail", "192.0.2.20"),
    address("name", "www.example.com", kind="fqdn"),
    group("public", "shop", "mail"),
    group("open", "mail", "name"),
    group("none"),
    dynamic("tagged", "'web'"),
)


def to(*listed: str, name: str = "n") -> Word:
    """A NAT rule that translates these destinations."""
    return nat_rule(name, members("destination", listed), to_server("10.0.0.1"))


def marks(*words: Word, registered_known: bool = True) -> list[tuple[str, ...]]:
    """The NAT rules of each rule, in order."""
    seen = seen_by("dg", {"dg": [*WORDS, *words]})
    target = Target("main", seen, "fw", 100, "enforced", Derived((), {}, {}))
    return nat_rules(target, registered_known=registered_known, registered_accepted=False)


@pytest.mark.parametrize(
    ("translated", "destination", "marked"),
    [
        (["shop"], ["shop"], True),
        (["shop"], ["192.0.2.0/24"], True),
        (["shop"], ["mail"], False),
        (["shop"], ["10.0.0.1"], False),
        (["shop"], ["public"], True),
        (["public"], ["shop"], True),
        (["public"], ["10.0.0.1", "mail"], True),
        (["public"], ["10.0.0.1"], False),
        (["192.0.2.1-192.0.2.10"], ["shop"], True),
        (["shop"], ["2001:db8::/32"], False),
        (["any"], ["shop"], True),
        (["any"], ["2001:db8::/32"], True),
        (["2001:db8::/32", "shop"], ["2001:db8::1"], True),
        (["192.0.2.0/24", "192.0.2.15"], ["192.0.2.9", "10.0.0.1"], True),
        (["shop"], ["any"], False),
        (["shop"], ["none"], False),
        (["none"], ["any"], False),
        (["shop"], ["name"], True),
        (["name"], ["shop"], True),
        (["open"], ["10.0.0.1"], True),
        (["shop"], ["open"], True),
        (["nowhere"], ["10.0.0.1"], True),
    ],
)
def test_a_rule_is_marked_where_destinations_may_be_the_same(
    translated: Sequence[str], destination: Sequence[str], marked: bool
) -> None:
    assert marks(to(*translated), rule("r", destination=destination)) == [("n",) if marked else ()]


def test_all_but_some_destinations_are_the_servers_too() -> None:
    words = [
        rule(name, destination=[name], negate_destination="yes") for name in ("shop", "mail", "any")
    ]
    assert marks(to("shop"), *words) == [(), (), ()]


@pytest.mark.parametrize("known", [True, False])
def test_a_dynamic_group_may_hold_anything_unless_registered_addresses_are_known(
    known: bool,
) -> None:
    words = (to("shop"), rule("r", destination=["tagged"]))
    assert marks(*words, registered_known=known) == [() if known else ("n",)]


def test_what_a_source_translation_translates_back_is_a_destination_too() -> None:
    reverse = nat_rule("n", members("destination", ["any"]), both_ways("mail"))
    rules = (rule("a", destination=["mail"]), rule("b", destination=["shop"]))
    assert marks(reverse, *rules) == [("n",), ()]


def test_each_rule_names_its_own_nat_rules_in_the_order_of_evaluation() -> None:
    nat = (to("shop", name="z"), to("mail", name="m"), to("shop", name="a"))
    rules = (
        rule("one", destination=["shop"]),
        rule("both", destination=["public"]),
        rule("neither", destination=["10.0.0.1"]),
    )
    assert marks(*nat, *rules) == [("z", "a"), ("z", "m", "a"), ()]


def test_of_nat_rules_that_overlap_those_are_named_that_hold_an_address() -> None:
    nested = [to(f"192.0.2.0/{length}", name=f"/{length}") for length in range(32, 23, -1)]
    rules = [rule(f"r{last}", destination=[f"192.0.2.{last}"]) for last in (0, 9, 128)]
    assert marks(*nested, *rules) == [
        tuple(f"/{length}" for length in range(32, 23, -1)),
        ("/28", "/27", "/26", "/25", "/24"),
        ("/24",),
    ]


def test_a_disabled_rule_is_not_marked() -> None:
    off = rule("off", destination=["shop"], disabled="yes")
    assert marks(to("shop"), off, rule("on", destination=["shop"])) == [(), ("n",)]


def test_without_nat_rules_nothing_is_marked() -> None:
    assert marks(rule("a"), rule("b", destination=["name"])) == [(), ()]

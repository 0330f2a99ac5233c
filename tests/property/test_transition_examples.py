"""Small changes that some order of writing opens: no state between lets by what both ends deny.

Each is left alone, killed in every state between, and refused each of its writes; what is left is
taken up again, turned back, or refused for good.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Literal

import pytest

from sync.calico import limits
from sync.reconcile.device_groups import TierBinding
from tests.transitions import Firm, Says, Trace, complaints, ended, journey, synced

QUARANTINE = Says("quarantine", "deny", ("users",), ("web",), ("quarantine",))
CLIENTS = Says("clients", "allow", ("users",), ("web",), ("clients",))
APART = Firm(
    {"a": (QUARANTINE, CLIENTS)},
    {"clients": ("h1",), "quarantine": ("h2",)},
    zones={"a": ("web", "db", "users", "lab")},
)
TOGETHER = replace(APART, groups={"clients": ("h1", "h7"), "quarantine": ("h2", "h7")})


def of_one_rule(rule: Says, *members: str) -> Firm:
    return replace(APART, rules={"a": (rule,)}, groups={"clients": members})


def opens_nothing(*firms: Firm, kills: int = 16, refusals: int = 8) -> None:
    """Fail with what goes wrong between two configurations, or on the way to a third."""
    hold(journey(firms, Random(1), kills=kills, refusals=refusals))


def hold(complaints: Iterator[str]) -> None:
    if complaint := next(complaints, ""):
        pytest.fail(complaint)


# --- one rulebase ---------------------------------------------------------------------------------


def test_a_host_joins_an_allowed_and_a_quarantined_group_at_once() -> None:
    opens_nothing(APART, TOGETHER)


def test_a_host_leaves_an_allowed_and_a_quarantined_group_at_once() -> None:
    opens_nothing(TOGETHER, APART)


def test_a_host_changes_from_one_quarantined_group_to_another() -> None:
    more = Says("more", "deny", ("users",), ("web",), ("more",))
    old = replace(
        APART,
        rules={"a": (QUARANTINE, more, CLIENTS)},
        groups={"clients": ("n-users",), "quarantine": ("h2", "h7"), "more": ("h3",)},
    )
    new = replace(
        old, groups={"clients": ("n-users",), "quarantine": ("h2",), "more": ("h3", "h7")}
    )
    opens_nothing(old, new)
    opens_nothing(new, old)


def test_a_group_grows_while_its_rule_turns_from_allow_to_deny() -> None:
    allow = of_one_rule(CLIENTS, "h1")
    deny = of_one_rule(replace(CLIENTS, action="deny"), "h1", "h7")
    opens_nothing(allow, deny)


def test_a_group_shrinks_while_its_rule_turns_from_deny_to_allow() -> None:
    deny = of_one_rule(replace(CLIENTS, action="deny"), "h1", "h7")
    allow = of_one_rule(CLIENTS, "h1")
    opens_nothing(deny, allow)


def test_a_group_changes_while_its_rule_turns_and_turns_back() -> None:
    allow = of_one_rule(CLIENTS, "h1")
    deny = of_one_rule(replace(CLIENTS, action="deny"), "h1", "h7")
    opens_nothing(allow, deny, of_one_rule(CLIENTS, "h2"))
    opens_nothing(deny, allow, of_one_rule(replace(CLIENTS, action="deny"), "h2", "h7"))


def test_a_negated_allow_takes_over_what_a_quarantine_lets_go() -> None:
    """It is denied before by the deny, and after because the allow leaves it out."""
    allow = replace(CLIENTS, not_source=True)
    old = replace(
        APART,
        rules={"a": (QUARANTINE, allow)},
        groups={"clients": ("h1",), "quarantine": ("h2", "h7")},
    )
    new = replace(old, groups={"clients": ("h1", "h7"), "quarantine": ("h2",)})
    opens_nothing(old, new)
    opens_nothing(new, old)


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_rule_is_negated_while_its_group_changes(action: Literal["allow", "deny"]) -> None:
    plain = replace(CLIENTS, action=action)
    within = Says("all", "allow", ("users",), ("web",))
    one, two = (
        replace(
            APART,
            rules={"a": (rule, within) if action == "deny" else (rule,)},
            groups={"clients": members},
        )
        for rule, members in (
            (plain, ("h1",)),
            (replace(plain, not_source=True), ("h1", "h2", "h7")),
        )
    )
    opens_nothing(one, two)
    opens_nothing(two, one)


def test_a_denied_group_is_split_in_two() -> None:
    old = replace(
        APART, groups={"clients": ("n-users",), "quarantine": ("h2", "h7"), "more": ("h6",)}
    )
    both = replace(QUARANTINE, source=("quarantine", "more"))
    new = replace(
        APART,
        rules={"a": (both, CLIENTS)},
        groups={"clients": ("n-users",), "quarantine": ("h2",), "more": ("h7",)},
    )
    opens_nothing(old, new)
    opens_nothing(new, old)


def test_one_group_is_allowed_by_one_rule_and_denied_by_another() -> None:
    """To other pods, and both ways round."""
    allow = Says("on", "allow", ("users",), ("db",), ("both",))
    deny = Says("off", "deny", ("users",), ("web",), ("both",))
    rest = Says("rest", "allow", ("users",), ("web",), ("clients",))
    old = replace(
        APART,
        rules={"a": (allow, deny, rest)},
        groups={"both": ("h1",), "clients": ("h2",)},
    )
    new = replace(old, groups={"both": ("h1", "h7"), "clients": ("h2", "h7")})
    turned = replace(
        new, rules={"a": (replace(deny, action="allow"), replace(allow, action="deny"), rest)}
    )
    opens_nothing(old, new, turned)
    opens_nothing(new, turned, old)
    opens_nothing(turned, old, new)


def test_a_nested_group_and_one_that_overlaps_it_change_together() -> None:
    old = replace(
        APART,
        rules={"a": (replace(QUARANTINE, source=("quarantine", "nested")), CLIENTS)},
        groups={"clients": ("n-03", "nested"), "quarantine": ("n-23", "nested"), "nested": ("h4",)},
    )
    new = replace(
        old,
        groups={"clients": ("n-03", "nested"), "quarantine": ("nested",), "nested": ("h2", "h7")},
    )
    opens_nothing(old, new)
    opens_nothing(new, old)


def test_tags_move_a_host_between_dynamic_groups() -> None:
    old = replace(
        APART, groups={"clients": "t1", "quarantine": "t2"}, tags={"h1": ("t1",), "h2": ("t2",)}
    )
    new = replace(old, tags={"h1": ("t1",), "h2": ("t2",), "h7": ("t1", "t2")})
    opens_nothing(old, new)
    opens_nothing(new, old)


def test_a_cluster_refuses_every_policy_for_ever() -> None:
    """What sets do alone opens nothing, however long the policies wait, whatever is aimed at."""
    turned = replace(TOGETHER, rules={"a": (CLIENTS, QUARANTINE)})
    refusing("tier-a.", TOGETHER, APART, turned, TOGETHER)


def test_a_cluster_refuses_every_set_for_ever() -> None:
    refusing("pan", TOGETHER, of_one_rule(replace(CLIENTS, action="deny"), "h1", "h7"), TOGETHER)


def refusing(prefix: str, *firms: Firm) -> None:
    """No state is open while objects of a prefix are refused, whatever is aimed at in turn."""
    aims, stands, traces = [APART], APART.first.end, list[Trace]()
    for firm in firms:
        aims.append(firm)
        trace = synced(firm, stands, lambda name, time: name.startswith(prefix))
        traces.append(trace)
        hold(complaints(traces, aims, Random(1)))
        stands = trace.end
    last = synced(APART, stands)
    hold(complaints((*traces, last), aims, Random(1)))
    hold(ended(last, APART))


# --- several device groups, zones and tiers -------------------------------------------------------


SIDES = {
    "from a network": Says("it", "deny", ("users",), ("web",), ("h1",)),
    "to a network": Says("it", "deny", ("web",), ("users",), destination=("h1",)),
    "between pods": Says("it", "deny", ("web",), ("db",)),
}


def of_two(names: str, orders: tuple[int, int], denies: str, deny: Says) -> Firm:
    """Two device groups that allow all, but for one deny of one of them."""
    everything = Says("everything", "allow")
    return Firm(
        {name: (deny, everything) if name == denies else (everything,) for name in "ab"},
        zones={"a": ("web", "db", "users"), "b": ("web", "db", "users")},
        here=tuple(
            TierBinding("main", name, f"tier-{tier}", order, mode="enforced")
            for (name, tier), order in zip((("a", names[0]), ("b", names[1])), orders, strict=True)
        ),
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("names", ["xy", "yx"])
@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("listed", ["as it is", "in reverse"])
def test_a_deny_moves_from_one_device_group_to_the_other(
    side: str, names: str, first: str, listed: str
) -> None:
    """Whichever tier comes first, whatever it is called and wherever it is listed."""
    orders = (101, 102) if first == "a" else (102, 101)
    one, two = (of_two(names, orders, denies, SIDES[side]) for denies in "ab")
    if listed == "in reverse":
        one, two = (replace(each, here=each.here[::-1]) for each in (one, two))
    opens_nothing(one, two, kills=4, refusals=3)
    opens_nothing(two, one, kills=4, refusals=3)
    assert not synced(two, one.first.end).unordered
    assert not synced(one, two.first.end).unordered


def test_what_two_device_groups_exchange_is_open_only_where_the_plan_names_it() -> None:
    """Each begins to deny to the same pods what the other no longer does: no order is right."""
    one, two = (of_two("xy", (101, 102), denies, SIDES["from a network"]) for denies in "ab")
    other = replace(SIDES["from a network"], name="other", source=("h2",))
    one = replace(one, rules={**one.rules, "b": (other, *one.rules["b"])})
    two = replace(two, rules={**two.rules, "a": (other, *two.rules["a"])})
    opens_nothing(one, two)
    opens_nothing(two, one)


def test_two_denies_follow_each_other_through_two_device_groups() -> None:
    """What one of them begins to deny, the other stops to deny, and no circle is in that."""
    one = of_two("xy", (101, 102), "a", SIDES["from a network"])
    rules = {**one.rules, "b": (SIDES["between pods"], *one.rules["b"])}
    one = replace(one, rules=rules)
    two = of_two("xy", (101, 102), "b", SIDES["from a network"])
    opens_nothing(one, replace(two, rules={**two.rules, "a": one.rules["a"][1:]}))


def test_a_zone_moves_to_the_other_device_group() -> None:
    everything = Says("everything", "allow")
    deny = Says("deny", "deny", ("users",), ("any",), ("h1",))
    one = Firm(
        {"a": (deny, everything), "b": (deny, everything)},
        zones={"a": ("web", "users"), "b": ("db", "users")},
        here=(
            TierBinding("main", "a", "tier-a", 101, mode="enforced"),
            TierBinding("main", "b", "tier-b", 102, mode="enforced"),
        ),
    )
    two = replace(one, zones={"a": ("users",), "b": ("db", "web", "users")})
    opens_nothing(one, two)
    opens_nothing(two, one)


def test_tiers_change_names_and_places() -> None:
    one = of_two("xy", (101, 102), "a", SIDES["from a network"])
    two = of_two("zw", (102, 101), "a", SIDES["from a network"])
    opens_nothing(one, two)


def test_a_tier_changes_its_name_and_nothing_else() -> None:
    """Its pods whose label names no zone stay denied too, whichever write is refused."""
    one = replace(APART, here=(replace(APART.here[0], tier="tier-z"),))
    opens_nothing(APART, one, refusals=99)


def test_a_device_group_is_enforced_and_no_longer() -> None:
    one = of_two("xy", (101, 102), "a", SIDES["from a network"])
    staged = replace(one.here[1], mode="staged")
    two = replace(one, here=(one.here[0], staged))
    opens_nothing(one, two)
    opens_nothing(two, one)


def test_pods_come_to_another_zone_by_its_definition() -> None:
    definitions = APART.zone_options.definitions
    others = {zone: found for zone, found in definitions.items() if zone != "db"}
    taken = replace(definitions["db"], selector="app == 'web'")
    new = replace(
        APART,
        zone_options=replace(APART.zone_options, definitions={"db": taken, **others}),
    )
    opens_nothing(APART, new)
    opens_nothing(new, APART)


def test_a_network_comes_to_another_zone() -> None:
    lab = Says("lab", "deny", ("lab",), ("web",), ("n-03",))
    old = replace(
        APART,
        rules={"a": (QUARANTINE, lab, CLIENTS)},
        groups={"clients": ("n-users",), "quarantine": ("h1", "h2", "h3")},
    )
    definitions = old.zone_options.definitions
    new = replace(
        old,
        groups={"clients": ("n-users",), "quarantine": ("h7",)},
        zone_options=replace(
            old.zone_options,
            definitions={
                **definitions,
                "lab": replace(definitions["lab"], networks=("10.8.0.0/16", "10.9.0.0/30")),
            },
        ),
    )
    opens_nothing(old, new)
    opens_nothing(new, old)


# --- what a cluster refuses of one tier, another one waits for ------------------------------------

BOTH = (
    TierBinding("main", "a", "tier-a", 101, mode="enforced"),
    TierBinding("main", "b", "tier-b", 102, mode="enforced"),
)
ONE = Says("one", "allow", ("users",), ("web",), ("one",))
OTHER = Says("other", "allow", ("users",), ("web",), ("other",))
ALL = Says("all", "allow", ("users",), ("web",))


def of_both(a: tuple[Says, ...], b: tuple[Says, ...], **groups: tuple[str, ...]) -> Firm:
    zones = ("web", "db", "users", "lab")
    return Firm({"a": a, "b": b}, groups, zones={"a": zones, "b": zones}, here=BOTH)


def refused(old: Firm, new: Firm, start: str) -> None:
    """Every write of an object whose name begins so is refused, and later it is not."""
    trace = synced(new, old.first.end, lambda name, time: name.startswith(start))
    assert trace.refused
    hold(complaints((trace,), (old, new), Random(1)))
    last = synced(new, trace.end)
    hold(complaints((trace, last), (old, new, new), Random(1)))
    hold(ended(last, new))


def test_a_set_that_could_not_lose_keeps_another_tiers_set_from_gaining() -> None:
    old = of_both((ONE,), (OTHER,), one=("h1",), other=("h1", "h2", "h7"))
    refused(old, replace(old, groups={"one": ("h1", "h7"), "other": ("h1", "h2")}), "pan.other")


def test_a_set_that_could_not_lose_keeps_another_tiers_policy_from_passing() -> None:
    old = of_both((ONE,), (OTHER,), one=("h1",), other=("h1", "h2", "h7"))
    refused(old, of_both((ALL,), (OTHER,), one=("h1",), other=("h1", "h2")), "pan.other")


def test_a_policy_that_could_not_deny_keeps_another_tiers_set_from_gaining() -> None:
    deny = replace(ALL, name="deny", action="deny", source=("h7",))
    old = of_both((ONE,), (ALL,), one=("h1",))
    refused(old, of_both((ONE,), (deny, ALL), one=("h1", "h7")), "tier-b.")


def test_a_zone_goes_with_its_device_group() -> None:
    """Its pods' label names none then; as long as the other tier lets them by, the chain stays."""
    within = Says("within", "allow", ("users",), ("users",))
    old = replace(of_both((within,), (ALL,)), zones={"a": ("users",), "b": ("users", "web")})
    new = replace(old, here=BOTH[:1], rules={"a": (within,)}, zones={"a": ("users",)})
    refused(old, new, "tier-a.pan-elsewhere")
    opens_nothing(old, new)


def test_a_deny_moves_to_the_other_device_group_while_a_zone_is_defined() -> None:
    """Every later zone's selector changes with that, and says of its pods what it did."""
    one, two = (of_two("xy", (101, 102), denies, SIDES["from a network"]) for denies in "ab")
    web = one.zone_options.definitions["web"]
    definitions = {"new": replace(web, selector="app == 'new'"), **one.zone_options.definitions}
    two = replace(two, zone_options=replace(two.zone_options, definitions=definitions))
    assert not synced(two, one.first.end).unordered


# --- sets in parts --------------------------------------------------------------------------------


def test_a_group_has_fewer_parts_when_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No policy selects a group that is denied; what was left of it would be allowed at once."""
    monkeypatch.setattr(limits, "NETS_PER_SET", 1)
    old = of_one_rule(replace(CLIENTS, action="deny"), "h1", "h3", "h7")
    new = of_one_rule(CLIENTS, "h1")
    opens_nothing(old, new)
    opens_nothing(new, old)

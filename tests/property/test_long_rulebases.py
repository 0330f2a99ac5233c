"""What a change of a long rulebase rewrites: one policy of each zone, wherever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest

from sync.calico.manifest import Manifest
from sync.calico.validator import validate
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.zone_networks import Derived
from sync.options import ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.translation import translate
from tests.words import Word, address, group, rule, seen_by, service

Objects = Mapping[tuple[str, str], Manifest]

ZONES = ("dmz", "trust", "untrust")
RULES = 1600


@cache
def long_rulebase(members: int = 4, blocked: int = 3) -> EffectiveDeviceGroup:
    """1,600 rules over three zones; each second one is from a zone to servers anywhere."""
    words: list[Word] = [
        service("web", "443"),
        service("other", "8443"),
        *(address(f"host-{number}", f"10.1.0.{number}") for number in range(members)),
        group("servers", *(f"host-{number}" for number in range(members))),
        group("clients", "host-1"),
        *(address(f"bad-{number}", f"10.4.0.{number}") for number in range(blocked)),
        group("blocked", *(f"bad-{number}" for number in range(blocked))),
    ]
    for number in range(RULES):
        zone = ZONES[number % 3]
        deny = bool(number % 5)
        listed = "blocked" if number == 7 else "10.4.1.1" if deny else "servers"
        words.append(
            rule(
                f"rule {number}",
                from_=[zone] if number % 2 else ["any"],
                to=["any"] if number % 2 else [zone],
                source=["10.1.0.1" if deny else "clients"],
                destination=[listed if number % 2 else f"10.2.{number // 256}.{number % 256}"],
                service=["web"],
                action="deny" if deny else "allow",
            )
        )
    return seen_by("dg", {"dg": words})


def translated(device_group: EffectiveDeviceGroup, stands: Objects) -> Objects:
    target = Target("main", device_group, "fw", 100, "enforced", Derived((), {}, {}))
    definitions = {zone: ZoneDefinition(networks=()) for zone in ZONES}
    options = Options((), True, (), zones=ZoneOptions(definitions=definitions))
    return translate("cluster", [target], options, stands).manifests


@cache
def before() -> Objects:
    return translated(long_rulebase(), {})


def rewritten(now: Objects) -> list[str]:
    """The objects that are not as they were, `-` before those that are gone."""
    was = before()
    gone = [f"-{name}" for kind, name in was.keys() - now.keys()]
    return sorted([key[1] for key, each in now.items() if was.get(key) != each] + gone)


def zones_of(names: Sequence[str]) -> list[str]:
    """The zone of each policy of a chain."""
    return sorted(
        zone
        for name in names
        for zone in ZONES
        if f"-zone-{zone}" in name or f"-part-{zone}" in name
    )


def test_a_long_rulebase_is_cut_into_valid_policies() -> None:
    policies = [each for (kind, _), each in before().items() if kind == "GlobalNetworkPolicy"]
    assert len(policies) > 3 * 5
    assert not [problem for each in policies for problem in validate(each)]
    orders = [each.document()["spec"]["order"] for each in policies]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("number", [0, 1, 700, 1501, RULES - 2, RULES - 1])
def test_a_rule_that_changes_rewrites_one_policy_in_each_zone_that_has_it(number: int) -> None:
    rules = list(long_rulebase().rules)
    placed = rules[number]
    rules[number] = replace(placed, rule=replace(placed.rule, services=("other",)))
    now = translated(replace(long_rulebase(), rules=tuple(rules)), before())
    # From any zone to one, or from one to any: every zone has its side of it.
    changed = rewritten(now)
    assert zones_of(changed) == list(ZONES)
    assert len(changed) == len(ZONES)


def test_a_rule_between_two_zones_changes_nothing_for_the_third() -> None:
    rules = list(long_rulebase().rules)
    between = replace(rules[1500].rule, from_zones=("trust",), to_zones=("dmz",))
    rules[1500] = replace(rules[1500], rule=between)
    first = translated(replace(long_rulebase(), rules=tuple(rules)), before())
    rules[1500] = replace(rules[1500], rule=replace(between, services=("other",)))
    second = translated(replace(long_rulebase(), rules=tuple(rules)), first)
    changed = [name for (kind, name), each in second.items() if first.get((kind, name)) != each]
    assert zones_of(changed) == ["dmz", "trust"]
    assert len(changed) == 2


@pytest.mark.parametrize("number", [0, 1234, RULES])
def test_a_rule_that_is_inserted_rewrites_one_policy_in_each_zone(number: int) -> None:
    rules = list(long_rulebase().rules)
    new = replace(rules[0], rule=replace(rules[0].rule, name="new"))
    rules.insert(number, new)
    changed = rewritten(translated(replace(long_rulebase(), rules=tuple(rules)), before()))
    assert zones_of(changed) == list(ZONES)
    assert len(changed) == len(ZONES)


def test_a_rule_that_goes_rewrites_one_policy_in_each_zone() -> None:
    rules = list(long_rulebase().rules)
    del rules[1234]
    changed = rewritten(translated(replace(long_rulebase(), rules=tuple(rules)), before()))
    assert zones_of(changed) == list(ZONES)
    assert len(changed) == len(ZONES)


def test_an_address_that_joins_a_group_of_allows_rewrites_its_set_alone() -> None:
    assert rewritten(translated(long_rulebase(5), before())) == ["pan.servers"]


def test_an_address_that_joins_a_group_of_denies_rewrites_the_policies_that_deny_it() -> None:
    """Together with its set, which others may select."""
    *policies, network_set = rewritten(translated(long_rulebase(blocked=4), before()))
    assert network_set == "pan.blocked"
    assert zones_of(policies) == list(ZONES)
    assert len(policies) == len(ZONES)

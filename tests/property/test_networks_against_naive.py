"""What lies behind zones against a naive reading, address by address, of random firewalls."""

import random
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

import pytest

from tests.unit.firewall.test_networks import interface, route, router, several, zone
from tests.words import tag, text

_PREFIXES = [
    *("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.64.0.0/10", "10.1.0.0/16", "10.1.1.0/24"),
    *("10.1.1.128/25", "10.2.0.0/16", "10.3.0.0/16", "11.0.0.0/8", "172.16.0.0/12"),
]
_PROBES = [
    ip_address(each)
    for each in (
        *("9.9.9.9", "10.0.0.1", "10.1.0.1", "10.1.1.1", "10.1.1.200", "10.2.0.1", "10.3.3.3"),
        *("10.64.0.1", "10.127.0.1", "10.200.0.1", "11.5.0.1", "12.0.0.1", "172.17.0.1"),
    )
]
_ZONES = ("a", "b", "c", "d")


def longest(claims: Mapping[str, set[str]], address: object) -> tuple[int, set[str]]:
    """The length of the longest prefix that holds an address, and what it leads to."""
    holding = [each for each in claims if address in ip_network(each)]
    if not holding:
        return -1, set()
    best = max(holding, key=lambda each: ip_network(each).prefixlen)
    return ip_network(best).prefixlen, claims[best]


Table = dict[str, set[str]]


def firewall(chance: random.Random) -> tuple[str, list[Table], bool]:
    """A random firewall: its template, where the prefixes of its routers lead, if it can be read.

    `-` is no zone: an interface without one, or a route that discards.
    """
    zones = chance.sample(_ZONES, chance.randint(1, 3))
    parts, learns = "", False
    tables: list[Table] = []
    split = chance.randint(1, 3)
    for part in range(split):
        routes, interfaces = "", []
        claims: Table = {}
        for number, name in [*enumerate(zones), (3, "-")]:
            if number % split != part and name != "-":
                continue
            out = f"e{part}{number}"
            interfaces.append(out)
            address = f"192.168.{chance.choice((10, 20, 30, 40)) + number}.1/32"
            parts += interface(out, address) + (zone(name, out) if name != "-" else "")
            claims.setdefault(address, set()).add(name)
            for prefix in chance.sample(_PREFIXES, chance.randint(0, 2)):
                claims.setdefault(prefix, set()).add(name)
                routes += route(prefix, out)
        for prefix in chance.sample(_PREFIXES, chance.randint(0, 1)):
            claims.setdefault(prefix, set()).add("-")
            routes += route(prefix, "", "discard=")
        reads = chance.random() < 0.95
        inner = "" if reads else tag("protocol", tag("rip", text("enable", "yes")))
        parts += router(f"vr-{part}", interfaces, routes, inner=inner)
        if len(interfaces) > 1:
            tables.append(claims)
            learns = learns or not reads
    return parts, tables, learns


@pytest.mark.parametrize("seed", range(300))
def test_networks_agree_with_looking_every_address_up_in_every_router(seed: int) -> None:
    chance = random.Random(seed)
    firewalls = [firewall(chance) for _ in range(chance.randint(1, 3))]
    found = several(*(template for template, _, _ in firewalls))
    derived_claims: Table = {}
    for name, cidrs in found.networks.items():
        for each in cidrs:
            derived_claims.setdefault(each, set()).add(name)
    # No prefix is two zones'.
    assert all(len(zones) == 1 for zones in derived_claims.values())
    if any(learns for _, _, learns in firewalls):
        assert not found.networks
    for probe in _PROBES:
        answers = [longest(table, probe) for _, tables, _ in firewalls for table in tables]
        expected = set().union(*(zones - {"-"} for _, zones in answers))
        _, zones = longest(derived_claims, probe)
        if zones:
            assert zones == expected, probe
        else:
            assert not expected & found.networks.keys(), probe


def test_random_firewalls_are_known_often_enough_to_try_something() -> None:
    known = total = 0
    for seed in range(300):
        chance = random.Random(seed)
        firewalls = [firewall(chance) for _ in range(chance.randint(1, 3))]
        found = several(*(template for template, _, _ in firewalls))
        known += len(found.networks)
        total += len(found.zones)
    assert known > total // 8

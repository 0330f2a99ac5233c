"""What lies behind a zone, as the templates and stacks of its device group say."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

import pytest

from sync.firewall.zone_networks import NOTHING, Derived, derived
from tests.words import Word, document, entry, members, read, tag, text

# --- words ----------------------------------------------------------------------------------------


def zone(name: str, *interfaces: str, kind: str = "layer3", vsys: str = "vsys1") -> str:
    inner = tag("network", tag(kind, *(text("member", each) for each in interfaces)))
    return tag("vsys", entry(vsys, tag("zone", entry(name, inner))))


def interface(name: str, *addresses: str, inner: str = "") -> str:
    v4 = [entry(each) for each in addresses if ":" not in each]
    v6 = [entry(each) for each in addresses if ":" in each]
    parts = tag("ip", *v4) if v4 else ""
    parts += tag("ipv6", text("enabled", "yes"), tag("address", *v6)) if v6 else ""
    return tag(
        "network",
        tag("interface", tag("ethernet", entry(name, tag("layer3", parts, inner)))),
    )


def router(name: str, interfaces: Sequence[str], *routes: str, inner: str = "") -> str:
    table = tag("routing-table", tag("ip", tag("static-route", *routes))) if routes else ""
    held = entry(name, members("interface", interfaces), table, inner)
    return tag("network", tag("virtual-router", held))


def route(destination: str, out: str = "", hop: str = "", *inner: str) -> str:
    """A static route by interface, next hop or both; `hop` may be `kind:value`."""
    kind, colon, value = hop.partition("=")
    if not colon:
        kind, value = "ip-address", hop
    return entry(
        f"to {destination} {out}{hop}",
        text("destination", destination),
        text("interface", out) if out else "",
        tag("nexthop", text(kind, value)) if hop else "",
        *inner,
    )


def lan(
    number: int, zone_name: str, *addresses: str, vsys: str = "vsys1", kind: str = "layer3"
) -> str:
    """A zone with one interface, `e<number>`."""
    name = f"e{number}"
    return zone(zone_name, name, vsys=vsys, kind=kind) + interface(name, *addresses)


def config(*parts: str) -> str:
    # Each word is a device entry of its own; they are read as one.
    return tag("config", tag("devices", *(entry("localhost.localdomain", each) for each in parts)))


def stack(
    name: str, templates: Sequence[str] = (), devices: Sequence[str] = (), own: str = ""
) -> str:
    return entry(
        name,
        members("templates", templates),
        tag("devices", *(entry(each) for each in devices)),
        config(own) if own else "",
    )


def group(
    devices: Mapping[str, Sequence[str]] | None = None, references: Sequence[str] = ()
) -> list[Word]:
    """A device group of firewalls by serial with their virtual systems, and of references."""
    words = [
        Word("devices", entry(serial, tag("vsys", *(entry(each) for each in systems))))
        for serial, systems in (devices or {}).items()
    ]
    return words + [Word("reference-templates", text("member", each)) for each in references]


def says(
    templates: Mapping[str, str],
    stacks: Sequence[str],
    groups: Mapping[str, Sequence[Word]],
    *,
    parents: Mapping[str, str] | None = None,
    shared: Sequence[Word] = (),
    of: str = "dg",
) -> Derived:
    configuration = read(
        document(
            shared,
            groups,
            parents=parents,
            devices=tag(
                "template", *(entry(name, config(each)) for name, each in templates.items())
            )
            + tag("template-stack", *stacks),
        )
    )
    return derived(configuration, of)


def one(*parts: str) -> Derived:
    """What one firewall with one template says."""
    return says({"t": "".join(parts)}, [stack("s", ["t"], ["001"])], {"dg": group({"001": ()})})


def several(*firewalls: str) -> Derived:
    """What several firewalls with a template each say."""
    templates = {f"t{number}": each for number, each in enumerate(firewalls)}
    stacks = [
        stack(f"s{number}", [f"t{number}"], [f"00{number}"]) for number in range(len(templates))
    ]
    return says(
        templates, stacks, {"dg": group({f"00{number}": () for number in range(len(templates))})}
    )


LAN = lan(1, "trust", "10.1.0.1/24")
WAN = lan(2, "untrust", "192.0.2.1/24")
BOTH = LAN + WAN


def routed(*routes: str, inner: str = "") -> Derived:
    """`trust` on e1, `untrust` on e2, and a third zone `dmz` on e3."""
    return one(
        BOTH, lan(3, "dmz", "10.3.0.1/24"), router("vr", ["e1", "e2", "e3"], *routes, inner=inner)
    )


def unknown(found: Derived, *zones: str) -> str:
    """The one reason why exactly these zones are unknown."""
    assert sorted(found.unknown_because) == sorted(zones)
    assert sorted([*found.networks, *found.unknown_because]) == list(found.zones)
    (because,) = set(found.unknown_because.values())
    return because


# --- one virtual router ---------------------------------------------------------------------------


def test_a_zone_has_the_networks_of_its_interfaces() -> None:
    found = one(
        zone("trust", "e1", "e2"),
        interface("e1", "10.1.0.1/24", "2001:db8::1/64", "10.0.9.9"),
        interface("e2", "9.0.0.1/8"),
        router("vr", ["e1", "e2"]),
    )
    assert found == Derived(
        ("trust",), {"trust": ("9.0.0.0/8", "10.0.9.9/32", "10.1.0.0/24", "2001:db8::/64")}, {}
    )


def test_static_routes_lead_to_the_zone_of_their_interface() -> None:
    found = routed(
        route("10.8.0.0/16", "e1"),
        route("10.9.0.0/16", "e3", "10.3.0.7"),
        route("0.0.0.0/0", "e2", "$gateway"),
        route("10.7.0.0/16", "e3", "fqdn=gateway.example"),
    )
    assert found.networks == {
        "trust": ("10.1.0.0/24", "10.8.0.0/16"),
        "untrust": ("0.0.0.0/0", "192.0.2.0/24"),
        "dmz": ("10.3.0.0/24", "10.7.0.0/16", "10.9.0.0/16"),
    }
    assert [*found.everything_else] == ["untrust"]
    assert not found.unknown_because


def test_a_route_without_an_interface_follows_its_next_hop() -> None:
    assert routed(route("10.9.0.0/16", hop="10.3.0.7")).networks["dmz"] == (
        "10.3.0.0/24",
        "10.9.0.0/16",
    )


def test_ipv6_routes_count_alike() -> None:
    v6 = tag(
        "routing-table",
        tag("ipv6", tag("static-route", route("::/0", "", "ipv6-address=2001:db8::9"))),
    )
    found = one(lan(1, "trust", "2001:db8::1/64", "fe80::1/64"), router("vr", ["e1"], inner=v6))
    assert found.networks == {"trust": ("::/0", "2001:db8::/64")}
    assert [*found.everything_else] == ["trust"]


def test_link_local_addresses_are_in_no_zone() -> None:
    found = one(
        lan(1, "a", "2001:db8:1::1/64", "fe80::1/64"),
        lan(2, "b", "2001:db8:2::1/64", "fe80::1/64"),
        router("vr", ["e1", "e2"]),
    )
    assert found.networks == {"a": ("2001:db8:1::/64",), "b": ("2001:db8:2::/64",)}


def test_longer_prefixes_of_other_zones_stay_beside_the_shorter_ones() -> None:
    found = routed(route("10.0.0.0/8", "e2"), route("10.1.0.128/25", "e3"))
    assert found.networks == {
        "trust": ("10.1.0.0/24",),
        "untrust": ("10.0.0.0/8", "192.0.2.0/24"),
        "dmz": ("10.1.0.128/25", "10.3.0.0/24"),
    }


@pytest.mark.parametrize("out", ["", "e1"])
def test_what_a_route_discards_is_cut_out_of_every_zone_around_it(out: str) -> None:
    found = routed(
        route("10.8.0.0/13", "e2"),
        route("10.8.0.0/14", "e3"),
        route("10.8.0.0/15", out, "discard="),
        route("10.9.1.0/24", "e1"),
    )
    assert found.networks == {
        "untrust": ("10.12.0.0/14", "192.0.2.0/24"),
        "dmz": ("10.3.0.0/24", "10.10.0.0/15"),
        "trust": ("10.1.0.0/24", "10.9.1.0/24"),
    }


def test_a_default_route_that_is_cut_is_still_told() -> None:
    found = routed(route("0.0.0.0/0", "e2"), route("10.0.0.0/8", "", "discard="))
    assert [*found.everything_else] == ["untrust"]
    assert "0.0.0.0/0" not in found.networks["untrust"]
    assert "11.0.0.0/8" in found.networks["untrust"]
    assert found.networks["trust"] == ("10.1.0.0/24",)


def test_an_interface_without_a_zone_holds_its_addresses_back() -> None:
    found = one(
        BOTH,
        interface("e4", "10.4.0.1/16"),
        router("vr", ["e1", "e2", "e4"], route("10.4.0.0/15", "e2")),
    )
    assert found.networks["untrust"] == ("10.5.0.0/16", "192.0.2.0/24")


def test_one_prefix_to_two_zones_leaves_both_unknown() -> None:
    found = routed(route("10.9.0.0/16", "e1"), route("10.9.0.0/16", "e2", "192.0.2.9"))
    assert unknown(found, "trust", "untrust") == (
        "10.9.0.0/16 leads to more than one end in virtual router 'vr' of stack 's'"
    )
    assert found.networks == {"dmz": ("10.3.0.0/24",)}


def test_one_prefix_twice_to_one_zone_is_no_contradiction() -> None:
    found = one(
        zone("trust", "e1", "e2"),
        interface("e1", "10.1.0.1/24"),
        interface("e2", "10.2.0.1/24"),
        router("vr", ["e1", "e2"], route("10.9.0.0/16", "e1"), route("10.9.0.0/16", "e2")),
    )
    assert found.networks["trust"] == ("10.1.0.0/24", "10.2.0.0/24", "10.9.0.0/16")


def test_a_prefix_that_is_also_discarded_leaves_its_zone_unknown() -> None:
    found = routed(route("10.9.0.0/16", "e1"), route("10.9.0.0/16", "", "discard="))
    assert list(found.unknown_because) == ["trust"]


MONITORED = tag("path-monitor", text("enable", "yes"))


def test_a_monitored_route_leaves_its_addresses_to_the_next_shorter_one() -> None:
    found = routed(route("10.8.0.0/16", "e1", "", MONITORED), route("10.0.0.0/8", "e2"))
    assert "10.8.0.0/16 leads to more than one end" in unknown(found, "trust", "untrust")
    found = routed(route("10.8.0.0/16", "e1", "", MONITORED), route("10.0.0.0/8", "e1"))
    assert not found.unknown_because
    found = routed(route("10.8.0.0/16", "e1", "", MONITORED))
    assert found.networks["trust"] == ("10.1.0.0/24", "10.8.0.0/16")
    found = routed(
        route("0.0.0.0/0", "e2", "", MONITORED), route("0.0.0.0/0", "e2", "192.0.2.7", MONITORED)
    )
    assert [*found.everything_else] == ["untrust"]


def test_monitored_routes_within_one_another_all_fall_back() -> None:
    found = routed(
        route("10.8.0.0/16", "e1", "", MONITORED),
        route("10.8.0.0/15", "e1", "", MONITORED),
        route("10.8.0.0/14", "e2"),
    )
    unknown(found, "trust", "untrust")


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        (route("10.9.0.0/16", hop="next-vr=other"), "leads on by next-vr other"),
        (route("10.9.0.0/16", hop="next-lr=other"), "leads on by next-lr other"),
        (route("10.9.0.0/16", "e1", "receive="), "leads on by receive"),
        (
            route("10.9.0.0/16", "e9"),
            "leads to 'e9', which is not an interface of it",
        ),
        (
            route("10.9.0.0/16", hop="10.200.0.1"),
            "has the next hop '10.200.0.1', which is in no single network of its interfaces",
        ),
        (
            route("10.9.0.0/16", hop="gateway"),
            "has the next hop 'gateway', which is in no single network of its interfaces",
        ),
        (
            route("10.9.0.0/16", hop="fqdn=gateway.example"),
            "has the next hop 'gateway.example', which is in no single network of its interfaces",
        ),
        (
            route("10.9.0.0/16"),
            "has no next hop, which is in no single network of its interfaces",
        ),
        (
            route("$branches", "e1"),
            "has the destination '$branches', which is not a network",
        ),
        (route("10.9.0.0/16", "e1", "", tag("odd")), "cannot be read: <odd> is not known"),
    ],
)
def test_a_route_that_cannot_be_followed_leaves_the_router_unknown(bad: str, because: str) -> None:
    found = routed(bad)
    said = unknown(found, "trust", "untrust", "dmz")
    assert said.startswith("virtual router 'vr' of stack 's': its static route ")
    assert said.endswith(because)


def test_a_next_hop_in_the_networks_of_two_interfaces_leads_nowhere_sure() -> None:
    found = one(
        BOTH,
        lan(3, "dmz", "10.1.0.9/16"),
        router("vr", ["e1", "e2", "e3"], route("9.0.0.0/8", hop="10.1.0.7")),
    )
    assert "is in no single network" in unknown(found, "trust", "untrust", "dmz")


@pytest.mark.parametrize("protocol", ["bgp", "ospf", "ospfv3", "rip"])
def test_a_router_that_learns_routes_leaves_its_zones_unknown(protocol: str) -> None:
    found = routed(inner=tag("protocol", tag(protocol, text("enable", "yes"))))
    assert unknown(found, "dmz", "trust", "untrust") == (
        f"virtual router 'vr' of stack 's': it learns routes by {protocol}"
    )
    assert not routed(inner=tag("protocol", tag(protocol, text("enable", "no")))).unknown_because


@pytest.mark.parametrize(
    ("third", "because"),
    [
        (interface("e3", "$dmz"), "has the address '$dmz', a name or a variable"),
        (interface("e3", "dmz-gateway"), "has the address 'dmz-gateway', a name or a variable"),
        (interface("e3", inner=tag("dhcp-client")), "has addresses from dhcp-client"),
        (interface("e3", inner=tag("pppoe")), "has addresses from pppoe"),
        ("", "is not in the templates"),
    ],
)
def test_an_interface_of_unknown_addresses_leaves_the_router_unknown(
    third: str, because: str
) -> None:
    found = one(BOTH, zone("dmz", "e3"), third, router("vr", ["e1", "e2", "e3"]))
    assert unknown(found, "trust", "untrust", "dmz") == (
        f"virtual router 'vr' of stack 's': its interface 'e3' {because}"
    )


def test_a_tunnel_of_global_protect_clients_leaves_the_router_unknown() -> None:
    tunnel = entry("gp", text("tunnel-interface", "e1"))
    found = one(
        BOTH,
        router("vr", ["e1", "e2"]),
        tag("network", tag("tunnel", tag("global-protect-gateway", tunnel))),
    )
    assert unknown(found, "trust", "untrust").endswith("has addresses from GlobalProtect")


BGP = tag("protocol", tag("bgp", text("enable", "yes")))


def test_a_router_that_cannot_be_read_leaves_the_zones_of_the_others_unknown_too() -> None:
    # What it learns may be the addresses of another router's zone.
    found = one(BOTH, router("one", ["e1"]), router("two", ["e2"], inner=BGP))
    assert unknown(found, "trust", "untrust") == (
        "virtual router 'two' of stack 's': it learns routes by bgp"
    )


def test_a_router_without_an_interface_in_a_zone_says_nothing() -> None:
    found = one(
        BOTH,
        interface("e3", "10.1.0.1/16"),
        router("one", ["e1", "e2"]),
        router("two", ["e3"], route("0.0.0.0/0", "e3"), inner=BGP),
    )
    assert found.networks == NETWORKS
    assert not found.unknown_because


def test_an_interface_in_two_routers_leaves_the_zones_of_both_unknown() -> None:
    found = one(
        BOTH, lan(3, "dmz", "10.3.0.1/24"), router("one", ["e1", "e2"]), router("two", ["e2", "e3"])
    )
    assert sorted(found.unknown_because) == ["dmz", "trust", "untrust"]
    assert "its interface 'e2' is in another one too" in found.unknown_because["dmz"]


def test_an_interface_in_two_zones_leaves_both_unknown() -> None:
    found = one(BOTH, zone("guest", "e1"), router("vr", ["e1", "e2"]))
    assert sorted(found.unknown_because) == ["guest", "trust"]
    assert found.networks == {"untrust": ("192.0.2.0/24",)}


# --- zones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tap", "external", "tunnel"])
def test_a_zone_of_another_kind_is_unknown(kind: str) -> None:
    found = one(WAN, lan(1, "trust", "10.1.0.1/24", kind=kind), router("vr", ["e1", "e2"]))
    assert unknown(found, "trust") == f"it is a {kind} zone, not a layer3 zone (stack 's')"


@pytest.mark.parametrize("kind", ["layer2", "virtual-wire", "some-day"])
def test_a_zone_that_forwards_without_a_router_leaves_every_zone_unknown(kind: str) -> None:
    found = one(LAN, zone("wire", "e8", "e9", kind=kind), router("vr", ["e1"]))
    said = kind if kind != "some-day" else "zone of no one known kind"
    assert unknown(found, "trust", "wire").startswith("zone 'wire' of stack 's' is a ")
    assert said in unknown(found, "trust", "wire")
    assert unknown(one(LAN, zone("wire", kind=kind), router("vr", ["e1"])), "wire")


@pytest.mark.parametrize(
    ("more", "because"),
    [
        (zone("more"), "it has no interfaces"),
        (zone("more", "e9"), "its interface 'e9' is in no virtual router"),
        (
            tag("vsys", entry("vsys1", tag("zone", entry("more")))),
            "it is of no kind",
        ),
    ],
)
def test_a_zone_that_leads_nowhere_is_unknown(more: str, because: str) -> None:
    found = one(BOTH, more, router("vr", ["e1", "e2"]))
    assert unknown(found, "more") == f"{because} (stack 's')"


def test_a_zone_without_addresses_and_routes_is_unknown() -> None:
    found = one(BOTH, lan(3, "vpn"), router("vr", ["e1", "e2", "e3"]))
    assert unknown(found, "vpn") == "no address or route leads to its interfaces (stack 's')"
    found = one(BOTH, lan(3, "vpn"), router("vr", ["e1", "e2", "e3"], route("9.0.0.0/8", "e3")))
    assert found.networks["vpn"] == ("9.0.0.0/8",)


def test_what_an_unknown_zone_holds_is_cut_out_of_the_known_ones() -> None:
    found = one(
        BOTH,
        zone("dmz", "e3", "e9"),
        interface("e3", "10.3.0.1/24"),
        router(
            "vr",
            ["e1", "e2", "e3"],
            route("0.0.0.0/0", "e2"),
            route("10.8.0.0/14", "e1"),
            route("10.8.0.0/15", "e3"),
        ),
    )
    unknown(found, "dmz")
    assert found.networks["trust"] == ("10.1.0.0/24", "10.10.0.0/15")
    held = [ip_network(each) for each in found.networks["untrust"]]
    for address, inside in (("10.3.0.9", False), ("10.8.0.1", False), ("10.12.0.1", True)):
        assert any(ip_address(address) in each for each in held) is inside


# --- virtual systems ------------------------------------------------------------------------------

TWO_SYSTEMS = (
    lan(1, "trust", "10.1.0.1/24")
    + lan(2, "trust", "10.2.0.1/24", vsys="vsys2")
    + lan(3, "dmz", "10.3.0.1/24", vsys="vsys2")
    + router("vr", ["e1", "e2", "e3"], route("10.3.0.0/16", "e1"))
)


def systems(*names: str) -> Derived:
    devices = group({"001": names})
    return says({"t": TWO_SYSTEMS}, [stack("s", ["t"], ["001"])], {"dg": devices})


def test_zones_of_one_name_in_two_virtual_systems_are_one_zone() -> None:
    found = systems()
    # The other system's part is cut out of the route, for it is not led there.
    assert {*found.networks["trust"]} > {"10.1.0.0/24", "10.2.0.0/24", "10.3.128.0/17"}
    assert not any(
        ip_network(each).overlaps(ip_network("10.3.0.0/24")) for each in found.networks["trust"]
    )
    assert found.networks["dmz"] == ("10.3.0.0/24",)
    assert systems("vsys1", "vsys2") == found


def test_two_virtual_systems_may_see_an_address_in_two_zones() -> None:
    parts = (
        lan(1, "trust", "10.1.0.1/24"),
        lan(2, "dmz", "10.2.0.1/24", vsys="vsys2"),
        lan(3, "lab", "10.3.0.1/24"),
    )
    systems = router("one", ["e1", "e3"]) + router("two", ["e2"], route("10.1.0.0/16", "e2"))
    found = one(*parts, systems)
    assert unknown(found, "dmz", "trust") == (
        "virtual router 'one' of stack 's' (vsys1) and virtual router 'two' of stack 's' (vsys2) "
        "disagree about 10.1.0.0/24, which leads to 'trust' in the one and to 'dmz' in the other: "
        "set networks in zones.definitions"
    )
    assert found.networks == {"lab": ("10.3.0.0/24",)}


def test_what_leads_to_another_virtual_system_is_in_an_external_zone() -> None:
    parts = (
        lan(1, "trust", "10.1.0.1/24"),
        lan(2, "dmz", "10.2.0.1/24", vsys="vsys2"),
        lan(3, "lab", "10.3.0.1/24"),
        router("vr", ["e1", "e2", "e3"], route("10.3.0.0/25", "e2")),
    )
    assert not one(*parts).unknown_because
    to_two = zone("to-two", "vsys2", kind="external")
    found = one(*parts, to_two)
    # For packets of vsys1 it is what the external zone leads to; for those of vsys2 it is dmz.
    assert sorted(found.unknown_because) == ["dmz", "to-two"]
    assert "disagree about 10.2.0.0/24" in found.unknown_because["dmz"]
    assert found.networks["trust"] == ("10.1.0.0/24",)
    assert found.networks["lab"] == ("10.3.0.128/25",)


def test_other_virtual_systems_hold_their_addresses_back() -> None:
    found = systems("vsys1")
    assert found.zones == ("trust",)
    cidrs = found.networks["trust"]
    assert cidrs[0] == "10.1.0.0/24"
    assert "10.2.0.0/24" not in cidrs
    assert not any(ip_address("10.3.0.7") in ip_network(each) for each in cidrs)
    assert any(ip_address("10.3.1.7") in ip_network(each) for each in cidrs)


def test_a_virtual_system_that_the_templates_do_not_have_leaves_all_unknown() -> None:
    found = systems("vsys7")
    assert found.zones == ("dmz", "trust")
    because = "the templates of stack 's' name no zones of vsys7"
    assert unknown(found, "dmz", "trust") == because
    assert unknown(systems("vsys1", "vsys7"), "trust") == because


def test_two_groups_may_have_a_system_each() -> None:
    found = says(
        {"t": TWO_SYSTEMS},
        [stack("s", ["t"], ["001"])],
        {"dg": (), "a": group({"001": ["vsys1"]}), "b": group({"001": ["vsys2"]})},
        parents={"a": "dg", "b": "dg"},
    )
    assert found == systems()


# --- layers ---------------------------------------------------------------------------------------


def layered(*layers: str, own: str = "") -> Derived:
    names = [f"t{number}" for number in range(len(layers))]
    stacks = [stack("s", names, ["001"], own)]
    return says(dict(zip(names, layers, strict=True)), stacks, {"dg": group({"001": ()})})


def test_layers_complete_one_another() -> None:
    found = layered(
        router("vr", ["e1", "e2"]), interface("e2", "192.0.2.1/24"), LAN, own=zone("untrust", "e2")
    )
    assert found.networks == {"trust": ("10.1.0.0/24",), "untrust": ("192.0.2.0/24",)}


def test_an_upper_layer_that_says_all_of_the_lower_one_counts() -> None:
    lower = lan(1, "trust", "10.1.0.1/24") + router("vr", ["e1"])
    upper = (
        zone("trust", "e1", "e2")
        + interface("e1", "10.1.0.1/24", "10.9.0.1/24")
        + interface("e2", "10.2.0.1/24")
        + router("vr", ["e1", "e2"], route("9.0.0.0/8", "e2"))
    )
    networks = {"trust": ("9.0.0.0/8", "10.1.0.0/24", "10.2.0.0/24", "10.9.0.0/24")}
    assert layered(upper, lower).networks == networks
    assert layered(lower, own=upper).networks == networks
    assert not layered(lower, upper).networks


@pytest.mark.parametrize(
    ("upper", "zones"),
    [
        (zone("trust", "e9"), ["trust"]),
        (interface("e1", "10.7.0.1/24"), ["trust", "untrust"]),
        (router("vr", ["e1"]), ["trust", "untrust"]),
        (router("vr", ["e1", "e2"], route("9.0.0.0/8", "e1")), ["trust", "untrust"]),
    ],
)
def test_layers_that_say_different_things_leave_zones_unknown(upper: str, zones: list[str]) -> None:
    lower = BOTH + router("vr", ["e1", "e2"], route("9.0.0.0/8", "e2"))
    found = layered(lower, own=upper)
    assert sorted(found.unknown_because) == zones
    assert all("say" in each for each in found.unknown_because.values())


def test_a_zone_of_two_kinds_in_two_layers_may_forward_without_a_router() -> None:
    lower = BOTH + router("vr", ["e1", "e2"])
    found = layered(lower, own=zone("trust", "e1", kind="layer2"))
    assert "is a zone of no one known kind" in unknown(found, "trust", "untrust")
    bare = tag("vsys", entry("vsys1", tag("zone", entry("trust"))))
    assert list(layered(lower, own=bare).unknown_because) == ["trust"]


def test_a_lower_layer_can_switch_a_protocol_on() -> None:
    found = layered(LAN + router("vr", ["e1"]), router("vr", ["e1"], inner=BGP))
    assert "it learns routes by bgp" not in found.networks
    unknown(found, "trust")


def test_a_router_that_stands_in_two_parts_leaves_its_zones_unknown() -> None:
    found = one(BOTH, router("vr", ["e1"]), router("vr", ["e2"]))
    assert "templates define it differently" in unknown(found, "trust", "untrust")


# --- which templates ------------------------------------------------------------------------------

WHOLE = BOTH + router("vr", ["e1", "e2"])
NETWORKS = {"trust": ("10.1.0.0/24",), "untrust": ("192.0.2.0/24",)}


def test_a_device_group_without_devices_and_references_has_no_zones() -> None:
    assert says({"t": WHOLE}, [stack("s", ["t"], ["001"])], {"dg": ()}) == NOTHING


@pytest.mark.parametrize("name", ["t", "s"])
def test_references_name_templates_or_stacks(name: str) -> None:
    found = says({"t": WHOLE}, [stack("s", ["t"])], {"dg": group(references=[name])})
    assert found == Derived(("trust", "untrust"), NETWORKS, {})


def test_a_device_group_has_the_zones_of_those_below_it_and_not_above() -> None:
    templates = {"t": LAN + router("vr", ["e1"]), "u": WAN + router("vr", ["e2"])}
    groups = {
        "top": group(references=["t"]),
        "dg": (),
        "leaf": group(references=["u"]),
    }
    parents = {"dg": "top", "leaf": "dg"}
    assert says(templates, [], groups, parents=parents, of="top").networks == NETWORKS
    for name in ("dg", "leaf"):
        found = says(templates, [], groups, parents=parents, of=name)
        assert found.networks == {"untrust": ("192.0.2.0/24",)}


def test_device_groups_in_a_circle_end() -> None:
    groups = {"dg": group(references=["t"]), "other": ()}
    found = says({"t": WHOLE}, [], groups, parents={"dg": "other", "other": "dg"})
    assert found.networks == NETWORKS


@pytest.mark.parametrize(
    ("stacks", "devices", "because"),
    [
        ([stack("s", ["t"], ["001"])], ["001", "002"], "firewall 002 is in no template stack"),
        (
            [stack("s", ["t"], ["001"]), stack("r", ["t"], ["001"])],
            ["001"],
            "firewall 001 is in more than one template stack",
        ),
        (
            [stack("s", ["t", "u"], ["001"])],
            ["001"],
            "template 'u' of stack 's' is not in the configuration",
        ),
        (
            [stack("s", ["t"], ["001"]), stack("r", [], ["002"])],
            ["001", "002"],
            "the templates of stack 'r' name no zones",
        ),
        (
            [
                stack("s", ["t"], ["001"])
                + entry("r", tag("templates", "<x/>"), tag("devices", entry("002")))
            ],
            ["001", "002"],
            "of stack 'r' its templates or devices cannot be read",
        ),
    ],
)
def test_firewalls_whose_zones_are_not_all_named_leave_every_zone_unknown(
    stacks: list[str], devices: list[str], because: str
) -> None:
    found = says({"t": WHOLE}, stacks, {"dg": group(dict.fromkeys(devices, ()))})
    assert unknown(found, "trust", "untrust") == because


def test_a_reference_that_is_missing_leaves_every_zone_unknown() -> None:
    found = says({"t": WHOLE}, [], {"dg": group(references=["t", "gone"])})
    assert unknown(found, "trust", "untrust") == (
        "the reference template 'gone' is not in the configuration"
    )


def test_a_template_that_cannot_be_read_whole_leaves_every_zone_unknown() -> None:
    found = one(WHOLE, tag("vsys", entry("vsys1", tag("zone", "<entry/>"))))
    assert unknown(found, "trust", "untrust") == (
        "of template 't' part of its network cannot be read"
    )


PBF = Word("pre-rulebase/pbf/rules", entry("out the other way"))


def test_policy_based_forwarding_leaves_every_zone_unknown() -> None:
    own = {"top": (), "dg": [*group(references=["t"]), PBF], "other": ()}
    above = {"top": [PBF], "dg": group(references=["t"]), "other": ()}
    beside = {"top": (), "dg": group(references=["t"]), "other": [PBF]}
    said = "has policy-based forwarding or SD-WAN rules, which overrule routes"
    for groups, name in ((own, "dg"), (above, "top")):
        found = says({"t": WHOLE}, [], groups, parents={"dg": "top"})
        assert unknown(found, "trust", "untrust") == f"device group {name!r} {said}"
    assert says({"t": WHOLE}, [], beside, parents={"dg": "top"}).networks == NETWORKS
    found = says({"t": WHOLE}, [], {"dg": group(references=["t"])}, shared=[PBF])
    assert unknown(found, "trust", "untrust") == f"Shared {said}"


# --- several firewalls ----------------------------------------------------------------------------


def test_a_zone_of_several_firewalls_has_the_networks_of_all() -> None:
    found = several(WHOLE, lan(1, "trust", "10.7.0.1/24") + router("vr", ["e1"]))
    assert found.networks == NETWORKS | {"trust": ("10.1.0.0/24", "10.7.0.0/24")}


def test_a_firewall_of_unknown_addresses_leaves_the_zones_of_all_unknown() -> None:
    found = several(WHOLE, lan(1, "trust", "$lan") + router("vr", ["e1"]))
    said = unknown(found, "trust", "untrust")
    assert said.startswith("virtual router 'vr' of stack 's1'")


def test_a_zone_that_one_firewall_leaves_unknown_is_unknown() -> None:
    found = several(WHOLE, lan(1, "trust", "10.1.0.1/24"))
    assert unknown(found, "trust") == "its interface 'e1' is in no virtual router (stack 's1')"
    assert found.networks == {"untrust": ("192.0.2.0/24",)}


def test_one_prefix_in_two_zones_of_two_firewalls_leaves_both_unknown() -> None:
    found = several(WHOLE, lan(1, "lab", "10.1.0.1/24") + router("vr", ["e1"]))
    assert unknown(found, "trust", "lab") == disagree("10.1.0.0/24", "trust", "lab")


def disagree(prefix: str, first: str, second: str) -> str:
    return (
        "virtual router 'vr' of stack 's0' and virtual router 'vr' of stack 's1' disagree about "
        f"{prefix}, which leads to {first!r} in the one and to {second!r} in the other: set "
        "networks in zones.definitions"
    )


def test_a_prefix_in_another_zones_prefix_of_another_firewall_leaves_both_unknown() -> None:
    found = several(WHOLE, lan(1, "lab", "10.1.9.1/16") + router("vr", ["e1"]))
    assert unknown(found, "trust", "lab") == disagree("10.1.0.0/24", "trust", "lab")


def test_firewalls_that_say_the_same_do_not_contradict_one_another() -> None:
    nested = BOTH + router("vr", ["e1", "e2"], route("10.0.0.0/8", "e2"))
    more = BOTH + lan(3, "dmz", "198.51.100.1/24")
    more += router("vr", ["e1", "e2", "e3"], route("10.0.0.0/8", "e2"))
    assert not several(nested, more).unknown_because
    other = WAN + router("vr", ["e2"], route("10.0.0.0/8", "e2"))
    assert sorted(several(nested, other).unknown_because) == ["trust", "untrust"]


@pytest.mark.parametrize("default", [["0.0.0.0/0"], ["0.0.0.0/1", "128.0.0.0/1"]])
def test_what_one_router_knows_may_be_behind_anothers_default_route(default: list[str]) -> None:
    routes = [route(each, "e2") for each in default]
    apart = one(BOTH, router("vr-a", ["e1"]), router("vr-b", ["e2"], *routes))
    said = unknown(apart, "trust", "untrust")
    assert said.startswith(
        "virtual router 'vr-a' of stack 's' and virtual router 'vr-b' of stack 's' disagree about "
        "10.1.0.0/24, which leads to 'trust' in the one and to 'untrust' in the other"
    )
    assert not one(BOTH, router("vr", ["e1", "e2"], *routes)).unknown_because
    first = BOTH + router("vr", ["e1", "e2"], *routes)
    found = several(first, lan(1, "lab", "10.7.0.1/24") + router("vr", ["e1"]))
    assert sorted(found.unknown_because) == ["lab", "untrust"]
    assert found.networks == {"trust": ("10.1.0.0/24",)}


def test_what_may_lead_to_a_zone_of_unknown_networks_is_told() -> None:
    default = route("0.0.0.0/0", "e2")
    found = one(BOTH, router("vr-a", ["e1"]), router("vr-b", ["e2"], default))
    assert found.may_hold == {"trust": ("10.1.0.0/24",), "untrust": ("192.0.2.0/24",)}
    found = one(BOTH, router("vr", ["e1", "e2"], default, route("9.0.0.0/8", "e1"), inner=BGP))
    assert found.may_hold["trust"] == ("9.0.0.0/8", "10.1.0.0/24")
    assert one(BOTH, router("vr", ["e1", "e2"], default)).may_hold == {}


def test_a_default_route_in_ipv6_says_nothing_of_ipv4() -> None:
    inner = tag("routing-table", tag("ipv6", tag("static-route", route("::/0", "e2"))))
    found = one(BOTH, router("vr-a", ["e1"]), router("vr-b", ["e2"], inner=inner))
    assert found.networks == {"trust": ("10.1.0.0/24",), "untrust": ("192.0.2.0/24", "::/0")}


def test_routers_with_different_parts_of_the_network_do_not_contradict_one_another() -> None:
    found = one(BOTH, router("vr-a", ["e1"]), router("vr-b", ["e2"]))
    assert found.networks == NETWORKS
    found = several(WHOLE, lan(1, "lab", "10.7.0.1/24") + router("vr", ["e1"]))
    assert found.networks == NETWORKS | {"lab": ("10.7.0.0/24",)}


def test_a_zone_in_two_routers_is_known_where_both_agree() -> None:
    parts = LAN + zone("wan", "e2", "e4")
    parts += interface("e2", "192.0.2.1/24") + interface("e4", "198.51.100.1/24")
    found = one(parts, router("vr-a", ["e1", "e2"]), router("vr-b", ["e4"]))
    assert found.networks["wan"] == ("192.0.2.0/24", "198.51.100.0/24")
    default = route("0.0.0.0/0", "e4")
    found = one(parts, router("vr-a", ["e1", "e2"]), router("vr-b", ["e4"], default))
    assert sorted(found.unknown_because) == ["trust", "wan"]


def test_default_routes_to_two_zones_leave_both_unknown() -> None:
    first = WAN + router("vr", ["e2"], route("0.0.0.0/0", "e2"))
    second = lan(1, "isp", "198.51.100.1/24") + router("vr", ["e1"], route("0.0.0.0/0", "e1"))
    said = unknown(several(first, second), "isp", "untrust")
    assert said == disagree("0.0.0.0/0", "untrust", "isp")
    assert not several(first, first).unknown_because


def test_what_an_interface_in_no_router_says_still_contradicts() -> None:
    found = several(WHOLE, lan(1, "lab", "10.1.0.1/24"))
    assert sorted(found.unknown_because) == ["lab", "trust"]


def test_what_one_firewall_discards_another_may_know() -> None:
    first = BOTH + router(
        "vr", ["e1", "e2"], route("0.0.0.0/0", "e2"), route("10.0.0.0/8", "", "discard=")
    )
    second = lan(1, "lab", "10.7.0.1/24") + router("vr", ["e1"])
    found = several(first, second)
    assert not found.unknown_because
    assert found.networks["lab"] == ("10.7.0.0/24",)
    assert not any(
        ip_network(each).overlaps(ip_network("10.7.0.0/24")) for each in found.networks["untrust"]
    )

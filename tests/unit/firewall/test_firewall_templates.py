"""Zones, interfaces and routes of templates and template stacks as they are read."""

import pytest

from sync.firewall.configuration import Configuration
from sync.firewall.templates import (
    Interface,
    Network,
    StaticRoute,
    TemplateStack,
    VirtualRouter,
    Zone,
)
from tests.words import PANORAMA, Word, document, entry, members, read, remarked, tag, text

TEMPLATE = (
    f"{PANORAMA}/template/entry[@name='t']/config/devices/entry[@name='localhost.localdomain']"
)


def config(*inner: str) -> str:
    """The `config` part of a template or a stack."""
    return tag("config", tag("devices", entry("localhost.localdomain", *inner)))


def template(*inner: str) -> Configuration:
    return read(document(devices=tag("template", entry("t", config(*inner)))))


def network(*inner: str) -> Network:
    """The network of a template, read without a remark."""
    configuration = template(*inner)
    assert not configuration.remarks
    return configuration.templates["t"].network


def interfaces(*inner: str) -> dict[str, Interface]:
    return {
        each.name: each for each in network(tag("network", tag("interface", *inner))).interfaces
    }


def router(*inner: str, kind: str = "virtual-router") -> VirtualRouter:
    (found,) = network(tag("network", tag(kind, entry("r", *inner)))).routers
    return found


# --- zones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["layer3", "layer2", "virtual-wire", "tap", "external", "tunnel"])
def test_zones_are_read_with_their_kind_and_interfaces(kind: str) -> None:
    zone = entry("trust", tag("network", members(kind, ["ethernet1/2", "ethernet1/1"])))
    found = network(tag("vsys", entry("vsys2", tag("zone", zone))))
    assert found.zones == (Zone("trust", "vsys2", kind, ("ethernet1/1", "ethernet1/2")),)


def test_zones_of_all_virtual_systems_are_read() -> None:
    systems = [entry(name, tag("zone", entry("z"), entry("a"))) for name in ("vsys2", "vsys1")]
    found = network(tag("vsys", *systems)).zones
    assert [(zone.vsys, zone.name) for zone in found] == [
        ("vsys1", "a"),
        ("vsys1", "z"),
        ("vsys2", "a"),
        ("vsys2", "z"),
    ]


def test_a_zone_of_no_or_two_kinds_has_none() -> None:
    zones = [
        entry("none", tag("network", text("zone-protection-profile", "x"))),
        entry("two", tag("network", members("layer3", ["e1"]), members("tap", ["e2"]))),
    ]
    found = network(tag("vsys", entry("vsys1", tag("zone", *zones)))).zones
    assert found == (Zone("none", "vsys1"), Zone("two", "vsys1", "", ("e1", "e2")))


def test_a_zone_of_an_unknown_kind_keeps_its_interfaces() -> None:
    zone = entry("z", tag("network", members("layer9", ["e1"]), text("log-setting", "x")))
    found = network(tag("vsys", entry("vsys1", tag("zone", zone)))).zones
    assert found == (Zone("z", "vsys1", "", ("e1",)),)


def test_a_network_says_that_something_was_left_out() -> None:
    zone = entry("z", tag("network", tag("layer3", "<x/>")))
    found = template(tag("vsys", entry("vsys1", tag("zone", zone)))).templates["t"].network
    assert found.zones == (Zone("z", "vsys1", "layer3"),)
    assert found.unreadable == ("part of its network cannot be read",)


def test_a_zone_without_a_name_is_remarked_with_its_whole_path() -> None:
    configuration = template(tag("vsys", entry("vsys1", tag("zone", "<entry/>", entry("z")))))
    assert remarked(configuration) == {
        f"{TEMPLATE}/vsys/entry[@name='vsys1']/zone/entry": ("has no name; it is left out")
    }
    assert configuration.templates["t"].network.zones == (Zone("z", "vsys1"),)


# --- interfaces -----------------------------------------------------------------------------------


def ip(*addresses: str) -> str:
    return tag("ip", *(entry(each) for each in addresses))


def test_interfaces_of_every_sort_are_read() -> None:
    found = interfaces(
        tag(
            "ethernet",
            entry("ethernet1/1", tag("layer3", ip("10.0.0.1/24", "$lan"))),
            entry(
                "ethernet1/2",
                tag("layer3", tag("units", entry("ethernet1/2.5", ip("10.5.0.1/24")))),
            ),
        ),
        tag("aggregate-ethernet", entry("ae1", tag("layer3", ip("10.1.0.1/24")))),
        tag("loopback", tag("units", entry("loopback.1", ip("10.2.0.1")))),
        tag("tunnel", tag("units", entry("tunnel.1", ip("10.3.0.1/30")))),
        tag("vlan", tag("units", entry("vlan.1", ip("10.4.0.1/24")))),
    )
    assert {name: each.addresses for name, each in found.items()} == {
        "ae1": ("10.1.0.1/24",),
        "ethernet1/1": ("$lan", "10.0.0.1/24"),
        "ethernet1/2": (),
        "ethernet1/2.5": ("10.5.0.1/24",),
        "loopback.1": ("10.2.0.1",),
        "tunnel.1": ("10.3.0.1/30",),
        "vlan.1": ("10.4.0.1/24",),
    }


NOT_ON = "IPv6 that is not switched on"


@pytest.mark.parametrize(
    ("enabled", "on", "addresses", "unreadable"),
    [
        (text("enabled", "yes"), "", ("2001:db8::1/64",), ()),
        (text("enabled", "yes"), text("enable-on-interface", "yes"), ("2001:db8::1/64",), ()),
        (text("enabled", "yes"), text("enable-on-interface", "no"), ("2001:db8::1/64",), (NOT_ON,)),
        ("", "", ("2001:db8::1/64",), (NOT_ON,)),
        (text("enabled", "$v6"), "", ("2001:db8::1/64",), (NOT_ON,)),
        (text("enabled", "no"), "", (), ()),
    ],
)
def test_ipv6_addresses_are_read_where_ipv6_may_be_on(
    enabled: str, on: str, addresses: tuple[str, ...], unreadable: tuple[str, ...]
) -> None:
    inner = tag("layer3", tag("ipv6", enabled, tag("address", entry("2001:db8::1/64", on))))
    found = interfaces(tag("ethernet", entry("ethernet1/1", inner)))
    assert found["ethernet1/1"] == Interface("ethernet1/1", addresses, unreadable)


def test_interfaces_of_unknown_sorts_have_addresses_of_their_own() -> None:
    found = interfaces(
        tag("sdwan", tag("units", entry("sdwan.1"))), tag("cellular", entry("cellular1/1"))
    )
    assert {name: each.unreadable for name, each in found.items()} == {
        "sdwan.1": ("sdwan",),
        "cellular1/1": ("cellular",),
    }


def test_tunnels_whose_other_end_brings_its_addresses_are_named() -> None:
    def tunnel(number: int, *inner: str) -> str:
        return entry(f"t{number}", text("tunnel-interface", f"tunnel.{number}"), *inner)

    found = network(
        tag(
            "network",
            tag(
                "tunnel",
                tag(
                    "ipsec", tunnel(1, tag("auto-key")), tunnel(2, tag("global-protect-satellite"))
                ),
                tag("gre", tunnel(3)),
                tag("global-protect-gateway", tunnel(4)),
                tag("global-protect-site-to-site", tunnel(5)),
            ),
        )
    )
    assert found.learning == ("tunnel.2", "tunnel.4", "tunnel.5")


@pytest.mark.parametrize(
    ("inner", "unreadable"),
    [
        (tag("dhcp-client"), ("dhcp-client",)),
        (tag("dhcp-client", text("enable", "yes")), ("dhcp-client",)),
        (tag("dhcp-client", text("enable", "no")), ()),
        (tag("pppoe", text("enable", "yes")), ("pppoe",)),
        (tag("ipv6", tag("inherited", text("enable", "yes"))), ("inherited",)),
    ],
)
def test_addresses_from_elsewhere_are_named(inner: str, unreadable: tuple[str, ...]) -> None:
    found = interfaces(tag("ethernet", entry("ethernet1/1", tag("layer3", inner))))
    assert found["ethernet1/1"].unreadable == unreadable


# --- routers --------------------------------------------------------------------------------------


def route(name: str, destination: str, *inner: str) -> str:
    return entry(name, text("destination", destination), *inner)


ROUTES = tag(
    "routing-table",
    tag(
        "ip",
        tag(
            "static-route",
            route("z", "0.0.0.0/0", tag("nexthop", text("ip-address", "10.0.0.254"))),
            route(
                "a", "10.9.0.0/16", text("interface", "ethernet1/1"), tag("nexthop", tag("discard"))
            ),
        ),
    ),
    tag(
        "ipv6", tag("static-route", route("six", "::/0", tag("nexthop", text("next-vr", "other"))))
    ),
)
READ_ROUTES = (
    StaticRoute("z", "0.0.0.0/0", "", ("ip-address", "10.0.0.254")),
    StaticRoute("a", "10.9.0.0/16", "ethernet1/1", ("discard", "")),
    StaticRoute("six", "::/0", "", ("next-vr", "other")),
)


def test_a_virtual_router_has_interfaces_and_static_routes() -> None:
    found = router(members("interface", ["e2", "e1"]), ROUTES)
    assert found == VirtualRouter("r", ("e1", "e2"), READ_ROUTES)


def test_a_logical_router_has_them_by_vrf() -> None:
    vrf = tag(
        "vrf",
        entry("default", members("interface", ["e1"]), ROUTES, tag("bgp", text("enable", "yes"))),
    )
    found = router(vrf, kind="logical-router")
    assert found == VirtualRouter("r", ("e1",), READ_ROUTES, ("bgp",))


@pytest.mark.parametrize("protocol", ["bgp", "ospf", "ospfv3", "rip"])
def test_routing_protocols_that_are_on_are_named(protocol: str) -> None:
    on = tag("protocol", tag(protocol, text("enable", "yes")))
    off = tag("protocol", tag(protocol, text("enable", "no")))
    assert router(on).dynamic == (protocol,)
    assert router(off).dynamic == ()
    assert router(tag("protocol", tag(protocol))).dynamic == ()
    unsaid = tag("protocol", tag(protocol, tag("peer-group", entry("x", text("enable", "no")))))
    assert router(unsaid).dynamic == (protocol,)


def test_redistribution_profiles_are_no_protocols() -> None:
    inner = [tag(name, entry("x", tag("filter"))) for name in ("redist-profile", "ospf")]
    assert router(tag("protocol", *inner)).dynamic == ("ospf",)


def one_route(*inner: str) -> tuple[StaticRoute, ...]:
    routes = tag("static-route", entry("a", text("destination", "10.0.0.0/8"), *inner))
    return router(tag("routing-table", tag("ip", routes))).routes


@pytest.mark.parametrize(
    ("inner", "monitored"),
    [
        (tag("path-monitor", text("enable", "yes")), True),
        (tag("path-monitor", tag("monitor-destinations", entry("x"))), True),
        (tag("path-monitor", text("enable", "no")), False),
        (tag("bfd", text("profile", "default")), True),
        (tag("bfd", text("profile", "None")), False),
        (tag("metric", "10"), False),
    ],
)
def test_routes_that_come_and_go_are_told(inner: str, monitored: bool) -> None:
    assert one_route(inner) == (StaticRoute("a", "10.0.0.0/8", monitored=monitored),)


@pytest.mark.parametrize(
    ("table", "installed"),
    [("unicast", True), ("both", True), ("multicast", False), ("no-install", False)],
)
def test_only_routes_for_unicast_are_read(table: str, installed: bool) -> None:
    found = one_route(tag("route-table", tag(table)))
    assert found == ((StaticRoute("a", "10.0.0.0/8"),) if installed else ())


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        (tag("through", "x"), "<through> is not known"),
        (text("destination", "10.1.0.0/16"), "<destination> stands more than once"),
        (tag("route-table", tag("other")), "<route-table> is not known"),
        (tag("nexthop", tag("discard"), tag("receive")), "<nexthop> has more than one"),
    ],
)
def test_what_is_not_known_of_a_route_is_told(inner: str, problem: str) -> None:
    (found,) = one_route(inner)
    assert found.unreadable == (problem,)


def test_a_route_without_a_name_is_told() -> None:
    routes = tag("routing-table", tag("ip", tag("static-route", "<entry/>")))
    configuration = template(tag("network", tag("virtual-router", entry("r", routes))))
    found = configuration.templates["t"].network
    assert found.routers[0].unreadable == ("its static routes cannot be read",)
    assert found.unreadable == ("part of its network cannot be read",)


def test_a_router_of_several_vrfs_or_with_filtered_routes_is_told() -> None:
    vrfs = tag("vrf", entry("a"), entry("b", tag("rib-filter", tag("ipv4", tag("static")))))
    found = router(vrfs, kind="logical-router")
    assert found.unreadable == ("it has several VRFs", "it filters its routes")


def test_interfaces_of_a_router_that_cannot_be_read_are_told() -> None:
    configuration = template(
        tag("network", tag("virtual-router", entry("r", tag("interface", "<x/>"))))
    )
    (found,) = configuration.templates["t"].network.routers
    assert found.unreadable == ("its interfaces cannot be read",)
    assert list(remarked(configuration)) == [
        f"{TEMPLATE}/network/virtual-router/entry[@name='r']/interface/x"
    ]


# --- stacks ---------------------------------------------------------------------------------------


def test_a_stack_has_templates_in_order_devices_and_settings_of_its_own() -> None:
    zone = tag("vsys", entry("vsys1", tag("zone", entry("own"))))
    stack = entry(
        "s",
        members("templates", ["second", "first"]),
        tag("devices", entry("002", tag("variable")), entry("001")),
        config(zone),
    )
    found = read(document(devices=tag("template-stack", stack))).stacks
    assert found == {
        "s": TemplateStack(
            "s", ("second", "first"), ("001", "002"), Network((Zone("own", "vsys1"),))
        )
    }


@pytest.mark.parametrize("part", [tag("templates", "<x/>"), tag("devices", "<entry/>")])
def test_a_stack_says_that_something_was_left_out(part: str) -> None:
    found = read(document(devices=tag("template-stack", entry("s", part)))).stacks["s"]
    assert found.unreadable == ("its templates or devices cannot be read",)


@pytest.mark.parametrize(
    "part", [tag("reference-templates", "<x/>"), tag("devices", "<entry/>"), tag("devices", "<x/>")]
)
def test_a_device_group_says_that_something_was_left_out(part: str) -> None:
    group = document().replace(b'<entry name="dg">', b'<entry name="dg">' + part.encode())
    found = read(group).device_groups["dg"]
    assert found.unreadable == ("its devices or reference templates cannot be read",)


@pytest.mark.parametrize("kind", ["pbf", "sdwan"])
@pytest.mark.parametrize("rulebase", ["pre", "post"])
def test_rules_that_overrule_routes_are_seen(kind: str, rulebase: str) -> None:
    place = f"{rulebase}-rulebase/{kind}/rules"
    for disabled, overruled in (("yes", False), ("no", True), ("maybe", True)):
        rules = [Word(place, entry("r", text("disabled", disabled)))]
        found = read(document(rules, groups={"dg": rules}))
        assert found.shared.forwards_by_policy is overruled
        assert found.device_groups["dg"].scope.forwards_by_policy is overruled
    assert read(document([Word(place, entry("r"))])).shared.forwards_by_policy
    assert not read(document([Word(place, "")])).shared.forwards_by_policy


def test_a_template_that_stands_twice_is_read_as_one() -> None:
    parts = [
        entry("t", config(tag("vsys", entry("vsys1", tag("zone", entry(name)))))) for name in "ab"
    ]
    configuration = read(document(devices=tag("template", *parts)))
    assert [zone.name for zone in configuration.templates["t"].network.zones] == ["a", "b"]
    assert remarked(configuration) == {
        f"{PANORAMA}/template/entry[@name='t']": "occurs more than once; its parts are read as one"
    }

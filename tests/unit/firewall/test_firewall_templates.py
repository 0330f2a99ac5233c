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
from tests.words import PANORAMA, document, entry, members, read, remarked, tag, text

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


def test_ipv6_addresses_are_read() -> None:
    inner = tag("layer3", tag("ipv6", tag("address", entry("2001:db8::1/64"))))
    found = interfaces(tag("ethernet", entry("ethernet1/1", inner)))
    assert found["ethernet1/1"].addresses == ("2001:db8::1/64",)


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


def test_a_template_that_stands_twice_is_read_as_one() -> None:
    parts = [
        entry("t", config(tag("vsys", entry("vsys1", tag("zone", entry(name)))))) for name in "ab"
    ]
    configuration = read(document(devices=tag("template", *parts)))
    assert [zone.name for zone in configuration.templates["t"].network.zones] == ["a", "b"]
    assert remarked(configuration) == {
        f"{PANORAMA}/template/entry[@name='t']": "stands more than once; its parts are read as one"
    }

"""Zones, interfaces and routes: what templates and template stacks define of the network."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone of a virtual system; `kind` is `layer3`, `layer2`, `virtual-wire`, `tap`, …

    `kind` is empty where the document names none that is known, or more than one.
    """

    name: str
    vsys: str
    kind: str = ""
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """A layer 3 interface or subinterface.

    `addresses` are as written: an address with its prefix length, an address object's name, or a
    template variable; IPv6 addresses count where IPv6 is not switched off. `unreadable` names
    where it gets addresses that the document does not hold (DHCP, PPPoE, …).
    """

    name: str
    addresses: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A static route; `next_hop` is its kind and value: (`ip-address`, `10.0.0.1`), say.

    A `monitored` one is withdrawn while a path monitor or BFD finds its way closed. `unreadable`
    names what of it is unknown.
    """

    name: str
    destination: str
    interface: str = ""
    next_hop: tuple[str, str] = ("", "")
    monitored: bool = False
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """A virtual (or logical) router.

    `dynamic` names the routing protocols that are not switched off in it. `routes` are those that
    it installs for unicast.
    """

    name: str
    interfaces: tuple[str, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    dynamic: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """The `config` part of a template or a stack.

    `learning` names the tunnel interfaces behind which addresses come and go by themselves, those
    of GlobalProtect clients and satellites. `unreadable`: something was left out.
    """

    zones: tuple[Zone, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    routers: tuple[VirtualRouter, ...] = ()
    learning: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    name: str
    network: Network = Network()


@dataclass(frozen=True, slots=True)
class TemplateStack:
    """A stack: its own settings first, then its templates, of which earlier ones win.

    `unreadable`: templates or devices of it were left out.
    """

    name: str
    templates: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    network: Network = Network()
    unreadable: tuple[str, ...] = ()

"""Examples of flows are such as people believe."""

import pytest

from sync.firewall.services import ICMP, ICMPV6, Traffic
from sync.net.addresses import EVERYWHERE, AddressSet, address_range, network, written
from sync.net.ports import ports
from sync.verify.examples import usual_address
from sync.verify.traffic_space import TrafficSpace


def chosen(some: AddressSet, *, pod: bool = False, but: str = "") -> str:
    other = network(but).v4[0] if but else None
    if some.v4:
        return written((4, usual_address(some.v4, 4, pod=pod, but=other)))
    return written((6, usual_address(some.v6, 6, pod=pod, but=other)))


@pytest.mark.parametrize(
    ("net", "host"),
    [
        ("10.20.0.0/16", "10.20.0.1"),
        ("10.20.0.4/30", "10.20.0.5"),
        ("10.20.0.4/31", "10.20.0.4"),
        ("10.20.0.0/31", "10.20.0.1"),
        ("10.20.0.0/32", "10.20.0.0"),
        ("10.20.0.255/32", "10.20.0.255"),
        ("0.0.0.0/32", "0.0.0.0"),
        ("0.0.0.0/5", "1.0.0.1"),
        ("126.0.0.0/7", "126.0.0.1"),
        ("127.0.0.0/8", "127.0.0.0"),
        ("224.0.0.0/3", "224.0.0.0"),
        ("2001:db8:1::/48", "2001:db8:1::1"),
        ("2001:db8:1::7/128", "2001:db8:1::7"),
        ("ff00::/8", "ff00::"),
    ],
)
def test_the_first_host_of_a_network_is_its_example(net: str, host: str) -> None:
    assert chosen(network(net)) == host


def test_of_all_addresses_it_is_one_of_nobodys() -> None:
    assert chosen(EVERYWHERE) == "203.0.113.10"
    assert chosen(EVERYWHERE, pod=True) == "10.0.0.10"
    assert chosen(EVERYWHERE, pod=True, but="10.0.0.10") == "10.0.0.11"
    assert chosen(AddressSet((), EVERYWHERE.v6)) == "2001:db8::10"


def test_a_later_range_is_asked_where_the_first_one_has_no_host() -> None:
    odd = network("0.0.0.0/8") | network("10.1.0.0/32") | network("10.7.0.0/24")
    assert chosen(odd) == "10.7.0.1"
    assert chosen(network("0.0.0.0/8") | network("10.1.0.0/32")) == "10.1.0.0"
    assert chosen(address_range("10.0.0.254", "10.0.1.9")) == "10.0.1.1"


def packet(*traffic: Traffic, but: tuple[Traffic, ...] = (), family: int = 4) -> str:
    space = TrafficSpace({*traffic, *but})
    everything = space.everything[4 if family == 4 else 6]
    return space.packet(space.bits(traffic) & ~space.bits(but) & everything).said()


def test_a_packet_is_of_a_usual_service_from_a_clients_port() -> None:
    every = Traffic(None)
    assert packet(every) == "tcp/443 from port 50000"
    assert packet(every, but=(Traffic(6, ports("443")),)) == "tcp/80 from port 50000"
    assert packet(every, but=(Traffic(6),)) == "udp/53 from port 50000"
    assert packet(every, but=(Traffic(6), Traffic(17))) == "IP protocol 47"
    assert packet(Traffic(6, ports("0-1023"))) == "tcp/443 from port 50000"
    assert packet(Traffic(6, ports("0-20"))) == "tcp/1 from port 50000"
    assert packet(Traffic(6, ports("0"))) == "tcp/0 from port 50000"
    assert packet(Traffic(6, ports("7443")), Traffic(17, ports("514"))) == "udp/514 from port 50000"
    assert packet(Traffic(17, ports("123"), ports("123"))) == "udp/123 from port 123"
    assert packet(Traffic(6, ports("22"), ports("0-2000"))) == "tcp/22 from port 1024"
    assert packet(Traffic(6, ports("22"), ports("0-9"))) == "tcp/22 from port 1"


def test_icmp_is_an_echo_request_if_it_may_be() -> None:
    echo = Traffic(ICMP, icmp=(8, None))
    assert packet(Traffic(ICMP)) == "icmp type 8 code 0"
    assert packet(Traffic(ICMPV6), family=6) == "icmp6 type 128 code 0"
    assert packet(Traffic(ICMP), but=(echo,)) == "icmp type 0 code 0"
    assert packet(echo, but=(Traffic(ICMP, icmp=(8, 0)),)) == "icmp type 8 code 1"
    assert packet(Traffic(ICMP), Traffic(ICMP, icmp=(0, None)), echo) == "icmp type 8 code 0"

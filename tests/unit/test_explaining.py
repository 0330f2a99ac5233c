"""What somebody asks about, from words to a flow."""

import pytest

from sync.errors import UsageError
from sync.explaining import End, asked_of, end_of, packet_of
from sync.verify.boxes import Packet


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("web", End("web", None, "web")),
        ("Zone 1.b_c-d", End("Zone 1.b_c-d", None, "Zone 1.b_c-d")),
        ("10.1.2.3", End("", (4, 0x0A010203), "10.1.2.3")),
        ("2001:db8::1", End("", (6, 0x20010DB8 << 96 | 1), "2001:db8::1")),
        ("web@10.1.2.3", End("web", (4, 0x0A010203), "web@10.1.2.3")),
        ("a@b@::1", End("a@b", (6, 1), "a@b@::1")),
    ],
)
def test_an_end_is_a_zone_an_address_or_both(text: str, end: End) -> None:
    assert end_of(text) == end


@pytest.mark.parametrize("text", ["", "web@", "web@db", "10.0.0.0/8", "a@10.0.0.0/8", "web@10.1"])
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no end of a flow"):
        end_of(text)


@pytest.mark.parametrize(
    ("port", "packet"),
    [
        ("443/tcp", Packet(6, 50_000, 443, None)),
        ("53/UDP", Packet(17, 50_000, 53, None)),
        ("0/sctp", Packet(132, 50_000, 0, None)),
        ("icmp", Packet(1, 0, 0, (8, 0))),
        ("icmp6", Packet(58, 0, 0, (128, 0))),
        ("0/icmp", Packet(1, 0, 0, (0, 0))),
        ("3:1/icmp", Packet(1, 0, 0, (3, 1))),
        ("135/icmpv6", Packet(58, 0, 0, (135, 0))),
        ("ip/47", Packet(47, 0, 0, None)),
        ("ip/0", Packet(0, 0, 0, None)),
    ],
)
def test_a_packet_is_a_port_with_its_protocol_or_icmp_or_a_protocol(
    port: str, packet: Packet
) -> None:
    assert packet_of(port, None) == packet


@pytest.mark.parametrize(
    "port",
    [
        *("", "443", "tcp", "/tcp", "tcp/443", "65536/tcp", "-1/tcp", "４４３/tcp", "443/tcp\n"),
        *("99999999999999999999/tcp", "256/icmp", "3:256/icmp", ":1/icmp", "3:/icmp", "8/ping"),
        *("ip/6", "ip/1", "ip/58", "ip/256", "ip/", "47/ip", "80-90/tcp", "80/tcp,443/tcp"),
    ],
)
def test_what_says_no_traffic_is_refused(port: str) -> None:
    with pytest.raises(UsageError, match="says no traffic"):
        packet_of(port, None)


def test_a_source_port_goes_with_ports_alone() -> None:
    assert packet_of("443/tcp", 0) == Packet(6, 0, 443, None)
    with pytest.raises(UsageError, match="icmp type 8 code 0 has no source port"):
        packet_of("icmp", 1024)


@pytest.mark.parametrize(
    ("source", "destination", "port", "because"),
    [
        ("10.0.0.1", "::1", "80/tcp", "of two IP versions"),
        ("web@10.0.0.1", "db@10.0.0.1", "80/tcp", "is both ends"),
        ("10.0.0.1", "web", "icmp6", "is of IPv6"),
        ("web", "2001:db8::1", "icmp", "is of IPv4"),
    ],
)
def test_ends_that_no_flow_joins_are_refused(
    source: str, destination: str, port: str, because: str
) -> None:
    with pytest.raises(UsageError, match=because):
        asked_of(source, destination, port, None)

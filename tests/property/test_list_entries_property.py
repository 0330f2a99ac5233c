"""Whatever a list's server sends, reading it ends in one of the ways that are declared."""

from contextlib import suppress
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.estimate import Estimate
from sync.net.addresses import AddressSet, network
from sync.sources.edl.parse import ContentError, entries

_LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text("0123456789abcdef.:/- \t\r#;*", max_size=40).map(str.encode),
        st.ip_addresses().map(lambda each: str(each).encode()),
    ),
    max_size=8,
).map(b"\n".join)


@given(_LINES, st.tuples(st.integers(0, 32), st.integers(0, 128)))
def test_any_bytes_are_a_list_or_none(body: bytes, shortest: tuple[int, int]) -> None:
    with suppress(ContentError):
        found = entries(body, shortest)
        assert "".join(found.because).isprintable()
        assert entries(body + b"\n# comment\n\n", shortest) == found


@given(st.lists(st.ip_addresses(v=4)), st.sampled_from(["\n", "\r\n", " x\n", "\n#\n"]))
def test_every_address_of_a_list_is_in_it_and_no_other(listed: list[IPv4Address], end: str) -> None:
    body = "".join(f"{each}{end}" for each in listed).encode()
    expected = AddressSet.union(network(str(each)) for each in listed)
    assert entries(body, (8, 16)) == Estimate.exactly(expected)

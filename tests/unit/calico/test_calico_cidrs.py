"""The canonical form of an address range."""

import pytest

from sync.calico import cidrs


def test_nets_sort_by_family_then_address_then_length() -> None:
    nets = ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/9", "10.0.1.0/24", "::/0", "2001:db8::/32"]
    assert sorted(set(nets), key=cidrs.sort_key) == nets


@pytest.mark.parametrize(
    "cidr",
    ["0.0.0.0/0", "255.255.255.255/32", "::/0", "::1/128", "::102:304/128", "2001:db8:0:1::/64"],
)
def test_a_canonical_range_is_read(cidr: str) -> None:
    assert cidrs.sort_key(cidr)[0] == (6 if ":" in cidr else 4)


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("10.0.0.1", "no mask"),
        ("", "no mask"),
        ("10.0.0.1/8", "host bits"),
        ("2001:db8::1/64", "host bits"),
        ("010.0.0.0/8", "not"),
        ("10.0.0/8", "not an address"),
        ("10.0.0.0/08", "canonical"),
        ("10.0.0.0/33", "canonical"),
        ("10.0.0.0/", "canonical"),
        ("10.0.0.0/8/8", "canonical"),
        ("10.0.0.0/255.0.0.0", "canonical"),
        (" 10.0.0.0/8", "not an address"),
        ("10.0.0.0\0/8", "not an address"),
        ("10.0.0.0-10.0.0.9/8", "not an address"),
        ("example.com/32", "not an address"),
        ("2001:DB8::/32", "canonical"),
        ("2001:db8:0::/32", "canonical"),
        ("2001:db8::/129", "canonical"),
        ("::1.2.3.4/128", "canonical"),
        ("fe80::1%eth0/128", "not an address"),
        (":::/0", "not an address"),
        ("::ffff:0:0/96", "reads as IPv4"),
        ("::ffff:a00:0/104", "reads as IPv4"),
        ("::ffff:10.0.0.0/104", "reads as IPv4"),
    ],
)
def test_any_other_spelling_is_refused_with_the_reason(cidr: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cidrs.sort_key(cidr)

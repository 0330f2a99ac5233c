"""What the lines of an external dynamic list hold."""

import pytest

from sync.sources.edl.parse import ContentError, entries

SHORTEST = (8, 16)


def held(text: str) -> list[str]:
    return entries(text.encode(), SHORTEST).surely.cidrs()


def test_a_list_as_the_vendor_shows_it_is_read_whole() -> None:
    # "Formatting Guidelines for an External Dynamic List", PAN-OS administrator's guide.
    found = entries(
        b"192.168.20.10/32\n"
        b"2001:db8:123:1::1 #test IPv6 address\n"
        b"192.168.20.0/24 ; test internal subnet\n"
        b"2001:db8:123:1::/64 test internal IPv6 range\n"
        b"192.168.20.40-192.168.20.50\n",
        SHORTEST,
    )
    assert found.surely.cidrs() == ["192.168.20.0/24", "2001:db8:123:1::/64"]
    assert not found.open


@pytest.mark.parametrize(
    ("text", "cidrs"),
    [
        ("10.0.0.1", ["10.0.0.1/32"]),
        ("10.0.0.1\n", ["10.0.0.1/32"]),
        ("\ufeff10.0.0.1\r\n10.0.0.2\r\n", ["10.0.0.1/32", "10.0.0.2/32"]),
        ("\n\n  \t\n10.0.0.1\n\n", ["10.0.0.1/32"]),
        ("  10.0.0.1\tfrom here", ["10.0.0.1/32"]),
        ("10.0.0.9/30", ["10.0.0.8/30"]),
        ("10.0.0.1-10.0.0.2 a-b", ["10.0.0.1/32", "10.0.0.2/32"]),
        ("10.0.0.1 10.0.0.2", ["10.0.0.1/32"]),
        ("# 10.0.0.1\n; x\n// x\n/* x\n***\n10.0.0.7", ["10.0.0.7/32"]),
        ("::10.0.0.0/120", ["10.0.0.0/24", "::a00:0/120"]),
        ("", []),
        ("# nothing to block today\n", []),
    ],
)
def test_lines_are_entries_with_comments(text: str, cidrs: list[str]) -> None:
    found = entries(text.encode(), SHORTEST)
    assert (found.surely.cidrs(), found.open) == (cidrs, False)


@pytest.mark.parametrize(
    "line",
    [
        "10.0.0",
        "010.0.0.1",
        "10.0.0.1/255.255.255.0",
        "10.0.0.1/33",
        "10.0.0.9-10.0.0.1",
        "10.0.0.1 - 10.0.0.9",
        "10.0.0.1-2001:db8::1",
        "10.0.0.1#comment",
        "10.0.0.1,10.0.0.2",
        "10.0.0.1\r10.0.0.2",
        "# comment\r10.0.0.2",
        "10.0.0.1\x0bx",
        "10.0.0.1\u00a0comment",
        "10.0.0.1-\u00a010.0.0.2",
        "10.0.0.1\x00",
        "fe80::1%eth0",
        "example.com",
        "https://example.com/",
        "<html>",
    ],
)
def test_a_line_that_cannot_be_read_makes_the_list_open_beside_what_is_sure(line: str) -> None:
    found = entries(f"# list\n10.1.0.0/24\n{line}\nwrong too\n10.2.0.0/24\n".encode(), SHORTEST)
    assert found.surely.cidrs() == ["10.1.0.0/24", "10.2.0.0/24"]
    assert found.because == ("its line 3 is no address, network or range",)
    with pytest.raises(ContentError, match="line 2 is no address"):
        entries(f"# list\n{line}".encode(), SHORTEST)


@pytest.mark.parametrize(
    "line", ["0.0.0.0/0", "::/0", "10.0.0.0/7", "2001::/15", "1.0.0.0-3.0.0.0", "::/96"]
)
def test_an_entry_wider_than_the_guard_allows_spoils_the_list(line: str) -> None:
    with pytest.raises(ContentError, match=r"line 2 is wider than /\d+ \(IPv6: /\d+\)"):
        held(f"10.0.0.1\n{line} comment\n")


def test_as_wide_as_the_guard_allows_is_an_entry() -> None:
    assert held("10.0.0.0/8\n2001::/16\n") == ["10.0.0.0/8", "2001::/16"]
    assert entries(b"0.0.0.0/0", (0, 0)).surely.cidrs() == ["0.0.0.0/0"]

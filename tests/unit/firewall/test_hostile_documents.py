"""What is out of all measure costs no more than its size, and is named in few words."""

import pytest

from sync.errors import SourceError
from sync.firewall.effective import effective
from sync.firewall.groups import resolve_groups
from sync.firewall.parse.document import parse
from sync.firewall.zone_networks import derived
from tests.words import PANORAMA, address, document, dynamic, entry, read, tag, text

LONG = "n" * 100_000


def test_a_remark_names_the_place_briefly_whatever_its_names_are() -> None:
    broken = "".join(entry(f"a{number}", text("ip-netmask", LONG)) for number in range(20))
    found = read(document(groups={LONG: ()}).replace(b"</entry>", _around(broken), 1))
    assert len(found.remarks) == 20
    for each in found.remarks:
        assert each.path.startswith(f"{PANORAMA}/device-group/entry[@name='nnn")
        assert len(each.path) + len(each.message) < 1_000
    for held in found.device_groups[LONG].scope.objects.addresses.values():
        assert held.problem.startswith("'nnn")
        assert len(held.problem) < 400


def _around(inner: str) -> bytes:
    return f"{tag('address', inner)}</entry>".encode()


def test_groups_that_hold_what_is_out_of_all_measure_say_so_briefly() -> None:
    held = [
        address(LONG, "h.example", kind="fqdn", tags=["web"]),
        address("f", LONG, kind="fqdn", tags=["web"]),
        address("b", LONG, tags=["web"]),
    ]
    groups = [dynamic(f"g{number}", "web") for number in range(50)]
    found = resolve_groups(
        effective(read(document([*held, *groups])), "dg").objects.addresses, registered_known=True
    )
    for each in found.values():
        assert len(each.holds.because) == 3
        assert all(len(clause) < 1_000 for clause in each.holds.because)


def test_zones_that_are_not_known_say_so_briefly() -> None:
    zones = "".join(entry(f"z{number}", tag("network", tag("layer3"))) for number in range(50))
    network = tag("devices", entry("here", tag("vsys", entry("vsys1", tag("zone", zones)))))
    template = tag("template", entry(LONG, tag("config", network)))
    found = read(
        document(groups={"dg": ()}, devices=template).replace(
            b'<entry name="dg"></entry>',
            entry("dg", tag("reference-templates", text("member", LONG))).encode(),
            1,
        )
    )
    unknown = derived(found, "dg").unknown_because
    assert len(unknown) == 50
    assert all(len(clause) < 400 for clause in unknown.values())


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": LONG, LONG: "a"}])
def test_parents_that_go_round_are_named_briefly(parents: dict[str, str]) -> None:
    groups = dict.fromkeys(parents, ())
    with pytest.raises(SourceError, match="form a cycle") as raised:
        effective(read(document(groups=groups, parents=parents)), "a")
    assert len(str(raised.value)) < 1_000


def test_what_is_no_xml_is_quoted_briefly() -> None:
    with pytest.raises(SourceError, match="ending tag mismatch") as raised:
        parse(f"<config></{LONG[:40_000]}>".encode(), "export.xml")
    assert len(str(raised.value)) < 1_000


def test_what_is_no_configuration_is_named_briefly() -> None:
    with pytest.raises(SourceError, match="its root is <nnn") as raised:
        parse(f"<{LONG[:40_000]}/>".encode(), "export.xml")
    assert len(str(raised.value)) < 1_000

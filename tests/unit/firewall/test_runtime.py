"""What is registered at run time, and how a device group sees what its configuration lacks."""

from collections.abc import Mapping, Sequence

import pytest

from sync.firewall.addressing import literal
from sync.firewall.applications import resolve_applications
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.effective import EffectiveDeviceGroup, as_known, effective
from sync.firewall.estimate import Estimate
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.objects import Application, ApplicationGroup
from sync.firewall.runtime import Registrations, Tagged, tagged
from sync.firewall.tag_filter import parse
from sync.net.addresses import AddressSet
from tests.words import Word, address, document, dynamic, external_list, group, read

Rows = Mapping[str, Sequence[str]]


def on_firewall(rows: Rows) -> Tagged:
    return tagged((addresses(text), tags) for text, tags in rows.items())


def addresses(*texts: str) -> AddressSet:
    return AddressSet.union(found for text in texts if (found := literal(text)))


def held(asked: str, *firewalls: Rows, missing: Sequence[str] = ()) -> tuple[list[str], str]:
    """What surely has a filter's tags, and why there may be more."""
    registered = Registrations(tuple(map(on_firewall, firewalls)), tuple(missing))
    found = registered.held(parse(asked))
    assert found.at_most is None or not found.surely - found.at_most
    return found.surely.cidrs(), "; ".join(found.because)


def known(*words: Word, **told: object) -> EffectiveDeviceGroup:
    """What a device group sees of words in Shared, where a source tells more."""
    configuration = read(document(words))
    snapshot = Snapshot(configuration, Provenance("main", "a test", "1"), **told)  # type: ignore[arg-type]  # by name
    return as_known(effective(configuration, "dg"), snapshot)


def resolved(*words: Word, **told: object) -> dict[str, Resolved]:
    seen = known(*words, **told)
    return resolve_groups(
        seen.objects.addresses, registered_known=False, registered=seen.registered
    )


# --- registered addresses -------------------------------------------------------------------------


def test_an_address_is_held_by_its_own_tags_and_by_those_of_what_it_is_within() -> None:
    rows = {"10.0.0.0/24": ["web"], "10.0.0.1": ["prod"], "10.1.0.1": ["prod"]}
    assert held("'web' and 'prod'", rows) == (["10.0.0.1/32"], "")
    assert held("'prod'", rows) == (["10.0.0.1/32", "10.1.0.1/32"], "")
    assert held("'web'", rows) == (["10.0.0.0/24"], "")


def test_ranges_that_only_overlap_lend_one_another_no_tags() -> None:
    rows = {"10.0.0.1-10.0.0.8": ["a"], "10.0.0.5-10.0.0.12": ["b"]}
    assert held("a and b", rows) == ([], "")


def test_an_address_that_is_within_a_range_after_another_one_has_its_tags() -> None:
    rows = {"10.0.0.1-10.0.0.8": ["a"], "10.0.0.5-10.0.0.12": ["b"], "10.0.0.7": ["c"]}
    assert held("a and b and c", rows) == (["10.0.0.7/32"], "")
    assert held("b and c", rows) == (["10.0.0.7/32"], "")


def test_more_ranges_within_ranges_than_anybody_has_are_refused() -> None:
    nested = {f"10.0.{number}.0-10.1.0.0": [str(number)] for number in range(255)}
    assert len(on_firewall(nested | {"10.0.255.0": ["x"]})) == 256
    deeper = {f"10.0.0.{number}-10.2.0.0": ["y"] for number in range(3)}
    with pytest.raises(ValueError, match="more than 256 ranges registered that overlap"):
        on_firewall(nested | deeper)


def test_families_lend_one_another_no_tags() -> None:
    assert held("a and b", {"::/0": ["a"], "2001:db8::1": ["b"]})[0] == ["2001:db8::1/128"]
    assert held("a and b", {"0.0.0.0/0": ["a"], "2001:db8::1": ["b"]})[0] == []


def test_of_firewalls_that_disagree_only_what_all_have_is_held() -> None:
    found, because = held("a", {"10.0.0.1": ["a"], "10.0.0.2": ["a"]}, {"10.0.0.2": ["a"]})
    assert found == ["10.0.0.2/32"]
    assert because == "its firewalls have different addresses registered"


def test_firewalls_that_disagree_about_other_tags_do_not_open_a_group() -> None:
    one, other = {"10.0.0.1": ["a"], "10.0.0.9": ["b"]}, {"10.0.0.1": ["a", "c"]}
    assert held("a", one, other) == (["10.0.0.1/32"], "")


def test_where_a_firewall_does_not_tell_nothing_is_sure() -> None:
    found, because = held("a", {"10.0.0.1": ["a"]}, missing=["0007 is not connected"])
    assert not found
    assert (
        because == "what is registered for it is not known of every firewall: 0007 is not connected"
    )


def test_a_negation_spares_what_lies_within_and_says_that_there_may_be_more() -> None:
    rows = {"10.0.0.0/30": ["a"], "10.0.0.1": ["b"]}
    found, because = held("a and not b", rows)
    assert found == ["10.0.0.0/32", "10.0.0.2/31"]
    assert because == "it negates tags of registered addresses within others"
    assert held("a and not c", {"10.0.0.9": ["a"], "10.0.0.8": ["c"]}) == (["10.0.0.9/32"], "")


def test_a_dynamic_group_holds_what_is_registered_beside_its_objects() -> None:
    words = dynamic("web", "'web'"), address("host", "10.1.0.1", tags=["web"]), group("all", "web")
    rows = {"10.0.0.1": ["web"], "10.0.0.2": ["db"]}
    found = resolved(*words, registered={"dg": Registrations((on_firewall(rows),))})
    for name in ("web", "all"):
        assert found[name].holds.surely == addresses("10.0.0.1", "10.1.0.1")
        assert not found[name].holds.because


def test_what_firewalls_disagree_on_is_bounded_by_what_they_told_and_nothing_else_is() -> None:
    rows = {"10.0.0.1": ["web"]}, {"10.0.0.2": ["web"]}
    told = {"dg": Registrations(tuple(map(on_firewall, rows)))}
    words = (
        dynamic("web", "'web'"),
        address("host", "10.1.0.1"),
        address("name", "www.example.com", kind="fqdn"),
        group("bounded", "web", "host"),
        group("open", "web", "name"),
        group("round", "around", "web"),
        group("around", "round"),
    )
    found = resolved(*words, registered=told)
    assert found["web"].holds.surely == addresses()
    assert found["web"].holds.at_most == addresses("10.0.0.1", "10.0.0.2")
    assert found["bounded"].holds.at_most == addresses("10.0.0.1", "10.0.0.2", "10.1.0.1")
    assert found["open"].holds.at_most is None
    assert found["round"].holds.at_most is None
    silent = {"dg": Registrations(told["dg"].firewalls, ("003 is silent",))}
    assert resolved(*words, registered=silent)["bounded"].holds.at_most is None


def test_a_group_of_which_nothing_is_told_stays_open() -> None:
    other = {"other": Registrations(())}
    found = resolved(dynamic("web", "'web'"), registered=other)["web"]
    assert found.holds.because == ("it is dynamic, and registered addresses are not known here",)


# --- names ----------------------------------------------------------------------------------------


def test_what_dns_says_is_apart_from_what_a_group_surely_holds() -> None:
    words = (
        address("name", "www.example.com", kind="fqdn"),
        address("host", "10.1.0.1"),
        group("inner", "name", "host"),
        group("outer", "inner"),
    )
    found = resolved(*words, names={"www.example.com": addresses("10.9.0.1")})
    for name in ("inner", "outer"):
        assert found[name].holds.surely == addresses("10.1.0.1")
        assert found[name].holds.answers == addresses("10.9.0.1")
        assert found[name].holds.because


@pytest.mark.parametrize("other", ["db.example.com", ""])
def test_dns_says_nothing_of_a_name_that_may_mean_something_else(other: str) -> None:
    words = (
        address("name", "www.example.com", kind="fqdn"),
        address("name", other, kind="fqdn") if other else external_list("name", "https://l"),
        group("outer", "name"),
    )
    found = resolved(*words, names={"www.example.com": addresses("10.9.0.1")})["outer"]
    assert not found.holds.answers
    assert found.holds.because


# --- lists and App-IDs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected", "problem"),
    [
        ({}, None, ""),
        ({"https://l.example": Estimate.exactly(addresses("10.0.0.1"))}, addresses("10.0.0.1"), ""),
        ({"https://l.example": Estimate.unknown("is gone")}, None, "is gone"),
        ({"https://other.example": Estimate.exactly(addresses("10.0.0.1"))}, None, ""),
    ],
)
def test_a_list_holds_what_was_fetched_from_its_url(
    told: Mapping[str, Estimate], expected: AddressSet | None, problem: str
) -> None:
    found = known(external_list("bad", "https://l.example"), lists=told).objects.external_lists
    content = Estimate.exactly(expected) if expected else None
    assert (found["bad"].holds, found["bad"].problem) == (content, problem)


def test_an_app_of_the_name_of_a_predefined_one_is_neither() -> None:
    predefined = {
        "own": Application("own", (("port", "tcp/1"),), predefined=True),
        "told": Application("told", (("port", "tcp/2"),), predefined=True),
        "box": ApplicationGroup("box", ("own", "told")),
    }
    own = Word(
        "application",
        '<entry name="own"><default><port><member>tcp/9</member></port></default></entry>',
    )
    objects = known(own, predefined=predefined).objects.applications
    found = resolve_applications(["box"], objects)
    assert [str(each) for each in found.traffic] == ["tcp/2"]
    assert found.open_because == (
        "App-ID own is the name of a predefined App-ID and of a custom application",
    )


def test_a_deny_covers_the_secure_ports_of_predefined_content() -> None:
    told = {"web-browsing": Application("web-browsing", (("port", "tcp/80"),), predefined=True)}
    for denied, expected in ((False, "tcp/80"), (True, "tcp/80,443")):
        (traffic,) = resolve_applications(["web-browsing"], told, denied=denied).traffic
        assert str(traffic) == expected

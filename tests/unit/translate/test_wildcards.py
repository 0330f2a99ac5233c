"""Where wildcard objects of rules overlap, an allow keeps what it surely decides, and no more.

The report, the written rules and the proof agree on it.
"""

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import AddressSet, network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.verification import blockers, proof_of
from sync.translate.compiler import Options
from sync.translate.fidelity import Status
from sync.translate.network_sets import Target
from tests.translation import Translated, translate
from tests.words import (
    Word,
    address,
    default_rule,
    dynamic,
    entry,
    group,
    rule,
    seen_by,
    service,
    tag,
    text,
)

DEFINED = {name: ZoneDefinition(networks=()) for name in ("web", "db")}
WORDS = (
    service("http", "8080"),
    service("ssh", "22"),
    # Odd addresses of 10.0.0.0/21, of 10.0.5.0/24, and of 10.0.5.0/25.
    address("broad", "10.0.0.1/0.0.7.254", kind="ip-wildcard"),
    address("narrow", "10.0.5.1/0.0.0.254", kind="ip-wildcard"),
    address("half", "10.0.5.1/0.0.0.126", kind="ip-wildcard"),
    # 131,072 CIDRs: the odd addresses of 10.0.0.0/14.
    address("huge", "10.0.5.1/0.3.255.254", kind="ip-wildcard"),
    address("even", "10.0.5.0/0.0.0.254", kind="ip-wildcard"),
    address("all", "::/0"),
    address("mapped", "::ffff:0:0/95"),
)
BOTH_WAYS = pytest.mark.parametrize("end", ["source", "destination"])


def target(serial: str) -> str:
    return tag("target", tag("devices", entry(serial)))


def one(name: str, *extra: str, **lists: Sequence[str] | str) -> Word:
    """An allow of everything from web to db, unless its lists say otherwise."""
    usual: dict[str, Sequence[str] | str] = {
        "from_": ["web"],
        "to": ["db"],
        "service": ["any"],
        "action": "allow",
    }
    return rule(name, *extra, **(usual | lists))


def translated(
    *words: Word,
    rules: RuleOptions | None = None,
    zones: ZoneOptions | None = None,
    registered_known: bool = True,
) -> Translated:
    """What a device group becomes; the proof holds of it, and no guard is raised."""
    of = [Target("main", seen_by("dg", {"dg": [*WORDS, *words]}), "fw", 100, "enforced", NOTHING)]
    options = Options(
        tags=("none",),
        registered_known=registered_known,
        owner=(("owner", "us"),),
        rules=rules or RuleOptions(),
        zones=zones or ZoneOptions(definitions=DEFINED),
    )
    found = translate("cluster", of, options, {})
    proof = proof_of(of, found.manifests, found.report, options, samples=False)
    assert not blockers(proof, found.report)
    assert not proof.undecided
    return found


def kept(found: Translated, name: str, end: str) -> set[str]:
    """Which of a few addresses an allow still matches at one end."""
    nets = AddressSet.union(
        _nets(found, each[end])
        for (kind, _), manifest in found.manifests.items()
        if kind == "GlobalNetworkPolicy"
        for each in manifest.document()["spec"].get("egress", ())
        if _of(each) == name and each.get("ipVersion") != 6
    )
    return {text for text in PLACES if network(text) & nets}


def _of(each: dict[str, Any]) -> object:
    """The firewall's rule that a Calico rule is of; None where it is of none."""
    return each.get("metadata", {"annotations": {}})["annotations"].get("firewall.tigera.io/rule")


def _nets(found: Translated, entity: dict[str, Any]) -> AddressSet:
    """The addresses of an entity that selects by nets, or by sets."""
    selector = str(entity.get("selector", ""))
    sets = [
        net
        for (kind, _), manifest in found.manifests.items()
        if kind == "GlobalNetworkSet"
        for value in manifest.document()["metadata"]["labels"].values()
        if value and f"'{value}'" in selector
        for net in manifest.document()["spec"].get("nets", [])
    ]
    nets = AddressSet.union(map(network, sets or entity.get("nets", ["0.0.0.0/0"])))
    return nets - AddressSet.union(map(network, entity.get("notNets", ())))


PLACES = ("10.0.4.1", "10.0.5.0", "10.0.5.1", "10.0.5.129", "10.1.5.1", "10.4.5.1", "11.0.0.1")


def status(found: Translated, name: str) -> Status:
    (each,) = (each for each in found.report.rules if each.name == name)
    return each.status


@BOTH_WAYS
@pytest.mark.parametrize("above", [True, False])
def test_of_two_allows_the_longer_prefix_alone_has_what_they_share(end: str, above: bool) -> None:
    rules = [one("b", service=["http"], **{end: ["broad"]}),
             one("n", service=["ssh"], **{end: ["narrow"]})]  # fmt: skip
    found = translated(*(rules if above else rules[::-1]))
    assert kept(found, "b", end) == {"10.0.4.1"}
    assert kept(found, "n", end) == {"10.0.5.1", "10.0.5.129"}
    assert (status(found, "b"), status(found, "n")) == (Status.NARROWED, Status.EXACT)


@BOTH_WAYS
@pytest.mark.parametrize("action", ["deny", "allow"])
@pytest.mark.parametrize("above", [True, False])
def test_a_wildcard_too_large_to_be_written_takes_what_it_shares(
    end: str,
    action: str,
    above: bool,
) -> None:
    rules = [one("some", **{end: ["10.0.5.0/24", "10.4.5.0/24"]}),
             one("odd", action=action, **{end: ["huge"]})]  # fmt: skip
    found = translated(*(rules if above else rules[::-1]))
    wanted = {"10.0.5.0", "10.4.5.1"} if above or action == "allow" else set()
    assert kept(found, "some", end) >= wanted
    assert not kept(found, "some", end) & {"10.0.5.1", "10.0.5.129"}
    assert status(found, "some") is Status.NARROWED


def test_two_wildcards_too_large_to_be_written_take_from_any_address() -> None:
    found = translated(
        one("any"),
        one("odd", action="deny", destination=["huge"]),
        address("huger", "11.0.0.1/0.127.255.254", kind="ip-wildcard"),
        one("more", action="deny", destination=["huger"]),
    )
    assert kept(found, "any", "destination") == {"10.4.5.1"}


@BOTH_WAYS
def test_of_two_prefixes_of_one_length_nobody_knows_which_decides(end: str) -> None:
    found = translated(one("a", **{end: ["narrow"]}), one("b", **{end: ["narrow"]}))
    for name in ("a", "b"):
        assert not kept(found, name, end)
        assert status(found, name) is Status.LEFT_OUT


def test_two_wildcards_of_one_prefix_that_share_nothing_take_nothing() -> None:
    found = translated(one("a", destination=["narrow"]), one("b", destination=["even"]))
    assert kept(found, "a", "destination") == {"10.0.5.1", "10.0.5.129"}
    assert kept(found, "b", "destination") == {"10.0.5.0"}
    assert {status(found, "a"), status(found, "b")} == {Status.EXACT}


def test_the_longest_prefix_around_an_address_is_asked_alone() -> None:
    found = translated(one("b", destination=["broad"]), one("e", destination=["even"]))
    # 10.0.5.1 is in the prefix of `even`, which does not hold it.
    assert kept(found, "b", "destination") == {"10.0.4.1"}


def test_of_one_rule_s_own_wildcards_the_longest_around_an_address_is_asked_too() -> None:
    found = translated(one("own", destination=["broad", "even"]))
    assert kept(found, "own", "destination") == {"10.0.4.1", "10.0.5.0"}
    assert status(found, "own") is Status.NARROWED


def test_a_rule_of_several_wildcards_keeps_what_its_longest_ones_decide() -> None:
    found = translated(one("own", destination=["broad", "half"]), one("n", destination=["narrow"]))
    assert kept(found, "own", "destination") == {"10.0.4.1", "10.0.5.1"}
    assert kept(found, "n", "destination") == {"10.0.5.129"}


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_rule_without_wildcards_has_no_prefix_and_loses_all_it_shares(action: str) -> None:
    found = translated(one("plain", destination=["10.0.5.1", "10.0.5.0", "11.0.0.1"]),
                       one("n", destination=["narrow"], action=action))  # fmt: skip
    assert kept(found, "plain", "destination") == {"10.0.5.0", "11.0.0.1"}
    assert status(found, "plain") is Status.NARROWED


def test_wildcards_at_both_ends_are_judged_each_for_itself() -> None:
    found = translated(
        one("a", source=["half"], destination=["broad"]),
        one("b", source=["narrow"], destination=["narrow"]),
    )
    assert kept(found, "a", "source") == {"10.0.5.1"}
    assert kept(found, "a", "destination") == {"10.0.4.1"}
    assert kept(found, "b", "source") == {"10.0.5.129"}
    assert kept(found, "b", "destination") == {"10.0.5.1", "10.0.5.129"}


@pytest.mark.parametrize("listed", ["static", "nested", "dynamic"])
def test_a_wildcard_in_a_group_takes_as_one_in_the_rule(listed: str) -> None:
    found = translated(
        one("plain", destination=["10.0.5.1", "11.0.0.1"]),
        one("grouped", destination=[listed], action="deny"),
        address("tagged", "10.0.5.1/0.0.0.254", kind="ip-wildcard", tags=["t"]),
        group("static", "narrow"),
        group("nested", "static"),
        dynamic("dynamic", "t"),
    )
    assert kept(found, "plain", "destination") == {"11.0.0.1"}


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_negated_list_with_a_wildcard_takes_all_that_it_may_match(action: str) -> None:
    found = translated(
        one("plain", destination=["10.0.5.0", "10.0.5.1", "11.0.0.1", "10.4.5.1"]),
        one("but", destination=["narrow", "11.0.0.1"], negate_destination="yes", action=action),
    )
    assert kept(found, "plain", "destination") == {"11.0.0.1"}


def test_what_a_negated_list_spares_by_a_wildcard_it_takes_from_longer_prefixes_too() -> None:
    found = translated(
        one("n", destination=["narrow"]),
        one("but", destination=["broad"], negate_destination="yes", action="deny"),
    )
    assert not kept(found, "n", "destination")


@pytest.mark.parametrize(
    ("extra", "rules"),
    [
        ([text("disabled", "yes")], RuleOptions()),
        ([target("9")], RuleOptions(devices=("1",))),
    ],
)
def test_a_rule_that_no_firewall_has_takes_nothing(extra: list[str], rules: RuleOptions) -> None:
    found = translated(
        one("plain", destination=["10.0.5.1"]),
        one("gone", *extra, destination=["narrow"], action="deny"),
        rules=rules,
    )
    assert kept(found, "plain", "destination") == {"10.0.5.1"}
    assert status(found, "plain") is Status.EXACT


@pytest.mark.parametrize(
    ("extra", "rules"),
    [
        ([target("1")], RuleOptions()),
        ([target("1")], RuleOptions(devices=("1", "2"))),
        ([], RuleOptions(filter="'no such tag'", filter_denies=True)),
        (["<schedule>nights</schedule>"], RuleOptions(accept_dropped_denies=("maybe",))),
    ],
)
def test_a_rule_that_a_firewall_may_have_takes_though_nothing_is_written_of_it(
    extra: list[str], rules: RuleOptions
) -> None:
    found = translated(
        one("plain", text("tag", ""), destination=["10.0.5.1", "11.0.0.1"]),
        one("maybe", *extra, destination=["narrow"], action="deny"),
        rules=rules,
    )
    assert kept(found, "plain", "destination") <= {"11.0.0.1"}


def test_a_wildcard_that_cannot_be_read_may_hold_any_ipv4_address() -> None:
    found = translated(
        address("strange", "$variable", kind="ip-wildcard"),
        one("plain", destination=["10.0.5.1"]),
        one("odd", destination=["strange"], action="deny"),
    )
    assert not kept(found, "plain", "destination")


def test_what_two_rules_wildcards_share_no_default_allows() -> None:
    deny = {"to": ["web"], "service": ["ssh"], "action": "deny"}
    found = translated(
        one("a", destination=["narrow"], **deny), one("b", destination=["broad"], **deny)
    )
    policy = found.manifests["GlobalNetworkPolicy", "fw.pan-zone-web"].document()
    (shared,) = (each for each in policy["spec"]["egress"] if _of(each) == "wildcard-overlap")
    assert shared["action"] == "Deny"
    assert "10.0.5.1/32" in shared["destination"]["nets"]
    alone = translated(one("a", destination=["narrow"], **deny))
    assert "wildcard-overlap" not in str([each.document() for each in alone.manifests.values()])


def test_where_no_default_allows_nothing_is_said_of_overlaps() -> None:
    found = translated(
        one("a", destination=["narrow"]),
        one("b", destination=["broad"]),
        default_rule("intrazone-default", text("action", "deny")),
    )
    assert "wildcard-overlap" not in str([each.document() for each in found.manifests.values()])


# --- report and proof -----------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [["all"], ["all", "narrow"], ["::/96", "all"], ["mapped"]])
def test_an_allow_without_a_flow_loses_nothing_to_wildcards(listed: list[str]) -> None:
    translated(
        one("nothing", destination=listed, negate_destination="yes"),
        one("but", destination=["narrow"], negate_destination="yes", action="deny"),
    )


def test_a_rule_of_any_address_has_none_of_its_own_to_be_trusted() -> None:
    zones = ZoneOptions(definitions={"web": ZoneDefinition(networks=())}, trust_addresses=True)
    found = translated(
        one("any"),
        one("but", destination=["11.0.0.1"], negate_destination="yes"),
        one("own", destination=["10.0.4.0/23"]),
        one("odd", destination=["narrow"], action="deny"),
        zones=zones,
    )
    assert status(found, "any") is Status.NARROWED
    assert status(found, "but") is Status.NARROWED
    assert status(found, "own") is Status.MORE_PERMISSIVE


@pytest.mark.parametrize(
    "other",
    [group("w", "a"), Word("region", entry("w", tag("address", text("member", "1.1.1.1"))))],
    ids=["group", "region"],
)
def test_a_name_that_may_be_a_wildcard_takes_what_an_unreadable_one_would(other: Word) -> None:
    """Of an address and another object of its name nobody knows which one counts."""
    words = (
        *WORDS,
        address("w", "10.0.5.1/0.0.0.254", kind="ip-wildcard"),
        one("allows", destination=["10.0.0.0/8"]),
        one("denies", destination=["w"], action="deny"),
    )
    seen = seen_by("dg", {"top": [other], "dg": words}, parents={"dg": "top"})
    of = [Target("main", seen, "fw", 100, "enforced", NOTHING)]
    options = Options(("none",), True, (), zones=ZoneOptions(definitions=DEFINED))
    found = translate("cluster", of, options, {})
    assert [each.status for each in found.report.rules] == [Status.LEFT_OUT, Status.WIDENED]
    assert found.report.rules[0].calico == ()
    proof = proof_of(of, found.manifests, found.report, options, samples=False)
    assert blockers(proof, found.report) == []


# --- how many there may be ------------------------------------------------------------------------


def calls(number: int, end: str) -> int:
    """How many functions are called for so many rules, each with a wildcard of 16 CIDRs."""
    words = [
        each
        for at in range(number)
        for each in (
            address(f"w{at}", f"10.0.{at % 256}.{at // 256}/0.15.0.0", kind="ip-wildcard"),
            one(f"r{at}", **{end: [f"w{at}"]}),
        )
    ]
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        translated(*words)
    finally:
        sys.setprofile(None)
    return counted


@BOTH_WAYS
def test_twice_as_many_wildcards_take_about_twice_as_long(end: str) -> None:
    calls(80, end)  # what is kept of it is there both times
    assert calls(80, end) < 2.5 * calls(40, end)

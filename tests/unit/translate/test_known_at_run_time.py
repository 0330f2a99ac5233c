"""What becomes of FQDNs that DNS answers, of lists that were fetched, of registered addresses."""

from collections.abc import Mapping
from typing import Any

import pytest

from sync.calico import names
from sync.calico.validator import validate
from sync.errors import SourceError
from sync.firewall.addressing import literal
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.effective import as_known, effective
from sync.firewall.estimate import Estimate
from sync.firewall.membership import Holds
from sync.firewall.runtime import Registrations, tagged
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import NOWHERE, AddressSet
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.queries.which import wanted, which
from sync.translate.compiler import Options
from sync.translate.fidelity import RuleFidelity, Status
from sync.translate.network_sets import Target
from tests.translation import Translated, translate
from tests.words import (
    Word,
    address,
    document,
    dynamic,
    external_list,
    group,
    members,
    read,
    rule,
)

URL = "https://lists.example/bad"
WORDS = (
    address("name", "www.example.com", kind="fqdn"),
    address("host", "10.1.0.1"),
    group("named", "name", "host"),
    group("plain", "host"),
    dynamic("web", "'web'"),
    external_list("bad", URL),
)


def addresses(*texts: str) -> AddressSet:
    return AddressSet.union(found for text in texts if (found := literal(text)))


TOLD: Mapping[str, Any] = {
    "names": {"www.example.com": addresses("10.9.0.1")},
    "lists": {URL: Estimate.exactly(addresses("10.7.0.0/24"))},
}


def target(*words: Word, name: str = "dg", order: int = 100, **told: Any) -> Target:
    configuration = read(document((), {name: [*WORDS, *words]}))
    snapshot = Snapshot(configuration, Provenance("main", "a test", "1"), **{**TOLD, **told})
    seen = as_known(effective(configuration, name), snapshot)
    return Target("main", seen, f"fw-{name}", order, "enforced", NOTHING)


def options(*, accepted: bool = False, rules: RuleOptions | None = None) -> Options:
    return Options(
        tags=(),
        registered_known=accepted,
        owner=(("owner", "us"),),
        rules=rules or RuleOptions(),
        zones=ZoneOptions(definitions={"trust": ZoneDefinition(networks=("10.0.0.0/8",))}),
        registered_accepted=accepted,
    )


def translated(*targets: Target, **given: Any) -> Translated:
    found = translate("cluster", targets, options(**given), {})
    assert not [problem for each in found.manifests.values() for problem in validate(each)]
    return found


def became(
    *, action: str, listed: str, negated: bool = False, rules: RuleOptions | None = None
) -> tuple[RuleFidelity, list[dict[str, Any]]]:
    """What became of a rule for a list of destinations, and the remote ends of its Calico rules."""
    negate = {"negate_destination": "yes"} if negated else {}
    it = rule(
        "it",
        from_=["trust"],
        to=["any"],
        destination=[listed],
        service=["any"],
        action=action,
        **negate,
    )
    found = translated(target(it), rules=rules)
    return found.report.rules[0], ends_of(found)


def ends_of(found: Translated) -> list[dict[str, Any]]:
    policy = found.manifests["GlobalNetworkPolicy", names.policy_name("fw-dg", "trust")].document()
    return [
        each.get("destination", {})
        for each in policy["spec"]["egress"]
        if each["metadata"]["annotations"][names.RULE_ANNOTATION] == "it"
    ]


SELECTOR = "firewall.tigera.io/address-group == 'named'"
GROUP = {"selector": SELECTOR, "namespaceSelector": "global()"}


def test_a_plain_allow_has_what_dns_says_and_the_report_says_so() -> None:
    line, ends = became(action="allow", listed="named")
    assert ends == [GROUP, {"nets": ["10.9.0.1/32"]}]
    assert line.status is Status.MORE_PERMISSIVE
    assert (
        line.reasons[0]
        == "FQDNs in its destination are the addresses that DNS answers here (fqdn: resolve)"
    )
    assert "its member 'name' is the FQDN www.example.com" in line.reasons[1]
    line, ends = became(action="allow", listed="name")
    assert ends == [{"nets": ["10.9.0.1/32"]}]
    assert line.status is Status.MORE_PERMISSIVE


def test_a_negated_deny_spares_only_what_is_sure() -> None:
    line, ends = became(action="deny", listed="named", negated=True)
    assert ends == [{"notSelector": f"({SELECTOR}) && !has(projectcalico.org/namespace)"}]
    assert line.status is Status.WIDENED


def test_a_plain_deny_of_a_name_is_of_any_address() -> None:
    line, ends = became(action="deny", listed="named")
    assert ends == [{}]
    assert line.status is Status.WIDENED


def test_a_negated_allow_of_a_name_is_left_out() -> None:
    line, ends = became(action="allow", listed="named", negated=True)
    assert (line.status, ends) == (Status.LEFT_OUT, [])


def test_a_deny_whose_dropped_members_are_accepted_has_only_what_is_sure() -> None:
    accepting = RuleOptions(accept_dropped_members=("it",))
    _, ends = became(action="deny", listed="named", rules=accepting)
    assert ends == [{"nets": ["10.1.0.1/32"]}]


def test_the_set_of_a_group_holds_nothing_of_what_dns_says_for_denies_may_spare_it() -> None:
    found = translated(target()).manifests["GlobalNetworkSet", "pan.named"].document()
    assert found["spec"]["nets"] == ["10.1.0.1/32"]
    assert "www.example.com" in found["metadata"]["annotations"][names.ERRORS_ANNOTATION]


# --- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("negated", [False, True])
def test_a_fetched_list_is_a_set_that_a_rule_names_exactly(action: str, negated: bool) -> None:
    line, ends = became(action=action, listed="bad", negated=negated)
    assert line.status is Status.EXACT
    selector = "firewall.tigera.io/edl == 'bad'"
    if (action == "allow") == negated:
        # By content: a set is selected only where a larger one allows more.
        assert ends == (
            [{"notNets": ["10.7.0.0/24"]}, {}] if negated else [{"nets": ["10.7.0.0/24"]}]
        )
        return
    plain = {"selector": selector, "namespaceSelector": "global()"}
    spared = {"notSelector": f"({selector}) && !has(projectcalico.org/namespace)"}
    assert ends == [spared if negated else plain]


def test_the_set_of_a_list_says_what_it_is() -> None:
    found = translated(target()).manifests["GlobalNetworkSet", "pan-edl.bad"].document()
    assert found["spec"]["nets"] == ["10.7.0.0/24"]
    assert found["metadata"]["labels"] == {"firewall.tigera.io/edl": "bad", "owner": "us"}
    assert found["metadata"]["annotations"][names.OBJECT_TYPE_ANNOTATION] == "ExternalDynamicList"


def test_a_list_that_is_not_known_has_no_set_and_says_why() -> None:
    it = rule("it", to=["trust"], from_=["any"], source=["bad"], service=["any"], action="deny")
    found = translated(target(it, lists={URL: Estimate.unknown("could not be fetched (HTTP 404)")}))
    assert ("GlobalNetworkSet", "pan-edl.bad") not in found.manifests
    (line,) = found.report.rules
    assert line.status is Status.WIDENED
    assert line.reasons[0] == (
        "its source is any address: 'bad' is an external dynamic list that could not be fetched "
        "(HTTP 404)"
    )


def test_lists_of_one_name_in_two_device_groups_are_two_sets_unless_they_are_the_same() -> None:
    other = {URL: Estimate.exactly(addresses("10.8.0.0/24"))}
    for lists, sets in (({}, 1), ({"lists": other}, 2)):
        second = target(name="other", order=101, **lists)
        found = translated(target(), second).manifests
        assert sum(name.startswith("pan-edl.") for _, name in found) == sets


def test_a_list_and_a_group_that_would_be_called_alike_are_refused() -> None:
    with pytest.raises(SourceError, match="rename it in Panorama"):
        translated(target(group("edl/bad", "host")))


def test_an_exception_is_missing_in_an_allow_and_stays_in_a_deny() -> None:
    excepted = external_list("some", URL, members("exception-list", ["10.7.0.5"]))
    for action, has_it in (("allow", False), ("deny", True)):
        it = rule(
            "it", to=["any"], from_=["trust"], destination=["some"], service=["any"], action=action
        )
        found = translated(target(it, excepted))
        nets = found.manifests["GlobalNetworkSet", "pan-edl.some"].document()["spec"]["nets"]
        assert "10.7.0.4/32" in nets
        assert "10.7.0.5/32" not in nets
        (end,) = ends_of(found)
        assert end.get("nets") == (["10.7.0.0/24"] if has_it else None)
        assert "has exceptions" in found.report.rules[0].reasons[0]


def test_a_list_that_may_be_empty_by_now_allows_nothing_and_denies_what_it_held() -> None:
    emptied = {URL: Estimate(NOWHERE, addresses("10.7.0.0/24"), because=("is empty now",))}
    for action, expected in (("allow", []), ("deny", [{"nets": ["10.7.0.0/24"]}])):
        it = rule(
            "it", to=["any"], from_=["trust"], destination=["bad"], service=["any"], action=action
        )
        assert ends_of(translated(target(it, lists=emptied))) == expected


def test_sets_of_dynamic_groups_are_not_shared_where_firewalls_tell() -> None:
    told = {name: Registrations(((),)) for name in ("dg", "other")}
    # Where one device group has firewalls that tell, its sets move with what they tell.
    for one, other, sets in (({}, {}, 1), (told, told, 2), (told, {}, 2), ({}, told, 2)):
        second = target(name="other", order=101, registered=other)
        found = translated(target(registered=one), second, accepted=True).manifests
        assert sum(name.startswith(("pan.web", "pan.main-other-web")) for _, name in found) == sets


def test_a_name_of_a_list_goes_before_an_address_that_it_looks_like() -> None:
    it = rule(
        "it", to=["trust"], from_=["any"], source=["10.6.0.1"], service=["any"], action="allow"
    )
    found = translated(target(it, external_list("10.6.0.1", "https://lists.example/unknown")))
    assert found.report.rules[0].status is Status.LEFT_OUT


# --- registered addresses -------------------------------------------------------------------------


def registered(*texts: str) -> Mapping[str, Registrations]:
    return {"dg": Registrations((tagged((addresses(text), ["web"]) for text in texts),))}


def test_a_rule_with_a_dynamic_group_is_exact_where_registered_addresses_are_known() -> None:
    it = rule("it", to=["trust"], from_=["any"], source=["web"], service=["any"], action="deny")
    for accepted in (False, True):
        found = translated(target(it, registered=registered("10.2.0.1")), accepted=accepted)
        assert found.report.rules[0].status is Status.EXACT
        nets = found.manifests["GlobalNetworkSet", "pan.web"].document()["spec"]["nets"]
        assert nets == ["10.2.0.1/32"]
    never_told = {"dg": Registrations((), ("001 is not connected",))}
    for unknown in (target(it), target(it, registered=never_told)):
        found = translated(unknown, accepted=True)
        assert found.report.rules[0].status is Status.MORE_PERMISSIVE
        assert translated(unknown).report.rules[0].status is Status.WIDENED


@pytest.mark.parametrize(
    ("listed", "action", "expected"),
    [
        ("web", "deny", [{"nets": ["10.2.0.1/32", "10.3.0.1/32"]}]),
        ("both", "deny", [{"nets": ["10.1.0.1/32", "10.2.0.1/32", "10.3.0.1/32"]}]),
        ("some", "deny", [{}]),
        ("both", "allow", [{"selector": "firewall.tigera.io/address-group == 'both'"}]),
        ("web", "allow", []),
    ],
)
def test_where_firewalls_disagree_a_deny_is_for_what_any_of_them_has(
    listed: str, action: str, expected: list[dict[str, Any]]
) -> None:
    told = tagged([(addresses("10.2.0.1"), ["web"])]), tagged([(addresses("10.3.0.1"), ["web"])])
    words = group("both", "web", "host"), group("some", "web", "name")
    it = rule(
        "it", to=["any"], from_=["trust"], destination=[listed], service=["any"], action=action
    )
    found = translated(target(it, *words, registered={"dg": Registrations(told)}))
    ends = ends_of(found)
    for each in ends:
        each.pop("namespaceSelector", None)
    assert ends == expected
    assert found.report.rules[0].status is not Status.EXACT


# --- which ----------------------------------------------------------------------------------------


def test_which_finds_sets_of_lists_and_names_and_the_way_to_what_is_registered() -> None:
    it = rule("it", to=["trust"], from_=["any"], source=["bad"], service=["any"], action="deny")
    here = target(it, registered=registered("10.2.0.1"))

    def asked(text: str) -> Any:
        return which("cluster", wanted(text), [here], options())

    assert [each.name for each in asked("10.7.0.9").sets] == ["pan-edl.bad"]
    (held,) = asked("10.7.0.9").device_groups[0].rules
    assert [(end.end, end.holds, end.members) for end in held.ends] == [
        ("source", Holds.ALL, ("bad",))
    ]
    assert asked("10.9.0.1").sets == ()
    groups = {each.name: each for each in asked("10.2.0.1").device_groups[0].groups}
    assert groups["web"].holds is Holds.ALL
    assert groups["web"].way == ("web", "registered for web")

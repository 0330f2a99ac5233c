"""The rules that decide a flow, what comes before them, and flows that fall into cases."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import EVERYWHERE, network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.explain import (
    Case,
    Party,
    Side,
    explain,
    verdict_of,
)
from sync.verify.judgement import Judgement, NoAnswerError
from sync.verify.profiles import DeviceGroup, UnreadableError
from sync.verify.settings import Settings
from sync.verify.traffic_space import Packet
from tests.translation import translate
from tests.words import Word, address, dynamic, entry, group, members, rule, seen_by, tag

LABEL = "firewall.tigera.io/zone"
HTTPS = Packet(6, 50_000, 443, None)
WEB, DB = Party(EVERYWHERE, "web"), Party(EVERYWHERE, "db")
ZONES = ZoneOptions(
    definitions={
        "web": ZoneDefinition(networks=()),
        "db": ZoneDefinition(networks=("10.2.0.0/16",)),
        "untrust": ZoneDefinition(networks=("192.0.2.0/24",)),
    }
)
USER = "<source-user><member>dba</member></source-user>"


def allow(name: str, *extra: str, **lists: Sequence[str] | str) -> Word:
    usual = {"from_": ["web"], "to": ["db"], "service": ["any"], "action": "allow"}
    return rule(name, *extra, **{**usual, **lists})


def deny(name: str, *extra: str, **lists: Sequence[str] | str) -> Word:
    return allow(name, *extra, **{"action": "deny", **lists})


def sides(
    words: Sequence[Word],
    source: Party = WEB,
    destination: Party = DB,
    packet: Packet = HTTPS,
    *,
    zones: ZoneOptions = ZONES,
    rules: RuleOptions | None = None,
    others: Sequence[Word] = (),
    mode: str = "enforced",
    verbose: bool = False,
    change: Mapping[str, Any] | None = None,
    also: Mapping[str, Any] | None = None,
) -> list[Side]:
    """The sides of a flow in a cluster with one device group, or two where there are `others`."""
    rules = rules or RuleOptions()
    seen = [seen_by("dg", {"dg": [*words]})]
    seen += [seen_by("later", {"later": [*others]})] if others else []
    targets = [
        Target("main", each, f"fw{at}", at, "staged" if mode == "staged" else "enforced", NOTHING)
        for at, each in enumerate(seen, 1)
    ]
    written = translate("c", targets, Options((), True, (), rules=rules, zones=zones), {})
    documents = [each.document() for each in written.manifests.values()]
    for each in documents:
        for changed in filter(None, (change, also)):
            if each["metadata"]["name"] == changed["name"]:
                each["spec"] |= changed["spec"]
    groups = [DeviceGroup("main", each, NOTHING, f"fw{at}") for at, each in enumerate(seen, 1)]
    settings = Settings(rules=rules, zones=zones)
    return explain(groups, documents, settings, (source, destination), packet, verbose=verbose)


def only(of: Side) -> Case:
    (case,) = of.cases
    return case


def firewall(of: Side) -> Judgement:
    found = only(of).firewall
    assert found is not None
    return found


def names(judgement: Judgement) -> list[str]:
    return [each.rule for each in (*judgement.perhaps, judgement.decider)]


def test_both_ends_are_judged_and_name_the_same_rule() -> None:
    egress, ingress = sides([deny("no", service=["service-http"]), allow("yes")])
    assert (egress.direction, ingress.direction) == ("egress", "ingress")
    for side in (egress, ingress):
        assert firewall(side).decider == (
            "allow",
            "yes",
            ("main", "dg", "dg", "pre", 2),
            "",
            False,
            "",
        )
        assert only(side).calico.decider.rule == "yes"
        assert only(side).calico.decider.where.startswith(f"fw1.pan-zone-{side_zone(side)}[")
    assert verdict_of([egress, ingress]) == "allow"


def side_zone(side: Side) -> str:
    return "web" if side.direction == "egress" else "db"


def test_where_no_rule_matches_the_defaults_decide() -> None:
    egress, _ = sides([allow("other", service=["service-http"])])
    assert firewall(egress).decider == ("deny", "interzone-default", None, "", False, "")
    egress, _ = sides([allow("other")], WEB, WEB)
    assert firewall(egress).verdict == "allow"
    assert firewall(egress).decider.rule == "intrazone-default"


def test_other_ports_of_an_app_id_are_open_where_only_the_bundled_table_has_its_ports() -> None:
    words = [allow("shell", application=["ssh"], service=["application-default"]), deny("no")]
    because = (
        "the default ports of App-ID ssh are from a table that zonebridge brings, "
        "which may lack some"
    )
    for port, reason in ((22, ""), (8022, because)):
        egress, _ = sides(words, packet=Packet(6, 50_000, port, None))
        assert firewall(egress).verdict == "unknown"
        assert names(firewall(egress)) == ["shell", "no"]
        assert firewall(egress).perhaps[0].because == reason
    # It is on ports, so nothing else is a matter of newer content.
    for packet in (Packet(1, 0, 0, (8, 0)), Packet(47, 0, 0, None)):
        egress, _ = sides(words, packet=packet)
        assert firewall(egress).verdict == "deny"
    own = Word("application", entry("own", tag("default", members("port", ["tcp/8022"]))))
    words = [allow("shell", application=["own"], service=["application-default"]), deny("no"), own]
    egress, _ = sides(words, packet=Packet(6, 50_000, 22, None))
    assert firewall(egress).verdict == "deny"


def test_a_firewall_may_have_registered_what_the_settings_take_for_nothing() -> None:
    rules = [deny("quarantined", source=["bad"]), allow("yes")]
    egress, _ = sides([dynamic("bad", "'bad'"), *rules])
    assert firewall(egress).verdict == "unknown"
    assert names(firewall(egress)) == ["quarantined", "yes"]
    assert only(egress).calico.verdict == "allow"


def test_what_the_firewall_asks_for_and_nobody_sees_leaves_it_open() -> None:
    egress, _ = sides([allow("dbas", USER), deny("no")])
    assert names(firewall(egress)) == ["dbas", "no"]
    assert firewall(egress).verdict == "unknown"
    # Calico has no rule for it.
    assert only(egress).calico.decider.rule == "no"
    assert verdict_of([egress]) == "deny"


def test_rules_that_agree_leave_no_doubt_whichever_it_is() -> None:
    egress, _ = sides([deny("dbas", USER), deny("no")])
    assert names(firewall(egress)) == ["dbas", "no"]
    assert firewall(egress).verdict == "deny"


def test_settings_that_accept_a_loss_are_not_the_firewalls() -> None:
    words = [deny("dbas", USER), allow("yes")]
    egress, _ = sides(words, rules=RuleOptions(accept_dropped_denies=("dbas",)))
    assert firewall(egress).verdict == "unknown"
    assert only(egress).calico.decider.rule == "yes"
    egress, _ = sides([allow("tls", application=["ssl"])])
    assert names(firewall(egress)) == ["tls", "interzone-default"]
    assert only(egress).calico.decider.rule == "tls"


def test_a_rule_of_other_firewalls_is_none_of_these() -> None:
    target = "<target><devices><entry name='0001'/></devices></target>"
    egress, _ = sides([allow("there", target)], rules=RuleOptions(devices=("0002",)))
    assert names(firewall(egress)) == ["interzone-default"]
    egress, _ = sides([allow("there", target)], rules=RuleOptions(devices=("0002", "0001")))
    assert names(firewall(egress)) == ["there", "interzone-default"]


def test_flows_between_zones_fall_into_cases() -> None:
    egress, ingress = sides(
        [allow("servers", destination=["10.9.0.1"]), deny("old", source=["10.8.0.0/24"])]
    )
    found = {
        (tuple(one.cidrs()), tuple(other.cidrs())): case.firewall.decider.rule
        for case in egress.cases
        for one, other in case.flows
        if case.firewall and one.v4
    }
    assert found[("0.0.0.0/0",), ("10.9.0.1/32",)] == "servers"
    (old,) = (far for (near, far), name in found.items() if name == "old")
    assert old == tuple((EVERYWHERE - network("10.9.0.1")).cidrs()[:32])
    assert [len(side.cases) for side in (egress, ingress)] == [3, 3]
    assert verdict_of([egress, ingress]) == "unknown"


def test_ends_that_are_no_pods_are_judged_by_their_networks() -> None:
    outside = Party(network("192.0.2.7"))
    (ingress,) = sides([allow("in", from_=["untrust"])], outside, DB)
    assert ingress.direction == "ingress"
    assert firewall(ingress).decider.rule == "in"
    (ingress,) = sides([allow("in", from_=["untrust"])], Party(network("198.51.100.1")), DB)
    assert firewall(ingress).decider == ("deny", "unknown-addresses", None, "", False, "")
    assert sides([allow("in")], outside, Party(network("10.2.0.1"))) == []


def pod(**labels: str) -> Party:
    given = {"projectcalico.org/orchestrator": "k8s", "projectcalico.org/namespace": "shop"}
    return Party(network("10.244.0.7"), "", {**labels, **given})


def test_a_pod_that_is_known_is_in_the_zone_that_its_labels_say() -> None:
    egress, _ = sides([allow("yes")], pod(**{LABEL: "web"}))
    assert firewall(egress).decider.rule == "yes"
    zones = ZoneOptions(definitions={**ZONES.definitions, "db": ZoneDefinition("app == 'pg'")})
    _, ingress = sides([allow("yes")], WEB, pod(app="pg"), zones=zones)
    assert firewall(ingress).decider.rule == "yes"


def test_a_pod_whose_label_names_no_zone_is_denied_and_one_without_a_zone_left_alone() -> None:
    egress, ingress = sides([allow("yes", to=["any"])], WEB, pod(**{LABEL: "nowhere"}))
    assert only(ingress).firewall is None
    assert only(ingress).calico.verdict == "deny"
    egress, ingress = sides([allow("yes", to=["any"])], WEB, pod())
    assert firewall(egress).decider.rule == "yes"
    assert only(ingress).calico.decider.where == "no policy of tier fw1 selects it"
    assert only(ingress).calico.verdict == "allow"


def test_essentials_come_before_all_rules_and_may_where_labels_are_not_known() -> None:
    essential = Essential("egress", f"{LABEL} == 'web'", "app == 'vault'", (), ("443/tcp",))
    zones = ZoneOptions(definitions=ZONES.definitions, essentials=(essential,))
    egress, _ = sides([deny("no")], zones=zones)
    calico = only(egress).calico
    assert [each.where for each in calico.perhaps] == ["fw1.pan-essentials[egress 0]"]
    assert (calico.decider.rule, calico.verdict) == ("no", "unknown")
    egress, _ = sides([deny("no")], WEB, pod(app="vault", **{LABEL: "db"}), zones=zones)
    assert only(egress).calico.decider.where == "fw1.pan-essentials[egress 0]"
    assert verdict_of([egress]) == "allow"


def test_every_tier_has_its_say() -> None:
    found = sides([allow("yes")], others=[deny("no")])
    said = [(each.direction, each.tier, only(each).calico.verdict) for each in found]
    assert said == [
        ("egress", "fw1", "allow"),
        ("egress", "fw2", "deny"),
        ("ingress", "fw1", "allow"),
        ("ingress", "fw2", "deny"),
    ]
    assert verdict_of(found) == "deny"


def test_a_zone_of_another_device_group_is_none_of_this_ones() -> None:
    words = [allow("yes", from_=["lab"], to=["lab"])]
    lab = Party(EVERYWHERE, "lab")
    first, second, *_ = sides([allow("yes")], lab, lab, others=words)
    assert only(first).firewall is None
    assert only(first).calico.verdict == "allow"
    assert firewall(second).decider.rule == "yes"


def test_staged_policies_are_judged_and_said_to_be_staged() -> None:
    egress, _ = sides([allow("yes")], mode="staged")
    assert only(egress).calico.decider.staged
    egress, _ = sides([allow("yes")])
    assert not only(egress).calico.decider.staged


def test_what_was_passed_over_is_told_with_the_first_reason() -> None:
    words = [
        address("host", "10.7.0.1"),
        group("hosts", "host"),
        deny("off", disabled="yes"),
        deny("elsewhere", from_=["db"]),
        deny("http", service=["service-http"]),
        deny("from hosts", source=["hosts"]),
        deny("to untrust", to=["untrust"]),
        deny("to hosts", destination=["hosts"]),
        allow("users", USER),
        allow("yes"),
        deny("later"),
    ]
    web = Party(network("10.1.0.1"), "web")
    egress, ingress = sides(words, web, Party(network("10.2.0.1"), "db"), verbose=True)
    judgement = firewall(egress)
    assert {each.rule: each.because for each in judgement.passed} == {
        "off": "is disabled",
        "elsewhere": "is for flows from zone db",
        "http": "is for other services or applications",
        "from hosts": "is for flows from other addresses",
        "to untrust": "is for flows to zone untrust",
        "to hosts": "is for flows to other addresses",
    }
    assert names(judgement) == ["users", "yes"]
    reasons = {each.rule: each.because for each in firewall(ingress).passed}
    assert reasons["elsewhere"] == "is for flows from zone db"
    assert reasons["to hosts"] == "is for flows to other addresses"
    assert reasons["from hosts"] == "is for flows from other addresses"
    assert {each.because for each in only(egress).calico.passed} == {
        "is for other protocols or ports",
        "is for other addresses of the pod",
        "is for other far ends",
    }
    assert not any(each.calico.passed for each in sides(words, web)[0].cases)


def test_icmp_is_of_one_family() -> None:
    for packet, family in ((Packet(1, 0, 0, (8, 0)), "v4"), (Packet(58, 0, 0, (128, 0)), "v6")):
        egress, _ = sides([allow("yes")], packet=packet)
        for one, other in only(egress).flows:
            assert (one, other) == (EVERYWHERE & one, EVERYWHERE & other)
            assert [bool(getattr(one, each)) for each in ("v4", "v6")] == [
                family == "v4",
                family == "v6",
            ]


def test_policies_as_they_stand_are_judged_as_they_stand() -> None:
    change = {"name": "fw1.pan-zone-web", "spec": {"egress": [], "types": ["Egress", "Ingress"]}}
    egress, ingress = sides([allow("yes")], change=change)
    assert firewall(egress).decider.rule == "yes"
    assert only(egress).calico.decider.where == "fw1.pan-unknown-zone[egress 0]"
    assert only(ingress).calico.decider.rule == "yes"


def test_what_cannot_be_judged_is_refused() -> None:
    strange = {"action": "Log", "source": {}, "destination": {}}
    change = {"name": "fw1.pan-zone-web", "spec": {"egress": [strange]}}
    with pytest.raises(UnreadableError, match=r"fw1.pan-zone-web\[egress 0\]"):
        sides([allow("yes")], change=change)
    gone = {"b": ZoneDefinition("app == 'x'"), "a": ZoneDefinition("app == 'x'")}
    with pytest.raises(NoAnswerError, match="no pod can be in zone 'a'"):
        sides([allow("yes")], Party(EVERYWHERE, "a"), zones=ZoneOptions(definitions=gone))


def test_flows_in_very_many_cases_are_refused_with_what_helps() -> None:
    words = [
        deny(f"r{number}", USER, destination=[f"10.{number}.0.0/{8 + number % 20}"])
        for number in range(200)
    ]
    words += [
        deny(f"s{number}", USER, source=[f"10.{number}.0.0/{8 + number % 20}"])
        for number in range(200)
    ]
    with pytest.raises(NoAnswerError, match="give an address at both ends"):
        sides(words)
    egress, _ = sides(words, Party(network("10.1.0.1"), "web"), Party(network("10.2.0.1"), "db"))
    assert firewall(egress).verdict == "deny"


@pytest.mark.parametrize(
    "strange",
    [deny("x", "<action>allow</action>"), rule("x", from_=["web"], to=["db"], action="sometimes")],
)
def test_a_rule_whose_action_cannot_be_read_may_do_either(strange: Word) -> None:
    egress, _ = sides([strange, deny("no")])
    assert [(each.rule, each.action) for each in firewall(egress).perhaps] == [
        ("x", "allow"),
        ("x", "deny"),
    ]
    assert firewall(egress).verdict == "unknown"


def test_what_staged_policies_would_do_is_not_what_is_done_now() -> None:
    egress, _ = sides([deny("no")], mode="staged")
    assert (only(egress).calico.verdict, only(egress).enforced.verdict) == ("deny", "allow")
    assert only(egress).enforced.decider.where == "no policy of tier fw1 selects it"
    assert (verdict_of([egress]), verdict_of([egress], enforced=True)) == ("deny", "allow")
    # The default of a tier counts for pods that an enforced policy selects.
    change = {"name": "fw1", "spec": {"defaultAction": "Deny"}}
    bare = {"name": "fw1.pan-unknown-zone", "spec": {"egress": [], "types": ["Egress"]}}
    egress, _ = sides([deny("no", to=["lab"])], mode="staged", change=change, also=bare)
    assert only(egress).enforced.verdict == "allow"


def test_tiers_are_asked_in_the_order_in_which_they_stand() -> None:
    change = {"name": "fw1", "spec": {"order": 3}}
    found = sides([allow("yes")], others=[deny("no")], change=change)
    assert [each.tier for each in found] == ["fw2", "fw1", "fw2", "fw1"]

"""What earlier rules take of a rule: by which of them, in Calico and on the firewall."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.shadows import shadowed
from sync.reconcile.verification import judged_groups, settings_of
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, Shadow
from sync.translate.network_sets import Target
from sync.verify.tiers import Tiers
from tests.translation import translate
from tests.words import Word, rule, seen_by, service

ZONES = {
    "web": ZoneDefinition(networks=("10.1.0.0/16",)),
    "db": ZoneDefinition(networks=("10.2.0.0/16",)),
}
DNS = Essential("egress", "all()", cidrs=("10.2.0.53/32",), ports=("53/udp",))
Mode = Literal["enforced", "staged"]


def reported(
    *words: Word,
    pods: str | None = None,
    essentials: Sequence[Essential] = (),
    groups: Mapping[str, tuple[Mode, Sequence[Word]]] | None = None,
    devices: Sequence[str] = (),
) -> Report:
    """The report on a cluster of these device groups, one tier each in this order."""
    groups = groups or {"dg": ("enforced", words)}
    targets = [
        Target("main", seen_by(name, {name: held}), f"tier-{name}", 100 + at, mode, NOTHING)
        for at, (name, (mode, held)) in enumerate(groups.items())
    ]
    options = Options(
        (),
        registered_known=True,
        owner=(),
        rules=RuleOptions(devices=tuple(devices)),
        zones=ZoneOptions(definitions=ZONES, essentials=tuple(essentials)),
        pod_cidrs=None if pods is None else network(pods),
    )
    made = translate("cluster", targets, options, {})
    documents = [each.document() for each in made.manifests.values()]
    return shadowed(made.report, Tiers(judged_groups(targets), documents, settings_of(options)))


def one(name: str, action: str = "allow", **lists: Sequence[str] | str) -> Word:
    usual: dict[str, Sequence[str] | str] = {
        "from_": ["web"],
        "to": ["db"],
        "source": ["any"],
        "destination": ["any"],
        "application": ["any"],
        "service": ["any"],
        "action": action,
    }
    return rule(name, **(usual | lists))


def shadow(report: Report, name: str, *, firewall: bool = False) -> Shadow:
    (line,) = (each for each in report.rules if each.name == name)
    found = line.firewall_shadow if firewall else line.shadow
    assert found is not None
    return found


def said(report: Report, name: str, *, firewall: bool = False) -> tuple[str, list[str]]:
    found = shadow(report, name, firewall=firewall)
    return str(found.extent), [each.name for each in found.by]


def test_a_rule_without_an_earlier_one_over_it_is_not_hidden() -> None:
    report = reported(one("ssh", service=["service-http"]), one("web", service=["service-https"]))
    for firewall in (False, True):
        assert said(report, "web", firewall=firewall) == ("none", [])
    assert shadow(report, "web").flow == ""


def test_a_rule_below_one_that_matches_it_whole_can_never_match() -> None:
    report = reported(one("no", "deny"), one("web", service=["service-https"]))
    for firewall in (False, True):
        assert said(report, "web", firewall=firewall) == ("whole", ["no"])
    (taker,) = shadow(report, "web").by
    assert (taker.place, taker.allow, taker.widened) == (
        ("main", "dg", "dg", "pre", 1),
        False,
        False,
    )
    assert shadow(report, "web").flow == (
        "egress of a pod of zone web (10.0.0.10) to zone db (10.0.0.11), tcp/443 from port 50000"
    )
    assert shadow(report, "web", firewall=True).flow == (
        "zone web (10.0.0.10) to zone db (10.0.0.11), tcp/443 from port 50000"
    )


def test_a_deny_that_grew_hides_here_what_it_does_not_hide_on_the_firewall() -> None:
    report = reported(one("users", "deny", source_user=["u"]), one("web"))
    assert said(report, "web") == ("whole", ["users"])
    assert shadow(report, "web").by[0].widened
    assert said(report, "web", firewall=True) == ("none", [])


@pytest.mark.parametrize(
    ("deny", "widened"), [(["10.0.0.0/8"], False), (["10.0.0.0/8", "DE"], True)]
)
def test_a_deny_that_grew_is_only_told_where_the_exact_one_would_not_do(
    deny: list[str], widened: bool
) -> None:
    report = reported(
        one("no", "deny", source=deny),
        one("inside", source=["10.1.0.0/24"]),
        one("outside", source=["192.0.2.0/24"]),
    )
    assert said(report, "inside") == ("whole", ["no"])
    assert not shadow(report, "inside").by[0].widened
    assert said(report, "outside") == (("whole", ["no"]) if widened else ("none", []))
    assert all(each.widened for each in shadow(report, "outside").by)


def test_several_rules_that_take_it_together_are_named_and_no_more() -> None:
    report = reported(
        one("low", "deny", source=["10.1.0.0/25"]),
        one("other", "deny", source=["10.9.0.0/16"]),
        one("same", source=["10.1.0.0/25"]),
        one("high", "deny", source=["10.1.0.128/25"]),
        one("again", "deny", source=["10.1.0.0/24"]),
        one("web", source=["10.1.0.0/24"]),
    )
    assert said(report, "same") == ("whole", ["low"])
    assert said(report, "again") == ("whole", ["low", "high"])
    assert said(report, "web") == ("whole", ["low", "high"])


def test_what_is_partly_taken_names_a_flow_that_is_lost() -> None:
    report = reported(
        one("allowed", source=["10.1.0.1"]),
        one("denied", "deny", source=["10.1.0.9"]),
        one("web", source=["10.1.0.0/24"]),
    )
    for firewall in (False, True):
        assert said(report, "web", firewall=firewall) == ("part", ["allowed", "denied"])
        # A flow that is allowed all the same is not lost.
        assert "10.1.0.9" in shadow(report, "web", firewall=firewall).flow


def test_of_very_many_some_are_named() -> None:
    denies = [one(f"no{number}", "deny", source=[f"10.1.0.{number}"]) for number in range(30)]
    report = reported(*denies, one("web"))
    assert len(shadow(report, "web").by) == 20
    assert shadow(report, "web").more
    assert not shadow(report, "no3").more


def test_a_rule_is_wholly_hidden_only_where_it_is_in_all_of_its_zones() -> None:
    report = reported(
        one("no", "deny", from_=["web"], to=["any"]),
        one("in", from_=["web", "db"], to=["any"]),
        one("out", from_=["web"], to=["db"]),
    )
    assert said(report, "in") == ("part", ["no"])
    assert said(report, "out") == ("whole", ["no"])


def test_a_rule_for_no_address_of_a_pod_is_empty_here() -> None:
    report = reported(one("web", source=["10.1.0.1"], destination=["10.2.0.1"]), pods="10.9.0.0/16")
    assert said(report, "web") == ("empty", [])
    assert said(report, "web", firewall=True) == ("none", [])


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ("enforced", "enforced", True),
        ("enforced", "staged", True),
        ("staged", "staged", True),
        ("staged", "enforced", False),
    ],
)
def test_a_deny_of_an_earlier_tier_hides_rules_of_later_ones(
    first: Mode, second: Mode, hidden: bool
) -> None:
    report = reported(
        groups={
            "one": (first, [one("free", source=["10.1.0.1"]), one("no", "deny")]),
            "two": (second, [one("a", source=["10.1.0.1"]), one("b", source=["10.1.0.2"])]),
        }
    )
    assert said(report, "a") == ("none", [])
    assert said(report, "b") == (("whole", ["no"]) if hidden else ("none", []))
    assert said(report, "b", firewall=True) == ("none", [])


def test_a_default_of_an_earlier_tier_hides_rules_of_later_ones() -> None:
    report = reported(
        groups={
            "one": ("enforced", [one("free", source=["10.1.0.1"])]),
            "two": ("enforced", [one("b", source=["10.1.0.2"])]),
        }
    )
    assert said(report, "b") == ("whole", ["interzone-default of one"])
    assert shadow(report, "b").by[0].place is None


def test_an_essential_flow_comes_before_a_rule() -> None:
    dns: dict[str, Any] = {"destination": ["10.2.0.53"], "service": ["service-http"]}
    report = reported(one("web", **dns), essentials=[DNS])
    assert said(report, "web") == ("none", [])
    report = reported(one("all", destination=["10.2.0.53"]), essentials=[DNS])
    assert said(report, "all") == ("part", ["an essential flow"])


def test_what_would_take_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.verify.hiding.LOOKS", 0)
    report = reported(one("no", "deny", source=["10.1.0.0/25"]), one("web"))
    found = shadow(report, "web")
    assert (str(found.extent), found.by) == ("unknown", ())
    assert found.because == "it would take too many looks at two rules"


def test_an_app_id_may_have_more_ports_than_the_rule_above_it_takes() -> None:
    on_ssh = service("on-ssh", port="22")
    by_default = one("shell", application=["ssh"], service=["application-default"])
    report = reported(on_ssh, one("port", service=["on-ssh"]), by_default)
    assert said(report, "shell") == ("whole", ["port"])
    assert said(report, "shell", firewall=True) == ("none", [])
    report = reported(one("all"), by_default)
    assert said(report, "shell", firewall=True) == ("whole", ["all"])


def test_a_rule_that_only_some_firewalls_have_hides_nothing_there() -> None:
    target = "<target><devices><entry name='1'/></devices></target>"
    words = (rule("no", target, from_=["any"], to=["any"], action="deny"), one("web"))
    assert said(reported(*words, devices=("1", "2")), "web", firewall=True) == ("none", [])
    assert said(reported(*words), "web") == ("whole", ["no"])


def test_disabled_rules_hide_nothing_and_are_not_hidden() -> None:
    report = reported(one("no", "deny", disabled="yes"), one("web"), one("off", disabled="yes"))
    assert said(report, "web") == ("none", [])
    assert [each.shadow for each in report.rules if each.disabled] == [None, None]

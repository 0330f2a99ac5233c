"""Where a flow's ends are: workloads, networks, essentials, and what is of no zone or of others."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sync.calico import limits, names
from sync.calico.validator import validate
from sync.errors import UsageError
from sync.firewall.zone_networks import Derived
from sync.options import Essential, ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.fidelity import Status, ZoneFidelity
from sync.translate.network_sets import Target
from sync.translate.zones import Workloads, in_namespace
from tests.translation import Translated, translate
from tests.words import Word, rule, seen_by

Document = dict[str, Any]
Definitions = Mapping[str, ZoneDefinition]

PODS = "projectcalico.org/orchestrator == 'k8s'"
LABEL = "firewall.tigera.io/zone"
POLICY = "GlobalNetworkPolicy"
PODS_ONLY = ZoneDefinition(networks=())
UNSAID = ZoneDefinition()


def between(source: str, destination: str, **lists: Sequence[str] | str) -> Word:
    """An allow from one zone to another."""
    usual: dict[str, Sequence[str] | str] = {"service": ["any"]}
    name = f"{source} to {destination}"
    return rule(name, rulebase="pre", from_=[source], to=[destination], **(usual | lists))


def translated(
    *words: Word,
    others: Sequence[Word] = (),
    derived: Derived | None = None,
    **options: Any,
) -> Translated:
    """The translation of a device group, beside one with `others`; whatever it writes is valid."""
    groups = {"dg": words, "other": others}
    targets = [
        Target("main", seen_by(name, groups), tier, order, "enforced", found)
        for name, tier, order, found in (
            ("dg", "fw", 100, derived or Derived((), {}, {})),
            ("other", "fw-other", 101, Derived((), {}, {})),
        )
        if name == "dg" or others
    ]
    found = translate("cluster", targets, Options((), True, (), zones=ZoneOptions(**options)), {})
    assert not [problem for each in found.manifests.values() for problem in validate(each)]
    return found


def policy(found: Translated, name: str) -> Document:
    document: Document = found.manifests[POLICY, name].document()["spec"]
    return document


def zone(found: Translated, name: str, target: str = "dg") -> ZoneFidelity:
    (only,) = (each for each in found.report.zones if (each.target, each.name) == (target, name))
    return only


def networks(found: Translated) -> dict[str, tuple[str, ...] | None]:
    return {each.name: each.networks for each in found.report.zones if each.target == "dg"}


# --- workloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "selector"),
    [
        (UNSAID, f"{LABEL} == 'web'"),
        (ZoneDefinition("app == 'web'"), "(app == 'web')"),
        (ZoneDefinition("", "team == 'a'"), "(pcns.team == 'a')"),
        (
            ZoneDefinition("a == 'b' || c == 'd'", "has(x)"),
            "(a == 'b' || c == 'd') && (has(pcns.x))",
        ),
    ],
)
def test_a_zone_is_its_definition_or_its_label(definition: ZoneDefinition, selector: str) -> None:
    found = translated(between("web", "db"), definitions={"web": definition})
    assert policy(found, "fw.pan-zone-web")["selector"] == f"{PODS} && ({selector})"
    assert zone(found, "web").workloads == f"{PODS} && ({selector})"
    # The same selector is the remote one.
    ingress = policy(found, "fw.pan-zone-db")["ingress"][0]
    assert ingress["source"]["selector"] == f"{PODS} && ({selector})"


def test_the_label_of_zones_can_be_another() -> None:
    found = translated(between("web", "db"), label="example.com/zone")
    selector = policy(found, "fw.pan-zone-web")["selector"]
    assert selector == f"{PODS} && (example.com/zone == 'web')"
    unknown = policy(found, "fw.pan-unknown-zone")["selector"]
    assert unknown == f"{PODS} && has(example.com/zone)"


def test_no_pod_is_in_two_zones_definitions_rank_and_labels_come_last() -> None:
    workloads = Workloads(
        ZoneOptions(
            definitions={
                "b": ZoneDefinition("app == 'b'"),
                "labelled": PODS_ONLY,
                "a": ZoneDefinition("", "team == 'a'"),
            }
        )
    )
    assert workloads.pods("b") == "(app == 'b')"
    assert workloads.pods("a") == "(pcns.team == 'a') && !((app == 'b'))"
    for by_label in ("labelled", "other"):
        assert workloads.pods(by_label) == (
            f"{LABEL} == '{by_label}' && !((app == 'b')) && !((pcns.team == 'a'))"
        )


@pytest.mark.parametrize(
    ("namespaces", "pods"),
    [
        ("team == 'a'", "pcns.team == 'a'"),
        ("has(team) && !has( env )", "has(pcns.team) && !has( pcns.env )"),
        ("team in {'a', 'b == c'}", "pcns.team in {'a', 'b == c'}"),
        ("team not in {\"x's\"}", "pcns.team not in {\"x's\"}"),
        ("not == 'in'", "pcns.not == 'in'"),
        ("has(has)", "has(pcns.has)"),
        ("a.b/c-d contains 'x'", "pcns.a.b/c-d contains 'x'"),
        ("(x starts with 'y' || z ends with 'has(q)')",
         "(pcns.x starts with 'y' || pcns.z ends with 'has(q)')"),
        ("all()", "all()"),
        ("team!='a'&&env=='b'", "pcns.team!='a'&&pcns.env=='b'"),
    ],
)  # fmt: skip
def test_labels_of_namespaces_are_labels_of_pods_with_a_prefix(namespaces: str, pods: str) -> None:
    assert in_namespace(namespaces) == pods


@pytest.mark.parametrize("selector", ["app ==", "app == 'a' &&", "global()", "(has(x)", "x = 'y'"])
def test_a_selector_that_cannot_be_used_is_refused(selector: str) -> None:
    for key, definition in (
        ("selector", ZoneDefinition(selector)),
        ("namespace_selector", ZoneDefinition("", selector)),
    ):
        with pytest.raises(UsageError, match=rf"zones\.definitions\.web\.workloads\.{key} is"):
            Workloads(ZoneOptions(definitions={"web": definition}))


def test_a_selector_that_is_too_long_says_what_to_shorten() -> None:
    definitions = {
        f"zone-{number}": ZoneDefinition(f"app == '{'x' * 150}{number}'") for number in range(8)
    }
    with pytest.raises(UsageError, match=r"zone '\w+' has 1,\d\d\d bytes.*1,024.*shorten"):
        translated(between("web", "db"), definitions=definitions)


def test_the_longest_selector_that_fits_is_taken() -> None:
    room = limits.SELECTOR_BYTES - len(PODS) - len(" && !(())") - len("(app == '')")
    definition = ZoneDefinition(f"app == '{'x' * room}'", networks=())
    found = translated(between("web", "web", rule_type="interzone"), between("web", "any"),
                       definitions={"web": definition})  # fmt: skip
    assert len(policy(found, "fw.pan-zone-web")["selector"]) == limits.SELECTOR_BYTES - 3
    with pytest.raises(UsageError, match="shorten"):
        Workloads(
            ZoneOptions(definitions={"web": ZoneDefinition(f"app == '{'x' * (room + 1)}'")})
        ).pods("web")


def test_two_zones_with_one_label_value_are_refused() -> None:
    workloads = Workloads(ZoneOptions())
    workloads._values["untrust-zone-220c5f21"] = "another"
    with pytest.raises(UsageError, match=r"'another' and 'Untrust Zone'.*rename"):
        workloads.pods("Untrust Zone")


@pytest.mark.parametrize(
    ("name", "value", "policy_name"),
    [
        ("web", "web", "web"),
        ("Web", "Web", names.mapped("Web")),
        ("web.eu", "web.eu", names.mapped("web.eu")),
        ("web_1", "web_1", names.mapped("web_1")),
        ("x-0123abcd", names.mapped("x-0123abcd"), names.mapped("x-0123abcd")),
        ("Untrust Zone", "untrust-zone-220c5f21", "untrust-zone-220c5f21"),
        ("-", names.mapped("-"), names.mapped("-")),
        ("日本", names.mapped("日本"), names.mapped("日本")),
        ("it's", names.mapped("it's"), names.mapped("it's")),
    ],
)
def test_odd_names_of_zones(name: str, value: str, policy_name: str) -> None:
    found = translated(between(name, "db"))
    assert zone(found, name).label_value == value
    selector = policy(found, f"fw.pan-zone-{policy_name}")["selector"]
    assert selector == f"{PODS} && ({LABEL} == '{value}')"


@pytest.mark.parametrize(
    ("definition", "by_label"),
    [
        (UNSAID, True),
        (ZoneDefinition("app == 'web'"), True),
        (ZoneDefinition("", "team == 'a'"), False),
        (ZoneDefinition("app == 'web'", "team == 'a'"), False),
    ],
)
def test_which_zones_rest_on_pod_labels_alone(definition: ZoneDefinition, by_label: bool) -> None:
    found = translated(between("web", "db"), definitions={"web": definition})
    assert zone(found, "web").by_pod_label is by_label


# --- which zones have chains ----------------------------------------------------------------------


def test_rules_and_templates_name_zones_and_configuration_alone_does_not() -> None:
    found = translated(
        between("web", "db"),
        between("any", "multicast"),
        derived=Derived(("lab",), {"lab": ("10.5.0.0/16",)}, {}),
        definitions={
            "web": PODS_ONLY,
            "db": PODS_ONLY,
            "spare": ZoneDefinition(networks=("10.8.0.0/16",)),
        },
    )
    chains = {name for kind, name in found.manifests if "pan-zone-" in name}
    assert chains == {"fw.pan-zone-web", "fw.pan-zone-db", "fw.pan-zone-lab"}
    # As a remote end it counts.
    between_zones = str(policy(found, "fw.pan-zone-web")["egress"])
    assert f"{LABEL} in {{'db', 'lab', 'spare'}}" in between_zones
    assert "10.8.0.0/16" in between_zones


def test_a_disabled_rule_names_zones_too() -> None:
    found = translated(between("web", "db", disabled="yes"))
    assert {each.name for each in found.report.zones} == {"web", "db"}


def test_orders_never_tie_and_follow_one_another() -> None:
    zones = [f"zone-{number}" for number in range(60)]
    found = translated(
        *(between(each, "db") for each in zones),
        others=[between("elsewhere", "db")],
        essentials=(Essential("egress", "all()", "", ("10.0.0.53/32",)),),
    )
    orders = {
        name: manifest.document()["spec"]["order"]
        for (kind, name), manifest in found.manifests.items()
        if kind == POLICY and name.startswith("fw.")
    }
    essentials = ["fw.pan-essentials"]
    assert len(set(orders.values())) == len(orders) == 61 + len(essentials) + 2
    ordered = sorted(orders, key=lambda name: orders[name])
    assert ordered[:1] == essentials
    assert ordered[-2:] == ["fw.pan-elsewhere-1", "fw.pan-unknown-zone"]
    assert max(map(abs, orders.values())) < limits.ORDER_MAGNITUDE


def test_a_label_that_names_no_zone_denies_both_ways_last() -> None:
    found = translated(between("web", "db"))
    unknown = policy(found, "fw.pan-unknown-zone")
    deny = {"action": "Deny", "source": {}, "destination": {}}
    assert unknown["selector"] == f"{PODS} && has({LABEL})"
    assert unknown["types"] == ["Ingress", "Egress"]
    assert (unknown["ingress"], unknown["egress"]) == ([deny], [deny])


def test_pods_of_zones_that_only_others_have_pass_to_their_tier() -> None:
    found = translated(between("web", "db"), others=[between("web", "far"), between("away", "far")])
    passing = {"action": "Pass", "source": {}, "destination": {}}
    elsewhere = policy(found, "fw.pan-elsewhere-1")
    assert elsewhere["selector"] == f"{PODS} && ({LABEL} in {{'away', 'far'}})"
    assert (elsewhere["ingress"], elsewhere["egress"]) == ([passing], [passing])
    assert policy(found, "fw-other.pan-elsewhere-1")["selector"] == f"{PODS} && ({LABEL} == 'db')"
    # They are other zones to the interzone default, and the zone that both name is judged by both.
    ends = [each["destination"] for each in policy(found, "fw.pan-zone-web")["egress"]]
    assert {"selector": f"{PODS} && ({LABEL} in {{'away', 'db', 'far'}})"} in ends
    assert (POLICY, "fw-other.pan-zone-web") in found.manifests


def test_many_zones_elsewhere_are_several_policies() -> None:
    others = [between(f"{number:02}-{'x' * 50}", "web") for number in range(40)]
    found = translated(between("web", "db"), others=others)
    selectors = [
        manifest.document()["spec"]["selector"]
        for (_, name), manifest in found.manifests.items()
        if name.startswith("fw.pan-elsewhere-")
    ]
    assert len(selectors) == 3
    assert max(map(len, selectors)) <= limits.SELECTOR_BYTES
    assert sum(each.count("x" * 50) for each in selectors) == 40


# --- networks -------------------------------------------------------------------------------------


def test_the_longest_prefix_decides_over_all_zones() -> None:
    found = translated(
        between("web", "db"),
        between("web", "lab"),
        definitions={
            "web": ZoneDefinition(networks=("10.0.0.0/8", "10.1.2.0/24")),
            "db": ZoneDefinition(networks=("10.1.0.0/16",)),
            "lab": ZoneDefinition(networks=("10.1.2.128/25", "2001:db8::/32")),
        },
    )
    held = networks(found)
    assert held["lab"] == ("10.1.2.128/25", "2001:db8::/32")
    assert "10.1.2.0/25" in (held["web"] or ())
    assert "10.1.3.0/24" in (held["db"] or ())
    assert "10.1.2.0/25" not in (held["db"] or ())
    assert zone(found, "web").origin == "configured"


def test_one_prefix_in_two_zones_is_refused() -> None:
    definitions = {
        "web": ZoneDefinition(networks=("10.0.0.0/8",)),
        "db": ZoneDefinition(networks=("10.1.0.0/8",)),
    }
    with pytest.raises(UsageError, match=r"10\.0\.0\.0/8 to the zones 'web' and 'db'"):
        translated(between("web", "db"), definitions=definitions)


def test_multicast_is_taken_from_every_zone() -> None:
    found = translated(
        between("web", "db"),
        definitions={"web": ZoneDefinition(networks=("0.0.0.0/0", "::/0")), "db": PODS_ONLY},
    )
    held = networks(found)["web"] or ()
    assert not [net for net in held if net.startswith(("224.", "239.", "ff"))]
    assert held[-1] == "fe00::/8"


@pytest.mark.parametrize(
    ("definition", "derived", "known", "origin"),
    [
        (None, (), None, "no template of the device group names it"),
        (UNSAID, (), None, "no template of the device group names it"),
        (PODS_ONLY, (), (), "configured"),
        (PODS_ONLY, ("10.7.0.0/16",), (), "configured"),
        (None, ("10.7.0.0/16",), ("10.7.0.0/16",), "derived from templates"),
        (UNSAID, ("10.7.0.0/16",), ("10.7.0.0/16",), "derived from templates"),
        (
            ZoneDefinition(networks=("10.8.0.0/16",)),
            ("10.7.0.0/16",),
            ("10.8.0.0/16",),
            "configured",
        ),
    ],
)
def test_networks_are_configured_or_derived_or_not_known(
    definition: ZoneDefinition | None,
    derived: tuple[str, ...],
    known: tuple[str, ...] | None,
    origin: str,
) -> None:
    found = translated(
        between("web", "db"),
        derived=Derived(("db",), {"db": derived}, {}) if derived else None,
        definitions={"db": definition} if definition else {},
    )
    assert (zone(found, "db").networks, zone(found, "db").origin) == (known, origin)


def test_a_derived_zone_that_is_not_known_says_why() -> None:
    derived = Derived(("db",), {}, {"db": "its router learns routes"})
    found = translated(between("web", "db"), derived=derived)
    assert zone(found, "db").networks is None
    assert zone(found, "db").origin == "its router learns routes"


def test_what_templates_say_can_be_left_alone() -> None:
    derived = Derived(("db",), {"db": ("10.7.0.0/16",)}, {})
    found = translated(between("web", "db"), derived=derived, derive_networks=False)
    assert zone(found, "db").networks is None
    assert zone(found, "db").origin == "no networks are configured for it"


def test_a_configured_network_comes_before_a_derived_one() -> None:
    found = translated(
        between("web", "db"),
        derived=Derived(("db",), {"db": ("10.7.0.0/16", "10.8.0.0/16")}, {}),
        definitions={"web": ZoneDefinition(networks=("10.7.0.0/16",))},
    )
    assert networks(found) == {"web": ("10.7.0.0/16",), "db": ("10.8.0.0/16",)}


def test_a_configured_default_route_needs_every_other_zone_known() -> None:
    definitions = {"web": ZoneDefinition(networks=("0.0.0.0/0",)), "lab": PODS_ONLY}
    words = [between("web", "db"), between("web", "lab"), between("dmz", "db")]
    with pytest.raises(UsageError, match=r"0\.0\.0\.0/0.*'web'.*'db', 'dmz'.*\[\] if it is"):
        translated(*words, definitions=definitions)
    known = {**definitions, "db": PODS_ONLY, "dmz": PODS_ONLY}
    assert "0.0.0.0/1" in (networks(translated(*words, definitions=known))["web"] or ())


def test_a_configured_network_cannot_hold_what_may_lead_to_a_zone_of_unknown_networks() -> None:
    because = "its routers disagree"
    derived = Derived(("db",), {}, {"db": because}, {}, {"db": ("10.7.0.0/16", "11.0.0.0/8")})
    web = ZoneDefinition(networks=("10.0.0.0/8",))
    said = (
        r"10\.0\.0\.0/8 to the zone 'web'.*10\.7\.0\.0/16 may lead to 'db'.*routers disagree.*give"
    )
    with pytest.raises(UsageError, match=said):
        translated(between("web", "db"), derived=derived, definitions={"web": web})
    # Whoever gives the very prefix, or the other zone's networks, says what is meant.
    for more in (
        {"web": ZoneDefinition(networks=("10.0.0.0/8", "10.7.0.0/16"))},
        {"web": web, "db": ZoneDefinition(networks=("10.7.0.0/24",))},
        {"web": ZoneDefinition(networks=("10.7.1.0/24",))},
    ):
        assert translated(between("web", "db"), derived=derived, definitions=more)


@pytest.mark.parametrize("known", [True, False])
def test_a_derived_default_route_is_known_where_every_other_zone_is(known: bool) -> None:
    default = {"web": ("0.0.0.0/0",)}
    derived = Derived(("web", "db"), {**default, "db": ("10.0.0.0/8",)}, {}, default)
    found = translated(
        between("web", "db"),
        between("web", "lab"),
        derived=derived,
        definitions={"lab": PODS_ONLY} if known else {},
    )
    assert zone(found, "db").networks == ("10.0.0.0/8",)
    if known:
        assert "11.0.0.0/8" in (zone(found, "web").networks or ())
        assert "10.0.0.0/8" not in (zone(found, "web").networks or ())
    else:
        assert zone(found, "web").networks is None
        assert zone(found, "web").origin == (
            "a default route leads to it, and the networks of 'lab' are not known"
        )


def test_an_unknown_zone_may_be_wherever_no_other_is_known_to_be() -> None:
    found = translated(
        between("web", "db", action="deny"),
        between("web", "lab"),
        definitions={"web": PODS_ONLY, "lab": ZoneDefinition(networks=("10.0.0.0/8",))},
    )
    ends = [each["destination"] for each in policy(found, "fw.pan-zone-web")["egress"][:3]]
    assert ends == [
        {"selector": f"{PODS} && ({LABEL} == 'db')"},
        {"notSelector": PODS, "notNets": ["10.0.0.0/8", "224.0.0.0/4"]},
        {"notSelector": PODS, "notNets": ["ff00::/8"]},
    ]
    (line,) = (each for each in found.report.rules if each.name == "web to db")
    assert line.status is Status.WIDENED


def test_zones_say_which_rules_name_them() -> None:
    found = translated(between("web", "db"), between("any", "db"), between("web", "any"))
    assert zone(found, "web").rules == ("web to db", "web to any")
    assert zone(found, "db").rules == ("web to db", "any to db")


# --- essentials -----------------------------------------------------------------------------------


def test_essentials_pass_before_all_else_on_zoned_pods_only() -> None:
    found = translated(
        between("web", "db"),
        definitions={"web": ZoneDefinition("", "team == 'a'")},
        essentials=(
            Essential("egress", "all()", "k8s-app == 'kube-dns'", (), ("53/udp", "53/tcp")),
            Essential("egress", "all()", "", ("10.96.0.1/32", "2001:db8::1/128"), ("443/tcp",)),
        ),
    )
    spec = policy(found, "fw.pan-essentials")
    assert spec["selector"] == (f"{PODS} && (((pcns.team == 'a')) || ({LABEL} == 'db')) && (all())")
    assert spec["types"] == ["Egress"]
    dns = f"{PODS} && (k8s-app == 'kube-dns')"
    assert spec["egress"] == [
        {"action": "Pass", "source": {}, **fields}
        for fields in (
            {"protocol": "TCP", "destination": {"selector": dns, "ports": [53]}},
            {"protocol": "UDP", "destination": {"selector": dns, "ports": [53]}},
            {
                "protocol": "TCP",
                "ipVersion": 4,
                "destination": {"nets": ["10.96.0.1/32"], "ports": [443]},
            },
            {
                "protocol": "TCP",
                "ipVersion": 6,
                "destination": {"nets": ["2001:db8::1/128"], "ports": [443]},
            },
        )
    ]
    assert "ingress" not in spec
    assert len(found.report.essentials) == 2


def test_essentials_are_not_for_pods_that_are_in_no_zone_of_the_device_group() -> None:
    """Neither for a label that names none nor for a definition that nobody names."""
    found = translated(
        between("web", "db"),
        definitions={
            "stray": ZoneDefinition("app == 'stray'"),
            "db": ZoneDefinition("app == 'db'"),
        },
        essentials=(Essential("egress", "all()", "k8s-app == 'kube-dns'"),),
    )
    either = f"((app == 'db')) || ({LABEL} == 'web')"
    assert policy(found, "fw.pan-essentials")["selector"] == (
        f"{PODS} && (({either}) && !((app == 'stray'))) && (all())"
    )


def test_essentials_of_other_pods_are_policies_of_their_own() -> None:
    found = translated(
        between("web", "db"),
        essentials=(
            Essential("ingress", "app == 'web'", "", ("10.0.0.0/24",), ("8000-8080/tcp",)),
            Essential("egress", "app == 'web'", "role == 'dns'"),
            Essential("egress", "app == 'db'", "role == 'dns'"),
        ),
    )
    first, second = policy(found, "fw.pan-essentials"), policy(found, "fw.pan-essentials-2")
    assert first["types"] == ["Ingress", "Egress"]
    assert first["ingress"] == [
        {
            "action": "Pass",
            "protocol": "TCP",
            "ipVersion": 4,
            "source": {"nets": ["10.0.0.0/24"]},
            "destination": {"ports": ["8000:8080"]},
        }
    ]
    assert first["egress"] == second["egress"]
    assert second["types"] == ["Egress"]
    assert first["order"] < second["order"] < policy(found, "fw.pan-zone-web")["order"]


def test_essentials_with_a_selector_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match=r"zones\.essentials"):
        translated(between("web", "db"), essentials=(Essential("egress", "app ==", "x == 'y'"),))

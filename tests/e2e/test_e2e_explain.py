"""`zonebridge explain`, as whoever asks about one flow meets it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.calico.names import RULE_ANNOTATION
from tests.e2e.installation import (
    Done,
    Installation,
    cluster,
    everything,
    kubernetes,
    sentences,
)
from tests.words import Word, address, document, rule, service

ZONES = {"definitions": {"web": {"networks": []}, "db": {"networks": ["10.2.0.0/16"]}}}
ALLOWED, DENIED = "our tiers allow it", "our tiers deny it"
ONE_TIER = ", tier firewallpolicy, device group main/dg-eu"


def said(name: str, **fields: Any) -> Word:
    """A rule from web to db that asks for nothing and allows, unless it says otherwise."""
    usual = {
        "from_": ["web"],
        "to": ["db"],
        "source": ["any"],
        "destination": ["any"],
        "service": ["any"],
        "application": ["any"],
        "action": "allow",
    }
    return rule(name, **{**usual, **fields})


RULES = [
    address("db-1", "10.2.0.1"),
    said("old", disabled="yes"),
    said("web to db", destination=["db-1"], service=["service-https"]),
]


@pytest.fixture
def place(place: Installation) -> Installation:
    place.configure("eu", zones=ZONES)
    place.export(document(groups={"dg-eu": RULES}))
    return place


def ruled(place: Installation, *rules: Word) -> None:
    """Let these be the rules of the one device group."""
    place.export(document(groups={"dg-eu": rules}))


def explain(
    place: Installation, source: str, destination: str, port: str = "443/tcp", *options: str
) -> Done:
    return place.run("explain", "--from", source, "--to", destination, "--port", port, *options)


def explained(
    place: Installation, source: str, destination: str, port: str = "443/tcp", *options: str
) -> str:
    """What is said of a flow; it can be explained."""
    done = explain(place, source, destination, port, *options)
    assert (done.code, done.err) == (0, "")
    return done.out


def of_one(
    place: Installation, source: str, destination: str, port: str = "443/tcp", *options: str
) -> Any:
    """The document of the one cluster."""
    done = explain(place, source, destination, port, *options, "--output", "json")
    assert (done.code, done.err) == (0, "")
    assert done.json["errors"] == []
    (found,) = done.json["clusters"]
    return found


# --- what is said ---------------------------------------------------------------------------------


def test_an_allowed_flow_has_the_rule_that_allows_it_in_either_list(place: Installation) -> None:
    assert (
        explained(place, "web", "10.2.0.1")
        == f"""\
Cluster eu, in its desired state: a pod of zone web to 10.2.0.1, tcp/443 from port 50000: \
{ALLOWED}

Egress of a pod of zone web, tier firewallpolicy, device group main/dg-eu
  the firewall allows it: dg-eu pre 2 'web to db'
  Calico allows it: firewallpolicy.pan-zone-web[egress 1], as 'web to db'
"""
    )


def test_a_denied_flow_has_what_denies_it_at_both_ends(place: Installation) -> None:
    """The rule that it just misses is none of them."""
    assert (
        explained(place, "web@10.244.1.7", "db@10.2.0.2")
        == f"""\
Cluster eu, in its desired state: a pod of zone web at 10.244.1.7 to a pod of zone db at \
10.2.0.2, tcp/443 from port 50000: \
{DENIED}

Egress of a pod of zone web at 10.244.1.7, tier firewallpolicy, device group main/dg-eu
  the firewall denies it: interzone-default
  Calico denies it: firewallpolicy.pan-zone-web[egress 3], as 'interzone-default'

Ingress of a pod of zone db at 10.2.0.2, tier firewallpolicy, device group main/dg-eu
  the firewall denies it: interzone-default
  Calico denies it: firewallpolicy.pan-zone-db[ingress 3], as 'interzone-default'
"""
    )


def test_between_zones_the_flows_fall_into_cases(place: Installation) -> None:
    assert (
        explained(place, "web", "db")
        == """\
Cluster eu, in its desired state: a pod of zone web to a pod of zone db, tcp/443 from port \
50000: it depends

Egress of a pod of zone web, tier firewallpolicy, device group main/dg-eu
  to 10.2.0.1/32
    the firewall allows it: dg-eu pre 2 'web to db'
    Calico allows it: firewallpolicy.pan-zone-web[egress 0], as 'web to db'
  all others
    the firewall denies it: interzone-default
    Calico denies it: firewallpolicy.pan-zone-web[egress 3], as 'interzone-default'

Ingress of a pod of zone db, tier firewallpolicy, device group main/dg-eu
  to 10.2.0.1/32
    the firewall allows it: dg-eu pre 2 'web to db'
    Calico allows it: firewallpolicy.pan-zone-db[ingress 0], as 'web to db'
  all others
    the firewall denies it: interzone-default
    Calico denies it: firewallpolicy.pan-zone-db[ingress 3], as 'interzone-default'
"""
    )


def test_verbose_tells_why_each_rule_before_is_passed_over(place: Installation) -> None:
    web = "firewallpolicy.pan-zone-web"
    assert (
        explained(place, "web", "10.2.0.2", "443/tcp", "--verbose")
        == f"""\
Cluster eu, in its desired state: a pod of zone web to 10.2.0.2, tcp/443 from port 50000: \
{DENIED}

Egress of a pod of zone web{ONE_TIER}
    not dg-eu pre 1 'old': is disabled
    not dg-eu pre 2 'web to db': is for flows to other zones or addresses
  the firewall denies it: interzone-default
    not {web}[egress 0], as 'web to db': is for other far ends
    not {web}[egress 1], as 'web to db': is for other far ends
    not {web}[egress 2], as 'intrazone-default': is for other far ends
    not {web}[egress 3], as 'interzone-default': is for other far ends
  Calico denies it: {web}[egress 4], as 'interzone-default'
"""
    )
    shown = explained(place, "web", "10.2.0.1", "80/tcp", "--verbose")
    assert "not dg-eu pre 2 'web to db': is for other services or applications\n" in shown
    assert f"not {web}[egress 0], as 'web to db': is for other protocols or ports\n" in shown


def test_the_document_has_all_that_is_known_of_a_flow(place: Installation) -> None:
    found = of_one(place, "web", "10.2.0.2", "443/tcp", "--verbose")
    (side,) = found.pop("sides")
    (case,) = side.pop("cases")
    assert found == {
        "cluster": "eu",
        "live": False,
        "from": "a pod of zone web",
        "to": "10.2.0.2",
        "traffic": "tcp/443 from port 50000",
        "verdict": "deny",
        "now": "deny",
        "notes": [],
        "pending": [],
    }
    assert side == {
        "direction": "egress",
        "source": "main",
        "target": "dg-eu",
        "tier": "firewallpolicy",
    }
    assert case.pop("flows") == [{"from": ["0.0.0.0/0"], "to": ["10.2.0.2/32"]}]
    no_place = {"device_group": "", "rulebase": "", "position": None}
    first, second = ({"device_group": "dg-eu", "rulebase": "pre", "position": n} for n in (1, 2))
    assert case.pop("firewall") == {
        "verdict": "deny",
        "decider": {"action": "deny", "rule": "interzone-default", **no_place, "reasons": []},
        "perhaps": [],
        "passed": [
            {"rule": "old", **first, "because": "is disabled"},
            {"rule": "web to db", **second, "because": "is for flows to other zones or addresses"},
        ],
    }
    calico, enforced = case.pop("calico"), case.pop("enforced")
    assert case == {}
    passed = calico.pop("passed")
    assert enforced == {**calico, "passed": []}
    assert calico == {
        "verdict": "deny",
        "decider": {
            "action": "deny",
            "rule": "interzone-default",
            "calico": "firewallpolicy.pan-zone-web[egress 4]",
            "staged": False,
        },
        "perhaps": [],
    }
    assert passed[0] == {
        "rule": "web to db",
        "calico": "firewallpolicy.pan-zone-web[egress 0]",
        "because": "is for other far ends",
    }
    assert len(passed) == 4
    # Without it, nothing that is passed over is told.
    (side,) = of_one(place, "web", "10.2.0.2")["sides"]
    assert [side["cases"][0][each]["passed"] for each in ("firewall", "calico")] == [[], []]


def test_the_flows_of_a_case_go_from_the_source_in_either_direction(place: Installation) -> None:
    egress, ingress = of_one(place, "web", "db@10.2.0.1")["sides"]
    for side, direction in ((egress, "egress"), (ingress, "ingress")):
        (case,) = side["cases"]
        assert side["direction"] == direction
        assert case["flows"] == [{"from": ["0.0.0.0/0"], "to": ["10.2.0.1/32"]}]


def test_a_rule_that_asks_for_what_calico_cannot_see_only_perhaps_decides(
    place: Installation,
) -> None:
    ruled(
        place,
        said("bad users", source_user=["mallory"], service=["service-https"], action="deny"),
        said("good users", source_user=["alice"], service=["service-http"]),
        said("rest", service=["service-https"]),
    )
    unseen = "Calico cannot see that <source-user> is mallory"
    shown = explained(place, "web", "10.2.0.1")
    assert shown.splitlines()[3:] == [
        f"  the firewall perhaps denies it: dg-eu pre 1 'bad users': it denies everyone: {unseen}",
        "  the firewall allows it, if none of these does: dg-eu pre 3 'rest'",
        "  Calico denies it: firewallpolicy.pan-zone-web[egress 1], as 'bad users'",
    ]
    found = of_one(place, "web", "10.2.0.1")
    firewall = found["sides"][0]["cases"][0]["firewall"]
    assert found["verdict"] == "deny"
    assert firewall["verdict"] == "unknown"
    assert firewall["decider"]["rule"] == "rest"
    (perhaps,) = firewall["perhaps"]
    assert (perhaps["rule"], perhaps["action"], perhaps["position"]) == ("bad users", "deny", 1)
    assert perhaps["reasons"] == [f"it denies everyone: {unseen}"]
    # An allow that Calico cannot see allows nobody there.
    shown = explained(place, "web", "10.2.0.1", "80/tcp")
    assert "the firewall perhaps allows it: dg-eu pre 2 'good users': " in shown
    assert "  Calico denies it: " in shown


def test_an_application_is_taken_by_its_ports_and_the_rule_only_perhaps_decides(
    place: Installation,
) -> None:
    ruled(place, said("names", application=["dns"], service=["application-default"]))
    by_ports = "App-ID dns is matched by its default ports alone (tcp/53, udp/53,5353)"
    shown = explained(place, "web", "10.2.0.1", "53/udp")
    assert shown.splitlines()[3:] == [
        f"  the firewall perhaps allows it: dg-eu pre 1 'names': {by_ports}",
        "  the firewall denies it, if none of these does: interzone-default",
        "  Calico allows it: firewallpolicy.pan-zone-web[egress 3], as 'names'",
    ]
    # No Panorama tells what else it is on.
    shown = explained(place, "web", "10.2.0.1", "54/udp")
    by_table = "App-ID dns are from a table that zonebridge brings, which may lack some"
    assert shown.splitlines()[3:] == [
        f"  the firewall perhaps allows it: dg-eu pre 1 'names': the default ports of {by_table}",
        "  the firewall denies it, if none of these does: interzone-default",
        "  Calico denies it: firewallpolicy.pan-zone-web[egress 6], as 'interzone-default'",
    ]
    assert "names" not in explained(place, "web", "10.2.0.1", "ip/47")


def test_the_source_port_is_an_ephemeral_one_unless_it_is_said(place: Installation) -> None:
    ruled(
        place, service("old-client", "443", source_port="1000"), said("a", service=["old-client"])
    )
    asked = ("web", "10.2.0.1", "443/tcp")
    assert ", tcp/443 from port 50000: our tiers deny it\n" in explained(place, *asked)
    shown = explained(place, *asked, "--source-port", "1000")
    assert ", tcp/443 from port 1000: our tiers allow it\n" in shown


@pytest.mark.parametrize(
    ("port", "traffic"),
    [
        ("53/UDP", "udp/53 from port 50000"),
        ("icmp", "icmp type 8 code 0"),
        ("icmp6", "icmp6 type 128 code 0"),
        ("3:1/icmp", "icmp type 3 code 1"),
        ("ip/47", "IP protocol 47"),
    ],
)
def test_traffic_of_every_kind_can_be_asked_about(
    place: Installation, port: str, traffic: str
) -> None:
    assert of_one(place, "web", "db", port)["traffic"] == traffic


def test_a_staged_policy_is_said_to_be_none_that_is_enforced(place: Installation) -> None:
    staged = [{"name": "dg-eu", "mode": "staged"}]
    place.configure(cluster("eu", device_groups=staged), zones=ZONES)
    where = "firewallpolicy.pan-zone-web[egress 1], as 'web to db', staged: not enforced\n"
    now = "  Calico without staged policies allows it: "
    now += "no policy of tier firewallpolicy selects it\n"
    assert explained(place, "web", "10.2.0.1").endswith(where + now)
    found = of_one(place, "web", "10.2.0.1")
    assert found["sides"][0]["cases"][0]["calico"]["decider"]["staged"] is True


def test_every_tier_is_asked_and_any_may_deny(place: Installation) -> None:
    tiers = [
        {"name": "dg-eu", "mode": "enforced", "tier": "first", "order": 101},
        {"name": "dg-us", "mode": "enforced", "tier": "second", "order": 102},
    ]
    place.configure(cluster("eu", device_groups=tiers), zones=ZONES)
    us = said("not from us", to=["any"], from_=["dmz"])
    place.export(document(groups={"dg-eu": [said("all")], "dg-us": [us]}))
    found = of_one(place, "web", "db")
    assert [(each["direction"], each["tier"], each["target"]) for each in found["sides"]] == [
        ("egress", "first", "dg-eu"),
        ("egress", "second", "dg-us"),
        ("ingress", "first", "dg-eu"),
        ("ingress", "second", "dg-us"),
    ]
    # The second one's rules know neither zone.
    assert [each["cases"][0]["firewall"] is None for each in found["sides"]] == [
        False,
        True,
        False,
        True,
    ]
    assert found["verdict"] == "allow"
    assert "  the firewall: no zone of this device group\n" in explained(place, "web", "db")
    us = said("never", to=["db"], from_=["dmz"], action="deny")
    place.export(document(groups={"dg-eu": [said("all")], "dg-us": [us]}))
    first, second = of_one(place, "web", "db")["sides"][2:]
    assert first["cases"][0]["calico"]["verdict"] == "allow"
    assert second["cases"][0]["calico"]["verdict"] == "deny"
    assert of_one(place, "web", "db")["verdict"] == "deny"


def test_a_side_of_many_cases_is_cut_short_and_the_document_is_not(place: Installation) -> None:
    hosts = range(12)
    ruled(
        place,
        *(address(f"h{n}", f"10.2.0.{2 * n}") for n in hosts),
        *(said(f"r{n}", destination=[f"h{n}"], action="deny") for n in hosts),
    )
    shown = explained(place, "web", "db")
    more = "  all but 2 more cases: give an address at both ends, or --output json\n"
    assert shown.count(more) == 2
    assert shown.count("  all others\n") == 2
    assert [len(each["cases"]) for each in of_one(place, "web", "db")["sides"]] == [13, 13]


# --- who the ends are -----------------------------------------------------------------------------


def test_a_pod_of_a_zone_at_an_address_meets_the_rules_for_that_address(
    place: Installation,
) -> None:
    ruled(place, address("web-1", "10.244.1.7"), said("one", source=["web-1"]))
    assert ": our tiers allow it\n" in explained(place, "web@10.244.1.7", "10.2.0.1")
    assert ": our tiers deny it\n" in explained(place, "web@10.244.1.8", "10.2.0.1")
    # Any pod of the zone may be that one or another.
    assert ": it depends\n" in explained(place, "web", "10.2.0.1")


def test_ends_that_are_no_pods_are_noted_and_have_no_verdict(place: Installation) -> None:
    assert (
        explained(place, "10.2.0.9", "192.0.2.1")
        == """\
Cluster eu, in its desired state: 10.2.0.9 to 192.0.2.1, tcp/443 from port 50000
  neither end is a pod of this cluster, so none of its policies decides the flow; \
write ZONE@ADDRESS for a pod of a zone
"""
    )
    found = of_one(place, "10.2.0.9", "192.0.2.1")
    assert (found["verdict"], found["sides"]) == (None, [])
    assert len(found["notes"]) == 1


def test_an_address_where_pods_are_that_no_cluster_tells_of_is_noted(place: Installation) -> None:
    place.configure(cluster("eu", pod_cidrs=["10.244.0.0/16"]), zones=ZONES)
    (note,) = of_one(place, "web", "10.244.9.9")["notes"]
    assert note.startswith("10.244.9.9 is in the networks of pods, but no known pod")
    assert note.endswith("write ZONE@10.244.9.9 for a pod of a zone")
    assert of_one(place, "web", "db@10.244.9.9")["notes"] == []
    assert of_one(place, "web", "10.2.0.1")["notes"] == []


def test_a_pod_of_a_zone_is_only_where_the_cluster_has_pods(place: Installation) -> None:
    place.configure(cluster("eu", pod_cidrs=["10.244.0.0/16"]), zones=ZONES)
    (side,) = of_one(place, "web", "10.2.0.1")["sides"]
    assert side["cases"][0]["flows"] == [{"from": ["10.244.0.0/16"], "to": ["10.2.0.1/32"]}]


@pytest.mark.parametrize(
    "asked", [("2001:db8::1", "web", "443/tcp"), ("web", "db", "icmp6"), ("web", "::1", "443/tcp")]
)
def test_a_zone_without_pods_of_an_ip_version_is_a_sentence(
    place: Installation, asked: tuple[str, str, str]
) -> None:
    """All pods of this cluster have IPv4 addresses, so no flow can be what is asked about."""
    place.configure(cluster("eu", pod_cidrs=["10.244.0.0/16"]), zones=ZONES)
    done = explain(place, *asked)
    assert done.code in (0, 64)
    assert "internal error" not in done.err
    assert "IPv6" in done.out + done.err
    assert ": it depends" not in done.out


# --- what stands ----------------------------------------------------------------------------------


def policy(place: Installation, name: str = "zone-web") -> Path:
    folder = place.directory / "eu" / "globalnetworkpolicy"
    return folder / f"firewallpolicy.pan-{name}.yaml"


def edited(file: Path, edit: Callable[[Any], object]) -> None:
    """Let a file hold what a hand makes of it."""
    held = yaml.safe_load(file.read_text())
    edit(held)
    file.write_text(yaml.safe_dump(held))


def test_live_goes_by_what_a_hand_made_of_a_policy(place: Installation) -> None:
    place.done("sync")
    asked = ("web", "10.2.0.1", "443/tcp")
    shall = explained(place, *asked)
    stands = explained(place, *asked, "--live")
    assert stands == shall.replace("in its desired state", "as its objects stand")

    edited(policy(place), lambda it: it["spec"]["egress"].insert(0, {"action": "Deny"}))
    assert explained(place, *asked) == shall
    assert (
        explained(place, *asked, "--live")
        == f"""\
Cluster eu, as its objects stand: a pod of zone web to 10.2.0.1, tcp/443 from port 50000: \
{DENIED}

Egress of a pod of zone web{ONE_TIER}
  the firewall allows it: dg-eu pre 2 'web to db'
  Calico denies it: firewallpolicy.pan-zone-web[egress 0]
"""
    )
    found = of_one(place, *asked, "--live")
    assert (found["live"], found["verdict"]) == (True, "deny")
    # What holds is what Panorama says again, once it is repaired.
    place.done("sync")
    assert explained(place, *asked, "--live") == stands


def test_live_sees_a_policy_of_another_hand_in_the_tier(place: Installation) -> None:
    place.done("sync")
    spec = {
        "tier": "firewallpolicy",
        "order": 1,
        "selector": "all()",
        "types": ["Egress"],
        "egress": [{"action": "Deny", "destination": {"nets": ["10.2.0.1/32"]}}],
    }
    metadata = {"name": "firewallpolicy.stop"}
    written = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy"}
    by_hand = {**written, "metadata": metadata, "spec": spec}
    policy(place, "by-hand").write_text(yaml.safe_dump(by_hand))
    asked = ("web", "10.2.0.1", "443/tcp")
    assert ": our tiers deny it\n" in explained(place, *asked, "--live")
    assert "  Calico denies it: firewallpolicy.stop[egress 0]\n" in explained(
        place, *asked, "--live"
    )
    assert ": our tiers allow it\n" in explained(place, *asked)


def test_live_before_the_first_sync_has_no_policy_that_decides(place: Installation) -> None:
    shown = explained(place, "web", "10.2.0.2", "443/tcp", "--live")
    assert shown.endswith("  Calico allows it: no policy of tier firewallpolicy selects it\n")
    assert ": our tiers deny it\n" in explained(place, "web", "10.2.0.2")


def test_live_says_which_object_it_cannot_judge(place: Installation) -> None:
    place.done("sync")
    edited(policy(place), lambda it: it["spec"]["egress"].insert(0, {"action": "Log"}))
    verdict, note, *_ = explained(place, "web", "10.2.0.1", "443/tcp", "--live").splitlines()
    assert verdict.endswith(": it depends")
    assert note == (
        "  GlobalNetworkPolicy firewallpolicy.pan-zone-web is not judged: "
        "firewallpolicy.pan-zone-web[egress 0] holds something, which is not judged"
    )
    assert ": our tiers allow it\n" in explained(place, "web", "10.2.0.1")


def set_null(*path: str) -> Callable[[Any], object]:
    """What is left where a hand took all out of a part."""

    def edit(held: Any) -> None:
        for each in path[:-1]:
            held = held[each]
        held[path[-1]] = None

    return edit


WEB_POLICY = "globalnetworkpolicy/firewallpolicy.pan-zone-web"


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        (WEB_POLICY, set_null("spec", "egress")),
        (WEB_POLICY, lambda it: it["spec"].update(order="first")),
        (WEB_POLICY, lambda it: it["spec"]["egress"][0].update(metadata=None)),
        ("tier/firewallpolicy", lambda it: it.pop("spec")),
        ("globalnetworkset/pan.dbs", set_null("spec", "nets")),
        ("globalnetworkset/pan.dbs", set_null("metadata", "labels")),
    ],
    ids=["no rules", "order", "no metadata", "empty tier", "no nets", "no labels"],
)
def test_live_is_no_internal_error_whatever_a_hand_left_of_an_object(
    place: Installation, file: str, edit: Callable[[Any], object]
) -> None:
    place.panorama(eu={"dbs": ["10.2.0.0/24"]}, rules=[said("web to db", destination=["dbs"])])
    place.done("sync")
    edited(place.directory / "eu" / f"{file}.yaml", edit)
    done = explain(place, "web", "10.2.0.1", "443/tcp", "--live")
    assert done.code != 1, done.err
    assert done.code == 0 or file.partition("/")[2] in done.err


def test_live_is_no_internal_error_where_a_file_is_no_object_at_all(place: Installation) -> None:
    """As an editor leaves it that is still open, or a merge that was not resolved."""
    place.done("sync")
    policy(place).write_text("<<<<<<< HEAD\nspec: {\n")
    verdict, note, *_ = explained(place, "web", "10.2.0.1", "443/tcp", "--live").splitlines()
    assert verdict.endswith(": it depends")
    assert "firewallpolicy.pan-zone-web is not judged: it has no spec that can be read" in note
    assert ": our tiers allow it\n" in explained(place, "web", "10.2.0.1")


# --- what is left alone ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--live",), ("--verbose", "--output", "json")])
def test_nothing_is_written_before_the_first_sync_nor_later(
    place: Installation, options: Sequence[str]
) -> None:
    before = everything(place.directory)
    assert sorted(before) == [".", "panorama.xml", "zonebridge.yaml"]
    explained(place, "web", "db", "443/tcp", *options)
    assert everything(place.directory) == before
    place.done("sync")
    edited(policy(place), lambda it: it["spec"]["egress"].insert(0, {"action": "Deny"}))
    before = everything(place.directory)
    explained(place, "web", "db", "443/tcp", *options)
    assert everything(place.directory) == before


# --- several clusters -----------------------------------------------------------------------------


@pytest.fixture
def two(place: Installation) -> Installation:
    """Two clusters, of which only the second has the zone dmz."""
    place.configure("eu", "us")
    us = [said("out", from_=["dmz"], to=["any"])]
    place.export(document(groups={"dg-eu": RULES, "dg-us": us}))
    return place


def test_a_zone_of_one_cluster_is_explained_there_alone(two: Installation) -> None:
    shown = explained(two, "dmz", "192.0.2.1")
    assert shown.startswith("Cluster us, ")
    assert shown.count("Cluster ") == 1
    done = explain(two, "dmz", "192.0.2.1", "443/tcp", "--output", "json")
    assert [each["cluster"] for each in done.json["clusters"]] == ["us"]
    assert done.json["errors"] == []


def test_a_cluster_for_which_zones_are_only_configured_is_left_out(two: Installation) -> None:
    definitions = {"dmz": {"networks": ["10.9.0.0/16"]}, "lan": {"networks": ["10.8.0.0/16"]}}
    two.configure("eu", "us", zones={"definitions": definitions})
    shown = explained(two, "dmz", "lan")
    assert shown.startswith("Cluster us, ")
    assert shown.count("Cluster ") == 1
    # It is all there is.
    assert explained(two, "dmz", "lan", "443/tcp", "--cluster", "eu").startswith("Cluster eu, ")
    # Pods of web may reach the configured networks from there.
    assert "Cluster eu, " in explained(two, "web@10.244.1.7", "dmz", "443/tcp", "--cluster", "eu")


def test_what_all_clusters_have_is_explained_in_each(two: Installation) -> None:
    shown = explained(two, "192.0.2.1", "192.0.2.2")
    first, second = shown.split("\n\n")
    assert first.startswith("Cluster eu, ")
    assert second.startswith("Cluster us, ")
    assert explained(two, "192.0.2.1", "192.0.2.2", "443/tcp", "--cluster", "us") == second


def test_a_zone_that_no_cluster_has_is_a_usage_error_that_names_it(two: Installation) -> None:
    remedy = "`zonebridge zones` lists those there are"
    done = explain(two, "lan", "192.0.2.1")
    assert (done.code, done.out) == (64, "")
    assert list(sentences(done)) == [
        f"cluster eu has no zone 'lan'; {remedy}",
        f"cluster us has no zone 'lan'; {remedy}",
    ]
    # In the one cluster that is asked, that another one has it is no help.
    done = explain(two, "dmz", "192.0.2.1", "443/tcp", "--cluster", "eu")
    assert (done.code, done.out) == (64, "")
    assert list(sentences(done)) == [f"cluster eu has no zone 'dmz'; {remedy}"]


def test_a_cluster_that_cannot_be_read_hides_no_other(two: Installation) -> None:
    two.configure(kubernetes("eu", "nowhere.yaml"), "us")
    done = explain(two, "dmz", "192.0.2.1")
    assert done.code == 5
    assert done.out.startswith("Cluster us, ")
    (error,) = sentences(done)
    assert error.startswith("cluster eu")
    assert "nowhere.yaml" in error


def test_a_source_that_cannot_be_read_explains_nothing(place: Installation) -> None:
    place.export(b"<config")
    done = explain(place, "web", "db")
    assert (done.code, done.out) == (4, "")
    assert done.errors == place.run("report").errors
    done = explain(place, "web", "db", "443/tcp", "--output", "json")
    assert done.code == 4
    assert done.json["clusters"] == []
    assert [each["cluster"] for each in done.json["errors"]] == ["eu"]


# --- wrong questions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "port",
    ["443", "tcp/443", "70000/tcp", "-1/tcp", "80-90/tcp", "ip/6", "", "\x1b[31m/tcp"],
)
def test_a_port_that_says_no_traffic_is_a_usage_error(place: Installation, port: str) -> None:
    done = explain(place, "web", "db", port)
    assert (done.code, done.out) == (64, "")
    (error,) = sentences(done)
    assert error.startswith(f"{port!r} is not valid traffic; write 443/tcp, ")


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("10.0.0.1", "2001:db8::1", "'10.0.0.1' and '2001:db8::1' are of two IP versions"),
        ("10.0.0.1", "10.0.0.1", "'10.0.0.1' is at both ends"),
        ("web@2001:db8::1", "2001:DB8:0::1", "'web@2001:db8::1' is at both ends"),
        ("10.0.0.0/8", "db", "'10.0.0.0/8' is not an end of a flow"),
        ("web", "10.2.0.1/32", "'10.2.0.1/32' is not an end of a flow"),
        ("web@host", "db", "'web@host' is not an end of a flow"),
        ("@10.0.0.1", "db", "'@10.0.0.1' names no zone before the @"),
        ("", "db", "'' is not an end of a flow"),
        ("web", "lan@10.0.0.1", "cluster eu has no zone 'lan'"),
        ("any", "db", "cluster eu has no zone 'any'"),
    ],
)
def test_ends_between_which_nothing_flows_are_a_usage_error(
    place: Installation, source: str, destination: str, words: str
) -> None:
    done = explain(place, source, destination)
    assert (done.code, done.out) == (64, "")
    (error,) = sentences(done)
    assert words in error


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("web", "db", "8/icmp", "--source-port", "53"), "has no source port"),
        (("web", "db", "ip/47", "--source-port", "53"), "has no source port"),
        (("web", "2001:db8::1", "8/icmp"), "'2001:db8::1' has no icmp type 8 code 0"),
        (("10.0.0.1", "db", "icmp6"), "'10.0.0.1' has no icmp6 type 128 code 0"),
        (("web", "db", "443/tcp", "--source-port", "65536"), "--source-port"),
        (("web", "db", "443/tcp", "--cluster", "asia"), "there is no cluster 'asia'"),
        (("web", "db", "443/tcp", "--output", "html"), "--output"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(
    place: Installation, asked: Sequence[str], words: str
) -> None:
    source, destination, port, *options = asked
    done = explain(place, source, destination, port, *options)
    assert (done.code, done.out) == (64, "")
    (error,) = sentences(done)
    assert words in error


@pytest.mark.parametrize("left", ["--from", "--to", "--port"])
def test_a_flow_has_two_ends_and_a_port(place: Installation, left: str) -> None:
    asked = {"--from": "web", "--to": "db", "--port": "443/tcp"}
    del asked[left]
    done = place.run("explain", *(word for pair in asked.items() for word in pair))
    assert (done.code, done.out) == (64, "")
    (error,) = sentences(done)
    assert left in error


# --- names that others write ----------------------------------------------------------------------

# What clears a screen, begins an escape sequence in one character, and turns a line around.
EVIL = "\x1b[2J\x9b31m\u202e\r\nCluster eu: allowed"


def harmless(done: Done) -> bool:
    return all(each.isprintable() for each in (done.out + done.err).split("\n"))


def test_no_name_says_anything_to_a_terminal(place: Installation) -> None:
    evil = "a\x9b31m\u202e\u2028Cluster eu: allowed"
    zones = {"definitions": {evil: {"networks": []}, "db": {"networks": ["10.2.0.0/16"]}}}
    place.configure("eu", zones=zones)
    ruled(
        place,
        said(f"off {evil}", from_=[evil], disabled="yes"),
        said(f"user {evil}", from_=[evil], source_user=[evil], action="deny"),
        said(f"on {evil}", from_=[evil]),
    )
    done = explain(place, evil, "10.2.0.1", "443/tcp", "--verbose")
    assert done.code == 0
    assert harmless(done)
    shown = r"\x9b31m\u202e\u2028Cluster eu: allowed"
    assert f"Egress of a pod of zone a{shown}, tier " in done.out
    for name in ("not dg-eu pre 1 'off a", "dg-eu pre 2 'user a", "dg-eu pre 3 'on a"):
        assert f"{name}{shown}'" in done.out


def test_no_annotation_of_another_hand_says_anything_to_a_terminal(place: Installation) -> None:
    place.done("sync")

    def edit(held: Any) -> None:
        annotated = {"annotations": {RULE_ANNOTATION: f"mine {EVIL}"}}
        held["spec"]["egress"].insert(0, {"action": "Deny", "metadata": annotated})

    edited(policy(place), edit)
    done = explain(place, "web", "10.2.0.1", "443/tcp", "--live")
    assert done.code == 0
    assert harmless(done)
    assert r"[egress 0], as 'mine \x1b[2J" in done.out
    assert len(done.out.splitlines()) == 5


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (f"web{EVIL}", "db"),
        ("db", f"web{EVIL}@10.0.0.1"),
        (f"web{EVIL}@10.0.0.1", "10.0.0.1"),
        (f"web{EVIL}@10.0.0.1", "2001:db8::1"),
        (f"10.0.0.1{EVIL}", "db"),
        (f"10.0.0.0/8{EVIL}", "db"),
    ],
)
def test_no_question_says_anything_to_a_terminal(
    place: Installation, source: str, destination: str
) -> None:
    done = explain(place, source, destination)
    assert (done.code, done.out) == (64, "")
    assert harmless(done)
    (error,) = sentences(done)
    assert r"\x1b[2J\x9b31m\u202e\r\nCluster eu: allowed" in error


def test_why_not_says_what_would_allow_it_and_who_can_change_that(place: Installation) -> None:
    asked = ("explain", "--from", "web", "--to", "10.2.0.9", "--port", "443/tcp", "--why-not")
    done = place.done(*asked)
    assert "firewall team: a rule at the end of the pre-rules of dg-eu" in done.out
    [found] = place.done(*asked, "--output", "json").json["clusters"]
    assert [(each["kind"], each["owner"]) for each in found["why_not"]["changes"]] == [
        ("rule", "firewall team")
    ]
    allowed = place.done(*asked[:4], "10.2.0.1", *asked[5:])
    assert "Why not: it is allowed: there is nothing to change" in allowed.out

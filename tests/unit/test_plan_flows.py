"""`plan --flows`: the flows that a plan allows and denies, as people read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from sync.calico.manifest import Manifest
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import ClusterFacts, Key, LiveObject
from sync.firewall.configuration import Provenance, Snapshot
from sync.net.addresses import network
from sync.net.ports import PortSet
from sync.options import Essential, ZoneDefinition, ZoneOptions
from sync.plan.plan import Plan
from sync.queries.flows import flows_of
from sync.reconcile.desired import Cluster, Desired
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.planning import plan_for
from sync.render import flows as rendered
from sync.render import markdown
from sync.translate.compiler import Options
from sync.verify.flow_changes import ChangedFlows, FlowChanges
from sync.verify.flow_names import Flows, Who
from sync.verify.traffic_space import Carried
from tests.memory import MemoryCluster
from tests.words import Word, document, read, rule, service

OWNER = owner_labels("test", "uuid")
PODS = "10.244.0.0/16"
POSTGRES = service("postgres", "5432")
ZONES = ZoneOptions(
    definitions={
        "web": ZoneDefinition(networks=()),
        "db": ZoneDefinition(networks=()),
        "lan": ZoneDefinition(networks=("10.3.0.0/16",)),
    },
    essentials=(Essential("egress", "all()", "k8s-app == 'kube-dns'", (), ("53/udp",)),),
)


def allow(name: str, from_: str, to: str, services: Sequence[str] = ("postgres",)) -> Word:
    return rule(name, from_=[from_], to=[to], service=services, action="allow")


WEB_TO_DB = allow("web-db", "web", "db")
LAN_TO_WEB = allow("lan-web", "lan", "web")
OLD = (WEB_TO_DB, LAN_TO_WEB)


class Seen(MemoryCluster):
    """A cluster with other facts."""

    known = ClusterFacts()

    def facts(self, zone_label: str) -> ClusterFacts:
        del zone_label
        return self.known


@dataclass
class Place:
    """A cluster that holds what a first configuration became, and the plan to another one."""

    mode: Literal["enforced", "staged"] = "enforced"
    zones: ZoneOptions = ZONES
    drift: bool = True
    memory: Seen = field(default_factory=lambda: Seen(OWNER))
    written: dict[Key, Manifest] = field(default_factory=dict)

    def planned(self, *rules: Word) -> tuple[Cluster, Plan, Mapping[Key, LiveObject], Desired]:
        configuration = read(document([POSTGRES], {"dg": rules}))
        cluster = Cluster(
            "prod",
            (TierBinding("main", "dg", "fw", 101, self.mode),),
            self.memory,
            None,
            None,
            repair_drift=self.drift,
            pod_cidrs=network(PODS),
        )
        live = self.memory.read()
        sources = {"main": Snapshot(configuration, Provenance("main", "memory", "1"))}
        options = Options((), True, OWNER, zones=self.zones)
        planned = plan_for(cluster, sources, live, self.written, options)
        assert planned.inputs is not None
        return cluster, planned.plan, live, planned.inputs

    def hold(self, *rules: Word) -> "Place":
        """Write what these rules become."""
        _, plan, _, _ = self.planned(*rules)
        for change in plan.changes:
            key = (change.kind, change.name)
            if change.after:
                self.written[key] = change.after
                self.memory.documents[key] = change.after.document()
            else:
                del self.written[key], self.memory.documents[key]
        return self

    def flows(self, *rules: Word) -> ChangedFlows:
        return flows_of(*self.planned(*rules))


def lines(found: ChangedFlows, **options: Any) -> list[str]:
    return [line.strip() for line in rendered.text(found, **options).splitlines() if line]


def said(*rules: Word, old: Sequence[Word] = OLD) -> list[str]:
    return lines(Place().hold(*old).flows(*rules))


def test_a_new_rule_says_who_may_reach_whom_by_what_and_nothing_else() -> None:
    assert said(*OLD, allow("lan-db", "lan", "db", ["service-https"])) == [
        "Flows",
        "+ lan; 10.3.0.0/16 → db 443/tcp becomes allowed",
        "nothing else changes",
    ]


def test_between_pods_the_zones_alone_are_named() -> None:
    assert said(*OLD, allow("db-web", "db", "web")) == [
        "Flows",
        "+ db → web 5432/tcp becomes allowed",
        "nothing else changes",
    ]


def test_a_rule_for_some_addresses_of_a_zone_names_them() -> None:
    part = rule(
        "part",
        from_=["web"],
        to=["db"],
        source=["10.244.3.0/24"],
        service=["service-https"],
        action="allow",
    )
    assert said(*OLD, part) == [
        "Flows",
        "+ web → db 443/tcp from 10.244.3.0/24 becomes allowed",
        "nothing else changes",
    ]


def test_a_rule_that_goes_denies_what_it_allowed() -> None:
    assert said(LAN_TO_WEB, allow("web-db", "web", "db", ["service-https"])) == [
        "Flows",
        "+ web → db 443/tcp becomes allowed",
        "- web → db 5432/tcp becomes denied",
        "nothing else changes",
    ]


def test_another_name_another_order_and_a_rule_that_never_matches_change_no_flow() -> None:
    nothing = ["Flows", "no flow changes"]
    assert said(LAN_TO_WEB, WEB_TO_DB) == nothing
    assert said(allow("renamed", "web", "db"), LAN_TO_WEB) == nothing
    assert said(*OLD, allow("again", "web", "db")) == nothing


def test_flows_of_one_end_that_the_other_end_denies_do_not_change() -> None:
    place = Place().hold(*OLD)
    # Someone lets the pods of zone web send anything; those of zone db still refuse it.
    name = "fw.pan-zone-web"
    policy = place.memory.documents["GlobalNetworkPolicy", name]
    policy["spec"]["egress"].insert(0, {"action": "Pass", "source": {}, "destination": {}})
    assert lines(place.flows(*OLD)) == [
        "Flows",
        "- web → any address outside pods any traffic becomes denied",
        "nothing else changes",
    ]


def test_pods_of_essentials_are_told_apart_by_their_labels() -> None:
    zones = replace(ZONES, unzoned_pods="deny")
    place = Place(zones=zones).hold(*OLD)
    found = replace(place, zones=replace(zones, essentials=())).flows(*OLD)
    assert lines(found) == [
        "Flows",
        "- zoned pods → unzoned pods (k8s-app kube-dns) 53/udp becomes denied",
        "nothing else changes",
    ]


def test_a_staged_tier_changes_nothing_until_it_is_enforced() -> None:
    found = Place("staged").hold(*OLD).flows(*OLD, allow("db-web", "db", "web"))
    assert lines(found) == [
        "Flows, by what is enforced",
        "no flow changes",
        "Flows, once what is staged is enforced",
        "+ db → web 5432/tcp becomes allowed",
        "nothing else changes",
    ]


def test_a_tier_that_becomes_enforced_denies_from_then_on() -> None:
    place = Place("staged").hold(*OLD)
    found = replace(place, mode="enforced").flows(*OLD)
    assert found.enforced.denied
    assert not found.enforced.allowed
    assert found.staged == FlowChanges()


def test_what_cannot_be_judged_is_unknown_and_never_no_change() -> None:
    place = Place().hold(*OLD)
    place.memory.documents["GlobalNetworkPolicy", "fw.odd"] = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "fw.odd"},
        "spec": {"tier": "fw", "order": 1, "selector": "all()", "applyOnForward": True},
    }
    found = place.flows(*OLD)
    assert not found.enforced.nothing
    _, unknown, last = lines(found)[:3]
    assert unknown.startswith("! unknown: GlobalNetworkPolicy fw.odd is not judged")
    assert last == "what else changes is unknown"


def test_namespaced_policies_in_our_tier_are_unknown_too() -> None:
    place = Place().hold(*OLD)
    place.memory.known = ClusterFacts(foreign_policies={"fw": ("NetworkPolicy shop/own",)})
    [unknown] = place.flows(*OLD).enforced.unknown
    assert unknown.startswith("NetworkPolicy shop/own ")
    assert unknown.endswith("and is not judged")


def test_a_foreign_policy_that_can_be_judged_counts_on_both_sides() -> None:
    place = Place().hold(*OLD)
    place.memory.documents["GlobalNetworkPolicy", "fw.theirs"] = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "fw.theirs"},
        "spec": {
            "tier": "fw",
            "order": 0,
            "selector": "app == 'batch'",
            "types": ["Egress"],
            "egress": [{"action": "Deny"}],
        },
    }
    found = place.flows(*OLD, allow("db-web", "db", "web")).enforced
    assert [rendered.flows_said(each) for each in found.allowed] == [
        "db (app other than batch) → web 5432/tcp"
    ]


def test_drift_that_is_left_is_said_and_is_no_flow_of_the_plan() -> None:
    place = replace(Place().hold(*OLD), drift=False)
    policy = place.memory.documents["GlobalNetworkPolicy", "fw.pan-zone-db"]
    policy["spec"]["ingress"].insert(0, {"action": "Deny", "source": {}, "destination": {}})
    found = place.flows(*OLD)
    assert found.enforced.nothing
    assert "1 object not as desired and left" in found.notes[0]


def test_of_many_flows_the_first_are_named_and_the_others_counted() -> None:
    rules = [
        rule(
            f"r{number}",
            from_=["lan"],
            to=["web"],
            source=[f"10.3.{number}.1"],
            destination=[f"10.244.{number}.1"],
            service=["service-https"],
            action="allow",
        )
        for number in range(rendered.SHOWN + 5)
    ]
    found = Place().hold(*OLD).flows(*OLD, *rules)
    assert lines(found)[-2:] == [
        "+ and 5 more kinds of flows: --verbose",
        "nothing else changes",
    ]
    assert len(lines(found, every=True)) == rendered.SHOWN + 5 + 2
    assert len(rendered.document(found)["allowed"]) == rendered.SHOWN + 5


def test_the_document_has_every_part_of_the_flows() -> None:
    found = Place().hold(*OLD).flows(*OLD, allow("lan-db", "lan", "db", ["service-https"]))
    assert rendered.document(found) == {
        "allowed": [
            {
                "text": "lan; 10.3.0.0/16 → db 443/tcp",
                "from": [
                    {"pods": ["lan"], "all_pods_but": False, "addresses": None},
                    {"pods": [], "all_pods_but": False, "addresses": ["10.3.0.0/16"]},
                ],
                "to": [{"pods": ["db"], "all_pods_but": False, "addresses": None}],
                "traffic": [
                    {
                        "protocol": "tcp",
                        "ports": "443",
                        "source_ports": None,
                        "types": [],
                        "all_types_but": False,
                    }
                ],
                "all_traffic_but": False,
                "ip_versions": [4, 6],
            }
        ],
        "denied": [],
        "more_allowed": 0,
        "more_denied": 0,
        "unknown": [],
        "staged": None,
        "notes": [],
    }


def test_names_with_control_characters_reach_no_terminal() -> None:
    found = ChangedFlows(FlowChanges(unknown=("\x1b[31mred",)))
    assert "\x1b" not in rendered.text(found)
    assert "\x1b" not in rendered.markdown(found)


def test_a_line_is_short_however_many_ports_and_zones_it_has() -> None:
    ports = PortSet.union(PortSet((each, each + 1)) for each in range(1, 9000, 2))
    who = Who(tuple(f"zone-{number}" for number in range(300)))
    flows = Flows((who,), (who,), (Carried(6, ports),))
    said = rendered.flows_said(flows)
    assert len(said) < 800
    assert "zone-11 and 288 more → zone-0" in said
    assert said.endswith(" and more")
    whole = rendered.document(ChangedFlows(FlowChanges(allowed=(flows,))))["allowed"][0]
    assert whole["traffic"][0]["ports"] == str(ports)
    assert len(whole["from"][0]["pods"]) == 300


def test_markdown_has_flows_below_their_plan_and_room_for_both() -> None:
    who = (Who(("web",)),)
    ports = [PortSet((port, port + 1)) for port in range(3000)]
    many = FlowChanges(allowed=tuple(Flows(who, who, (Carried(6, each),)) for each in ports))
    plan = Plan("prod", (), (), (), (), (), (), unchanged=1)
    few = markdown.document(
        [markdown.Shown(plan, flows=ChangedFlows(many, notes=("pods are as they are now",)))]
    )
    assert "<b>Flows</b>: 23 lines" in few
    assert "+ web → web 19/tcp becomes allowed\n" in few
    assert "+ and 2,980 more kinds of flows: --verbose\n" in few
    assert "pods are as they are now\n```" in few
    assert few.index("no changes; 1 unchanged") < few.index("Flows")
    shown = [
        markdown.Shown(replace(plan, cluster=f"c{n}"), flows=ChangedFlows(many)) for n in range(9)
    ]
    whole = markdown.document(shown, verbose=True)
    assert 55_000 < len(whole) <= markdown.LIMIT
    assert whole.count("<b>Flows</b>: 3,001 lines") == 9


def test_a_comparison_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.verify.flow_changes.LOOKS", -1)
    found = Place().hold(*OLD).flows(*OLD, allow("db-web", "db", "web")).enforced
    assert not found.allowed
    assert found.unknown
    assert all("looks, with all before it" in each for each in found.unknown)

"""`explain --why-not`: the smallest changes that would allow a flow, and who can make them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sync.calico.ownership import owner_labels
from sync.clusters.cluster import Workload
from sync.firewall.configuration import Provenance, Snapshot
from sync.net.addresses import network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.queries.explain import Explained, asked_of, explained
from sync.queries.remedy_candidates import network_setting
from sync.queries.why_not import WhyNot, why_not
from sync.reconcile.desired import Cluster, desired
from sync.reconcile.device_groups import Read, TierBinding
from sync.render import why_not as rendered
from sync.store import Store, open_store
from sync.translate.compiler import Options
from tests.memory import MemoryCluster
from tests.words import Word, address, document, group, read, rule, service

LABEL = "firewall.tigera.io/zone"
PODS = "10.244.0.0/16"
GIVEN = {"projectcalico.org/orchestrator": "k8s", "projectcalico.org/namespace": "shop"}
BARE = Workload("shop/bare", ((4, 0x0AF40105),), GIVEN)  # 10.244.1.5
LOST = Workload("shop/lost", ((4, 0x0AF40106),), {**GIVEN, LABEL: "nowhere"})  # 10.244.1.6
ZONES = ZoneOptions(
    unzoned_pods="deny",
    definitions={
        "web": ZoneDefinition(networks=()),
        "db": ZoneDefinition(networks=()),
        "lan": ZoneDefinition(networks=("10.2.0.0/16",)),
    },
)


def said(name: str, action: str = "allow", **lists: Sequence[str] | str) -> Word:
    usual: dict[str, Sequence[str] | str] = {"from_": ["web"], "to": ["db"], "service": ["pg"]}
    return rule(name, action=action, **{**usual, **lists})


OBJECTS = (service("pg", "5432"), address("one", "10.2.0.1"), group("servers", "one"))
TO_SERVERS = said("to-servers", to=["lan"], destination=["servers"])
WEB_TO_DB = said("web-db")


@dataclass
class Place:
    """A cluster in memory, one tier, and the rules of its firewall."""

    store: Store
    rules: Sequence[Word] = (WEB_TO_DB, TO_SERVERS)
    objects: Sequence[Word] = OBJECTS
    zones: ZoneOptions = ZONES
    accepted: tuple[str, ...] = ()
    pods: Sequence[Workload] = (BARE, LOST)
    foreign: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def asked(
        self, source: str, destination: str, port: str, *, live: bool = False
    ) -> tuple[Cluster, Explained]:
        memory = MemoryCluster(owner_labels("test", self.store.uuid), pods=self.pods)
        read_: Read = {
            "main": Snapshot(
                read(document(self.objects, {"dg": self.rules})), Provenance("main", "memory", "1")
            )
        }
        here = (TierBinding("main", "dg", "fw", 1, "enforced"),)
        cluster = Cluster("c", here, memory, None, None, repair_drift=True, pod_cidrs=network(PODS))
        rules = RuleOptions(accept_dropped_denies=self.accepted)
        options = Options((), True, memory.owner, rules=rules, zones=self.zones)
        for key, each in desired(cluster, read_, {}, {}, options).rollout.manifests.items():
            memory.documents[key] = each.document()
        for name, spec in self.foreign.items():
            memory.documents["GlobalNetworkPolicy", name] = {
                "apiVersion": "projectcalico.org/v3",
                "kind": "GlobalNetworkPolicy",
                "metadata": {"name": name},
                "spec": {"tier": "fw", "order": 0, "selector": "all()", **spec},
            }
        asked = asked_of(source, destination, port, None)
        found = explained(cluster, read_, self.store, options, asked, live=live, verbose=False)
        return cluster, found

    def why(self, source: str, destination: str, port: str, *, live: bool = False) -> WhyNot:
        return why_not(*self.asked(source, destination, port, live=live))

    def verdict(self, source: str, destination: str, port: str) -> str:
        return self.asked(source, destination, port)[1].verdict


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        yield Place(store)


def offered(found: WhyNot) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    return {each.kind: (each.owner, each.text, each.past) for each in found.remedies}


def test_what_only_a_default_denies_needs_a_rule(place: Place) -> None:
    assert offered(place.why("web", "db", "22/tcp")) == {
        "rule": (
            "firewall team",
            (
                "a rule at the end of the pre-rules of dg: allow from zone web (any) to "
                "zone db (any), 22/tcp"
            ),
            (),
        )
    }
    ssh = service("ssh", "22")
    there = replace(place, rules=(*place.rules, ssh, said("new", service=["ssh"])))
    assert there.verdict("web", "db", "22/tcp") == "allow"


def test_a_deny_that_a_rule_goes_past_is_named(place: Place) -> None:
    denied = replace(
        place, rules=(said("first"), *place.rules, said("no", "deny", service=["any"]))
    )
    _, text, past = offered(denied.why("web", "db", "22/tcp"))["rule"]
    assert text.startswith("a rule above dg pre 4 'no': allow from zone web (any)")
    assert past == ("dg pre 4 'no'",)


def test_an_address_joins_a_group_that_a_rule_lists(place: Place) -> None:
    found = offered(place.why("web", "10.2.0.9", "5432/tcp"))
    assert found["member"] == (
        "firewall team",
        "add 10.2.0.9 to the address group 'servers', which dg pre 2 'to-servers' lists",
        (),
    )
    assert "to zone lan (10.2.0.9), 5432/tcp" in found["rule"][1]
    more = (*OBJECTS[:2], group("servers", "one", "10.2.0.9"))
    assert replace(place, objects=more).verdict("web", "10.2.0.9", "5432/tcp") == "allow"


def test_no_member_is_offered_that_an_earlier_deny_takes(place: Place) -> None:
    deny = said("no", "deny", to=["lan"], destination=["10.2.0.9"], service=["any"])
    found = offered(replace(place, rules=(deny, *place.rules)).why("web", "10.2.0.9", "5432/tcp"))
    assert "member" not in found
    assert found["rule"][2] == ("dg pre 1 'no'",)
    # A later one is gone past, and named.
    found = offered(replace(place, rules=(*place.rules, deny)).why("web", "10.2.0.9", "5432/tcp"))
    assert found["member"][2] == ("dg pre 3 'no'",)


def test_an_address_of_no_zone_joins_the_networks_of_one(place: Place) -> None:
    rules = (said("lan-web", from_=["lan"], to=["web"]),)
    there = replace(place, rules=rules)
    found = offered(there.why("10.9.9.9", "web", "5432/tcp"))
    assert found["network"] == (
        "platform",
        (
            "if it is behind zone lan on the firewall, add 10.9.9.9/32 to "
            "zones.definitions.lan.networks"
        ),
        (),
    )
    lan = ZoneDefinition(networks=("10.2.0.0/16", "10.9.9.9/32"))
    zones = replace(ZONES, definitions={**ZONES.definitions, "lan": lan})
    assert replace(there, zones=zones).verdict("10.9.9.9", "web", "5432/tcp") == "allow"


def test_derived_networks_are_kept_beside_a_new_one(place: Place) -> None:
    there = replace(place, rules=(said("lan-web", from_=["lan"], to=["web"]),))
    zones = {key: each for key, each in ZONES.definitions.items() if key != "lan"}
    bare = replace(there, zones=replace(ZONES, definitions=zones))
    text = offered(bare.why("10.9.9.9", "web", "5432/tcp"))["network"][1]
    assert text.endswith("set zones.definitions.lan.networks to [10.9.9.9/32]")
    some = ("10.2.0.0/16", "10.3.0.0/16")
    assert network_setting("lan", some, "10.9.9.9/32", derived=True).endswith(
        "to [10.2.0.0/16, 10.3.0.0/16, 10.9.9.9/32]"
    )
    many = tuple(f"10.{number}.0.0/16" for number in range(9))
    assert network_setting("lan", many, "10.9.9.9/32", derived=True) == (
        "set zones.definitions.lan.networks to its derived networks (`zonebridge zones` lists "
        "them) and 10.9.9.9/32"
    )


def test_no_address_of_a_zone_is_moved_to_another(place: Place) -> None:
    assert "network" not in offered(place.why("10.2.0.9", "web", "5432/tcp"))


def test_a_loss_is_not_accepted_where_the_firewall_may_deny(place: Place) -> None:
    """Without the deny Calico would allow it; of whom the rule is, only the firewall sees."""
    no = said("no", "deny", source_user=["contractors"])
    found = offered(replace(place, rules=(no, WEB_TO_DB)).why("web", "db", "5432/tcp"))
    assert {*found} == {"rule"}
    assert found["rule"][2] == ("dg pre 1 'no'",)


def test_an_essential_is_offered_only_where_no_rule_denies(place: Place) -> None:
    dns = Workload("kube-system/dns", ((4, 0x0AF40107),), {**GIVEN, "k8s-app": "kube-dns"})
    there = replace(place, pods=[dns])
    found = offered(there.why("web", "10.244.1.7", "53/udp"))
    assert found["essential"] == (
        "platform",
        f"add to zones.essentials: egress on {LABEL} == 'web': k8s-app == 'kube-dns', 53/udp",
        (),
    )
    essential = Essential("egress", f"{LABEL} == 'web'", "k8s-app == 'kube-dns'", (), ("53/udp",))
    zones = replace(ZONES, essentials=(essential,))
    assert replace(there, zones=zones).verdict("web", "10.244.1.7", "53/udp") == "allow"
    maybe = said("clocks", to=["any"], application=["ntp"], service=["application-default"])
    found = offered(replace(there, rules=(maybe, *place.rules)).why("web", "10.244.1.7", "53/udp"))
    assert "essential" in found
    deny = said("no", "deny", to=["any"], service=["any"])
    found = offered(replace(there, rules=(deny, *place.rules)).why("web", "10.244.1.7", "53/udp"))
    assert "essential" not in found


def test_a_pod_without_a_zone_gets_its_label(place: Place) -> None:
    found = offered(place.why("10.244.1.5", "db", "5432/tcp"))
    assert found["label"] == ("platform", f"label the pod at 10.244.1.5 {LABEL}=web", ())
    web = replace(BARE, labels={**GIVEN, LABEL: "web"})
    assert replace(place, pods=[web]).verdict("10.244.1.5", "db", "5432/tcp") == "allow"


def test_what_calico_alone_would_allow_is_not_offered(place: Place) -> None:
    """The settings leave the deny out of Calico; of whom it is, only the firewall sees."""
    no = said("no", "deny", source_user=["contractors"])
    there = replace(place, rules=(no, WEB_TO_DB), accepted=("no",))
    assert there.verdict("web", "db", "5432/tcp") == "allow"
    label = f"label the pod at 10.244.1.5 {LABEL}=web"
    for here, helps in ((place, True), (there, False)):
        found = here.why("10.244.1.5", "db", "5432/tcp")
        assert (label in [each.text for each in found.remedies]) == helps


def test_only_a_label_that_helps_is_offered(place: Place) -> None:
    texts = [each.text for each in place.why("10.244.1.5", "db", "5432/tcp").remedies]
    assert [each for each in texts if "=lan" in each or "=db" in each] == [
        f"label the pod at 10.244.1.5 {LABEL}=db"  # within a zone the default allows
    ]


def test_a_policy_of_others_is_exempted_by_those_who_own_it(place: Place) -> None:
    theirs = {"fw.theirs": {"types": ["Egress"], "egress": [{"action": "Deny"}]}}
    there = replace(place, foreign=theirs)
    found = offered(there.why("web", "db", "5432/tcp", live=True))
    assert found["policy"] == (
        "cluster policies",
        "exempt the flow in the policy fw.theirs of others, before fw.theirs[egress 0]",
        ("fw.theirs[egress 0]",),
    )


def test_nothing_is_offered_past_what_is_not_judged(place: Place) -> None:
    odd = {"fw.odd": {"types": ["Egress"], "applyOnForward": True}}
    found = replace(place, foreign=odd).why("web", "db", "22/tcp", live=True)
    assert "not judged may decide it" in found.note
    assert offered(found) == {}


def test_an_allowed_flow_and_one_without_pods_need_nothing(place: Place) -> None:
    assert "it is allowed" in place.why("web", "db", "5432/tcp").note
    assert "neither end is a pod" in place.why("10.2.0.1", "10.9.9.9", "5432/tcp").note


def test_what_no_single_change_allows_is_said(place: Place) -> None:
    found = place.why("web", "db", "icmp")
    assert offered(found) == {}
    assert "none allows it" in rendered.text(found)


def test_text_and_document_say_who_does_what(place: Place) -> None:
    found = place.why("web", "10.2.0.9", "5432/tcp")
    lines = rendered.text(found).splitlines()
    assert lines[1] == "What would allow it, each by itself, tried on the model:"
    assert lines[2].startswith("  firewall team: add 10.2.0.9 to the address group 'servers'")
    document_ = rendered.document(found)
    assert [each["kind"] for each in document_["changes"]] == ["member", "rule"]
    assert document_["tried"] >= 2
    assert document_["all_tried"] is True


def test_a_flow_that_only_our_tiers_allow_says_so_first(place: Place) -> None:
    found = place.why("web", "10.2.0.9", "5432/tcp")
    shown = rendered.text(replace(found, allowed=True)).splitlines()
    assert shown[1] == (
        "Our tiers allow it, and the firewall perhaps denies it. What would allow it for sure, "
        "each by itself, tried on the model:"
    )
    assert "What would allow it, each" not in rendered.text(replace(found, allowed=True))

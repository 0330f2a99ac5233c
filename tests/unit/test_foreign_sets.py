"""Sets and host endpoints of others that selectors of our policies select."""

from collections.abc import Mapping
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.calico.objects import EntityRule, GlobalNetworkPolicy, Rule
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import ClusterFacts, Key, LiveObject, Selectable
from sync.firewall.zone_networks import NOTHING
from sync.options import ZoneOptions
from sync.plan.guards import Blocker
from sync.reconcile.foreign_selections import Watched, foreign_sets
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.selectors import Selector
from tests.translation import translate
from tests.words import Word, address, group, rule, seen_by

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
GROUP, ZONE = "firewall.tigera.io/address-group", "firewall.tigera.io/zone"
PODS = {"projectcalico.org/orchestrator": "k8s"}
A, WEB = address("a", "10.0.0.1"), group("web", "a")
ALLOW = rule("in", to=["db"], from_=["any"], source=["web"], service=["any"])
SPARE = rule(
    "not web",
    to=["db"],
    from_=["any"],
    source=["web"],
    service=["any"],
    negate_source="yes",
    action="deny",
)

Manifests = Mapping[Key, Manifest]


def desired(*words: Word, **zones: Any) -> Manifests:
    target = Target(
        "main", seen_by("dg", {"dg": (A, WEB, *(words or (ALLOW,)))}), "fw", 1, "enforced", NOTHING
    )
    return translate(
        "c", [target], Options((), True, OWNER, zones=ZoneOptions(**zones)), {}
    ).manifests


def a_set(labels: Any, name: str = "theirs") -> LiveObject:
    document = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {"nets": ["192.0.2.0/24"]},
    }
    return LiveObject.of(document, OWNER)


def guarded(
    wanted: Manifests,
    *selectable: Selectable,
    live: Mapping[Key, LiveObject] | None = None,
    standing: Manifests | None = None,
) -> list[Blocker]:
    facts = ClusterFacts(selectable=selectable)
    return foreign_sets((standing or {}, wanted), live or {}, wanted, facts)[0]


def standing_set(labels: Any, name: str = "theirs") -> dict[Key, LiveObject]:
    return {("GlobalNetworkSet", name): a_set(labels, name)}


def test_a_set_with_the_label_of_a_group_of_ours_is_named_with_it() -> None:
    (blocker,) = guarded(desired(), live=standing_set({GROUP: "web", "team": "blue"}))
    assert (blocker.guard, blocker.approvable) == ("foreign-set", True)
    assert "1 object of others is selected by policies of ours" in blocker.message
    assert f"GlobalNetworkSet theirs ({GROUP}: web);" in blocker.message
    assert "take these labels off" in blocker.message


@pytest.mark.parametrize(
    "labels", [None, {}, {GROUP: "other"}, {"team": "web"}, ["web"], {ZONE: "db"}], ids=str
)
def test_a_set_that_no_selector_selects_is_no_news(labels: Any) -> None:
    assert guarded(desired(), live=standing_set(labels)) == []


def test_sets_of_ours_and_those_that_stand_where_ours_shall_are_no_others() -> None:
    wanted = desired()
    ours = {key: LiveObject.of(each.document(), OWNER) for key, each in wanted.items()}
    assert guarded(wanted, live=ours) == []
    # Adoption takes it over, or the guard foreign-object holds it back.
    assert guarded(wanted, live=standing_set({GROUP: "web"}, "pan.web")) == []


def test_a_set_that_says_it_is_a_pod_counts_as_one() -> None:
    for labels in (PODS, {**PODS, ZONE: "db"}):
        (blocker,) = guarded(desired(), live=standing_set(labels))
        assert "projectcalico.org/orchestrator: k8s" in blocker.message


def test_a_set_that_a_negated_deny_spares_counts() -> None:
    (blocker,) = guarded(
        desired(SPARE),
        live=standing_set({GROUP: "web"}),
    )
    assert "GlobalNetworkSet theirs" in blocker.message


def test_policies_that_still_stand_select_too() -> None:
    none = desired(rule("any", from_=["db"], to=["db"], service=["any"]))
    assert guarded(none, live=standing_set({GROUP: "web"})) == []
    (blocker,) = guarded(none, live=standing_set({GROUP: "web"}), standing=desired())
    assert "GlobalNetworkSet theirs" in blocker.message


def test_a_set_of_a_namespace_is_in_no_group_and_may_be_a_pod() -> None:
    mine = Selectable("NetworkSet", "shop/theirs", {GROUP: "web"})
    assert guarded(desired(), mine) == []
    pod = Selectable("NetworkSet", "shop/theirs", {**PODS, ZONE: "db"})
    (blocker,) = guarded(desired(), pod)
    assert "NetworkSet shop/theirs (" in blocker.message


def test_a_set_of_a_namespace_has_the_namespaces_labels() -> None:
    policy = GlobalNetworkPolicy(
        "fw.x",
        "fw",
        1,
        "all()",
        egress=(Rule("Pass", destination=EntityRule(f"has({ZONE}) && pcns.team == 'db'")),),
    ).manifest()
    wanted = {("GlobalNetworkPolicy", "fw.x"): policy}
    labels = {ZONE: "db"}
    assert guarded(wanted, Selectable("NetworkSet", "shop/x", labels)) == []
    inherits = Selectable("NetworkSet", "shop/x", labels, {"pcns.team": "db"})
    (blocker,) = guarded(wanted, inherits)
    assert "pcns.team: db" in blocker.message


def test_a_host_endpoint_is_in_a_group_by_its_label() -> None:
    (blocker,) = guarded(desired(), Selectable("HostEndpoint", "node-1", {GROUP: "web"}))
    assert f"HostEndpoint node-1 ({GROUP}: web)" in blocker.message


def test_policies_of_ours_for_a_host_endpoint_count_and_for_a_set_mean_nothing() -> None:
    policy = GlobalNetworkPolicy("fw.x", "fw", 1, "role == 'db'", egress=(Rule("Deny"),)).manifest()
    wanted = {("GlobalNetworkPolicy", "fw.x"): policy}
    assert guarded(wanted, live=standing_set({"role": "db"})) == []
    assert len(guarded(wanted, Selectable("HostEndpoint", "node-1", {"role": "db"}))) == 1


def test_labels_that_nobody_read_may_be_any() -> None:
    host = Selectable("HostEndpoint", "node-1", {}, profiles=("edge",))
    (blocker,) = guarded(desired(), host)
    assert "HostEndpoint node-1 (labels of profile edge)" in blocker.message
    assert guarded({}, host) == []


def test_what_an_approval_has_seen_is_what_the_sets_hold() -> None:
    def covers(spec: str) -> str:
        (blocker,) = guarded(desired(), Selectable("HostEndpoint", "n", {GROUP: "web"}, spec=spec))
        return blocker.covers

    assert covers("a") == covers("a") != covers("b")


def test_a_watch_looks_out_for_labels_that_are_asked_for() -> None:
    blue = Selectable("HostEndpoint", "node-1", {"team": "blue"})
    held = Selectable("HostEndpoint", "node-2", {GROUP: "web"})
    facts = ClusterFacts(selectable=(blue, held))
    live = standing_set({GROUP: "other"})
    _, watched = foreign_sets((desired(),), live, {}, facts)

    def moved(labels: dict[str, str] | None, name: str = "node-1", **more: Any) -> bool:
        key = ("HostEndpoint", name)
        found = None if labels is None else Selectable(*key, labels, **more)
        return watched.moved(key, found)

    assert not moved({"team": "red"})
    assert not moved(None)
    assert moved({GROUP: "web", "team": "blue"})
    assert moved({}, profiles=("edge",))
    assert not moved({GROUP: "web", "team": "blue"}, "node-2")
    assert moved({}, "node-2")
    assert moved(None, "node-2")
    key = ("GlobalNetworkSet", "theirs")
    assert not watched.moved(key, Selectable(*key, {GROUP: "other"}, spec="another"))
    assert watched.moved(key, None)
    assert not Watched().moved(key, Selectable(*key, {GROUP: "other"}))


# --- against a second reading ---------------------------------------------------------------------


def test_a_selector_is_asked_of_what_has_a_label_that_it_needs_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = 1_000
    rules = tuple(
        Rule("Pass", source=EntityRule(f"{GROUP} == 'g{number}'", namespace_selector="global()"))
        for number in range(many)
    )
    policy = GlobalNetworkPolicy("fw.x", "fw", 1, "z == '1'", ingress=rules).manifest()
    live = {
        key: held
        for number in range(many)
        for key, held in standing_set({GROUP: f"x{number}"}, f"t{number}").items()
    }
    asked = []
    real = Selector.matches

    def counted(self: Selector, labels: Mapping[str, str]) -> bool:
        asked.append(labels)
        return real(self, labels)

    monkeypatch.setattr(Selector, "matches", counted)
    foreign_sets(({("GlobalNetworkPolicy", "fw.x"): policy},), live, {}, ClusterFacts())
    assert not [labels for labels in asked if labels]

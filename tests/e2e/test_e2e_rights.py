"""zonebridge under exactly the account, rights and admission policies that it prints itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.calico.objects import KINDS
from sync.clusters.cluster import NotWrittenError
from tests.e2e.installation import Installation, kubernetes, sentences, until
from tests.e2e.test_e2e_explain_kubernetes import DB, RULES, WEB, ZONES, enforce, explain, pod
from tests.kubernetes_cluster import NATIVE, ApiError, ControlPlane
from tests.kubernetes_words import api, grantee, made, nets, put, reader, sets, writer
from tests.words import Word, address, document, group

CALICO = f"/apis/{NATIVE}"
SETS = f"{CALICO}/globalnetworksets"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICIES = ("validatingadmissionpolicybindings", "validatingadmissionpolicies")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MIGRATION = "migration.projectcalico.org"
TIER = "firewallpolicy"
WEB_CHAIN = f"{TIER}.pan-zone-web"
GROUP_LABEL = "firewall.tigera.io/address-group"
INSTANCE, STORE = "zonebridge.io/instance", "zonebridge.io/store"
OURS = {"app.kubernetes.io/managed-by": "zonebridge", INSTANCE: "zonebridge", STORE: "s"}
PLACES = {
    "ServiceAccount": "/api/v1/namespaces/zonebridge/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/default/roles",
    "RoleBinding": f"{RBAC}/namespaces/default/rolebindings",
    "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
}


@dataclass(frozen=True, slots=True)
class Guarded:
    """A cluster in which what is printed was applied."""

    place: Installation
    plane: ControlPlane

    def apply(self, *options: str, cluster: str = "eu") -> None:
        """Do what `zonebridge rbac … | kubectl apply -f -` does, and wait until it holds."""
        printed = self.place.done("rbac", "--cluster", cluster, *options).out
        documents = [*yaml.safe_load_all(printed)]
        for each in documents:
            stored(self.plane, PLACES[each["kind"]], each)
        policies = [each for each in documents if each["kind"] == "ValidatingAdmissionPolicy"]
        for policy in policies:
            self._wait_for(policy)

    def token(self, account: str = "zonebridge") -> str:
        asked = {"spec": {"expirationSeconds": 3600}}
        path = f"{PLACES['ServiceAccount']}/{account}/token"
        token: str = self.plane.request("POST", path, asked)["status"]["token"]
        return token

    def kubeconfig(self, account: str = "zonebridge") -> Path:
        return self.plane.kubeconfig(self.token(account), user=account)

    def refusal(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
    ) -> str:
        """Why the API server refuses something to somebody; "" if it does not. Nothing is done."""
        try:
            self.plane.request(method, f"{path}?dryRun=All", body, token=token)
        except ApiError as error:
            if error.status != 403:
                raise
            return error.message
        return ""

    def _wait_for(self, policy: dict[str, Any]) -> None:
        """Wait until a policy that was written is the one that is asked."""
        # Both refuse this to somebody with the whole text of one of their expressions.
        account = policy["metadata"]["name"].endswith("-account")
        stored(self.plane, SETS, labelled("probe"))
        wanted = policy["spec"]["validations"][1 if account else 0]["message"]
        forged = labelled("forged", **{GROUP_LABEL: "p"})
        name = policy["metadata"]["name"]
        user = (
            self.token(name.removeprefix("zonebridge.").removesuffix("-account")) if account else ""
        )

        def holds() -> bool:
            if account:
                return wanted in self.refusal("DELETE", f"{SETS}/probe", token=user)
            return wanted in self.refusal("POST", SETS, forged)

        until(holds, f"{name} holds")
        self.plane.request("DELETE", f"{SETS}/probe")


def stored(plane: ControlPlane, path: str, document: Mapping[str, Any]) -> None:
    """Write an object, over one of its name."""
    try:
        plane.request("POST", path, document)
    except ApiError as error:
        if error.status != 409:
            raise
        named = f"{path}/{document['metadata']['name']}"
        version = plane.request("GET", named)["metadata"]["resourceVersion"]
        metadata = {**document["metadata"], "resourceVersion": version}
        plane.request("PUT", named, {**document, "metadata": metadata})


def labelled(name: str, *nets: str, kind: str = "GlobalNetworkSet", **labels: str) -> Any:
    return {
        "apiVersion": NATIVE,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"nets": [*nets]} if kind.endswith("Set") else {"node": "n", "interfaceName": "*"},
    }


def tier(name: str, **labels: str) -> Any:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": NATIVE, "kind": "Tier", "metadata": metadata, "spec": {"order": 9}}


def policy(name: str, tier: str, kind: str = "GlobalNetworkPolicy", **labels: str) -> Any:
    return {
        "apiVersion": NATIVE,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"tier": tier, "selector": "all()", "types": ["Ingress"]},
    }


@pytest.fixture
def guarded(place: Installation, calico: ControlPlane) -> Iterator[Guarded]:
    """The cluster `eu` of the installation, reached by the account alone."""
    stored(calico, "/api/v1/namespaces", {"metadata": {"name": "zonebridge"}})
    found = Guarded(place, calico)
    try:
        place.configure(kubernetes("eu", "kubeconfig"))
        found.apply()
        place.configure(kubernetes("eu", found.kubeconfig()))
        yield found
    finally:
        for plural in POLICIES:
            kept = calico.request("GET", f"{ADMISSION}/{plural}")["items"]
            for each in kept:
                if each["metadata"]["name"].startswith("zonebridge."):
                    calico.request("DELETE", f"{ADMISSION}/{plural}/{each['metadata']['name']}")
        forged = labelled("forged", **{GROUP_LABEL: "p"})
        until(lambda: not found.refusal("POST", SETS, forged), "the policies are gone")


@pytest.fixture
def migration(calico: ControlPlane) -> Iterator[None]:
    """The definition of what tells of a migration, as a cluster has it in which one was made."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = f"datastoremigrations.{MIGRATION}"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "metadata": {"name": name},
        "spec": {
            "group": MIGRATION,
            "scope": "Cluster",
            "names": {"plural": "datastoremigrations", "kind": "DatastoreMigration"},
            "versions": [
                {
                    "name": "v1beta2",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }

    def served() -> bool:
        groups = [each["name"] for each in calico.request("GET", "/apis")["groups"]]
        return MIGRATION in groups

    calico.request("POST", path, definition)
    until(served, "migrations are served")
    yield
    calico.request("DELETE", f"{path}/{name}")
    until(lambda: not served(), "migrations are gone")


# --- what it must be able to do -------------------------------------------------------------------


@pytest.mark.usefixtures("migration")
def test_the_account_can_do_all_it_must_and_is_granted_nothing_that_it_does_not_use(
    guarded: Guarded,
) -> None:
    place, plane = guarded.place, guarded.plane
    before = len(plane.asked_by_accounts())
    account = guarded.kubeconfig()

    def configure(mode: str, order: int = 101, **keys: object) -> None:
        group = {"name": "dg-eu", "mode": mode, "order": order}
        described = kubernetes("eu", account, device_groups=[group]) | keys
        place.configure(described, zones=ZONES)

    def export(rules: Iterable[Word], *nets: str) -> None:
        sets = [*(address(net, net) for net in nets), *([group("web", *nets)] if nets else [])]
        place.export(document(groups={"dg-eu": [*rules, *sets]}))

    denied = [Word(each.place, each.xml.replace("allow</", "deny</")) for each in RULES]
    pool = {"metadata": {"name": "pods"}, "spec": {"cidr": "10.244.0.0/16"}}
    namespaced = f"{CALICO}/namespaces/default/networksets"
    plane.request("POST", f"{CALICO}/ippools", {"apiVersion": NATIVE, "kind": "IPPool", **pool})
    plane.request("POST", namespaced, labelled("by-hand", kind="NetworkSet"))
    pod(plane, "web-1", WEB, zone="web")
    pod(plane, "db-1", DB, zone="db")
    try:
        export(RULES)
        configure("staged")
        assert place.run("plan", "--detailed-exitcode").code == 2
        place.done("sync")
        export(denied)
        place.done("sync")
        configure("enforced")
        enforce(place)
        configure("enforced", order=102)
        export(RULES, "10.1.0.1/32")
        place.done("sync")
        export(RULES, "10.1.0.2/32")
        place.done("sync")
        assert nets(plane) == {"pan.web": ["10.1.0.2/32"]}
        export(RULES)
        place.done("sync")
        assert nets(plane) == {}
        place.done("verify", "--live")
        assert explain(place, WEB, DB, "--live").code == 0
        place.done("status")
        assert place.run("plan", "--detailed-exitcode").code == 0
        _repairs_drift(guarded)
        _looks_after_a_conflict(guarded)
        place.configure(kubernetes("eu", account, device_groups=[]), zones=ZONES)
        place.done("sync")
        assert _ours(plane) == []
        place.done("audit", "verify")
    finally:
        plane.request("DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0")
    asked = [each for each in plane.asked_by_accounts()[before:] if "objectRef" in each]
    assert {each["user"]["username"] for each in asked} == {grantee().user}
    refused = {_right(each) for each in asked if each["responseStatus"]["code"] == 403}
    assert refused == set()
    used = {_right(each) for each in asked}
    names = {
        (*_right(each), each["objectRef"]["name"]) for each in asked if "name" in each["objectRef"]
    }
    assert not [right for right in _granted(plane) if not _is_used(right, used, names)]


def _repairs_drift(guarded: Guarded) -> None:
    """The service sees what another hand does, in an object that no policy keeps others from."""
    path = f"{CALICO}/globalnetworkpolicies/{WEB_CHAIN}"
    with guarded.place.running() as service:
        until(lambda: service.get("/readyz")[0] == 200, "it is ready")
        # The second one is one more of a series of Events.
        for repaired in (1, 2):
            guarded.plane.request("PATCH", path, {"metadata": {"labels": {INSTANCE: None}}})
            until(
                lambda: INSTANCE in guarded.plane.request("GET", path)["metadata"]["labels"],
                "the label is back",
            )
            until(lambda: _told(guarded.plane) >= repaired, "an Event tells of it")  # noqa: B023
        assert service.stop() == 0


def _told(plane: ControlPlane) -> int:
    """How often Events tell of drift on the tier."""
    events = plane.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    return sum(
        each.get("series", {}).get("count", 1)
        for each in events
        if each["regarding"]["name"] == TIER and "rift" in each["reason"]
    )


def _looks_after_a_conflict(guarded: Guarded) -> None:
    """What was read before another hand was faster is read again, and left alone."""
    owner = tuple(OURS.items())
    prod = api(guarded.plane, sleep=lambda seconds: None, kubeconfig=guarded.kubeconfig())
    for kind, plural in KINDS.items():
        if kind == "Tier":
            name = TIER
            held = guarded.plane.request("GET", f"{CALICO}/{plural}/{name}")
            live = reader(prod, tuple((key, held["metadata"]["labels"][key]) for key in OURS))
        else:
            name = "firewallpolicy.conflict" if "Policy" in kind else "conflict"
            document = (
                policy(name, TIER, kind, **OURS) if "Policy" in kind else made(name).document()
            )
            document["metadata"]["labels"] = OURS
            guarded.plane.request("POST", f"{CALICO}/{plural}", document, token=guarded.token())
            live = reader(prod, owner)
        found = live.read()[kind, name]
        edited = {"metadata": {"annotations": {"zonebridge.io/other": "hand"}}}
        guarded.plane.request("PATCH", f"{CALICO}/{plural}/{name}", edited)
        with pytest.raises(NotWrittenError, match="someone else"):
            writer(prod, live._owner).delete(found)
        if kind != "Tier":
            writer(prod, owner).delete(live.read()[kind, name])


def _ours(plane: ControlPlane) -> list[str]:
    found = (plane.request("GET", f"{CALICO}/{plural}")["items"] for plural in KINDS.values())
    return [
        each["metadata"]["name"]
        for items in found
        for each in items
        if INSTANCE in each["metadata"].get("labels", {})
    ]


def _right(event: dict[str, Any]) -> tuple[str, str, str]:
    asked = event["objectRef"]
    return asked.get("apiGroup", ""), asked["resource"], event["verb"]


def _granted(plane: ControlPlane) -> Iterator[tuple[str, str, str, str]]:
    """Each right by group, resource, verb and name, "" for any."""
    roles = (f"clusterroles/{grantee().name}", f"namespaces/default/roles/{grantee().name}")
    rules = [rule for role in roles for rule in plane.request("GET", f"{RBAC}/{role}")["rules"]]
    for rule in rules:
        for api_group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield api_group, resource, verb, name


def _is_used(
    right: tuple[str, str, str, str],
    used: Iterable[tuple[str, str, str]],
    names: Iterable[tuple[str, str, str, str]],
) -> bool:
    api_group, resource, verb, name = right
    if resource.startswith("tier."):
        # Calico itself asks for the verb in the tier, where it asks for that on the policy.
        return (api_group, resource.removeprefix("tier."), verb) in used
    return right in names if name else (api_group, resource, verb) in used


# --- what it is refused ---------------------------------------------------------------------------


def test_the_account_is_refused_all_else(guarded: Guarded) -> None:
    plane, token = guarded.plane, guarded.token()
    put(plane, "by-hand", "192.0.2.0/24")
    stored(plane, f"{CALICO}/tiers", tier("others"))
    stored(plane, f"{CALICO}/globalnetworkpolicies", policy("others.web", "others"))
    stored(plane, f"{CALICO}/globalnetworkpolicies", policy("others.claimed", "others", **OURS))
    stored(plane, f"{CALICO}/globalnetworkpolicies", policy("firewallpolicy.web", TIER))
    theirs = {**OURS, INSTANCE: "other"}
    version = sets(plane)["by-hand"]["metadata"]["resourceVersion"]
    taken = labelled("by-hand", **OURS)
    taken["metadata"]["resourceVersion"] = version
    pods = "/api/v1/namespaces/default/pods"
    role = plane.request("GET", f"{RBAC}/clusterroles/{grantee().name}")
    gnp, namespaced = f"{CALICO}/globalnetworkpolicies", f"{CALICO}/namespaces/default/networksets"
    account, rbac = "-account'", "is forbidden: User"
    attempts: list[tuple[str, str, Any, str]] = [
        ("POST", SETS, labelled("x"), account),
        ("POST", SETS, labelled("x", **theirs), account),
        ("POST", SETS, labelled("x", **{INSTANCE: "zonebridge"}), account),
        ("PUT", f"{SETS}/by-hand", taken, account),
        ("DELETE", f"{SETS}/by-hand", None, account),
        ("DELETE", SETS, None, rbac),
        ("PATCH", f"{SETS}/by-hand", {"spec": {"nets": []}}, rbac),
        ("POST", gnp, policy("others.mine", "others", **OURS), account),
        ("POST", gnp, policy("firewallpolicy.mine", "default", **OURS), account),
        ("POST", gnp, policy("firewallpolicy.mine", TIER), account),
        ("DELETE", f"{gnp}/others.web", None, account),
        ("DELETE", f"{gnp}/others.claimed", None, account),
        ("DELETE", f"{gnp}/firewallpolicy.web", None, account),
        ("POST", f"{CALICO}/tiers", tier("mine", **OURS), account),
        ("DELETE", f"{CALICO}/tiers/others", None, rbac),
        ("DELETE", f"{CALICO}/tiers/default", None, rbac),
        ("GET", "/api/v1/secrets", None, rbac),
        ("GET", "/api/v1/namespaces/kube-system/configmaps", None, rbac),
        ("GET", "/api/v1/namespaces/default", None, rbac),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, rbac),
        ("PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"a": "b"}}}, rbac),
        ("POST", pods, {"metadata": {"name": "x"}, "spec": {"containers": []}}, rbac),
        ("DELETE", pods, None, rbac),
        ("POST", f"{PLACES['ServiceAccount']}/zonebridge/token", {"spec": {}}, rbac),
        ("PUT", f"{RBAC}/clusterroles/{grantee().name}", role, rbac),
        ("GET", f"{RBAC}/clusterroles", None, rbac),
        ("GET", f"{ADMISSION}/validatingadmissionpolicies", None, rbac),
        ("DELETE", f"{ADMISSION}/{POLICIES[0]}/{grantee().name}-account", None, rbac),
        ("GET", f"{CALICO}/networkpolicies/x", None, rbac),
        ("POST", namespaced, labelled("x", kind="NetworkSet", **OURS), rbac),
        ("POST", f"{CALICO}/ippools", {"metadata": {"name": "x"}}, rbac),
    ]  # fmt: skip
    for method, path, body, because in attempts:
        refused = guarded.refusal(method, path, body, token=token)
        assert because in refused, (method, path, refused)
    # None of this is refused by mistake: what is its own is let through.
    for path, body in (
        (SETS, labelled("x", **OURS)),
        (gnp, policy("firewallpolicy.x", TIER, **OURS)),
        (f"{CALICO}/tiers", tier(TIER, **OURS)),
    ):  # fmt: skip
        assert guarded.refusal("POST", path, body, token=token) == ""


def test_nobody_else_forges_a_label_of_ours_or_changes_a_set_of_ours(guarded: Guarded) -> None:
    """The administrator neither, unless exempted."""
    place, plane = guarded.place, guarded.plane
    place.done("sync")
    put(plane, "by-hand", "192.0.2.0/24")
    ours = sets(plane)["pan.web"]
    hosts = f"{CALICO}/hostendpoints"
    namespaced = f"{CALICO}/namespaces/default/networksets"
    forged = [
        {GROUP_LABEL: "web"},
        {"firewall.tigera.io/list": "x"},
        {"firewall.tigera.io/edl": "x"},
        {"firewall.tigera.io/zone": "web"},
        {"firewall.tigera.io/a-tag": ""},
        {"projectcalico.org/orchestrator": "k8s"},
        {"projectcalico.org/namespace": "default"},
        {INSTANCE: "zonebridge"},
        {INSTANCE: "another"},
        {STORE: "x"},
        {"app.kubernetes.io/managed-by": "zonebridge"},
    ]
    for labels in forged:
        for method, path, body in (
            ("POST", SETS, labelled("x", **labels)),
            ("POST", namespaced, labelled("x", kind="NetworkSet", **labels)),
            ("POST", hosts, labelled("x", kind="HostEndpoint", **labels)),
            ("PATCH", f"{SETS}/by-hand", {"metadata": {"labels": labels}}),
        ):
            assert "-labels'" in guarded.refusal(method, path, body), (method, path, labels)
    for method, body in (
        ("DELETE", None),
        ("PUT", {**ours, "spec": {"nets": ["0.0.0.0/0"]}}),
        *(("PATCH", {"metadata": {"labels": {key: None}}}) for key in ours["metadata"]["labels"]),
        ("PATCH", {"metadata": {"labels": {GROUP_LABEL: "db"}}}),
    ):
        assert "-labels'" in guarded.refusal(method, f"{SETS}/pan.web", body), (method, body)
    # What is nobody's business but theirs.
    for method, path, body in (
        ("POST", SETS, labelled("x", team="blue")),
        ("POST", SETS, labelled("x", **{"app.kubernetes.io/managed-by": "Helm"})),
        ("POST", hosts, labelled("x", kind="HostEndpoint")),
        ("PATCH", f"{SETS}/by-hand", {"spec": {"nets": []}}),
        ("DELETE", f"{SETS}/by-hand", None),
        ("PATCH", f"{SETS}/pan.web", {"metadata": {"finalizers": ["example.com/wait"]}}),
        ("PATCH", f"{SETS}/pan.web", {"metadata": {"labels": {"team": "blue"}}}),
    ):
        assert guarded.refusal(method, path, body) == "", (method, path, body)
    guarded.apply("--exempt-group", "nobody", "--exempt-user", "admin-of-old")
    assert "-labels'" in guarded.refusal("DELETE", f"{SETS}/pan.web")
    place.done("sync")


def test_administrators_that_are_exempted_may_do_it(guarded: Guarded) -> None:
    place, plane = guarded.place, guarded.plane
    printed = place.done("rbac", "--cluster", "eu", "--exempt-group", "system:masters").out
    for each in yaml.safe_load_all(printed):
        stored(plane, PLACES[each["kind"]], each)
    forged = labelled("x", **{GROUP_LABEL: "web"})
    until(lambda: not guarded.refusal("POST", SETS, forged), "they are exempted")


def test_calico_itself_may_move_sets_and_no_other_account_may(guarded: Guarded) -> None:
    """It copies them, labels and all, when a cluster gets the native definitions."""
    plane = guarded.plane
    accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
    admin = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    }
    for name in ("calico-kube-controllers", "another"):
        stored(plane, accounts, {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "namespace": "kube-system", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": admin, "subjects": [subject]}
        plane.request("POST", f"{RBAC}/clusterrolebindings", binding)

    def refused(account: str) -> str:
        token = plane.request("POST", f"{accounts}/{account}/token", {"spec": {}})["status"][
            "token"
        ]
        return guarded.refusal("POST", SETS, labelled("moved", **OURS), token=token)

    until(lambda: not refused("calico-kube-controllers"), "its rights hold")
    until(lambda: "-labels'" in refused("another"), "so do the other's")


def test_labels_that_were_there_before_hold_up_no_one(guarded: Guarded) -> None:
    """What Tigera's integration left behind can still be changed otherwise, and removed."""
    plane = guarded.plane
    name = f"{ADMISSION}/validatingadmissionpolicybindings/{grantee().name}-labels"
    binding = plane.request("GET", name)
    plane.request("DELETE", name)
    left = labelled("pan.old", **{GROUP_LABEL: "old", "firewall.tigera.io/zone": "web"})
    until(lambda: not guarded.refusal("POST", SETS, left), "the policy is gone")
    plane.request("POST", SETS, left)
    del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
    plane.request("POST", PLACES["ValidatingAdmissionPolicyBinding"], binding)
    more = {"metadata": {"labels": {"firewall.tigera.io/list": "x"}}}
    until(lambda: guarded.refusal("PATCH", f"{SETS}/pan.old", more), "the policy holds")
    for method, body in (
        ("PATCH", {"metadata": {"annotations": {"note": "old"}}}),
        ("PATCH", {"metadata": {"labels": {GROUP_LABEL: None}}}),
        ("DELETE", None),
    ):
        assert guarded.refusal(method, f"{SETS}/pan.old", body) == ""


# --- adoption, a second instance, tiers of before -------------------------------------------------


def test_adoption_is_for_those_alone_who_allow_it(guarded: Guarded) -> None:
    place, plane = guarded.place, guarded.plane
    put(plane, "pan.web", "192.0.2.0/24")
    done = place.run("sync", "--adopt")
    assert done.code == 5
    (error,) = sentences(done)
    assert "admission policy zonebridge.zonebridge-account: what stands there is not" in error
    assert "`zonebridge rbac --allow-adoption`" in error
    assert "grant the user" not in error
    assert nets(plane)["pan.web"] == ["192.0.2.0/24"]
    guarded.apply("--allow-adoption")
    # It still may not do away with what it did not take over.
    put(plane, "by-hand", "192.0.2.0/24")
    token = guarded.token()
    assert "-account'" in guarded.refusal("DELETE", f"{SETS}/by-hand", token=token)
    place.done("sync", "--adopt")
    assert nets(plane)["pan.web"] == ["10.1.0.1/32", "10.1.0.2/32"]


def test_a_second_instance_writes_beside_the_first_and_neither_touches_the_other(
    guarded: Guarded, tmp_path: Path
) -> None:
    plane = guarded.plane
    second = Guarded(Installation.in_directory(tmp_path / "second"), plane)
    other = "system:serviceaccount:zonebridge:second"
    first = grantee().user
    described = [{"name": "dg-eu", "mode": "enforced", "tier": "second", "order": 102}]

    def configure(kubeconfig: Path | str) -> None:
        cluster = kubernetes("eu", kubeconfig, device_groups=described)
        second.place.configure(cluster, instance="second")

    configure("kubeconfig")
    account = ("--service-account", "zonebridge/second")
    second.apply(*account, "--exempt-user", first)
    configure(second.kubeconfig("second"))
    second.place.panorama(eu={"mail": ["10.4.0.0/24"]})
    refused = second.place.run("sync")
    assert refused.code == 5
    assert "admission policy zonebridge.zonebridge-labels: labels that say" in refused.err
    guarded.apply("--exempt-user", other)
    until(lambda: second.place.run("sync").code == 0, "the second is exempted")
    guarded.place.done("sync")
    assert nets(plane).keys() == {"pan.web", "pan.db", "pan.mail"}
    for taken, token in (("pan.mail", guarded.token()), ("pan.web", second.token("second"))):
        assert "-account'" in guarded.refusal("DELETE", f"{SETS}/{taken}", token=token)


def test_what_stands_in_a_tier_of_before_can_be_removed_with_a_right_that_is_asked_for(
    guarded: Guarded,
) -> None:
    place, plane = guarded.place, guarded.plane
    place.done("sync")
    moved = [{"name": "dg-eu", "mode": "enforced", "tier": "perimeter"}]
    place.configure(kubernetes("eu", guarded.kubeconfig(), device_groups=moved))
    guarded.apply()
    done = place.run("sync")
    assert done.code == 5
    assert "with --tier NAME others" in done.err
    guarded.apply("--tier", TIER)
    until(lambda: place.run("sync").code == 0, "its tier of before is granted")
    assert {each.partition(".")[0] for each in _ours(plane)} == {"perimeter", "pan"}


# --- what is missing is named ---------------------------------------------------------------------


@pytest.mark.usefixtures("migration")
@pytest.mark.parametrize("command", ["plan", "sync"])
def test_a_right_that_is_missing_is_named_with_what_prints_it(
    guarded: Guarded, command: str
) -> None:
    path = f"{RBAC}/clusterroles/{grantee().name}"
    role = guarded.plane.request("GET", path)
    role["rules"] = [each for each in role["rules"] if each["apiGroups"] != [MIGRATION]]
    guarded.plane.request("PUT", path, role)

    def asked() -> bool:
        return guarded.place.run(command).code == 5

    until(asked, "the right is gone")
    (error,) = sentences(guarded.place.run(command))
    assert f"(list on datastoremigrations.{MIGRATION}): `zonebridge rbac --cluster eu`" in error
    assert "it is unknown whether Calico is moving its objects" in error
    assert nets(guarded.plane) == {} or command == "sync"


def test_the_list_in_json_says_the_same(place: Installation) -> None:
    place.configure(kubernetes("eu", "kubeconfig"))
    documents = yaml.safe_load_all(place.done("rbac", "--cluster", "eu").out)
    printed = place.done("rbac", "--cluster", "eu", "--output", "json").json
    assert printed == {"apiVersion": "v1", "kind": "List", "items": [*documents]}
    bare = place.done("rbac", "--cluster", "eu", "--no-admission-policies", "--output", "json").json
    assert [each["kind"] for each in bare["items"]] == [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cluster", "files"], "cluster files is a directory of manifests"),
        (["--cluster", "ue"], "there is no cluster 'ue'"),
        (["--cluster", "eu", "--service-account", "zonebridge"], "NAMESPACE/NAME"),
        (["--cluster", "eu", "--service-account", "a.b/c"], "NAMESPACE/NAME"),
        (["--cluster", "eu", "--tier", "fire.*"], "give the name of a tier"),
        (["--cluster", "eu", "--tier", ""], "give the name of a tier"),
        (["--cluster", "eu", "--read-only", "--tier", "old"], "--read-only grants no write"),
        (["--cluster", "eu", "--read-only", "--allow-adoption"], "--read-only grants no write"),
        ([], "Missing option '--cluster'"),
    ],
)
def test_what_cannot_be_granted_is_said(place: Installation, options: list[str], says: str) -> None:
    files = {"kind": "manifests", "path": "files", "device_groups": []}
    place.configure(kubernetes("eu", "kubeconfig"), {"name": "files", **files})
    done = place.run("rbac", *options)
    assert (done.code, done.out) == (64, "")
    assert says in done.err

"""The rights of zonebridge in a cluster, and the admission policies for it and for others.

    tiers, instance, zone label, account  ->  ServiceAccount, ClusterRole and its binding,
                                              Role for Events and its binding,
                                              two ValidatingAdmissionPolicies and their bindings

RBAC knows neither labels nor the names of objects to be created. The admission policies do: the
account writes only in its tiers, and only objects with its labels; no one else may give sets the
labels that our selectors use. They apply in Kubernetes 1.30 and later, to Calico's native
definitions and in its API server unless configured otherwise
(`apiserver/cmd/apiserver/server/server.go`, EnableValidatingAdmissionPolicy).

The chart's templates `rbac.yaml` and `admission.yaml` are the same; a test compares them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sync.calico.names import (
    FIREWALL_PREFIX,
    INSTANCE,
    MANAGED_BY,
    MANAGED_BY_VALUE,
    NAMESPACE_LABEL,
    ORCHESTRATOR_LABEL,
    STORE,
)
from sync.calico.objects import API_VERSION, KINDS, POLICIES
from sync.clusters.kubernetes.events import EVENTS_NAMESPACE

_CALICO, _, _VERSION = API_VERSION.partition("/")
_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io/v1"

_WRITTEN: Final = tuple(KINDS[kind] for kind in POLICIES)
_NAMESPACED: Final = ("networkpolicies", "stagednetworkpolicies")
_LABELLED: Final = ("globalnetworksets", "networksets", "hostendpoints")

_WATCH: Final = ("list", "watch")
_LOOK: Final = ("get", *_WATCH)
_WRITE: Final = ("create", "update", "delete")

# They copy objects from the old definitions to the native ones, our sets among them
# (`kube-controllers/pkg/controllers/migration`); the accounts of the operator and of manifests.
_MOVERS: Final = tuple(
    f"system:serviceaccount:{namespace}:calico-kube-controllers"
    for namespace in ("calico-system", "kube-system")
)


@dataclass(frozen=True, slots=True)
class Grantee:
    """An account of one installation in one cluster, and its limits.

    It may write `tiers`; `zone_label` is the key of the label that names a pod's zone. With
    `adoption` it may take over objects that no installation claims. `exempt_users` and
    `exempt_groups` may label sets as it does: other installations, cluster administrators. Without
    `writes` it only reads and watches, as `zonebridge run` does where workers write.
    """

    namespace: str
    account: str
    instance: str
    tiers: tuple[str, ...]
    zone_label: str
    adoption: bool = False
    exempt_users: tuple[str, ...] = ()
    exempt_groups: tuple[str, ...] = ()
    writes: bool = True

    @property
    def name(self) -> str:
        """The name of its cluster-scoped objects, unique to the account."""
        return f"{self.namespace}.{self.account}"

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.account}"


def rights(grantee: Grantee) -> list[dict[str, Any]]:
    """The account, its ClusterRole and, if it writes, its Role for Events, with their bindings."""
    account = {"name": grantee.account, "namespace": grantee.namespace}
    granted: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": grantee.name},
            "rules": list(_rules(grantee.tiers) if grantee.writes else _reading_rules()),
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": grantee.name},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": grantee.name},
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ]
    # Events are about writes, so only an account that writes records them.
    return granted + _events(grantee, account) if grantee.writes else granted


def _events(grantee: Grantee, account: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": grantee.name, "namespace": EVENTS_NAMESPACE},
            # A new Event, and one more of a series.
            "rules": [_rule("events.k8s.io", ["events"], ["create", "update"])],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": grantee.name, "namespace": EVENTS_NAMESPACE},
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": grantee.name},
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ]


def admission_policies(grantee: Grantee) -> list[dict[str, Any]]:
    """The policy for the account and the one for labels by everyone else, with their bindings.

    An account that only reads has none.
    """
    if not grantee.writes:
        return []
    return [*_account_policy(grantee), *_labels_policy(grantee)]


def _rules(tiers: Sequence[str]) -> Iterator[dict[str, Any]]:
    # RBAC cannot bound the name of an object that does not exist yet: the admission policy does.
    yield _rule(_CALICO, [KINDS["GlobalNetworkSet"], *_WRITTEN], [*_LOOK, *_WRITE])
    yield _rule(_CALICO, [KINDS["Tier"]], [*_LOOK, "create"])
    # Without names such a rule would apply to every tier.
    if tiers:
        yield _rule(_CALICO, [KINDS["Tier"]], ["update", "delete"], tiers)
    # Calico also requires rights tier by tier: its API server always, its native definitions
    # with its webhook (`apiserver/pkg/registry/projectcalico/authorizer`). Foreign policies are
    # read too: they may be in our tiers.
    yield _rule(_CALICO, [f"tier.{each}" for each in _WRITTEN], _LOOK)
    yield _rule(_CALICO, [f"tier.{each}" for each in _NAMESPACED], ["list"])
    if tiers:
        names = [f"{tier}.*" for tier in tiers]
        yield _rule(_CALICO, [f"tier.{each}" for each in _WRITTEN], _WRITE, names)
    yield from _reading_others()


def _reading_rules() -> Iterator[dict[str, Any]]:
    # Only an account that writes gets single objects.
    yield _rule(_CALICO, [KINDS["GlobalNetworkSet"], *_WRITTEN, KINDS["Tier"]], _WATCH)
    yield _rule(_CALICO, [f"tier.{each}" for each in _WRITTEN], _WATCH)
    yield _rule(_CALICO, [f"tier.{each}" for each in _NAMESPACED], ["list"])
    yield from _reading_others()


def _reading_others() -> Iterator[dict[str, Any]]:
    yield _rule(_CALICO, _NAMESPACED, ["list"])
    # Foreign objects with labels and addresses: our selectors could select them.
    yield _rule(_CALICO, _LABELLED[1:], _WATCH)
    # The version and data plane of Calico, and the networks of pods.
    yield _rule(_CALICO, ["clusterinformations", "felixconfigurations", "ippools"], ["list"])
    # Whether Calico is migrating its objects to other definitions; then nothing is written.
    yield _rule("migration.projectcalico.org", ["datastoremigrations"], ["list"])
    # Pods and nodes; the labels that pods and sets inherit from their namespaces and service
    # accounts; the endpoints of DNS and the API server, which pods must not lose.
    yield _rule("", ["pods", "nodes", "namespaces", "serviceaccounts"], ["list"])
    yield _rule("discovery.k8s.io", ["endpointslices"], ["list"])
    # The UID of the cluster, without which nothing is written.
    yield _rule("", ["namespaces"], ["get"], ["kube-system"])


def _rule(
    group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()
) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": list(resources)}
    if names := list(names):
        rule["resourceNames"] = names
    return {**rule, "verbs": list(verbs)}


def _account_policy(grantee: Grantee) -> Iterator[dict[str, Any]]:
    instance = _literal(grantee.instance)
    unclaimed = f'"{STORE}" in variables.before'
    remedy = "take it over with adoption allowed (`zonebridge rbac --allow-adoption`)"
    if grantee.adoption:
        unclaimed = f'(request.operation == "UPDATE" || {unclaimed})'
        remedy = "it may take over, not delete, what no other instance claims"
    tier = (
        '(request.resource.resource == "tiers" ? each.metadata.name : '
        '(has(each.spec.tier) ? each.spec.tier : "default"))'
    )
    yield from _policy(
        f"{grantee.name}-account",
        tuple(KINDS.values()),
        {"account": f"request.userInfo.username == {_literal(grantee.user)}"},
        {},
        {
            "object == null || "
            f'("{MANAGED_BY}" in variables.labels && '
            f'variables.labels["{MANAGED_BY}"] == "{MANAGED_BY_VALUE}" && '
            f'"{INSTANCE}" in variables.labels && '
            f'variables.labels["{INSTANCE}"] == {instance})': (
                f"zonebridge writes only what it labels {INSTANCE}={grantee.instance}"
            ),
            'request.operation == "CREATE" || '
            f'("{INSTANCE}" in variables.before ? '
            f'variables.before["{INSTANCE}"] == {instance} : {unclaimed})': (
                # The chart has the same text.
                f"what stands there is not labelled {INSTANCE}="  # words kept
                f"{grantee.instance}; {remedy}"
            ),
            'request.resource.resource == "globalnetworksets" || '
            "[object, oldObject].all(each, each == null || "
            f"{tier} in {_literal(grantee.tiers)})": (
                "zonebridge is not granted this tier here; `zonebridge rbac` prints those of the "
                "configuration, and with --tier NAME others"
            ),
        },
    )


def _labels_policy(grantee: Grantee) -> Iterator[dict[str, Any]]:
    users = (grantee.user, *_MOVERS, *grantee.exempt_users)
    keys = tuple(dict.fromkeys((ORCHESTRATOR_LABEL, NAMESPACE_LABEL, grantee.zone_label)))

    def reserved(labels: str) -> str:
        return (
            f'(key.startsWith("{FIREWALL_PREFIX}/") || key.startsWith("zonebridge.io/") || '
            f"key in {_literal(keys)} || "
            f'(key == "{MANAGED_BY}" && {labels}[key] == "{MANAGED_BY_VALUE}"))'
        )

    yield from _policy(
        f"{grantee.name}-labels",
        _LABELLED,
        {
            "users": f"!(request.userInfo.username in {_literal(users)})",
            "groups": "!(has(request.userInfo.groups) && request.userInfo.groups.exists("
            f"each, each in {_literal(grantee.exempt_groups)}))",
        },
        {
            "ours": 'request.resource.resource == "globalnetworksets" && '
            f'"{STORE}" in variables.before && "{INSTANCE}" in variables.before && '
            f'variables.before["{INSTANCE}"] == {_literal(grantee.instance)}',
        },
        {
            f"variables.labels.all(key, !{reserved('variables.labels')} || "
            "(key in variables.before && variables.before[key] == variables.labels[key]))": (
                "labels that say what the firewall says may be put here by zonebridge alone: those "
                f"under {FIREWALL_PREFIX}/ and zonebridge.io/, {', '.join(keys)}, and "
                f"{MANAGED_BY}={MANAGED_BY_VALUE}"
            ),
            "!variables.ours || (object != null && "
            "(has(object.spec) ? object.spec : {}) == (has(oldObject.spec) ? oldObject.spec : {}) "
            f"&& variables.before.all(key, !{reserved('variables.before')} || "
            "(key in variables.labels && variables.labels[key] == variables.before[key])))": (
                f"a set of zonebridge ({INSTANCE}={grantee.instance}) holds what the firewall "
                "says: change it there"
            ),
        },
    )


def _policy(
    name: str,
    resources: Sequence[str],
    conditions: dict[str, str],
    variables: dict[str, str],
    validations: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """A policy that refuses what fails one of its expressions, with the message of that one."""
    yield {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "resourceRules": [
                    {
                        "apiGroups": [_CALICO],
                        "apiVersions": [_VERSION],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": list(resources),
                    }
                ],
            },
            "matchConditions": [
                {"name": each, "expression": expression} for each, expression in conditions.items()
            ],
            "variables": [
                {"name": each, "expression": expression}
                for each, expression in {
                    "labels": _labels("object"),
                    "before": _labels("oldObject"),
                    **variables,
                }.items()
            ],
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in validations.items()
            ],
        },
    }
    yield {
        "apiVersion": _ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _labels(of: str) -> str:
    return f"{of} != null && has({of}.metadata.labels) ? {of}.metadata.labels : {{}}"


def _literal(value: str | Sequence[str]) -> str:
    """A string or a list of strings as CEL writes it, which is as JSON does."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""What the chart makes of values, and which it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.generate import stale
from sync import __version__
from sync.settings import load, schema
from sync.settings.changes import AT_START
from sync.settings.document import read_document
from sync.store import open_store
from sync.store.verification import verify
from tests.chart import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    containers,
    example,
    helm,
    refused,
    render,
    settings,
)
from tests.unit.store.words import apply, create, group
from zonebridge_simulator.authority import Authority

ZONEBRIDGE = Path(sys.executable).with_name("zonebridge")
OTHERS_CHECK = {
    "global",
    "affinity",
    "behavior",
    "claims",
    "create",
    "extraEgress",
    "extraEnv",
    "extraEnvFrom",
    "extraVolumeMounts",
    "extraVolumes",
    "metricRelabelings",
    "peers",
    "podSecurityContext",
    "relabelings",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
}
"""Values in the words of Kubernetes and the Prometheus Operator, which API servers check."""

each_example = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)


def schema_of_values() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return document


def test_what_is_generated_is_up_to_date() -> None:
    assert stale() == [], "run `make chart`"


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_config_takes_what_the_configuration_takes_but_secrets_and_the_store() -> None:
    known = schema()
    placed = json.dumps(schema_of_values()["$defs"]["config"]).replace("/$defs/config", "")
    taken = json.loads(placed)
    del known["properties"]["store"], known["$defs"]["Store"]
    del known["$defs"]["Source"]["properties"]["api_key"]
    del known["$defs"]["Source"]["properties"]["password"]
    assert taken == known
    assert "writeOnly" not in placed


def test_the_schema_refuses_unknown_keys_at_each_level() -> None:
    open_to_all = set()

    def look(node: Any, name: str) -> None:
        if isinstance(node, list):
            for below in node:
                look(below, name)
        if not isinstance(node, dict):
            return
        if node.get("type") == "object" and "additionalProperties" not in node:
            open_to_all.add(name)
        for key, below in node.items():
            if key in ("properties", "$defs"):
                for below_name, found in below.items():
                    look(found, below_name)
            elif key != "default":
                look(below, name)

    look(schema_of_values(), "")
    assert open_to_all <= OTHERS_CHECK


@each_example
def test_helm_finds_nothing_to_say_of_an_example(values: Path) -> None:
    done = helm("lint", "--strict", "--values", values, CHART)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("minimal", ["replica=2"], "'replica' not allowed"),
        ("minimal", ['store.sqlite.sizes="1Gi"'], "'sizes' not allowed"),
        ("minimal", ['image.repo="x"'], "'repo' not allowed"),
        ("minimal", ["livenessProbe.httpGet={}"], "'httpGet' not allowed"),
        ("minimal", ['files.panorama.configMap="x"'], "files/panorama"),
        ("minimal", ['config.poll_intervall="10s"'], "'poll_intervall' not allowed"),
        ("minimal", ["config.clusters[0].device_group=[]"], "'device_group' not allowed"),
        ("minimal", ["config.sources[0].port=0"], "minimum: got 0, want 1"),
        ("minimal", ['config.sources[0].api_key="LUFRPT1x"'], "'api_key' not allowed"),
        ("minimal", ['config.sources[0].password="hunter2"'], "'password' not allowed"),
        ("minimal", ['config.store={"url":"sqlite:///x"}'], "'store' not allowed"),
        ("minimal", ["config={}"], "missing properties"),
        ("minimal", ["replicas=2"], "set store.kind to postgresql, or replicas to 1"),
        ("minimal", ['store.kind="postgresql"'], "store.postgresql.url: must be"),
        ("minimal", ['config.health={"bind":"127.0.0.1:8081"}'], "config.health.bind: no probe"),
        ("minimal", ['extraCA={"configMap":"a","secret":"b"}'], "not both"),
        ("minimal", ['commonLabels={"app.kubernetes.io/managed-by":"zonebridge"}'], "managed-by"),
        ("minimal", ['commonLabels={"zonebridge.io/instance":"zonebridge"}'], "zonebridge.io"),
        (
            "ha-postgresql",
            ['store.postgresql.url="postgresql://a:hunter2/@c/d"'],
            "holds a password",
        ),
        (
            "ha-postgresql",
            ['store.postgresql.url="postgresql://a@c/d?sslPassword=hunter2"'],
            "holds a",
        ),
        (
            "ha-postgresql",
            ['store.postgresql.url="sqlite:///x"'],
            "url: must be postgresql+psycopg",
        ),
        ("ha-postgresql", ['store.kind="sqlite"'], "replicas: several share"),
        ("minimal", ["serviceAccount.create=false"], "serviceAccount.name: is missing"),
        (
            "workers",
            ['config.engine={"kind":"embedded"}'],
            "set config.engine.kind to procrastinate",
        ),
        ("ha-postgresql", ["workers.replicas=1"], "set config.engine.kind to procrastinate"),
        ("minimal", ["workers.replicas=1"], "workers: share a queue in PostgreSQL"),
        ("cronjob", ["workers.autoscaling.enabled=true"], "workers: a CronJob syncs"),
        ("workers", ["workers.autoscaling.enabled=false"], "set workers.replicas, or workers.else"),
        (
            "minimal",
            ['config.engine={"kind":"procrastinate"}'],
            "procrastinate keeps its queue in PostgreSQL",
        ),
        ("workers", ["workers.autoscaling.maxReplicas=1"], "minReplicas: is more than maxReplicas"),
        ("workers", ["workers.autoscaling.minReplicas=0"], "minimum: got 0, want 1"),
        ("workers", ["workers.slots=65"], "maximum: got 65, want 64"),
        ("workers", ["workers.replica=1"], "'replica' not allowed"),
        (
            "workers",
            ["workers.serviceAccount.create=false"],
            "workers.serviceAccount.name: is missing",
        ),
        ("ha-postgresql", ["zoneOrder=[]"], "zoneOrder: must list each name"),
        ("ha-postgresql", ['zoneOrder=["web","db"]'], "zoneOrder: must list each name"),
        ("ha-postgresql", ['zoneOrder=["web","db","x"]'], "zoneOrder: must list each name"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(name: str, given: list[str], said: str) -> None:
    told = refused(example(name), *settings(given))
    assert said in told
    assert "hunter2" not in told
    assert "LUFRPT1x" not in told


@each_example
def test_the_mounted_configuration_passes_config_check(
    values: Path, tmp_path: Path, authority: Authority
) -> None:
    rendered = render(values)
    text = rendered.configuration
    for path in set(re.findall(r"/etc/zonebridge/\S+", text)):
        here = tmp_path / path[1:].strip("\"'")
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(authority.ca_file.read_text() if here.suffix == ".pem" else "anything")
        here.chmod(0o440)
    for path in re.findall(r"/(var/lib/[^/]+)/", text):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
    text = text.replace("/etc/zonebridge/", f"{tmp_path}/etc/zonebridge/")
    text = text.replace("/var/lib/", f"{tmp_path}/var/lib/")
    file = tmp_path / "zonebridge.yaml"
    file.write_text(text)
    # Nobody listens there, so that nothing is waited for.
    places = {
        f"ZONEBRIDGE_SOURCES__{number}__{key}": value
        for number in range(len(yaml.safe_load(text)["sources"]))
        for key, value in (("HOSTS", '["127.0.0.1"]'), ("PORT", "1"))
    }

    done = subprocess.run(
        [ZONEBRIDGE, "--config", file, "config", "check", "--output", "json"],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )

    # No server listens there, and what is mounted here is no kubeconfig: nothing else is wrong.
    assert done.returncode == 4, done.stderr
    unusable = json.loads(done.stdout)["unusable"]
    assert all(re.match(r"sources\[|clusters\[\d+\]\.kubeconfig", each) for each in unusable)
    assert "every user of this machine" not in done.stderr


def test_definitions_of_zones_keep_their_rank(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    file.write_text(render(example("ha-postgresql")).configuration)
    assert list(load(file, {}).zones.definitions) == ["web", "db", "batch"]

    again = render(example("ha-postgresql"), *settings(['zoneOrder=["batch","db","web"]']))
    file.write_text(again.configuration)
    assert list(load(file, {}).zones.definitions) == ["batch", "db", "web"]


def test_names_of_zones_stay_text(tmp_path: Path) -> None:
    names = ["on", "007", "~", "null", "a: b", "1e3", "ü"]
    definitions: dict[str, dict[str, list[str]]] = {name: {"networks": []} for name in names}
    given = settings(
        [
            f"zoneOrder={json.dumps(names)}",
            f"config.zones={json.dumps({'definitions': definitions})}",
        ]
    )
    file = tmp_path / "zonebridge.yaml"
    file.write_text(render(example("minimal"), *given).configuration)
    assert list(read_document(file)["zones"]["definitions"]) == names


def test_no_other_mapping_of_the_configuration_has_an_order() -> None:
    sections = {"": schema(), **schema()["$defs"]}
    mappings = [
        f"{section}.{key}"
        for section, found in sections.items()
        for key, value in found["properties"].items()
        if "additionalProperties" in json.dumps(value)
    ]
    assert mappings == ["Zones.definitions"]


def test_one_definition_needs_no_rank(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    rendered = render(
        example("minimal"), *settings(['config.zones={"definitions":{"y":{"networks":[]}}}'])
    )
    file.write_text(rendered.configuration)
    assert load(file, {}).zones.definitions["y"].networks == ()


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    rendered = render(
        example("minimal"),
        *settings(["config.clusters[0].device_groups[0].order=9007199254740991"]),
    )
    file.write_text(rendered.configuration)
    assert load(file, {}).clusters[0].device_groups[0].order == 9007199254740991


@each_example
def test_every_path_in_the_configuration_is_under_a_mount(values: Path) -> None:
    rendered = render(values)
    paths = re.findall(r"(?<![\w.])(/(?:etc|var)/[^\s\"']+)", rendered.configuration)
    assert paths
    for pod in rendered.pods():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in containers(pod):
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            for path in paths:
                assert any(path.startswith(f"{mount}/") for mount in mounts), path
            # One that lies in another could not be made there: what is mounted is read-only.
            assert not any(
                one != other and one.startswith(f"{other}/") for one in mounts for other in mounts
            )


@each_example
def test_no_container_may_more_than_it_needs(values: Path) -> None:
    for pod in render(values).pods():
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == 65532
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize(("name", "mounted"), [("minimal", True), ("remote-clusters", False)])
def test_a_token_is_mounted_where_the_cluster_of_the_pod_is_written(
    name: str, *, mounted: bool
) -> None:
    rendered = render(example(name))
    assert rendered.pods()[0]["spec"]["automountServiceAccountToken"] is mounted
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is mounted


@each_example
def test_a_secret_is_no_file_that_every_user_can_read(values: Path) -> None:
    secrets = [
        volume["secret"]["defaultMode"]
        for pod in render(values).pods()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    ]
    assert set(secrets) == {0o440}


@each_example
def test_objects_say_that_helm_manages_them(values: Path) -> None:
    rendered = render(values)
    for found in [*rendered.objects, *rendered.pods()]:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/instance"] == "zb"
        assert labels["app.kubernetes.io/version"] == __version__
        assert labels["helm.sh/chart"] == f"zonebridge-{__version__}"
        # Events of what is in no namespace are written in `default`.
        elsewhere = found.get("kind") in ("Role", "RoleBinding")
        assert found["metadata"].get("namespace", NAMESPACE) in (
            [NAMESPACE, "default"] if elsewhere else [NAMESPACE]
        )


@each_example
def test_selectors_select_the_pods_that_they_are_for(values: Path) -> None:
    rendered = render(values)
    test = rendered.one("Pod")["metadata"]["labels"]
    pods = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in rendered.pods()
    }
    del pods["test"]
    for component, pod in pods.items():
        labels = pod["metadata"]["labels"]
        selectors = [
            found["spec"]["selector"].get("matchLabels", found["spec"]["selector"])
            for kind in ("Deployment", "Service", "PodDisruptionBudget")
            for found in rendered.of(kind)
            if found["metadata"]["name"].endswith("-workers") == (component == "workers")
        ]
        selectors += [
            spread["labelSelector"]["matchLabels"]
            for spread in pod["spec"].get("topologySpreadConstraints", [])
        ]
        others = [test, *(each["metadata"]["labels"] for each in pods.values() if each is not pod)]
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not any(selector.items() <= other.items() for other in others)
        for found in rendered.of("NetworkPolicy"):
            assert found["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    for found in rendered.of("ServiceMonitor"):
        wanted = found["spec"]["selector"]["matchLabels"]
        services = rendered.of("Service")
        assert len(services) == len(pods)
        assert all(wanted.items() <= each["metadata"]["labels"].items() for each in services)


def test_sqlite_has_one_process_at_a_time() -> None:
    deployment = render(example("minimal")).one("Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


def test_replicas_on_postgresql_are_replaced_one_after_another() -> None:
    rendered = render(example("ha-postgresql"))
    assert rendered.one("Deployment")["spec"]["replicas"] == 3
    assert rendered.one("Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert not rendered.of("PersistentVolumeClaim")


def test_a_constraint_on_spread_keeps_its_own_selector() -> None:
    own = '[{"topologyKey":"a","labelSelector":{"matchLabels":{"b":"c"}}}]'
    (pod, _) = render(example("minimal"), *settings([f"topologySpreadConstraints={own}"])).pods()
    assert pod["spec"]["topologySpreadConstraints"] == json.loads(own)


@each_example
def test_the_store_is_upgraded_before_anything_uses_it(values: Path) -> None:
    pod = render(values).pods()[0]["spec"]
    (upgrade,) = pod["initContainers"]
    (main,) = pod["containers"]
    assert upgrade["args"] == ["db", "upgrade"]
    assert upgrade["image"] == main["image"]
    assert upgrade["volumeMounts"] == main["volumeMounts"]
    assert upgrade["env"] == main["env"]


def test_a_cronjob_syncs_once_at_a_time_and_has_no_service() -> None:
    rendered = render(example("cronjob"))
    spec = rendered.one("CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    (container,) = job["template"]["spec"]["containers"]
    assert container["args"] == ["sync", "--lease-timeout", "1m"]
    assert "livenessProbe" not in container
    kinds = {found["kind"] for found in rendered.objects}
    assert not kinds & {"Deployment", "Service", "ServiceMonitor", "PodDisruptionBudget"}
    assert rendered.one("NetworkPolicy")["spec"].get("ingress") is None


@pytest.mark.parametrize("bind", ["0.0.0.0:9000", "[::]:9000"])
def test_probes_and_scrapes_go_where_the_service_answers(bind: str) -> None:
    rendered = render(example("minimal"), *settings([f'config.health={{"bind":"{bind}"}}']))
    (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9000}]
    paths = {
        probe: container[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "metrics"},
        "livenessProbe": {"path": "/livez", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
    }
    assert rendered.one("Service")["spec"]["ports"][0]["port"] == 9000


WORKERS = [
    "workers.autoscaling.enabled=false",
    "workers.replicas=3",
    'config.health={"bind":"0.0.0.0:9000"}',
]
"""Values beside those of the example: as many workers as are asked for."""


def restarts(*given: str) -> dict[str, bool]:
    """Which pods of the example start anew with these values, by component."""

    def templates(*values: str) -> dict[str, dict[str, Any]]:
        return {
            found["metadata"]["labels"]["app.kubernetes.io/component"]: found["spec"]["template"]
            for found in render(example("workers"), *settings(values)).of("Deployment")
        }

    before, after = templates(*WORKERS), templates(*WORKERS, *given)
    return {component: before[component] != after[component] for component in before}


def test_another_configuration_starts_workers_anew_and_no_service_which_takes_it_up_itself() -> (
    None
):
    assert restarts() == {"service": False, "workers": False}
    assert restarts('config.drift="report"') == {"service": False, "workers": True}
    assert restarts("config.clusters[0].pod_cidrs=[]") == {"service": False, "workers": True}


def test_a_service_starts_anew_for_what_it_takes_up_only_then() -> None:
    changed = {
        "instance": 'config.instance="other"',
        "store": 'store.postgresql.url="postgresql+psycopg://zonebridge@other/zonebridge"',
        "engine": 'config.engine={"kind":"embedded"}',
        "health.bind": 'config.health={"bind":"0.0.0.0:9001"}',
        "audit.head_file": 'config.audit={"head_file":"/tmp/heads"}',
    }
    assert {*changed} == {*AT_START}
    service = render(example("ha-postgresql")).one("Deployment")["spec"]["template"]
    for value in changed.values():
        again = render(example("ha-postgresql"), *settings([value])).one("Deployment")
        of_service = again["spec"]["template"]
        assert service["metadata"]["annotations"] != of_service["metadata"]["annotations"]


def test_workers_run_beside_the_service_and_are_replaced_one_after_another() -> None:
    rendered = render(example("workers"), *settings(WORKERS))
    workers = rendered.one("Deployment", "-workers")["spec"]
    assert workers["replicas"] == 3
    assert workers["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert rendered.one("PodDisruptionBudget", "-workers")["spec"]["maxUnavailable"] == 1
    assert not rendered.of("HorizontalPodAutoscaler")
    (container,) = workers["template"]["spec"]["containers"]
    assert container["args"] == ["worker", "--slots", "8"]
    service = rendered.one("Deployment", "zonebridge")["spec"]["template"]["spec"]
    (main,) = service["containers"]
    # But for these a worker is as the service.
    own = ("args", "resources")
    assert {key: value for key, value in container.items() if key not in own} == {
        key: value for key, value in main.items() if key not in own
    }
    assert workers["template"]["spec"]["volumes"] == service["volumes"]
    assert [each["spec"]["ports"][0]["port"] for each in rendered.of("Service")] == [9000, 9000]
    one = render(example("workers"), *settings([*WORKERS, "workers.replicas=1"]))
    assert [each["metadata"]["name"] for each in one.of("PodDisruptionBudget")] == ["zb-zonebridge"]


def test_what_is_given_to_workers_alone_stands_in_place_of_what_all_have() -> None:
    given = [
        'nodeSelector={"disk":"ssd","zone":"a"}',
        'workers.nodeSelector={"zone":"b"}',
        'priorityClassName="high"',
        'tolerations=[{"key":"all"}]',
        'workers.tolerations=[{"key":"workers"}]',
        'extraArgs=["--of-run"]',
    ]
    rendered = render(example("workers"), *settings(given))
    workers = rendered.one("Deployment", "-workers")["spec"]["template"]["spec"]
    service = rendered.one("Deployment", "zonebridge")["spec"]["template"]["spec"]
    assert (service["nodeSelector"], workers["nodeSelector"]) == (
        {"disk": "ssd", "zone": "a"},
        {"zone": "b"},
    )
    assert (service["tolerations"], workers["tolerations"]) == (
        [{"key": "all"}],
        [{"key": "workers"}],
    )
    assert service["priorityClassName"] == workers["priorityClassName"] == "high"
    assert service["containers"][0]["args"] == ["run", "--of-run"]
    assert workers["containers"][0]["args"] == ["worker", "--slots", "8"]


def test_as_many_workers_as_wait_are_asked_for_by_what_waits() -> None:
    rendered = render(example("workers"))
    assert "replicas" not in rendered.one("Deployment", "-workers")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "zb-zonebridge-workers"
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 12)
    (metric,) = scaler["metrics"]
    assert metric["external"] == {
        "metric": {
            "name": "zonebridge_queue_length",
            "selector": {"matchLabels": {"service": "zb-zonebridge"}},
        },
        "target": {"type": "AverageValue", "averageValue": "4"},
    }


def test_the_account_that_writes_is_the_workers_where_there_are_any() -> None:
    def accounts(*given: str) -> dict[str, list[str]]:
        """Who is bound to which role, and whom the policies are about, by object."""
        rendered = render(example("workers"), *settings(given))
        assert {pod["spec"]["serviceAccountName"] for pod in rendered.pods()} >= {
            each["metadata"]["name"] for each in rendered.of("ServiceAccount")
        }
        return {
            found["metadata"]["name"]: [each["name"] for each in found["subjects"]]
            for found in [*rendered.of("ClusterRoleBinding"), *rendered.of("RoleBinding")]
        }  # fmt: skip

    service, workers = "zb-zonebridge", "zb-zonebridge-workers"
    assert accounts() == {
        f"{NAMESPACE}.{service}": [service],
        f"{NAMESPACE}.{workers}": [workers],
        f"{service}-events": [service, workers],
    }
    # Of all, or left to others: one account for both.
    one = {f"{NAMESPACE}.{service}": [service], f"{service}-events": [service]}
    assert accounts(f'workers.serviceAccount.name="{service}"') == one
    elsewhere = ["workers.autoscaling.enabled=false", "workers.elsewhere=true"]
    assert accounts(*elsewhere) == one


def test_a_network_policy_lets_out_what_the_configuration_reaches() -> None:
    def ports(name: str, *given: str) -> list[list[int]]:
        rendered = render(example(name), *settings(["networkPolicy.enabled=true", *given]))
        rules = rendered.one("NetworkPolicy")["spec"]["egress"]
        return [[port["port"] for port in rule["ports"]] for rule in rules]

    dns, servers = [53, 53, 5353, 5353], [443, 6443]
    assert ports("minimal") == [dns, servers, [443]]
    assert ports("remote-clusters") == [dns, servers, [443, 8443]]
    assert ports("ha-postgresql") == [dns, servers, [443], [5432], [443]]
    proxy = '[{"ports":[{"port":3128}],"to":[{"ipBlock":{"cidr":"192.0.2.1/32"}}]}]'
    assert ports("minimal", f"networkPolicy.extraEgress={proxy}")[-1] == [3128]


def test_a_network_policy_lets_nothing_in_but_named_scrapers() -> None:
    alone = render(example("minimal"), *settings(["networkPolicy.enabled=true"]))
    spec = alone.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    (rule,) = render(example("hardened")).one("NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    assert len(rule["from"]) == 1


def test_other_authorities_stand_in_place_of_the_systems() -> None:
    for pod in render(example("remote-clusters")).pods():
        for container in containers(pod):
            assert {
                "name": "SSL_CERT_FILE",
                "value": "/etc/zonebridge/ca/authorities.pem",
            } in container["env"]


def test_files_that_the_chart_makes_are_secrets() -> None:
    rendered = render(example("remote-clusters"))
    made = rendered.one("Secret")
    assert made["metadata"]["name"] == "firewall-panorama-us"
    assert made["stringData"] == {"api-key": "an-api-key-of-this-example"}
    assert "an-api-key-of-this-example" not in rendered.configuration


def test_the_claim_with_the_trail_outlives_the_release() -> None:
    kept = render(example("minimal")).one("PersistentVolumeClaim")["metadata"]
    assert kept["annotations"] == {"helm.sh/resource-policy": "keep"}
    gone = render(example("minimal"), *settings(["store.sqlite.keep=false"]))
    assert "annotations" not in gone.one("PersistentVolumeClaim")["metadata"]
    given = render(example("minimal"), *settings(['store.sqlite.existingClaim="mine"']))
    assert not given.of("PersistentVolumeClaim")
    volumes = given.pods()[0]["spec"]["volumes"]
    assert {"name": "store", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_alerts_and_dashboard_are_the_files_of_the_chart() -> None:
    rendered = render(example("ha-postgresql"))
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert rendered.one("PrometheusRule")["spec"] == alerts
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    assert (
        json.loads(rendered.one("ConfigMap", "-dashboard")["data"]["zonebridge.json"]) == dashboard
    )
    assert rendered.one("ConfigMap", "-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"


@each_example
def test_helm_test_leaves_the_store_to_its_one_process(values: Path) -> None:
    rendered = render(values)
    test = rendered.one("Pod")
    assert test["spec"]["automountServiceAccountToken"] is False
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    stores = [volume for volume in test["spec"]["volumes"] if volume["name"] == "store"]
    assert all(volume == {"name": "store", "emptyDir": {}} for volume in stores)
    commands = [container["args"] for container in test["spec"]["containers"]]
    on_postgresql = "postgresql" in rendered.configuration
    assert commands == [["config", "check"], *([["status"]] if on_postgresql else [])]


def test_the_documented_backup_holds_what_a_store_in_use_holds(tmp_path: Path) -> None:
    text = (CHART.parents[1] / "docs" / "install.md").read_text()
    (command,) = re.findall(r"^ +'(import sqlite3; .*)'$", text, re.MULTILINE)
    with open_store(f"sqlite:///{tmp_path}/zonebridge.db") as store:
        apply(store.run("test"), "eu", create(group("web")))

        command = command.replace("/var/lib/zonebridge", str(tmp_path))
        subprocess.run([sys.executable, "-c", command], check=True)
        apply(store.run("test"), "eu", create(group("db")))

        with open_store(f"sqlite:///{tmp_path}/copy.db") as copied:
            assert copied.uuid == store.uuid
            assert set(copied.written("eu")) < set(store.written("eu"))
            assert verify(copied, copied.heads()).heads


def test_the_values_of_the_documentation_are_taken(tmp_path: Path) -> None:
    text = (CHART.parents[1] / "docs" / "install.md").read_text()
    found = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    first, second, workers, adapter = found
    (tmp_path / "values.yaml").write_text(first)
    (tmp_path / "postgresql.yaml").write_text(second)
    (tmp_path / "workers.yaml").write_text(workers)
    assert render(tmp_path / "values.yaml").one("Deployment")["spec"]["replicas"] == 1
    postgresql = ("--values", str(tmp_path / "postgresql.yaml"))
    both = render(tmp_path / "values.yaml", *postgresql)
    assert both.one("Deployment")["spec"]["replicas"] == 3
    more = ("--values", str(tmp_path / "workers.yaml"), "--set", "workers.autoscaling.enabled=true")
    scaled = render(tmp_path / "values.yaml", *postgresql, *more)
    (metric,) = scaled.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    # The rule is for the metric that is asked for.
    (rule,) = yaml.safe_load(adapter)
    assert f'__name__="{metric["external"]["metric"]["name"]}"' in rule["seriesQuery"]

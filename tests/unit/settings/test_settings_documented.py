"""Defaults, JSON Schema and documentation say the same as the models."""

import copy
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from sync.errors import UsageError
from sync.settings import Settings, load, schema
from sync.settings.later import LATER
from sync.settings.models import Cluster, DeviceGroup, Section, Source
from sync.settings.shape import is_list, keys_of, plain
from sync.settings.values import Duration, write_duration

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"

DEFAULTS = yaml.safe_load("""
instance: zonebridge
poll_interval: 10s
store: {url: "sqlite:///zonebridge.db", password_file: null, password: null, id: null}
lease_ttl: 30s
resync_interval: 15m
address_groups: {tags: []}
rules:
  filter: ""
  applications: ports
  devices: []
  deny_applications: widen
  filter_denies: false
  allow_as: Pass
  accept_dropped_members: []
  accept_dropped_denies: []
fqdn: skip
fqdn_grace: 1h
edl: skip
edl_max_bytes: 16777216
registered_ips: required
registered_interval: 30s
zones:
  label: firewall.tigera.io/zone
  derive_networks: true
  trust_addresses: false
  unzoned_pods: pass
  unknown_addresses: deny
  essentials: []
  definitions: {}
guard:
  max_delete_percent: 30
  max_shrink_percent: 50
  max_grow_factor: 10
  min_existing: 10
  min_prefix_length: {ipv4: 8, ipv6: 16}
  exempt: []
  not_pushed: ignore
drift: repair
audit: {retention: null, archive: null, head_file: null}
engine: {kind: embedded}
health: {bind: "0.0.0.0:8081", max_source_age: 30m}
webhook: null
webhook_url_file: null
webhook_secret_file: null
webhook_ca_file: null
log: {level: info, format: auto}
web: {bind: "127.0.0.1:8080", auth: none}
""")

SOURCE = yaml.safe_load("""
name: main
kind: panorama
path: null
hosts: [panorama-a, panorama-b]
port: 443
api_key_file: /run/secrets/zonebridge/api-key
api_key: null
username: null
password_file: null
password: null
ca_file: null
verify_tls: true
full_read_interval: 15m
""")

CLUSTER = yaml.safe_load("""
name: prod-eu
kind: kubernetes
path: null
kustomization: false
kubeconfig: null
context: null
exec_plugins: []
exec_timeout: 30s
insecure_skip_tls_verify: false
pod_cidrs: []
windows: refuse
guard: {}
device_groups:
  - {source: main, name: dg-eu, tier: firewallpolicy, order: 101, mode: staged}
""")


def everything() -> dict[str, Any]:
    """Every key of the configuration, each saying its default where it has one."""
    document: dict[str, Any] = copy.deepcopy(DEFAULTS)
    document["sources"] = [copy.deepcopy(SOURCE)]
    document["clusters"] = [copy.deepcopy(CLUSTER)]
    document["zones"]["essentials"] = [
        {
            "direction": "egress",
            "on": "all()",
            "pods": "k8s-app == 'kube-dns'",
            "cidrs": [],
            "ports": ["53/udp", "53/tcp"],
        }
    ]
    workloads = {"selector": "app == 'web'", "namespace_selector": "env == 'prod'"}
    document["zones"]["definitions"] = {
        "untrust": {"networks": ["0.0.0.0/0"]},
        "web": {"workloads": workloads, "networks": []},
    }
    return document


def keys_in(annotation: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below an annotation, written as in the documentation, with its field."""
    for name, field in plain(annotation).model_fields.items() if keys_of(annotation) else ():
        yield prefix + name, field
        under, written = plain(field.annotation), prefix + name
        if is_list(under):
            under, written = plain(get_args(under)[0]), f"{written}[]"
        elif get_origin(under) is dict:
            under, written = get_args(under)[1], f"{written}.NAME"
        yield from keys_in(under, f"{written}.")


def test_what_is_not_said_is_as_designed(tmp_path: Path) -> None:
    source = {"name": "main", "kind": "file", "path": "x"}
    group = {"name": "dg-eu", "mode": "staged"}
    cluster = {"name": "c", "kind": "manifests", "path": "out", "device_groups": [group]}
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.safe_dump({"sources": [source], "clusters": [cluster]}))
    written = load(file, {}).model_dump(mode="json")
    expected = copy.deepcopy(DEFAULTS)
    expected["store"]["url"] = f"sqlite:///{tmp_path}/zonebridge.db"
    assert {key: written[key] for key in expected} == expected
    assert written.keys() - expected.keys() == {"sources", "clusters"}
    written_source = {**SOURCE, "hosts": [], "api_key_file": None}
    assert written["sources"] == [written_source | source | {"path": str(tmp_path / "x")}]
    written_cluster = written["clusters"][0]
    assert set(written_cluster.pop("guard").values()) == {None}
    written_group = {"source": None, "tier": "firewallpolicy", "order": 101} | group
    paths = {"path": str(tmp_path / "out"), "device_groups": [written_group]}
    assert written_cluster == {k: v for k, v in CLUSTER.items() if k != "guard"} | cluster | paths


def test_the_models_read_every_key() -> None:
    read = Settings.model_validate(everything())
    assert read.sources[0].hosts == ("panorama-a", "panorama-b")
    assert read.zones.definitions["web"].networks == ()
    assert read.clusters[0].device_groups[0].mode == "staged"


def test_the_schema_accepts_every_key_and_refuses_others() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(everything())
    assert not validator.is_valid(everything() | {"instanc": "x"})
    assert not validator.is_valid(everything() | {"poll_interval": 10})
    assert not validator.is_valid(everything() | {"sources": []})


@pytest.mark.parametrize(
    ("bound", "place", "beyond"),
    [
        ("minimum", ("sources", 0, "port"), 0),
        ("maximum", ("sources", 0, "port"), 65_536),
        ("minimum", ("edl_max_bytes",), 0),
        ("maximum", ("guard", "max_delete_percent"), 101),
        ("maximum", ("guard", "min_prefix_length", "ipv4"), 33),
    ],
)
def test_the_schema_bounds_numbers(bound: str, place: tuple[Any, ...], beyond: int) -> None:
    document = everything()
    node = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = beyond
    refused = list(jsonschema.Draft202012Validator(schema()).iter_errors(document))
    assert [(tuple(error.absolute_path), error.validator) for error in refused] == [(place, bound)]


def test_the_schema_says_nothing_that_json_schema_does_not_know() -> None:
    known = {*jsonschema.Draft202012Validator.VALIDATORS, "$defs"}
    known |= {"default", "description", "format", "title", "writeOnly"}
    assert set(words_of(schema())) <= known


def words_of(node: Any) -> Iterator[str]:
    """The words of a JSON Schema, without the names of properties and what is given as default."""
    for word, below in node.items() if isinstance(node, dict) else ():
        yield word
        if word in ("properties", "$defs"):
            parts = below.values()
        elif word == "anyOf":
            parts = below
        else:
            parts = [below] if word in ("items", "additionalProperties") else []
        for part in parts:
            yield from words_of(part)


def test_the_schema_describes_every_key() -> None:
    document = schema()
    sections = document["$defs"]
    for section in (document, *sections.values()):
        for key in section["properties"].values():
            named = sections.get(key.get("$ref", "").removeprefix("#/$defs/"), {})
            assert key.get("description") or named.get("description")
    assert document["properties"]["poll_interval"]["default"] == "10s"


def leaves(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list) and node:
        for step, below in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(below, (*place, step))
    else:
        yield place


ANY_TEXT = {
    ("sources", 0, "hosts", 0),
    ("sources", 0, "hosts", 1),
    ("sources", 0, "api_key_file"),
    ("sources", 0, "username"),
    ("sources", 0, "password_file"),
    ("sources", 0, "ca_file"),
    ("rules", "filter"),
    ("zones", "essentials", 0, "on"),
    ("zones", "essentials", 0, "pods"),
    ("zones", "definitions", "web", "workloads", "selector"),
    ("zones", "definitions", "web", "workloads", "namespace_selector"),
    ("audit", "head_file"),
    ("webhook_url_file",),
    ("clusters", 0, "kubeconfig"),
    ("clusters", 0, "context"),
    ("clusters", 0, "device_groups", 0, "name"),
}
"""Where nothing but use tells that a text is none of a host, a file or a selector."""


@pytest.mark.parametrize("place", list(leaves(everything())), ids=str)
def test_a_secret_in_the_wrong_place_is_not_repeated(
    place: tuple[Any, ...], tmp_path: Path
) -> None:
    document = everything()
    node = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = "hunter2-Zq://x:hunter2-Zq@[hunter2-Zq"
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
    if place in ANY_TEXT:
        load(file, {})
        return
    with pytest.raises(UsageError) as refused:
        load(file, {})
    assert "hunter2" not in str(refused.value)


def test_settings_cannot_be_changed() -> None:
    read = Settings.model_validate(everything())
    for section in (read, read.log, read.sources[0], read.clusters[0].device_groups[0]):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, next(iter(type(section).model_fields)), "x")


def test_a_device_group_knows_its_source() -> None:
    document = everything()
    document["sources"].append(SOURCE | {"name": "other"})
    document["clusters"][0]["device_groups"][0]["source"] = "other"
    read = Settings.model_validate(document)
    assert read.source_of(read.clusters[0].device_groups[0]).name == "other"
    unnamed = DeviceGroup(name="dg", mode="staged")
    assert Settings.model_validate(everything()).source_of(unnamed).name == "main"


def test_every_row_of_what_is_to_come_is_a_key() -> None:
    keys = {key for key, _ in keys_in(Settings)}
    assert set(LATER) <= keys


def documented() -> dict[str, list[str]]:
    """The cells of each row that documents a key: type, default, meaning."""
    rows = re.findall(
        r"^\| `([a-z][a-zA-Z0-9_.\[\]]+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    return {key: re.split(r" (?<!\\)\| ", cells) for key, cells in rows}


def keys_now() -> list[tuple[str, Any]]:
    """The keys of features that exist."""
    return [
        (key, field)
        for key, field in keys_in(Settings)
        if not any(f"{key}.".startswith(f"{row}.") for row in LATER)
    ]


def test_the_documentation_has_every_key_of_a_feature_that_exists_and_no_other() -> None:
    assert sorted(documented()) == sorted(key for key, _ in keys_now())


def test_the_documentation_has_the_defaults_and_meanings() -> None:
    cells = documented()
    for key, field in keys_now():
        _, default, meaning = cells[key]
        assert default == _written_default(field), key
        assert meaning == " ".join(field.description.split()), key


def _written_default(field: Any) -> str:
    default = field.default
    if field.default_factory:
        return "`{}`" if field.default_factory is dict else "—"
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, timedelta):
        return f"`{write_duration(default)}`"
    plain_forms = {None: "null", True: "true", False: "false", "": '""', (): "[]"}
    is_plain = default in plain_forms and not (isinstance(default, int) and default > 1)
    return f"`{plain_forms[default] if is_plain else default}`"


def test_the_documented_first_configuration_is_right(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example
    file = tmp_path / "zonebridge.yaml"
    file.write_text(example[1])
    assert load(file, {}).clusters[0].path == tmp_path / "out"


@pytest.mark.parametrize("written", ["1s", "30s", "15m", "1h", "7d", "36500d", "61s", "90m"])
def test_a_duration_comes_back_as_written(written: str) -> None:
    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    assert adapter.dump_python(adapter.validate_python(written)) == written


@pytest.mark.parametrize(
    "written",
    ["", "0s", "5", 5, "-5s", "1.5h", "1h30m", "500ms", "5 s", "5S", "36501d", "9999999999d", "٣s"],
)
def test_other_durations_are_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(written)


@pytest.mark.parametrize("section", [Source, Cluster, DeviceGroup])
def test_sections_refuse_unknown_keys_by_themselves(section: type[Section]) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        section.model_validate({"unknown": 1})


def test_the_example_for_a_cluster_of_ones_own_is_right() -> None:
    settings = load(DOCUMENT.parents[1] / "config" / "kubernetes.yaml", {})
    (cluster,) = settings.clusters
    assert (cluster.kind, cluster.name) == ("kubernetes", "prod")

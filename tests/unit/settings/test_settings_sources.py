"""Settings() loads: a file and the environment are two sources of it, and there is no third."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_settings import PydanticBaseSettingsSource

from sync.errors import UsageError
from sync.settings import Settings, load
from sync.settings.sources import EnvironmentSource, FileSource, sources

GROUP = {"name": "dg-eu", "mode": "enforced"}
DOCUMENT: dict[str, Any] = {
    "sources": [{"name": "main", "kind": "file", "path": "export.xml"}],
    "log": {"level": "debug", "format": "json"},
    "zones": {"definitions": {"web": {"networks": ["10.0.0.0/8"]}, "db": {}}},
    "clusters": [
        {"name": "gitops", "kind": "manifests", "path": "out", "device_groups": [GROUP]},
        {"name": "second", "kind": "manifests", "path": "out2", "device_groups": [GROUP]},
    ],
}


def written(directory: Path, document: Any = DOCUMENT) -> Path:
    file = directory / "zonebridge.yaml"
    file.write_text(json.dumps(document))  # which is YAML too
    return file


def test_settings_without_arguments_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("ZONEBRIDGE_CONFIG", str(written(tmp_path)))
    monkeypatch.setenv("ZONEBRIDGE_CLUSTERS__1__NAME", "third")
    found = Settings()
    assert [cluster.name for cluster in found.clusters] == ["gitops", "third"]
    assert found.clusters[1].path == tmp_path / "out2"


def test_settings_without_arguments_are_refused_with_every_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, DOCUMENT | {"instanc": "x", "drift": "never"})
    monkeypatch.setenv("ZONEBRIDGE_FQDN__X", "x")
    monkeypatch.setenv("ZONEBRIDGE_WEB__AUTH", "token")
    with pytest.raises(UsageError) as refused:
        Settings()
    expected = (
        "zonebridge.yaml has 4 problems:\n"
        "  ZONEBRIDGE_FQDN__X: ZONEBRIDGE_FQDN is a single value; it has no parts\n"
        "  web.auth: this version has no dashboard yet; remove the key (set by "
        "ZONEBRIDGE_WEB__AUTH)\n"
        "  instanc: unknown key; did you mean instance?\n"
        "  drift: must be repair or report"
    )
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("keys", "environ"),
    [
        ({"instanc": "x"}, {}),
        ({"audit": {"archive": "x"}}, {}),
        ({}, {"ZONEBRIDGE_FQDN__X": "x"}),
        ({}, {"ZONEBRIDGE_LOG": '{"levle": "info"}'}),
        ({}, {"ZONEBRIDGE_LOG": "no JSON"}),
        ({}, {"ZONEBRIDGE_CLUSTERS__3__NAME": "too far"}),
    ],
)
def test_a_problem_of_a_source_alone_is_enough_to_refuse(
    keys: dict[str, Any], environ: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError):
        load(written(tmp_path, DOCUMENT | keys), environ)


def test_each_top_key_comes_from_one_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired: list[PydanticBaseSettingsSource] = []

    class Watched(Settings):
        @classmethod
        def settings_customise_sources(
            cls, *given: Any, **more: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            wired[:] = super().settings_customise_sources(*given, **more)
            return tuple(wired)

    monkeypatch.setenv("ZONEBRIDGE_CONFIG", str(written(tmp_path)))
    monkeypatch.setenv("ZONEBRIDGE_CLUSTERS__1__NAME", "third")
    monkeypatch.setenv("ZONEBRIDGE_DRIFT", "report")
    Watched()
    assert [type(source) for source in wired] == [EnvironmentSource, FileSource]
    clusters = copy.deepcopy(DOCUMENT["clusters"])
    clusters[1]["name"] = "third"
    assert wired[0]() == {"clusters": clusters, "drift": "report"}
    assert wired[1]() == {key: DOCUMENT[key] for key in ("sources", "log", "zones")}


def test_a_whole_mapping_replaces_that_of_the_file(tmp_path: Path) -> None:
    environ = {
        "ZONEBRIDGE_LOG": '{"level": "error"}',
        "ZONEBRIDGE_ZONES__DEFINITIONS": '{"dmz": {}}',
    }
    found = load(written(tmp_path), environ)
    assert (found.log.level, found.log.format) == ("error", "auto")
    assert list(found.zones.definitions) == ["dmz"]


def test_zones_keep_their_rank_under_a_variable(tmp_path: Path) -> None:
    found = load(written(tmp_path), {"ZONEBRIDGE_ZONES__DEFINITIONS__db__NETWORKS": "[]"})
    assert list(found.zones.definitions) == ["web", "db"]
    assert found.zones.definitions["db"].networks == ()


def test_what_the_environment_replaces_is_not_judged(tmp_path: Path) -> None:
    file = written(tmp_path, DOCUMENT | {"log": {"levle": "x"}})
    assert load(file, {"ZONEBRIDGE_LOG": "{}"}).log.level == "info"


def test_a_document_is_the_whole_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, DOCUMENT | {"drift": "report"})
    monkeypatch.setenv("ZONEBRIDGE_FQDN", "resolve")
    found = Settings.model_validate(DOCUMENT)
    assert (found.drift, found.fqdn) == ("repair", "skip")
    assert found.clusters[0].path == Path("out")
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Settings.model_validate(DOCUMENT | {"instanc": "x"})


def test_a_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    file = written(tmp_path, DOCUMENT | {"instanc": "x"})
    with pytest.raises(UsageError):
        load(file, {"ZONEBRIDGE_DRIFT": "report"})
    assert sources(Settings) == ()
    assert Settings.model_validate(DOCUMENT).clusters[0].path == Path("out")
    assert load(written(tmp_path), {}).drift == "repair"


PLACES: dict[tuple[str | int, ...], Any] = {
    ("instance",): "two",
    ("drift",): "report",
    ("log",): {"level": "error"},
    ("log", "level"): "warning",
    ("log", "format"): "console",
    ("edl_max_bytes",): 5,
    ("zones", "derive_networks"): False,
    ("zones", "definitions"): {"dmz": {"networks": []}},
    ("zones", "definitions", "db", "networks"): ["10.1.0.0/16"],
    ("address_groups", "tags"): ["a", "b"],
    ("audit", "head_file"): "heads",
    ("clusters", 0, "path"): "elsewhere",
    ("clusters", 1, "device_groups"): [GROUP | {"order": 5}],
    ("clusters", 1, "device_groups", 0, "order"): 7,
    ("sources", 0, "name"): "panorama",
}


@given(places=st.sets(st.sampled_from(list(PLACES))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_variable_says_what_the_file_could_have_said(
    places: set[tuple[str | int, ...]], tmp_path: Path
) -> None:
    environ, document = {}, json.loads(json.dumps(DOCUMENT))
    for place in sorted(places, key=len):  # a whole list or mapping before what is in it
        name = "__".join(str(step) if step == "db" else str(step).upper() for step in place)
        value = PLACES[place]
        environ[f"ZONEBRIDGE_{name}"] = value if isinstance(value, str) else json.dumps(value)
        node: Any = document
        for step in place[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        node[place[-1]] = copy.deepcopy(value)
    from_environment = load(written(tmp_path), environ)
    assert from_environment == load(written(tmp_path, document), {})

"""The environment laid over the file."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import UsageError
from sync.settings import Settings, load, store_password
from sync.settings.environment import overlay

SECRET = "hunter2-Zq"
FILE = """
sources: [{name: main, kind: file, path: export.xml}]
address_groups: {tags: [old, older]}
clusters:
  - name: gitops
    kind: manifests
    path: out
    device_groups: [{name: dg-eu, mode: enforced}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "zonebridge.yaml"
    path.write_text(FILE)
    return path


def refusal_of(file: Path, environ: dict[str, str]) -> str:
    with pytest.raises(UsageError) as refused:
        load(file, environ)
    return str(refused.value)


OVERRIDES: list[tuple[dict[str, str], str, Any]] = [
    ({"ZONEBRIDGE_INSTANCE": "two"}, "instance", "two"),
    ({"ZONEBRIDGE_instance": "two"}, "instance", "two"),
    ({"ZONEBRIDGE_DRIFT": "report"}, "drift", "report"),
    ({"ZONEBRIDGE_LOG__LEVEL": "debug"}, "log.level", "debug"),
    (
        {"ZONEBRIDGE_LOG": '{"level": "debug"}', "ZONEBRIDGE_LOG__FORMAT": "json"},
        "log.format",
        "json",
    ),
    ({"ZONEBRIDGE_POLL_INTERVAL": "10s"}, "poll_interval", timedelta(seconds=10)),
    ({"ZONEBRIDGE_EDL_MAX_BYTES": "16777216"}, "edl_max_bytes", 16_777_216),
    ({"ZONEBRIDGE_ZONES__DERIVE_NETWORKS": "true"}, "zones.derive_networks", True),
    ({"ZONEBRIDGE_AUDIT__RETENTION": "null"}, "audit.retention", None),
    ({"ZONEBRIDGE_ADDRESS_GROUPS__TAGS": '["new"]'}, "address_groups.tags", ("new",)),
    ({"ZONEBRIDGE_ADDRESS_GROUPS__TAGS__0": "new"}, "address_groups.tags", ("new", "older")),
    ({"ZONEBRIDGE_ADDRESS_GROUPS__TAGS__2": "x"}, "address_groups.tags", ("old", "older", "x")),
    ({"ZONEBRIDGE_CLUSTERS__0__NAME": "other"}, "clusters.0.name", "other"),
    (
        {"ZONEBRIDGE_CLUSTERS__0__DEVICE_GROUPS__0__ORDER": "7"},
        "clusters.0.device_groups.0.order",
        7,
    ),
    ({"ZONEBRIDGE_SOURCES": '[{"name": "b", "kind": "file", "path": "x"}]'}, "sources.0.name", "b"),
]


@pytest.mark.parametrize(("environ", "where", "expected"), OVERRIDES)
def test_a_variable_overrides_the_file(
    environ: dict[str, str], where: str, expected: Any, file: Path
) -> None:
    value: Any = load(file, environ)
    for step in where.split("."):
        value = value[int(step)] if step.isdigit() else getattr(value, step)
    assert value == expected


def test_a_variable_can_add_an_item_key_by_key(file: Path) -> None:
    settings_ = load(
        file,
        {
            "ZONEBRIDGE_CLUSTERS__1__NAME": "second",
            "ZONEBRIDGE_CLUSTERS__1__KIND": "manifests",
            "ZONEBRIDGE_CLUSTERS__1__PATH": "out2",
            "ZONEBRIDGE_CLUSTERS__1__DEVICE_GROUPS__0__NAME": "dg-eu",
            "ZONEBRIDGE_CLUSTERS__1__DEVICE_GROUPS__0__MODE": "staged",
        },
    )
    assert [cluster.name for cluster in settings_.clusters] == ["gitops", "second"]


def test_relative_paths_start_from_the_directory_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    given_path = load(file, {"ZONEBRIDGE_CLUSTERS__0__PATH": "elsewhere/"})
    directory = file.parent
    assert given_path.clusters[0].path == directory / "elsewhere"
    assert given_path.sources[0].path == directory / "export.xml"
    assert given_path.store.url == f"sqlite:///{directory}/zonebridge.db"
    absolute = load(file, {"ZONEBRIDGE_AUDIT__HEAD_FILE": "/var/heads"})
    assert absolute.audit.head_file == Path("/var/heads")


def test_a_relative_file_name_gives_absolute_paths(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert load(None, {}).clusters[0].path == file.parent / "out"


def test_zonebridge_config_names_the_file_and_the_command_line_goes_first(
    file: Path, tmp_path: Path
) -> None:
    assert load(None, {"ZONEBRIDGE_CONFIG": str(file)}).instance == "zonebridge"
    assert load(file, {"ZONEBRIDGE_CONFIG": str(tmp_path / "no")}).instance == "zonebridge"


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "unknown key": (
        {"ZONEBRIDGE_STORE__ULR": "x"},
        "ZONEBRIDGE_STORE__ULR: unknown key; did you mean ZONEBRIDGE_STORE__URL?",
    ),
    "unknown section": (
        {"ZONEBRIDGE_STOER__URL": "x"},
        "ZONEBRIDGE_STOER__URL: unknown key; did you mean ZONEBRIDGE_STORE?",
    ),
    "in an item": (
        {"ZONEBRIDGE_CLUSTERS__0__PAHT": "x"},
        "unknown key; did you mean ZONEBRIDGE_CLUSTERS__0__PATH?",
    ),
    "misspelt": (
        {"ZONEBRIDGE_INSTANCES": "x"},
        "ZONEBRIDGE_INSTANCES: unknown variable; did you mean ZONEBRIDGE_INSTANCE?",
    ),
    "one underscore": (
        {"ZONEBRIDGE_STORE_URL": "x"},
        "unknown variable; did you mean ZONEBRIDGE_STORE__URL?",
    ),
    "no position": ({"ZONEBRIDGE_CLUSTERS__PATH": "x"}, "ZONEBRIDGE_CLUSTERS is a list; give"),
    "too far": (
        {"ZONEBRIDGE_CLUSTERS__2__PATH": "x"},
        "the list has 1 items; the next position is 1",
    ),
    "below a value": ({"ZONEBRIDGE_FQDN__X": "x"}, "ZONEBRIDGE_FQDN is a single value; it has"),
    "no JSON": ({"ZONEBRIDGE_SOURCES": SECRET}, "ZONEBRIDGE_SOURCES: must be JSON"),
    "deep JSON": ({"ZONEBRIDGE_SOURCES": "[" * 100_000}, "ZONEBRIDGE_SOURCES: must be JSON"),
    "unknown key in JSON": ({"ZONEBRIDGE_LOG": '{"levle": 1}'}, "log.levle: unknown key; did you"),
    "bad value": (
        {"ZONEBRIDGE_LOG__LEVEL": SECRET},
        "log.level: must be debug, info, warning or error (set by ZONEBRIDGE_LOG__LEVEL)",
    ),
    "empty secret": ({"ZONEBRIDGE_STORE__PASSWORD": ""}, "store.password: must not be empty"),
    "secret within JSON": (
        {"ZONEBRIDGE_STORE": f'{{"password": "{SECRET}"}}'},
        "store.password: a secret does not belong in the configuration file",
    ),
    "still to come": (
        {"ZONEBRIDGE_AUDIT__ARCHIVE": SECRET},
        "audit.archive: this version keeps audit records permanently; remove the key (set by",
    ),
}


@pytest.mark.parametrize(("environ", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_variable_is_refused(environ: dict[str, str], expected: str, file: Path) -> None:
    refusal = refusal_of(file, environ)
    assert expected in refusal
    assert SECRET not in refusal


IGNORED = [
    "ZONEBRIDGE_SERVICE_HOST",
    "ZONEBRIDGE_SERVICE_PORT",
    "ZONEBRIDGE_SERVICE_PORT_HTTP",
    "ZONEBRIDGE_PORT",
    "ZONEBRIDGE_PORT_8080_TCP",
    "ZONEBRIDGE_PORT_8080_TCP_PROTO",
    "ZONEBRIDGE_PORT_8080_TCP_PORT",
    "ZONEBRIDGE_PORT_8080_TCP_ADDR",
    "ZONEBRIDGE_WEB_SERVICE_HOST",
    "ZONEBRIDGE_WEB_PORT",
    "ZONEBRIDGE_WEB_PORT_80_TCP",
    "ZONEBRIDGE_STORE_SERVICE_PORT",
    "ZONEBRIDGE_LOG_PORT",
    "ZONEBRIDGE_HOME",
    "ZONEBRIDGE_VERSION",
    "ZONEBRIDGE_IMAGE",
    "OTHER__THING",
    "ZONEBRIDGEX",
]


@pytest.mark.parametrize("name", IGNORED)
def test_variables_of_others_are_left_alone(name: str, file: Path) -> None:
    load(file, {name: "tcp://10.0.0.1:80"})


def test_several_wrong_variables_are_listed_at_once_with_the_files_problems(file: Path) -> None:
    file.write_text(FILE + "instanc: x\n")
    refusal = refusal_of(file, {"ZONEBRIDGE_FQDN__X": "", "ZONEBRIDGE_STORE__X": ""})
    assert "has 3 problems" in refusal


def test_what_the_file_holds_instead_is_told_once(file: Path) -> None:
    file.write_text(FILE + "log: 5\n")
    refusal = refusal_of(file, {"ZONEBRIDGE_LOG__LEVEL": "info"})
    assert "log: must be a mapping" in refusal
    assert "problems" not in refusal


def test_a_secret_from_the_environment_is_never_shown(file: Path) -> None:
    url = "postgresql+psycopg://u@db/z"
    environ = {"ZONEBRIDGE_STORE__PASSWORD": SECRET, "ZONEBRIDGE_STORE__URL": url}
    settings_ = load(file, environ)
    password = store_password(settings_.store)
    assert password is not None
    assert password.get_secret_value() == SECRET
    assert SECRET not in f"{settings_!r} {settings_} {settings_.model_dump_json()}"
    environ["ZONEBRIDGE_STORE__URL"] = "sqlite:///x.db"
    assert SECRET not in refusal_of(file, environ)


def test_the_document_itself_is_left_as_it_is() -> None:
    document = {"log": {"level": "info"}}
    overlaid = overlay(document, {"ZONEBRIDGE_LOG__LEVEL": "debug"}, Settings)
    assert document == {"log": {"level": "info"}}
    assert overlaid.document == {"log": {"level": "debug"}}
    assert overlaid.origins == {("log", "level"): "ZONEBRIDGE_LOG__LEVEL"}


words = st.sampled_from(
    ["STORE", "URL", "CLUSTERS", "SOURCES", "0", "1", "PATH", "ZONES", "DEFINITIONS"]
)
names = st.lists(words | st.text(), max_size=5).map(lambda parts: "ZONEBRIDGE_" + "__".join(parts))
values = st.text() | st.sampled_from(["[]", "{}", "null", "[1]", '{"a": [{}]}', '"\\ud800"'])


@given(environ=st.dictionaries(names, values))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_environment_is_settings_or_a_usage_error(environ: dict[str, str], file: Path) -> None:
    environ.pop("ZONEBRIDGE_CONFIG", None)
    try:
        load(file, environ)
    except UsageError as error:
        str(error).encode()  # can be printed

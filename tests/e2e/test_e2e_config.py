"""`zonebridge config`, and what the configuration and the environment change."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.e2e.installation import Installation, everything, sentences, without_rights


def test_check_says_what_the_configuration_means_and_writes_nothing(place: Installation) -> None:
    before = everything(place.directory)
    done = place.done("config", "check")
    assert done.out.splitlines() == [
        "zonebridge.yaml is valid",
        f"instance zonebridge, store sqlite:///{place.directory}/zonebridge.db",
        f"source main: file {place.directory}/panorama.xml",
        f"cluster eu: manifests {place.directory}/eu",
        "  main/dg-eu: tier firewallpolicy, order 101, enforced",
        f"cluster us: manifests {place.directory}/us",
        "  main/dg-us: tier firewallpolicy, order 101, enforced",
    ]
    assert done.err == ""
    assert [
        each["name"] for each in place.done("config", "check", "--output", "json").json["clusters"]
    ] == ["eu", "us"]
    assert everything(place.directory) == before


def test_check_does_not_call_right_what_its_source_does_not_hold(place: Installation) -> None:
    done = place.done("config", "check", ZONEBRIDGE_CLUSTERS__0__DEVICE_GROUPS__0__NAME="dg-uk")
    assert "is valid" not in done.out
    assert "not every device group was found" in done.out.splitlines()[0]
    [warning] = done.errors
    assert "clusters[0].device_groups[0]: the configuration has no device group 'dg-uk'" in warning


def test_a_first_configuration_is_written_once_and_can_be_used(place: Installation) -> None:
    file = place.directory / "zonebridge.yaml"
    file.unlink()
    done = place.done("config", "init", "--source", "panorama.xml", "--device-group", "dg-us")
    assert done.out.startswith("wrote zonebridge.yaml; edit it")
    assert place.done("config", "check").err == ""
    written = file.read_bytes()
    again = place.run("config", "init")
    assert (again.code, again.out) == (64, "")
    [sentence] = sentences(again)
    assert sentence.startswith("zonebridge.yaml exists already; name another file")
    assert file.read_bytes() == written
    assert place.done("plan", "--output", "json").code == 0


def test_check_refuses_a_selector_before_anything_is_read(place: Installation) -> None:
    place.configure(zones={"definitions": {"web": {"workloads": {"selector": "app ="}}}})
    for command in ("config check", "plan"):
        done = place.run(*command.split())
        assert (done.code, done.out) == (64, "")
        where = "zones.definitions.web.workloads.selector: is not a selector: expected an operator"
        assert where in done.err


def test_the_schema_accepts_the_configuration(place: Installation, demo: Path) -> None:
    schema = place.done("config", "schema").json
    for file in (place.directory / "zonebridge.yaml", demo / "zonebridge.yaml"):
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sources": [], "clusters": []}, schema)


PROBLEMS = set(
    """\
instanse: unknown key; did you mean instance?
clusters[0].device_group: unknown key; did you mean device_groups?
audit.archive: this version keeps audit records permanently; remove the key
edl: must be skip or fetch
clusters[0].device_groups: is missing; add it
clusters[1].device_groups[0].mode: is missing; add it
""".splitlines()
)


def test_all_problems_come_at_once_each_with_its_place(place: Installation) -> None:
    place.configure(
        instanse="a",
        audit={"archive": "old"},
        edl="feth",
        clusters=[
            {"name": "eu", "kind": "manifests", "path": "eu", "device_group": []},
            {"name": "us", "kind": "manifests", "path": "us", "device_groups": [{"name": "dg-us"}]},
        ],
    )
    for command in ("config check", "sync"):
        done = place.run(*command.split())
        assert (done.code, done.out) == (64, "")
        first, *problems = done.err.splitlines()
        assert first == "error: zonebridge.yaml has 6 problems:"
        assert {problem.strip() for problem in problems} == PROBLEMS
    assert not (place.directory / "zonebridge.db").exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "ZONEBRIDGE_LOG__LEVEL",
            "loud",
            "log.level: must be debug, info, warning or error (set by",
        ),
        ("ZONEBRIDGE_STORE_URL", "x", "unknown variable; did you mean ZONEBRIDGE_STORE__URL?"),
        ("ZONEBRIDGE_STORE__URI", "x", "unknown key; did you mean ZONEBRIDGE_STORE__URL?"),
        ("ZONEBRIDGE_CLUSTERS__5__PATH", "x", "the list has 2 items; the next position is 2"),
        ("ZONEBRIDGE_STORE__URL", "mysql://h/d", "must be sqlite:///FILE or postgresql+psycopg://"),
        ("ZONEBRIDGE_STORE__URL", "postgresql+psycopg://u:hunter2@h/d", "holds a password"),
        ("ZONEBRIDGE_CLUSTERS__1__PATH", "eu", "is already used by an earlier one"),
        ("ZONEBRIDGE_WEB__AUTH", "token", "this version has no dashboard yet"),
        ("ZONEBRIDGE_CLUSTERS__0__NAME", "a\nb", "holds a control character"),
    ],
)
def test_a_variable_that_fits_nowhere_is_named_and_never_quoted(
    place: Installation, variable: str, value: str, says: str
) -> None:
    done = place.shell("zonebridge plan", **{variable: value})
    assert (done.code, done.out) == (64, "")
    [sentence] = sentences(done)
    assert variable in sentence
    assert says in sentence
    assert "hunter2" not in sentence


def test_the_environment_changes_what_happens(place: Installation) -> None:
    variables = {
        "ZONEBRIDGE_CLUSTERS__0__PATH": "elsewhere",
        "ZONEBRIDGE_STORE__URL": "sqlite:///other.db",
        "ZONEBRIDGE_INSTANCE": "blue",
        "ZONEBRIDGE_SERVICE_HOST": "10.0.0.1",
    }
    tags = '["none has this"]'
    place.done("sync", "--cluster", "eu", ZONEBRIDGE_ADDRESS_GROUPS__TAGS=tags, **variables)
    found = {path.name for path in place.directory.iterdir()}
    assert found == {"elsewhere", "other.db", "panorama.xml", "zonebridge.yaml"}
    sets = place.directory / "elsewhere" / "globalnetworkset"
    assert not sets.exists()
    place.done("sync", "--cluster", "eu", **variables)
    labels = yaml.safe_load((sets / "pan.web.yaml").read_text())["metadata"]["labels"]
    assert labels["zonebridge.io/instance"] == "blue"
    assert not (place.directory / "eu").exists()


def test_the_log_goes_where_and_how_the_configuration_says(place: Installation) -> None:
    assert place.done("sync", ZONEBRIDGE_LOG__LEVEL="warning").err == ""
    console = place.done("sync", ZONEBRIDGE_LOG__FORMAT="console", NO_COLOR="1").err
    assert "[info     ] audit heads" in console
    assert "\x1b" not in console


def test_the_configuration_is_named_by_option_variable_or_place(
    place: Installation, tmp_path: Path
) -> None:
    here = place.directory / "zonebridge.yaml"
    other = place.directory / "other.yaml"
    here.rename(other)
    missing = place.run("config", "check", cwd=tmp_path)
    assert missing.code == 64
    assert "There is no configuration file zonebridge.yaml; write one" in missing.err
    named = place.run("config", "check", cwd=tmp_path, ZONEBRIDGE_CONFIG=str(other))
    assert named.out.startswith(f"{other} is valid")
    both = place.run("--config", "zonebridge.yaml", "plan", ZONEBRIDGE_CONFIG=str(other))
    assert both.code == 64


def test_check_looks_at_the_files_that_are_named(place: Installation) -> None:
    (place.directory / "panorama.xml").unlink()
    (place.directory / "eu").write_text("in the way")
    place.configure(store={"url": "sqlite:///none/z.db"}, audit={"head_file": "none/heads"})
    done = place.run("config", "check")
    assert (done.code, done.out) == (64, "")
    here = place.directory
    remedy = "cannot be written; create its directory or make it writable"
    assert done.err.splitlines() == [
        "error: zonebridge.yaml names files that cannot be used:",
        f"  sources[0].path: {here}/panorama.xml is not a readable file; correct the path",
        f"  clusters[0].path: {here}/eu is not a writable directory; create it or correct the path",
        f"  store.url: {here}/none/z.db {remedy}",
        f"  audit.head_file: {here}/none/heads {remedy}",
    ]


def test_a_directory_that_may_not_be_entered_is_a_problem_like_others(
    place: Installation,
) -> None:
    door = place.directory / "door"
    door.mkdir(mode=0o000)
    place.configure(
        sources=[{"name": "main", "kind": "file", "path": "door/export.xml"}],
        store={"url": "sqlite:///door/z.db"},
        audit={"head_file": "door/heads"},
    )
    try:
        done = place.run("config", "check", under=without_rights())
        assert done.code == 64
        assert "internal error" not in done.err
        assert done.err.count("door/") == 3
    finally:
        door.chmod(0o700)


def test_a_source_that_nobody_uses_is_warned_about(place: Installation) -> None:
    place.configure(
        "eu",
        sources=[{"name": name, "kind": "file", "path": "panorama.xml"} for name in ("a", "b")],
        clusters=[
            {
                "name": "eu",
                "kind": "manifests",
                "path": "eu",
                "device_groups": [{"source": "a", "name": "dg-eu", "mode": "staged"}],
            }
        ],
    )
    done = place.done("config", "check")
    assert done.err == "warning: sources[1]: no device group uses source b; remove it, or use it\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "zonebridge.yaml is empty"),
        ("a: 1\na: 2\n", "line 2, column 1: this key is given twice; remove one"),
        ("a: !!python/object:os.system 1\n", "tags (!) are not read"),
        ("[" * 3000, "is nested too deeply"),
        ("a: '" + "x" * 1024 * 1024 + "'", "is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_sentence(
    place: Installation, text: str, says: str
) -> None:
    (place.directory / "zonebridge.yaml").write_text(text)
    done = place.run("config", "check")
    assert (done.code, done.out) == (64, "")
    [sentence] = sentences(done)
    assert says in sentence

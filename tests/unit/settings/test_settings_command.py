"""`zonebridge config check` and `schema`, and the files they look at."""

import json
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from sync.cli.config import config
from sync.errors import UsageError
from sync.settings import read_secret

SECRET = "hunter2-Zq"


@dataclass
class Options:
    """What the top-level command hands down."""

    config: Path | None


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "export.xml").write_text("<config/>")
    write(tmp_path)
    return tmp_path


def write(directory: Path, **keys: object) -> None:
    document = {
        "sources": [{"name": "main", "kind": "file", "path": "export.xml"}],
        "clusters": [
            {
                "name": "gitops",
                "kind": "manifests",
                "path": "out",
                "device_groups": [{"name": "dg-eu", "mode": "enforced", "source": "main"}],
            }
        ],
    }
    (directory / "zonebridge.yaml").write_text(yaml.safe_dump(document | keys))


def run(directory: Path, *arguments: str) -> Result:
    options = Options(directory / "zonebridge.yaml")
    return CliRunner().invoke(config, arguments, obj=options)


def refusal_of(directory: Path) -> str:
    error = run(directory, "check").exception
    assert isinstance(error, UsageError)
    return str(error)


def test_check_prints_what_the_configuration_says(directory: Path) -> None:
    result = run(directory, "check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{directory}/zonebridge.yaml is right",
        f"instance zonebridge, store sqlite:///{directory}/zonebridge.db",
        f"source main: file {directory}/export.xml",
        f"cluster gitops: manifests {directory}/out",
        "  main/dg-eu: tier firewallpolicy, order 101, enforced",
    ]
    assert result.stderr == ""


def test_check_prints_json(directory: Path) -> None:
    group = {"source": "main", "name": "dg-eu", "tier": "firewallpolicy", "order": 101}
    path = str(directory / "out")
    assert json.loads(run(directory, "check", "--output", "json").stdout) == {
        "file": str(directory / "zonebridge.yaml"),
        "instance": "zonebridge",
        "store": f"sqlite:///{directory}/zonebridge.db",
        "sources": [{"name": "main", "kind": "file", "path": str(directory / "export.xml")}],
        "clusters": [
            {
                "name": "gitops",
                "kind": "manifests",
                "path": path,
                "kubeconfig": None,
                "context": None,
                "device_groups": [group | {"mode": "enforced"}],
            }
        ],
        "warnings": [],
    }


def test_check_warns_on_stderr_and_in_json(directory: Path) -> None:
    file = {"kind": "file", "path": "export.xml"}
    write(directory, sources=[{"name": "main", **file}, {"name": "spare", **file}])
    warning = "sources[1]: no device group uses source spare; remove it, or use it"
    result = run(directory, "check", "--output", "json")
    assert result.exit_code == 0
    assert result.stderr == f"warning: {warning}\n"
    assert json.loads(result.stdout)["warnings"] == [warning]


def test_check_writes_nothing(directory: Path) -> None:
    before = sorted(directory.rglob("*"))
    run(directory, "check")
    assert sorted(directory.rglob("*")) == before


def test_check_refuses_what_cannot_be_used(directory: Path) -> None:
    (directory / "export.xml").rename(directory / "export.yaml")
    write(
        directory,
        clusters=[
            {
                "name": "gitops",
                "kind": "manifests",
                "path": "export.yaml/out",
                "device_groups": [{"name": "dg-eu", "mode": "enforced"}],
            }
        ],
        store={"url": "sqlite:///no/z.db"},
        audit={"head_file": "no/heads"},
    )
    assert refusal_of(directory).replace(str(directory), "DIR").splitlines() == [
        "DIR/zonebridge.yaml names files that cannot be used:",
        "  sources[0].path: DIR/export.xml is no readable file; correct the path",
        (
            "  clusters[0].path: DIR/export.yaml is no writable directory; create it or correct "
            "the path"
        ),
        "  store.url: DIR/no/z.db cannot be written; create its directory or make it writable",
        (
            "  audit.head_file: DIR/no/heads cannot be written; create its directory "
            "or make it writable"
        ),
    ]


def test_check_reads_the_password_file_and_shows_nothing_of_it(directory: Path) -> None:
    store = {"url": "postgresql+psycopg://u@db/z", "password_file": "password"}
    write(directory, store=store)
    assert "store.password_file: The secret file" in refusal_of(directory)
    (directory / "password").write_text(SECRET)
    (directory / "password").chmod(0o600)
    assert run(directory, "check").stderr == ""
    (directory / "password").chmod(0o644)
    result = run(directory, "check")
    assert "warning: store.password_file: every user of this machine can read" in result.stderr
    assert SECRET not in result.output


def test_check_hands_on_what_is_wrong_with_the_settings(directory: Path) -> None:
    write(directory, instanc="x")
    assert "did you mean instance?" in refusal_of(directory)


def test_schema_is_a_schema_that_this_configuration_meets(directory: Path) -> None:
    schema = json.loads(run(directory, "schema").stdout)
    jsonschema.validate(yaml.safe_load((directory / "zonebridge.yaml").read_text()), schema)


@pytest.mark.parametrize(
    ("content", "secret"),
    [("a\n", "a"), ("a", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")],
)
def test_a_secret_loses_one_line_break(content: str, secret: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    read = read_secret(file)
    assert read.get_secret_value() == secret
    assert str(read) == "**********"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (SECRET.encode() + b"\xff", "is not UTF-8"),
        (SECRET.encode() * 10_000, "is larger than 64 KiB"),
    ],
)
def test_an_unusable_secret_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=reason) as refused:
        read_secret(file)
    assert SECRET not in str(refused.value)


def test_a_missing_secret_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_secret(tmp_path / "no")
    with pytest.raises(UsageError, match="is a directory"):
        read_secret(tmp_path)

"""`zonebridge config init`, `check` and `schema`, and the files they look at."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from sync.assembly import translation_options
from sync.cli.config import config
from sync.cli.context import Context
from sync.errors import SourceError, UsageError
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.settings import load, read_secret
from sync.translate.compiler import Options
from tests.words import Word, document, entry, members, rule, tag, text

SECRET = "hunter2-Zq"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "export.xml").write_bytes(document(groups={"dg-eu": ()}))
    write(tmp_path)
    return tmp_path


def write(directory: Path, **keys: object) -> None:
    configuration = {
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
    (directory / "zonebridge.yaml").write_text(yaml.safe_dump(configuration | keys))


def run(directory: Path, *arguments: str) -> Result:
    context = Context(directory / "zonebridge.yaml", debug=False)
    return CliRunner().invoke(config, arguments, obj=context)


def refusal_of(directory: Path) -> str:
    error = run(directory, "check").exception
    assert isinstance(error, UsageError)
    return str(error)


def test_check_prints_what_the_configuration_says(directory: Path) -> None:
    result = run(directory, "check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{directory}/zonebridge.yaml is valid",
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
        "sources": [
            {"name": "main", "kind": "file", "path": str(directory / "export.xml"), "hosts": []}
        ],
        "clusters": [
            {
                "name": "gitops",
                "kind": "manifests",
                "path": path,
                "kubeconfig": None,
                "context": None,
                "device_groups": [group | {"mode": "enforced", "zones": []}],
            }
        ],
        "warnings": [],
        "unusable": [],
    }


def test_check_warns_of_answers_that_are_not_the_firewalls_and_asks_nobody(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        pytest.fail("somebody would be asked")

    monkeypatch.setattr("sync.sources.enriched.AnsweredSource.read", fail)
    write(directory, fqdn="resolve", edl="fetch")
    result = run(directory, "check")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "warning: fqdn: resolve lets rules allow what this machine's DNS"
    )


def test_check_warns_on_stderr_and_in_json(directory: Path) -> None:
    file = {"kind": "file", "path": "export.xml"}
    write(directory, sources=[{"name": "main", **file}, {"name": "spare", **file}])
    warning = "sources[1]: no device group uses source spare; remove it, or use it"
    result = run(directory, "check", "--output", "json")
    assert result.exit_code == 0
    assert result.stderr == f"warning: {warning}\n"
    assert json.loads(result.stdout)["warnings"] == [warning]


def test_check_warns_of_a_context_that_is_whatever_is_current(directory: Path) -> None:
    contexts = [{"name": name, "context": {"cluster": name}} for name in ("prod", "lab")]
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({"contexts": contexts, "current-context": "lab"}))
    kubeconfig.chmod(0o600)
    cluster = {
        "name": "prod",
        "kind": "kubernetes",
        "kubeconfig": "kubeconfig",
        "device_groups": [{"name": "dg-eu", "mode": "staged"}],
    }
    write(directory, clusters=[cluster])
    told = run(directory, "check").stderr
    assert "clusters[0].context: is not given" in told
    assert "(lab, prod)" in told
    assert "now lab;" in told
    write(directory, clusters=[{**cluster, "context": "prod"}])
    assert "context" not in run(directory, "check").stderr


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
        "  sources[0].path: DIR/export.xml is not a readable file; correct the path",
        (
            "  clusters[0].path: DIR/export.yaml is not a writable directory; create it or correct "
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


ZONED = (
    rule("web to db", from_=["web"], to=["db"]),
    rule("desks to web", from_=["desk zone"], to=["web", "multicast"]),
)
"""Rules that name three zones."""


def zoned(directory: Path, *words: Word, **zones: object) -> Result:
    """`config check` for a device group of these words and these zones."""
    (directory / "export.xml").write_bytes(document(groups={"dg-eu": words or ZONED}))
    write(directory, zones=zones)
    return run(directory, "check")


def test_check_prints_the_selector_of_each_zone_and_its_bytes(directory: Path) -> None:
    workloads = {"selector": "app == 'web'", "namespace_selector": "env == 'prod'"}
    result = zoned(directory, definitions={"web": {"workloads": workloads}})
    pods = "projectcalico.org/orchestrator == 'k8s'"
    web = "(app == 'web') && (pcns.env == 'prod')"
    expected = {
        "db": f"{pods} && (firewall.tigera.io/zone == 'db' && !({web}))",
        "desk zone": f"{pods} && (firewall.tigera.io/zone == 'desk-zone-e4df75e8' && !({web}))",
        "web": f"{pods} && ({web})",
    }
    assert result.stdout.splitlines()[-3:] == [
        f"    zone {name}, {len(selector)} bytes: {selector}" for name, selector in expected.items()
    ]
    printed = json.loads(run(directory, "check", "--output", "json").stdout)
    assert printed["clusters"][0]["device_groups"][0]["zones"] == [
        {"name": name, "selector": selector, "bytes": len(selector)}
        for name, selector in expected.items()
    ]


def test_check_warns_of_zones_that_rest_on_pod_labels(directory: Path) -> None:
    namespaces = {"workloads": {"namespace_selector": "env == 'prod'"}}
    pods = {"workloads": {"selector": "app == 'db'"}}
    result = zoned(directory, definitions={"web": namespaces, "db": pods})
    [by_label, essentials] = result.stderr.splitlines()
    assert by_label == (
        "warning: zones: anyone who creates a pod can put it into 'db', 'desk zone' by its labels; "
        "give zones a namespace_selector under zones.definitions"
    )
    assert "are ENFORCED, and no essential" in essentials


def test_check_warns_of_definitions_that_nobody_names(directory: Path) -> None:
    definitions = {
        name: {"workloads": {"namespace_selector": f"env == '{name}'"}} for name in ("wep", "qqq")
    }
    found = zoned(directory, definitions=definitions).stderr
    assert (
        "zones.definitions.wep: no device group of the clusters names this zone; did you" in found
    )
    assert "did you mean 'web'?" in found
    assert "zones.definitions.qqq: no device group of the clusters names this zone; remove" in found


@pytest.mark.parametrize(
    ("ports", "direction", "warned"),
    [
        (["53/udp", "53/tcp"], "egress", False),
        (["50-60/udp"], "egress", False),
        ([], "egress", False),
        (["53/tcp"], "egress", True),
        (["54-60/udp"], "egress", True),
        (["53/udp"], "ingress", True),
    ],
)
def test_check_warns_where_zoned_pods_lose_their_dns(
    ports: list[str], direction: str, *, warned: bool, directory: Path
) -> None:
    essential = {"direction": direction, "on": "all()", "pods": "dns == 'yes'", "ports": ports}
    result = zoned(directory, unzoned_pods="deny", essentials=[essential])
    assert ("zones.unzoned_pods: deny keeps zoned pods from" in result.stderr) is warned
    assert result.exit_code == 0


def test_check_refuses_expressions_that_cannot_be_read(directory: Path) -> None:
    write(
        directory,
        rules={"filter": "k8s and"},
        zones={
            "essentials": [
                {"direction": "egress", "on": "all(", "pods": "a = 'b'", "cidrs": ["10.0.0.0/8"]}
            ],
            "definitions": {
                "w b": {"workloads": {"selector": "app", "namespace_selector": "global()"}}
            },
        },
    )
    first, *problems = refusal_of(directory).splitlines()
    assert first == f"{directory}/zonebridge.yaml has 5 problems:"
    assert [problem.split(":")[0].strip() for problem in problems] == [
        "rules.filter",
        "zones.essentials[0].on",
        "zones.essentials[0].pods",
        'zones.definitions."w b".workloads.selector',
        'zones.definitions."w b".workloads.namespace_selector',
    ]
    assert "is not a selector: expected an operator" in problems[2]
    assert "at character 3; correct it" in problems[2]


def test_nothing_is_assembled_from_expressions_that_cannot_be_read(directory: Path) -> None:
    write(directory, rules={"filter": "(k8s"})
    settings = load(directory / "zonebridge.yaml", {})
    with pytest.raises(UsageError, match=r"rules\.filter: cannot be read: '\(' at character 1 is"):
        translation_options(settings, ())


def test_check_refuses_what_does_not_fit_the_zones_that_there_are(directory: Path) -> None:
    (directory / "export.xml").write_bytes(document(groups={"dg-eu": ZONED}))
    write(directory, zones={"definitions": {"web": {"networks": ["0.0.0.0/0"]}}})
    refusal = refusal_of(directory)
    assert f"{directory}/zonebridge.yaml: clusters[0]: zones.definitions gives 0.0.0.0/0" in refusal
    assert "the networks of 'db', 'desk zone' are not known" in refusal
    long = {"workloads": {"namespace_selector": f"env == '{'x' * 960}'"}}
    write(directory, zones={"definitions": {"web": long}})
    assert "the selector of zone 'db' has 1,0" in refusal_of(directory)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"<config>", "sources[0]: "),
        (document(groups={"dg-us": ()}), "clusters[0].device_groups[0]: the configuration has no"),
    ],
)
def test_check_names_sources_that_do_not_hold_what_is_wanted(
    data: bytes, error: str, directory: Path
) -> None:
    (directory / "export.xml").write_bytes(data)
    result = run(directory, "check", "--output", "json")
    assert result.stderr.startswith(f"error: {error}")
    summary = json.loads(result.stdout)
    assert summary["clusters"][0]["device_groups"][0]["zones"] is None
    [sentence] = summary["unusable"]
    assert sentence.startswith(error)
    assert sentence in summary["warnings"]
    assert run(directory, "check").stdout.splitlines()[0] == (
        f"{directory}/zonebridge.yaml can be read, but a source or cluster cannot be used: see the "
        "errors"
    )


def test_what_decides_the_translation_is_what_the_configuration_says(directory: Path) -> None:
    write(
        directory,
        registered_ips="optional",
        address_groups={"tags": ["k8s"]},
        rules={"filter": "k8s", "devices": ["0123"], "accept_dropped_denies": ["no-quic"]},
        zones={
            "label": "zone",
            "unzoned_pods": "deny",
            "essentials": [{"direction": "egress", "on": "all()", "cidrs": ["10.0.0.0/8"]}],
            "definitions": {
                "web": {"workloads": {"namespace_selector": "a == 'b'"}},
                "db": {"networks": ["10.0.0.0/255.0.0.0"]},
            },
        },
    )
    options = translation_options(load(directory / "zonebridge.yaml", {}), (("a", "b"),))
    assert options == Options(
        tags=("k8s",),
        registered_known=True,
        registered_accepted=True,
        owner=(("a", "b"),),
        rules=RuleOptions(filter="k8s", devices=("0123",), accept_dropped_denies=("no-quic",)),
        zones=ZoneOptions(
            label="zone",
            unzoned_pods="deny",
            essentials=(Essential("egress", "all()", cidrs=("10.0.0.0/8",)),),
            definitions={
                "db": ZoneDefinition(networks=("10.0.0.0/8",)),
                "web": ZoneDefinition(namespace_selector="a == 'b'"),
            },
        ),
        pod_cidrs=None,
    )


def uncommented(text: str, after: str) -> str:
    """A text without the `#` of the comments in the paragraph that starts with a line."""
    before, _, rest = text.partition(f"# {after}")
    paragraph, gap, rest = rest.partition("\n\n")
    return before + after + paragraph.replace("\n  # ", "\n  ") + gap + rest


def test_init_writes_a_configuration_that_is_right(directory: Path) -> None:
    file = directory / "zonebridge.yaml"
    file.unlink()
    result = run(directory, "init")
    assert result.stdout.startswith(f"wrote {file}; edit it")
    settings = load(file, {})
    assert settings.sources[0].path == directory / "panorama-export.xml"
    assert [group.name for group in settings.clusters[0].device_groups] == ["dg-eu"]
    file.write_text(uncommented(file.read_text(), "essentials:"))
    essentials = load(file, {}).zones.essentials
    assert [essential.direction for essential in essentials] == ["egress", "egress", "ingress"]
    (directory / "panorama-export.xml").write_bytes(document(groups={"dg-eu": ()}))
    assert run(directory, "check").stderr == ""


def test_init_writes_over_no_file_unless_it_is_told_to(directory: Path) -> None:
    file = directory / "zonebridge.yaml"
    before = file.read_bytes()
    error = run(directory, "init").exception
    assert isinstance(error, UsageError)
    assert "zonebridge.yaml exists already; name another file" in str(error)
    assert file.read_bytes() == before
    printed = run(directory, "init", "--output", "-").stdout
    assert file.read_bytes() == before
    other = directory / "other.yaml"
    run(directory, "init", "--output", str(other))
    assert other.read_text() == printed
    run(directory, "init", "--force")
    assert file.read_text() == printed


def test_init_writes_the_zones_of_an_export_out(directory: Path) -> None:
    interface = entry("ethernet1/1", tag("layer3", tag("ip", entry("10.1.0.1/24"))))
    network = tag(
        "network",
        tag("interface", tag("ethernet", interface)),
        tag("virtual-router", entry("default", members("interface", ["ethernet1/1"]))),
    )
    zone = tag("zone", entry("web", tag("network", members("layer3", ["ethernet1/1"]))))
    inside = tag(
        "devices", entry("localhost.localdomain", network, tag("vsys", entry("vsys1", zone)))
    )
    templates = tag("template", entry("base", tag("config", inside)))
    groups = {
        "global": (),
        "dg\neu": (rule("web to db", from_=["web"], to=["db", "true", "x: #y", "*a"]),),
        "dg-us": (),
    }
    data = document(
        groups={**groups, "dg-us": (Word("reference-templates", text("member", "base")), *ZONED)},
        parents={"dg\neu": "global", "dg-us": "global"},
        devices=templates,
    )
    (directory / "export.xml").write_bytes(data)
    (directory / "zonebridge.yaml").unlink()
    run(directory, "init", "--source", str(directory / "export.xml"), "--device-group", "dg-us")
    written = (directory / "zonebridge.yaml").read_text()
    assert "    path: export.xml\n" in written
    assert "    # derived: 10.1.0.0/24\n    web: {}\n" in written
    assert (
        "    # networks unknown: no template of the device group names it; give them, or [] if "
        "it has only\n    # pods (rules that name it: 1)\n    db: {}\n"
    ) in written
    assert "# dg?eu, below global: 1 rules\n# dg-us, below global: 2 rules\n" in written
    settings = load(directory / "zonebridge.yaml", {})
    assert list(settings.zones.definitions) == ["db", "desk zone", "web"]
    assert [cluster.name for cluster in settings.clusters] == ["dg-us"]


def test_init_writes_names_of_any_kind(directory: Path) -> None:
    names = ["true", "x: #y", "*a", "12", "é\u2028", "a 'b' \"c\"", "-", "~"]
    groups = {
        "a b": [rule("one", from_=names, to=["any"])],
        "a-b": [rule("two", from_=["web"], to=["multicast"])],
    }
    (directory / "export.xml").write_bytes(document(groups=groups))
    export = str(directory / "export.xml")
    chosen = ("--device-group", "a b", "--device-group", "a-b")
    assert run(directory, "init", "--force", "--source", export, *chosen).exit_code == 0
    settings = load(directory / "zonebridge.yaml", {})
    assert sorted(settings.zones.definitions) == sorted([*names, "web"])
    assert [cluster.name for cluster in settings.clusters] == ["a-b", "a-b-2"]
    assert [cluster.device_groups[0].name for cluster in settings.clusters] == ["a b", "a-b"]
    assert run(directory, "check").exit_code == 0


def test_init_takes_the_first_device_group_that_has_none_below_it(directory: Path) -> None:
    data = document(groups={"top": (), "leaf": (), "other": ()}, parents={"leaf": "top"})
    (directory / "export.xml").write_bytes(data)
    run(directory, "init", "--force", "--source", str(directory / "export.xml"))
    settings = load(directory / "zonebridge.yaml", {})
    assert [group.name for group in settings.clusters[0].device_groups] == ["leaf"]


def test_init_refuses_an_export_without_what_is_named(directory: Path) -> None:
    export = str(directory / "export.xml")
    arguments = ("init", "--force", "--source", export)
    unknown = run(directory, *arguments, "--device-group", "dg-eo").exception
    assert isinstance(unknown, UsageError)
    assert "has no device group 'dg-eo'; did you mean dg-eu?" in str(unknown)
    (directory / "export.xml").write_bytes(document(groups={}))
    assert isinstance(run(directory, *arguments).exception, SourceError)
    (directory / "export.xml").unlink()
    assert isinstance(run(directory, *arguments).exception, SourceError)


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

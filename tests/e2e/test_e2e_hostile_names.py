"""Names that others write reach no terminal, and no pipeline that logs them, as they are.

Every command is run on names, arguments, files, objects and rows of the store that hold all that a
terminal or a pipeline obeys: sequences of C0 and C1, marks that turn a line around, line breaks of
every kind, and the commands of GitHub Actions and Azure Pipelines.
"""

import re
import shlex
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from sync.cli.main import COMMANDS
from tests.e2e.installation import Done, Installation, cluster
from tests.e2e.test_e2e_sync import terminal
from tests.words import Word, address, document, dynamic, external_list, group, rule, service

TRAPS = (
    *map(chr, range(1, 32)),
    *map(chr, range(0x7F, 0xA0)),
    *map(chr, (0x61C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, 0xE0001)),
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *("\x1b[2J", "\x9b31m", "\n::error::hit", "##vso[task.hit]", "##[hit]", "`|<b>hit</b>$(hit)"),
)
"""All that no output holds, each for itself and in combination."""

COMMANDS_OF_CI = re.compile(r"^\s*::|##[A-Za-z]*\[", re.MULTILINE)
OUTPUTS = ("text", "json", "markdown")


def evil(name: str) -> str:
    """A name with all traps."""
    return name + "".join(TRAPS)


def in_xml(name: str) -> str:
    """A name with the traps that XML can hold; some are read as a mark, which is none."""
    return name + "".join(
        each for each in TRAPS if len(each) > 1 or ord(each) > 31 or each in "\t\n\r"
    )


WEB, DB = in_xml("web"), in_xml("db")


def words() -> list[Word]:
    """Objects and rules of every kind with hostile names, values and references."""
    given = {"from_": [WEB], "to": [DB], "source": ["any"], "destination": ["any"]}
    listed = {"application": ["any"], "service": ["any"], "action": "allow"}
    name = in_xml
    return [
        address(name("a"), "10.1.0.1"),
        address(name("bad"), name("10.1.0.999")),
        address(name("fqdn"), name("host.example"), kind="fqdn"),
        group(name("group"), name("a"), name("missing")),
        dynamic(name("dynamic"), f"'{name('tag').replace(chr(39), '')}'"),
        external_list(name("list"), f"http://lists.example/{name('l')}"),
        service(name("service"), "443"),
        service(name("service2"), name("44x")),
        rule(name("r1"), **{**given, **listed, "application": [name("app")]}),
        rule(name("r2"), **{**given, **listed, "source": [name("group")], "source_user": ["u"]}),
        rule(name("r3"), **{**given, **listed, "from_": [name("far")], "action": name("allow")}),
        rule(name("r4"), **{**given, **listed, "destination": [name("list")], "action": "deny"}),
        rule(name("r5"), **{**given, **listed, "service": [name("service2")]}),
        rule(name("r6"), **{**given, **listed, "category": [name("category")]}),
        rule(name("r7"), **{**given, **listed}),
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation of hostile names; a sync has written them, and the store holds them too."""
    place = Installation.in_directory(tmp_path_factory.mktemp("hostile") / "place")
    networks = {WEB: {"networks": ["10.1.0.0/16"]}, DB: {"networks": ["10.2.0.0/16"]}}
    place.configure("eu", cluster("us"), zones={"definitions": networks})
    held = words()
    place.export(document((), {"dg-eu": held, "dg-us": [], in_xml("dg"): held}))
    (place.directory / "edited.xml").write_bytes(document((), {"dg-eu": held[2:-1], "dg-us": []}))
    (place.directory / evil("file").replace("/", "")).write_text(evil("x"))
    marks = {"labels": {"a": evil("x")}, "annotations": {"b": evil("x")}}
    for kind, name, spec in (
        ("GlobalNetworkSet", "pan.web", {"nets": ["10.0.0.1"]}),
        ("GlobalNetworkPolicy", "firewallpolicy.x", {"tier": "firewallpolicy", "order": 1}),
        ("GlobalNetworkPolicy", "firewallpolicy.y", {"tier": "firewallpolicy", "selector": "("}),
    ):
        metadata = {"name": name, **marks}
        head = {"apiVersion": "projectcalico.org/v3", "kind": kind}
        place.put("eu", {**head, "metadata": metadata, "spec": spec})
    place.run("sync")
    with sqlite3.connect(place.directory / "zonebridge.db") as store:
        store.execute("UPDATE standings SET detail = ?", [evil("detail")])
        store.execute("UPDATE leases SET holder = ?", [evil("holder")])
    return place


def shows_none(done: Done) -> None:
    """Nothing is printed that a terminal or a pipeline obeys, and nothing fails by a bug."""
    for text in (done.out, done.err):
        odd = [each for each in text if not each.isprintable() and each != "\n"]
        assert not odd, ascii(text)
        assert not COMMANDS_OF_CI.search(text), ascii(text)
    assert "internal error" not in done.err


READING = (
    *("plan --verbose --flows", "plan --from panorama.xml --to edited.xml --verbose --flows"),
    *("sync", "report --verbose", "report --diff panorama.xml edited.xml --verbose", "zones"),
    *("verify", "verify --live", "which 10.1.0.1", "status", "audit list", "audit verify"),
    "config check",
)
ONCE = (
    *("audit show eu:1", "audit show --at 1s", "config init --source panorama.xml --output -"),
    *("config schema", "db check", "db upgrade", "rbac --cluster eu", "worker", "--help"),
)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("line", READING)
def test_results_show_none(hostile: Installation, line: str, output: str) -> None:
    shows_none(hostile.run(*line.split(), "--output", output))


@pytest.mark.parametrize("line", ONCE)
def test_other_results_show_none(hostile: Installation, line: str) -> None:
    shows_none(hostile.run(*line.split()))


@pytest.mark.parametrize("output", OUTPUTS[:2])
@pytest.mark.parametrize("more", ["--why-not", "--live"])
def test_explanations_show_none(hostile: Installation, more: str, output: str) -> None:
    ends = ("--from", WEB, "--to", DB, "--port", "443/tcp")
    shows_none(hostile.run("explain", *ends, "--verbose", more, "--output", output))


X = evil("x").replace("\0", "")
WRONG: Sequence[Sequence[str]] = (
    *([X], ["plan", X], ["plan", "--cluster", X], ["plan", f"--{X}"], ["plan", "--config", X]),
    *(["plan", "--from", X], ["plan", "--from", X, "--to", X], ["plan", "--output", X]),
    *(["report", "--rule", X], ["report", "--diff", X, X], ["which", X], ["zones", "--cluster", X]),
    *(["explain", "--from", X, "--to", X, "--port", "1/tcp"], ["explain", "--port", X]),
    *(["explain", "--from", "1.1.1.1", "--to", "1.1.1.2", "--port", X],),
    *(["sync", "--plan", X], ["sync", "--plan", f"{X}={'0' * 64}"], ["sync", "--lease-timeout", X]),
    *(["sync", "--accept-new-cluster", X], ["adopt", X, X], ["adopt", "Tier", X], ["forget", X]),
    *(["approve", X], ["approve", f"00000000{X}"], ["verify", "--cluster", X], ["rbac", X]),
    *(
        ["rbac", "--cluster", X],
        ["rbac", "--cluster", "eu", "--tier", X],
        ["run", X],
        ["status", X],
    ),
    *(["audit", X], ["audit", "list", "--cluster", X], ["audit", "list", "--since", X]),
    *(["audit", "list", "--kind", X], ["audit", "list", "--rule", X], ["audit", "verify", X]),
    *(["audit", "verify", "--head", X], ["audit", "show", X], ["audit", "show", f"{X}:1"]),
    *(["audit", "export", "--group", X], ["config", X], ["config", "init", "--source", X]),
    *(["config", "init", "--source", "panorama.xml", "--device-group", X],),
    *(["config", "init", "--output", X], ["config", "init", "--output", "-", "--device-group", X]),
    *(["db", X], ["worker", "--slots", X], ["--debug", "plan", "--cluster", X]),
)


@pytest.mark.parametrize("words", WRONG, ids=lambda words: ascii(" ".join(words))[:40])
def test_errors_show_none(hostile: Installation, words: Sequence[str]) -> None:
    shows_none(hostile.run(*words))
    if words[-1] != "json":
        shows_none(hostile.run(*words, "--output", "json"))


@pytest.mark.parametrize("name", ["CONFIG", "STORE__URL", "INSTANCE", "DRIFT", "LOG__LEVEL", "X"])
def test_errors_of_variables_show_none(hostile: Installation, name: str) -> None:
    shows_none(hostile.run("status", **{f"ZONEBRIDGE_{name}": X}))


def test_the_log_in_words_shows_none(hostile: Installation) -> None:
    shows_none(hostile.run("sync", ZONEBRIDGE_LOG__FORMAT="console", ZONEBRIDGE_LOG__LEVEL="debug"))


@pytest.mark.parametrize(
    ("line", "code"), [("sync", 3), ("plan --flows", 3), ("audit export", 0), ("status", 0)]
)
def test_a_terminal_gets_colours_alone(hostile: Installation, line: str, code: int) -> None:
    shown = terminal(hostile, *line.split(), code=code)
    ours = re.sub(r"\x1b\[[0-9]+m|\r\x1b\[K|\r(?=\n)", "", shown)
    shows_none(Done(0, ours, ""))


def test_every_command_is_driven() -> None:
    driven = [*READING, *ONCE, "explain", *(shlex.join(words) for words in WRONG)]
    assert {line.split()[0] for line in driven} >= COMMANDS.keys()


def test_the_traps_are_there(hostile: Installation) -> None:
    configuration = (Path(hostile.directory) / "panorama.xml").read_text(encoding="utf-8")
    assert all(each in configuration for each in ("\x9b31m", "\u202e", "::error::hit", "##vso["))

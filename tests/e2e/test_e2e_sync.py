"""`zonebridge sync` and `zonebridge plan`, as an operator, a pipeline and an attacker meet them."""

import os
import pty
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
import yaml

from sync.errors import ZonebridgeError
from sync.store import open_store, open_store_read_only
from tests.e2e.installation import (
    COMMAND,
    SECONDS,
    TIER,
    Installation,
    as_nobody_known,
    cluster,
    environment,
    everything,
    objects,
    sentences,
    until,
    without_rights,
)
from tests.words import address, document

ESCAPE = "\x1b"
MANY = 3000  # more than are written between two looks of a busy machine
ORIGIN = {"source", "version", "administrators", "description", "pending"}
CHANGE = {
    "action",
    "cause",
    "kind",
    "name",
    "before",
    "after",
    "rules",
    "groups",
    "changed_by",
    "difference",
}
SUMMARY = {
    *("create", "update", "delete", "unchanged", "adopted", "drift", "blocked"),
    *("left_out", "omissions"),
}
PLAN = {
    "cluster",
    "digest",
    "summary",
    "origins",
    "compared_with",
    "not_pushed",
    "unordered",
    "warnings",
    "changes",
    "drift",
    "blockers",
    "partial",
    "held",
    "waiting",
    "left_out",
    "rules",
    "mode",
    "tiers",
}


def grow(place: Installation) -> None:
    """Another configuration: `web` grows, `db` is gone, `mail` is new."""
    place.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"], "mail": []})


def many(place: Installation, number: int = MANY) -> None:
    """A configuration that takes a while to write, for one cluster."""
    place.configure("eu")
    place.panorama(eu={f"group-{each}": ["10.0.0.1/32"] for each in range(number)})


# --- the way of a change --------------------------------------------------------------------------


def test_a_first_sync_writes_every_group_and_a_second_one_nothing(place: Installation) -> None:
    first = place.done("sync")
    summary = f"{objects(2)} to create, 0 to update, 0 to delete; 0 unchanged."
    assert first.out.count(summary) == 2  # once for each cluster
    for name in ("eu", "us"):
        assert first.out.count(f"Written to {name}: {objects(2)}; failed: 0.") == 1
    for name in ("eu", "us"):
        assert place.written(name) == {
            "pan.db.yaml": ["10.2.0.0/24"],
            "pan.web.yaml": ["10.1.0.1/32", "10.1.0.2/32"],
        }
        assert place.beside(name) == list(TIER)
    before = everything(place.directory / "eu")
    second = place.done("sync", "--detailed-exitcode")
    assert "Written" not in second.out
    assert (
        second.out.splitlines()[0] == f"Cluster eu (ENFORCED): no changes; {objects(2)} unchanged."
    )
    assert everything(place.directory / "eu") == before


def test_a_sync_follows_what_grows_comes_and_goes(place: Installation) -> None:
    place.done("sync")
    grow(place)
    plan = place.run("plan", "--cluster", "eu", "--verbose", "--detailed-exitcode")
    assert plan.code == 2
    lines = plan.out.splitlines()
    unchanged = objects(0)
    summary = (
        f"Cluster eu (ENFORCED): 1 to create, 1 to update, 1 to delete; {unchanged} unchanged."
    )
    assert [line for line in lines if "to create" in line] == lines[:1] == [summary]
    assert "  + GlobalNetworkSet pan.mail (0 nets)" in lines
    assert "  ~ GlobalNetworkSet pan.web (nets: +10.1.0.5/32; group 'web')" in lines
    assert "  - GlobalNetworkSet pan.db (1 net)" in lines
    assert "  +     10.1.0.5/32" in lines
    assert "Cluster us" not in plan.out
    assert place.run("sync", "--cluster", "eu", "--detailed-exitcode").code == 2
    assert (place.files("eu")) == ["pan.mail.yaml", "pan.web.yaml"]
    assert (place.files("us")) == ["pan.db.yaml", "pan.web.yaml"]
    assert place.beside("eu") == place.beside("us") == list(TIER)


def test_json_says_what_is_documented(place: Installation) -> None:
    place.done("sync")
    grow(place)
    planned = place.done("plan", "--output", "json")
    assert set(planned.json) == {"clusters"}
    for entry, name in zip(planned.json["clusters"], ("eu", "us"), strict=True):
        assert (entry["cluster"], entry["error"]) == (name, None)
        assert set(entry) == {"cluster", "plan", "error"}
        plan = entry["plan"]
        assert set(plan) == PLAN
        assert set(plan["summary"]) == SUMMARY
        assert plan["summary"] | {"create": 1, "update": 1, "delete": 1} == plan["summary"]
        assert [set(origin) for origin in plan["origins"]] == [ORIGIN]
        assert [set(change) for change in plan["changes"]] == 3 * [CHANGE]
        gone, come, grown = plan["changes"]
        assert (gone["action"], gone["name"], gone["after"]) == ("delete", "pan.db", None)
        assert (come["action"], come["name"], come["before"]) == ("create", "pan.mail", None)
        assert (grown["action"], grown["groups"]) == ("update", ["web"])
        assert grown["after"]["spec"]["nets"][-1] == "10.1.0.5/32"
    synced = place.done("sync", "--output", "json")
    for entry, before in zip(synced.json["clusters"], planned.json["clusters"], strict=True):
        assert entry == before | {"applied": 3, "failed": []}


def test_markdown_is_fit_for_a_merge_request(place: Installation) -> None:
    shown = place.done("plan", "--cluster", "eu", "--output", "markdown").out.splitlines()
    assert shown[:3] == [
        r"## eu \(ENFORCED\)",
        "",
        f"**{objects(2)} to create, 0 to update, 0 to delete; 0 unchanged.**",
    ]
    assert "### Changes" in shown
    start = shown.index("```diff")
    assert shown[start + 1 : start + 6] == [
        "+ GlobalNetworkPolicy firewallpolicy.pan-unknown-zone (1 ingress, 1 egress rule)",
        "+ GlobalNetworkSet pan.db (1 net)",
        "+ GlobalNetworkSet pan.web (2 nets)",
        "+ Tier firewallpolicy (order 101)",
        "```",
    ]


def test_what_another_hand_changed_is_put_back_and_called_drift(place: Installation) -> None:
    place.done("sync")
    file = place.directory / "eu" / "globalnetworkset" / "pan.web.yaml"
    document = yaml.safe_load(file.read_text())
    document["spec"]["nets"] = ["0.0.0.0/0"]
    document["metadata"]["labels"]["team"] = "theirs"
    file.write_text(yaml.safe_dump(document))
    reported = place.done("sync", "--cluster", "eu", ZONEBRIDGE_DRIFT="report")
    assert "1 changed by someone else and left as they are" in reported.out
    assert place.written("eu")["pan.web.yaml"] == ["0.0.0.0/0"]
    repaired = place.done("sync", "--cluster", "eu").out
    nets = "nets: +10.1.0.1/32 +10.1.0.2/32 -0.0.0.0/0; group 'web'; drift"
    assert f"~ GlobalNetworkSet pan.web ({nets})" in repaired
    assert place.written("eu")["pan.web.yaml"] == ["10.1.0.1/32", "10.1.0.2/32"]
    assert yaml.safe_load(file.read_text())["metadata"]["labels"]["team"] == "theirs"


def test_files_of_others_stay(place: Installation) -> None:
    directory = place.directory / "eu" / "globalnetworkset"
    directory.mkdir(parents=True)
    theirs = {
        "kustomization.yaml": "resources: []\n",
        "pan.gone.yaml": "kind: GlobalNetworkSet\nmetadata: {name: pan.gone}\n",
        "broken.yaml": "{",
    }
    for name, content in theirs.items():
        (directory / name).write_text(content)
    place.done("sync", "--cluster", "eu")
    left = [address("left", "10.1.0.1")]
    place.export(document(left, {"dg-eu": left, "dg-us": ()}))
    place.done("sync", "--cluster", "eu")
    assert {file.name: file.read_text() for file in directory.iterdir()} == theirs


# --- dry runs -------------------------------------------------------------------------------------

DRY = [("plan",), ("sync", "--dry-run"), ("plan", "--output", "json"), ("plan", "--verbose")]


@pytest.mark.parametrize("arguments", DRY)
def test_a_dry_run_writes_nothing_where_there_is_no_store(
    place: Installation, arguments: tuple[str, ...]
) -> None:
    before = everything(place.directory)
    assert "pan.web" in place.done(*arguments).out
    assert everything(place.directory) == before


def test_a_dry_run_writes_nothing_where_there_is_a_store(place: Installation) -> None:
    place.done("sync")
    grow(place)
    before = everything(place.directory)
    for arguments in DRY:
        assert "pan.mail" in place.done(*arguments).out
    assert everything(place.directory) == before


def test_a_dry_run_writes_nothing_after_a_kill(place: Installation) -> None:
    many(place)
    interrupt(place, signal.SIGKILL)
    before = everything(place.directory)
    assert "zonebridge.db-wal" in before
    assert place.run("plan", "--detailed-exitcode").code == 2
    assert everything(place.directory) == before


def test_a_dry_run_needs_no_right_to_write(place: Installation) -> None:
    place.done("sync")
    grow(place)
    every = [place.directory, *place.directory.rglob("*")]
    for path in every:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        before = everything(place.directory)
        done = place.run("plan", under=without_rights())
        assert (done.code, done.err) == (0, "")
        assert "pan.mail" in done.out
        assert place.run("audit", "verify", under=without_rights()).code == 0
        assert everything(place.directory) == before
        refused = place.run("sync", under=without_rights())
        assert refused.code == 1
        [sentence] = sentences(refused)
        assert "zonebridge.db cannot be written; make the file and its directory" in sentence
    finally:
        for path in every:
            path.chmod(0o700)


# --- stdout and stderr ----------------------------------------------------------------------------


def test_stdout_is_the_result_and_stderr_the_log(place: Installation) -> None:
    done = place.done("sync", "--output", "json")
    assert len(done.json["clusters"]) == 2
    logged = [orjson.loads(line) for line in done.err.splitlines()]
    assert [event["event"] for event in logged] == ["audit heads"]
    assert ESCAPE not in done.out + done.err


def terminal(place: Installation, *arguments: str, code: int = 0, **variables: str) -> str:
    """What a command shows on a terminal, which is its stdout and its stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=place.directory,
        env=environment(TERM="xterm", **variables),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(ours, 65536):
                shown += read
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
        assert process.wait(SECONDS) == code
    return shown.decode()


def test_a_terminal_gets_colours(place: Installation) -> None:
    shown = terminal(place, "sync")
    assert "\x1b[32m  + GlobalNetworkSet pan.web (2 nets)\x1b[0m" in shown
    assert "audit heads" in shown


def test_no_color_is_respected(place: Installation) -> None:
    shown = terminal(place, "sync", NO_COLOR="1")
    assert "pan.web" in shown
    # The line of what is under way is cleared, which is no colour.
    assert ESCAPE not in shown.replace("\r\x1b[K", "")


def test_whoever_reads_one_line_sees_no_traceback(place: Installation) -> None:
    place.done("sync")
    for command in ("audit export", "audit list", "plan", "plan --output json"):
        done = place.shell(f"zonebridge {command} | head -n 1")
        assert (done.code, done.err) == (0, "")
        assert done.out.count("\n") == 1


def test_a_reader_who_leaves_hides_no_failure(place: Installation) -> None:
    (place.directory / "panorama.xml").unlink()
    assert place.shell("zonebridge plan --output json | true").code == 4


def test_closed_and_full_outputs(place: Installation) -> None:
    closed = place.shell("zonebridge sync --cluster eu >&- 2>&-")
    assert (closed.code, closed.out, closed.err) == (0, "", "")
    assert len(place.files("eu")) == 2
    # Of each object an intent and an outcome, and the begin and the end of the run.
    records = 2 * objects(2) + 2
    assert place.shell("zonebridge audit verify 2>&-").out.startswith(f"{records} records in 2 ")
    full = place.shell("zonebridge audit export > /dev/full")
    assert full.code == 1
    assert "error: cannot read or write the output: No space left on device" in full.err
    assert "Traceback" not in full.err


@pytest.mark.parametrize(
    "variables",
    [{"LC_ALL": "C"}, {"LANG": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}],
)
def test_any_locale_shows_any_name(place: Installation, variables: dict[str, str]) -> None:
    place.panorama(eu={"日本": ["10.1.0.1/32"], "bücher": ["10.1.0.1/32"]})
    assert "firewall.tigera.io/name=" in place.done("plan", "--verbose", **variables).out
    shown = place.shell("zonebridge plan --output json", **variables)
    changes = shown.json["clusters"][0]["plan"]["changes"]
    of_sets = [change for change in changes if change["kind"] == "GlobalNetworkSet"]
    assert {change["groups"][0] for change in of_sets} == {"bücher", "日本"}


# --- exit codes -----------------------------------------------------------------------------------

FIREWALL = (
    b"<config><devices><entry name='x'><vsys><entry name='vsys1'/></vsys></entry></devices>"
    b"</config>"
)
REFUSAL = (
    b'<response status="error" code="403"><result><msg>Invalid Credential</msg></result></response>'
)
SOURCES = {
    "missing": (None, "No such file or directory"),
    "truncated": (b"<config><shared><address>", "cannot be read as XML"),
    "firewall": (FIREWALL, "is the configuration of a firewall"),
    "error": (
        REFUSAL,
        "is an error that Panorama's API returned: Invalid Credential",
    ),
    "nested": (b"<config>" + 5000 * b"<a>" + 5000 * b"</a>" + b"</config>", "nested deeper"),
}


@pytest.mark.parametrize("broken", SOURCES)
def test_a_broken_source_is_4_and_holds_up_no_other_cluster(
    place: Installation, broken: str
) -> None:
    place.done("sync")
    content, says = SOURCES[broken]
    file = place.directory / "other.xml"
    if content is not None:
        file.write_bytes(content)
    grow(place)
    place.configure(
        sources=[
            {"name": "main", "kind": "file", "path": "panorama.xml"},
            {"name": "other", "kind": "file", "path": "other.xml"},
        ],
        clusters=[
            cluster("eu", device_groups=[{"source": "other", "name": "dg-eu", "mode": "staged"}]),
            cluster("us", device_groups=[{"source": "main", "name": "dg-us", "mode": "staged"}]),
        ],
    )
    before = everything(place.directory / "eu")
    done = place.run("sync", "--detailed-exitcode")
    assert done.code == 4
    [sentence] = sentences(done)
    assert sentence.startswith("cluster eu: ")
    assert says in sentence
    assert str(file) in sentence
    assert everything(place.directory / "eu") == before
    assert "pan.mail.yaml" in place.files("us")
    [finish] = place.records("--limit", "1")
    assert (finish["outcome"], finish["error"]) == ("exit 4", sentence.removeprefix("cluster eu: "))


def test_an_unknown_device_group_is_4_and_the_known_ones_are_named(place: Installation) -> None:
    done = place.run("plan", ZONEBRIDGE_CLUSTERS__0__DEVICE_GROUPS__0__NAME="dg-uk")
    assert done.code == 4
    [sentence] = sentences(done)
    assert "no device group 'dg-uk'; it has 'dg-eu', 'dg-us'" in sentence
    assert done.out.startswith(f"Cluster us (ENFORCED): {objects(2)} to create")


def test_a_foreign_object_in_the_way_is_3_and_stays(place: Installation) -> None:
    theirs = place.directory / "eu" / "globalnetworkset" / "pan.web.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("kind: GlobalNetworkSet\nmetadata: {name: pan.web}\n")
    before = theirs.read_bytes()
    assert place.run("plan").code == 3
    done = place.run("sync")
    assert done.code == 3
    assert "! foreign-object: GlobalNetworkSet pan.web does not carry the labels" in done.out
    assert theirs.read_bytes() == before
    assert place.files("eu") == ["pan.db.yaml", "pan.web.yaml"]
    assert len(place.files("us")) == 2
    [blocked] = place.records("--kind", "blocked")
    assert (blocked["cluster"], blocked["detail"]) == ("eu", "foreign-object")


def test_a_cluster_that_is_a_file_is_5_and_holds_up_no_other(place: Installation) -> None:
    (place.directory / "eu").write_text("in the way")
    done = place.run("sync")
    assert done.code == 5
    [sentence] = sentences(done)
    assert sentence.startswith("cluster eu: cannot read ")
    assert len(place.files("us")) == 2


def test_an_object_that_cannot_be_written_is_5_and_is_recorded(place: Installation) -> None:
    directory = place.directory / "eu" / "globalnetworkset"
    directory.mkdir(parents=True)
    directory.chmod(0o500)
    done = place.run("sync", under=without_rights())
    directory.chmod(0o700)
    assert done.code == 5
    _, sentence = sentences(done)
    file = directory / "pan.web.yaml"
    assert sentence.startswith(f"cluster eu: GlobalNetworkSet pan.web: cannot write {file}: ")
    # The tier and its last policy select none of the sets.
    assert done.out.count(f"Written to eu: {objects(0)}; failed: 2.") == 1
    assert place.beside("eu") == list(TIER)
    assert len(place.files("us")) == 2
    failed = place.records("--outcome", "failed")
    assert [each["object_name"] for each in failed] == ["pan.db", "pan.web"]
    place.done("sync")
    assert len(place.files("eu")) == 2


def test_the_worst_exit_code_wins(place: Installation) -> None:
    theirs = place.directory / "blocked" / "globalnetworkset" / "pan.web.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    (place.directory / "file").write_text("in the way")
    place.configure(
        clusters=[
            cluster("good", "dg-eu"),
            cluster("file", "dg-eu"),
            cluster("blocked", "dg-eu"),
            cluster("lost"),
        ]
    )

    def code(*names: str) -> int:
        only = [part for name in names for part in ("--cluster", name)]
        return place.run("plan", "--detailed-exitcode", *only).code

    assert code("good") == 2
    assert code("good", "file") == 5
    assert code("good", "file", "blocked") == 3
    assert code() == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plan", "--cluster", "eu1"), "there is no cluster 'eu1'; did you mean eu?"),
        (("sync", "--cluster", "eu", "--cluster", "berlin"), "'berlin'; known here: eu, us"),
        (("sync", "--dryrun"), "No such option '--dryrun'"),
        (("sinc",), "Did you mean 'sync'?"),
        (("plan", "--output", "xml"), "Invalid value for '--output'"),
        (("--config", "none.yaml", "plan"), "There is no configuration file none.yaml"),
        (("--config", ".", "plan"), "is a directory; name the configuration file in it"),
    ],
)
def test_a_mistake_in_the_command_is_64_and_one_sentence(
    place: Installation, arguments: tuple[str, ...], says: str
) -> None:
    before = everything(place.directory)
    done = place.run(*arguments)
    assert (done.code, done.out) == (64, "")
    [sentence] = sentences(done)
    assert says in sentence
    assert everything(place.directory) == before


def test_a_traceback_comes_with_debug_only(place: Installation) -> None:
    silent = place.run("plan", "--cluster", "uu")
    loud = place.run("--debug", "plan", "--cluster", "uu")
    assert silent.code == loud.code == 64
    assert loud.err.startswith("Traceback")
    assert loud.err.endswith(silent.err)
    assert "Traceback" not in silent.err


def test_without_a_command_the_help_comes_and_64(place: Installation) -> None:
    done = place.run()
    assert (done.code, done.out) == (64, "")
    assert done.err.startswith("Usage: zonebridge")
    assert place.done("--help").out == done.err
    assert place.done("--version").out.startswith("zonebridge ")


# --- interrupted, and two at once -----------------------------------------------------------------


def interrupt(place: Installation, number: signal.Signals) -> tuple[int, str]:
    """Begin a sync and send it a signal once it writes sets; its exit code and stderr.

    It stands still while that is made sure of, so the slowest look is not too late.
    """
    process = place.start("sync")

    def is_writing() -> bool:
        if not 0 < len(place.files("eu")) < MANY:
            return False
        try:
            store = open_store_read_only(f"sqlite:///{place.directory}/zonebridge.db")
        except ZonebridgeError:
            return False  # it stands in the middle of what the store was opened for
        with store:
            return len(store.open_intents("eu")) > 0

    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        if place.files("eu"):
            process.send_signal(signal.SIGSTOP)
            if is_writing():
                break
            process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=SECONDS)
    return process.returncode, err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_sync_leaves_a_trail_that_verifies_and_is_taken_up(
    place: Installation, number: signal.Signals
) -> None:
    many(place)
    code, err = interrupt(place, number)
    if number is signal.SIGKILL:
        assert code == -number
    else:
        # The batches in hand were finished, so there is nothing to recover.
        assert code == 128 + number
        assert "the next sync continues" in err
    assert "Traceback" not in err
    assert 0 < len(place.files("eu")) < MANY
    place.done("audit", "verify")
    place.done("sync", "--lease-timeout", "1m")
    assert len(place.files("eu")) == MANY
    assert place.beside("eu") == list(TIER)
    place.done("audit", "verify")
    place.done("plan", "--detailed-exitcode")
    trail = [orjson.loads(line) for line in place.done("audit", "export").out.splitlines()]
    of_kind = {
        kind: sum(record["kind"] == kind for record in trail)
        for kind in ("intent", "outcome", "recovered")
    }
    assert of_kind["intent"] == of_kind["outcome"] + of_kind["recovered"]
    assert (of_kind["recovered"] > 0) is (number is signal.SIGKILL)
    assert {record["outcome"] for record in trail if record["kind"] == "recovered"} <= {
        "applied",
        "not-applied",
    }


def test_of_two_syncs_at_once_one_writes_and_the_other_names_it(place: Installation) -> None:
    many(place, 4000)
    first = place.start("sync")
    until(lambda: place.files("eu"), "the first one writes")
    second = place.run("sync")
    first.communicate(timeout=SECONDS)
    assert (first.returncode, second.code) == (0, 7)
    assert any(f"process {first.pid}, whose lease lasts" in error for error in second.errors)
    place.done("audit", "verify")
    place.done("plan", "--detailed-exitcode")
    assert len(place.files("eu")) == 4000


# --- odd surroundings -----------------------------------------------------------------------------

ODD = (
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "-",
    "a\nb",
    "\x85\u2028line",
    "right \u202e left",
    "```\n# not a heading",
    "web",
    "Web",
    "WEB",
    "bücher",
    "日本",
    "y" * 230,
    "z" * 231,
    "x" * 5000,
    "%s {0} $HOME `id`",
    "<b>&'\"|",
)


def test_odd_names_leave_no_mark(place: Installation) -> None:
    place.configure("eu")
    place.panorama(eu={name: ["10.1.0.1/32"] for name in ODD})
    shown = place.done("sync", "--verbose")
    markdown = place.run("plan", "--output", "markdown", ZONEBRIDGE_STORE__URL="sqlite:///no.db")
    for printed in (shown.out, shown.err, markdown.out, place.done("audit", "list").out):
        assert all(line.isprintable() for line in printed.split("\n"))
    assert "\n# " not in markdown.out
    found = {path.name for path in place.directory.iterdir()}
    assert found == {"eu", "panorama.xml", "zonebridge.db", "zonebridge.yaml"}
    assert place.beside("eu") == list(TIER)
    files = list((place.directory / "eu" / "globalnetworkset").iterdir())
    originals = [
        yaml.safe_load(file.read_bytes())["metadata"]["annotations"]["firewall.tigera.io/name"]
        for file in files
    ]
    assert sorted(originals) == sorted(ODD)
    place.done("plan", "--detailed-exitcode")
    [_, outcome] = place.records("--group", "a\nb")
    assert outcome["groups"] == ["a\nb"]


def test_no_escape_sequence_of_a_name_reaches_the_terminal(place: Installation) -> None:
    # XML cannot hold ESC itself, but U+009B begins the same sequences.
    place.panorama(eu={"\x9b31mred": ["10.1.0.1/32"]})
    (place.directory / "panorama.xml").write_text(
        (place.directory / "panorama.xml")
        .read_text()
        .replace("<static>", "<odd>\x9b2J</odd><static>")
    )
    for output in ("text", "markdown"):
        shown = place.done("plan", "--verbose", "--output", output)
        assert "Unreadable" in shown.out
        assert "\x9b" not in shown.out + shown.err


def test_a_link_in_the_cluster_leads_no_write_astray(place: Installation) -> None:
    precious = place.directory / "precious"
    precious.write_text("precious")
    directory = place.directory / "eu" / "globalnetworkset"
    directory.mkdir(parents=True)
    for name in (".zonebridge-pan.web.yaml", "pan.db.yaml"):
        (directory / name).symlink_to(precious)
    assert place.run("sync", "--cluster", "eu").code == 3
    (directory / "pan.db.yaml").unlink()
    place.done("sync", "--cluster", "eu")
    assert precious.read_text() == "precious"
    assert not (directory / "pan.web.yaml").is_symlink()


def test_paths_with_characters_that_urls_give_a_meaning(tmp_path: Path) -> None:
    place = Installation.in_directory(tmp_path / "a b?c#d%41e&f=ü")
    place.configure("eu", audit={"head_file": "heads?.txt"})
    place.done("sync")
    assert {path.name for path in place.directory.iterdir()} == {
        "eu",
        "heads?.txt",
        "panorama.xml",
        "zonebridge.db",
        "zonebridge.yaml",
    }
    assert [path.name for path in tmp_path.iterdir()] == [place.directory.name]
    before = everything(place.directory)
    place.done("plan", "--detailed-exitcode")
    place.done("audit", "verify", "--head", "heads?.txt")
    assert everything(place.directory) == before


def test_paths_start_from_the_configuration(place: Installation, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    configuration = os.path.relpath(place.directory / "zonebridge.yaml", elsewhere)
    done = place.run("--config", configuration, "sync", cwd=elsewhere)
    assert done.code == 0
    assert len(place.files("eu")) == 2
    assert (place.directory / "zonebridge.db").is_file()
    assert list(elsewhere.iterdir()) == []


def test_a_user_without_a_name_and_a_home(place: Installation) -> None:
    done = place.run("sync", under=[*as_nobody_known(), "env", "-u", "HOME", "-u", "USER"])
    assert done.code == 0, done.err
    begin = place.records("--kind", "run")[0]
    assert begin["trigger"].startswith("zonebridge sync by uid 12345 on ")


def test_the_trail_does_not_believe_the_environment_who_began_a_run(place: Installation) -> None:
    place.done("sync", USER="mallory", LOGNAME="mallory", LNAME="mallory", USERNAME="mallory")
    begin = place.records("--kind", "run")[0]
    assert "mallory" not in begin["trigger"]


def test_a_store_behind_a_closed_door_is_one_sentence(place: Installation) -> None:
    door = place.directory / "door"
    door.mkdir(mode=0o000)
    try:
        for command in ("plan", "sync", "audit verify"):
            done = place.run(
                *command.split(),
                under=without_rights(),
                ZONEBRIDGE_STORE__URL="sqlite:///door/s.db",
            )
            assert done.code == 1
            [sentence] = sentences(done)
            assert f"the store {door}/s.db cannot be opened; " in sentence.replace(
                ": Permission denied", ""
            )
    finally:
        door.chmod(0o700)


def test_a_cluster_that_is_no_longer_configured_is_listed_until_it_is_emptied(
    place: Installation,
) -> None:
    place.configure("eu", "us")
    place.done("sync")
    written = place.files("us")
    place.configure("eu")
    [left] = place.done("status", "--output", "json").json["unconfigured"]
    assert (left["name"], left["uid"], left["objects"]) == ("us", None, objects(len(written)))
    [same] = place.done("plan", "--output", "json").json["unconfigured"]
    assert same == left
    sentence = f"luster us is no longer configured, and {left['objects']} objects of ours were"
    assert sentence in place.done("status").out
    for command in ("plan", "sync"):
        assert sentence in place.done(command).err
    assert place.files("us") == written

    place.configure("eu", cluster("us", device_groups=[]))
    place.done("config", "check")
    assert f"{left['objects']} to delete" in place.done("plan", "--cluster", "us").out
    place.done("sync")
    place.done("verify", "--cluster", "us", "--live")
    assert place.files("us") == []
    place.configure("eu")
    assert place.done("status", "--output", "json").json["unconfigured"] == []
    assert "no longer configured" not in place.done("plan").err
    place.done("audit", "verify")


def test_a_cluster_that_is_gone_for_good_is_forgotten_and_the_trail_keeps_it(
    place: Installation,
) -> None:
    place.configure("eu", "us")
    place.done("sync")
    written = place.files("us")
    refused = place.run("forget", "us", "--yes")
    assert refused.code == 64
    assert "remove its entry" in refused.err

    place.configure("eu")
    assert "run `zonebridge forget us`" in place.done("status").out
    before = place.done("audit", "export", "--cluster", "us").out
    unasked = place.run("forget", "us")
    assert unasked.code == 64
    assert "add --yes" in unasked.err
    unheard = place.run("forget", "su", "--yes")
    assert unheard.code == 64
    assert "known here: eu, us" in unheard.err
    with (
        open_store(f"sqlite:///{place.directory}/zonebridge.db") as store,
        store.lease("us", "an older service", timedelta(minutes=1)),
    ):
        held = place.run("forget", "us", "--yes")
        [left] = place.done("status", "--output", "json").json["unconfigured"]
        assert left["holder"] == "an older service"
    assert held.code == 7
    assert "an older service" in held.err
    assert place.done("audit", "export", "--cluster", "us").out == before

    assert "Forgot cluster us." in place.done("forget", "us", "--yes").out
    assert place.done("status", "--output", "json").json["unconfigured"] == []
    for command in ("status", "plan", "sync"):
        done = place.done(command)
        assert "cluster us" not in f"{done.out}{done.err}".lower()
    assert place.files("us") == written
    after = place.done("audit", "export", "--cluster", "us").out
    assert after.startswith(before)
    assert '"action":"forget-cluster"' in after.splitlines()[-1]
    place.done("audit", "verify")
    again = place.done("forget", "us", "--yes")
    assert "nothing to forget" in again.out
    assert place.done("audit", "export", "--cluster", "us").out == after

    # What stood there all the time is ours by its labels.
    place.configure("eu", "us")
    assert "no changes" in place.done("plan", "--cluster", "us").out
    place.done("sync")
    assert place.files("us") == written
    place.done("verify", "--cluster", "us", "--live")
    place.done("audit", "verify")


def test_forgetting_is_confirmed_at_a_terminal(place: Installation) -> None:
    place.configure("eu", "us")
    place.done("sync")
    place.configure("eu")
    for answer, code in (("n", 130), ("y", 0)):
        controller, terminal = pty.openpty()
        try:
            os.write(controller, f"{answer}\n".encode())
            done = subprocess.run(
                [COMMAND, "forget", "us"],
                cwd=place.directory,
                env=environment(),
                stdin=terminal,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            os.close(controller)
            os.close(terminal)
        assert done.returncode == code, done.stderr
        assert "of ours were last in cluster us" in done.stderr
        assert len(place.done("status", "--output", "json").json["unconfigured"]) == (code and 1)

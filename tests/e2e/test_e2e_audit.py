"""`zonebridge audit`: what an auditor asks, on SQLite and on PostgreSQL."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import rfc8785
import yaml

from tests.e2e.installation import Installation, everything, objects, sentences
from tests.postgresql import Database

FIRST_PREVIOUS_HASH = 64 * "0"
# Two runs begin and end. Two sets come, one changes and one goes; of each write an intent and an
# outcome.
RECORDS = {"_service": 4, "eu": 2 * (objects(2) + 2)}
ALL = sum(RECORDS.values())
COMMANDS = ("list", "show eu:1", "show --at 2026-01-01", "export", "verify")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two syncs of cluster eu: `web` and `db` come, then `db` goes and `web` changes."""
    place = Installation.in_directory(tmp_path_factory.mktemp("model") / "place")
    place.configure("eu", audit={"head_file": "heads.txt"})
    twice(place)
    return place.directory


@pytest.fixture
def synced(model: Path, tmp_path: Path) -> Installation:
    """A copy of the model for one test."""
    shutil.copytree(model, tmp_path / "synced")
    return Installation(tmp_path / "synced")


def twice(place: Installation) -> tuple[dict[str, object], datetime]:
    """Two different syncs; what stood in the cluster in between, and when that was."""
    place.done("sync")
    between, time = manifests(place), datetime.now(UTC)
    place.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.5/32"]})
    place.done("sync")
    return between, time


def manifests(place: Installation) -> dict[str, object]:
    """What of each object in the directory the trail has: all but which record it names."""
    found = {}
    for file in (place.directory / "eu").rglob("*.yaml"):
        document = yaml.safe_load(file.read_bytes())
        annotations = document["metadata"]["annotations"]
        del annotations["zonebridge.io/record"], annotations["zonebridge.io/writer"]
        if not annotations:
            del document["metadata"]["annotations"]
        found[file.stem] = document
    return found


def tamper(place: Installation, *statements: str) -> None:
    """What somebody does who owns the file: no trigger holds them."""
    with closing(sqlite3.connect(place.directory / "zonebridge.db")) as connection, connection:
        for trigger in ("records_update", "records_delete", "bodies_update", "bodies_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def test_list_tells_what_happened_in_order(synced: Installation) -> None:
    lines = synced.done("audit", "list").out.splitlines()
    told = [line.split(None, 2)[1:] for line in lines]
    assert [(where, " ".join(what.split())) for where, what in told if where != "_service:1"][
        : 2 * objects(2)
    ] == [
        ("eu:1", "intent create Tier firewallpolicy"),
        ("eu:2", "outcome create applied Tier firewallpolicy"),
        ("eu:3", "intent create GlobalNetworkSet pan.db"),
        ("eu:4", "intent create GlobalNetworkSet pan.web"),
        ("eu:5", "outcome create applied GlobalNetworkSet pan.db"),
        ("eu:6", "outcome create applied GlobalNetworkSet pan.web"),
        ("eu:7", "intent create GlobalNetworkPolicy firewallpolicy.pan-unknown-zone"),
        ("eu:8", "outcome create applied GlobalNetworkPolicy firewallpolicy.pan-unknown-zone"),
    ]
    assert "run finish done" in lines[-1]
    assert synced.done("audit", "list", "--limit", "2").out.splitlines() == lines[-2:]


def test_filters_find_what_they_name_and_nothing_else(synced: Installation) -> None:
    def found(*arguments: str) -> list[tuple[str, str, str]]:
        return [
            (each["kind"], each["action"], each["object_name"])
            for each in synced.records(*arguments)
        ]

    pairs = [("create", "pan.db"), ("delete", "pan.db")]
    both = [(kind, *pair) for pair in pairs for kind in ("intent", "outcome")]
    assert found("--group", "db") == found("--object", "pan.db") == both
    assert found("--group", "d") == found("--group", '","') == []
    assert found("--group", "db", "--kind", "outcome", "--outcome", "applied") == both[1::2]
    assert len(found("--cluster", "eu")) == RECORDS["eu"]
    assert len(found("--kind", "run")) == 4
    assert found("--until", "2026-01-01") == found("--since", "9999-01-01") == []
    assert len(found("--since", "2026-01-01", "--until", "9999-01-01T00:00:00+02:00")) == ALL


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rule", "nosuchrule"),
        ("--group", "nosuchgroup"),
        ("--object", "pan.x"),
        ("--administrator", "nobody"),
        ("--outcome", "failed"),
        ("--kind", "recovered"),
        ("--since", "9999-01-01"),
        ("--cluster", "eu", "--until", "2026-01-01", "--limit", "3"),
    ],
)
def test_that_no_record_matches_is_said(synced: Installation, arguments: tuple[str, ...]) -> None:
    done = synced.done("audit", "list", *arguments)
    assert (done.out, done.errors) == ("", ["no record matches"])
    done = synced.done("audit", "list", "--output", "json", *arguments)
    assert (done.json, done.errors) == ([], ["no record matches"])


def test_an_export_of_nothing_says_so(synced: Installation) -> None:
    done = synced.done("audit", "export", "--rule", "nosuchrule")
    assert (done.out, done.errors) == ("", ["no record matches"])
    assert synced.done("audit", "export").errors == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("list", "--cluster", "eu2"), "no record names a cluster 'eu2'; did you mean eu?"),
        (("show", "--at", "2026-01-01", "--cluster", "us"), "names a cluster 'us'; known here: eu"),
        (("list", "--kind", "intents"), "'intents' is unknown; did you mean intent?"),
        (("list", "--since", "yesterday"), "'yesterday' is not a time; write 2026-03-03 or"),
        (("list", "--until", "0001-01-01T00:00:00+14:00"), "is not a time"),
        (("list", "--limit", "0"), "Invalid value for '--limit'"),
        (("list", "--limit", str(2**64)), "Invalid value for '--limit'"),
        (("export", "--group", "\udcff"), "is not UTF-8"),
        (("show",), "name either a record, as CHAIN:SEQUENCE, or a time, with --at"),
        (("show", "eu:1", "--at", "2026-01-01"), "name either a record"),
        (("show", "eu"), "'eu' is not CHAIN:SEQUENCE"),
        (("show", f"eu:{2**64}"), "is not CHAIN:SEQUENCE"),
        (("verify", "--head", "5:abc"), "'5:abc' is neither a file of heads nor a head"),
        (("verify", "--head", "no-such-file.txt"), "is neither a file of heads nor a head"),
    ],
)
def test_a_question_that_cannot_be_asked_is_64_and_one_sentence(
    synced: Installation, arguments: tuple[str, ...], says: str
) -> None:
    done = synced.run("audit", *arguments)
    assert (done.code, done.out) == (64, "")
    [sentence] = sentences(done)
    assert says in sentence


def test_show_has_the_object_before_and_after(synced: Installation) -> None:
    last = RECORDS["eu"]
    shown = synced.done("audit", "show", f"eu:{last}").json
    assert set(shown) == {"record", "before", "after", "found"}
    assert (shown["record"]["kind"], shown["record"]["sequence"]) == ("outcome", last)
    assert shown["record"]["object_name"] == shown["before"]["metadata"]["name"] == "pan.db"
    assert shown["after"] is None
    missing = synced.run("audit", "show", "eu:99")
    assert (missing.code, list(sentences(missing))) == (
        1,
        ["chain eu has no record 99; `zonebridge audit list` shows them all"],
    )


def test_the_past_is_rebuilt(place: Installation) -> None:
    place.configure("eu")
    between, time = twice(place)
    past = place.done("audit", "show", "--at", time.isoformat()).json
    assert {each["metadata"]["name"]: each for each in past["eu"]} == between
    now = place.done("audit", "show", "--at", "9999-01-01", "--cluster", "eu").json
    assert {each["metadata"]["name"]: each for each in now["eu"]} == manifests(place)
    assert place.done("audit", "show", "--at", "2026-01-01").json == {"eu": []}


def recomputed(lines: list[str]) -> dict[str, int]:
    """Check every hash and link by the lines alone; the last sequence of each chain."""
    heads: dict[str, tuple[int, str]] = {}
    for line in lines:
        record = orjson.loads(line)
        digest = record.pop("hash")
        assert hashlib.sha256(rfc8785.dumps(record)).hexdigest() == digest
        sequence, previous = heads.get(record["chain"], (0, FIRST_PREVIOUS_HASH))
        assert (record["sequence"], record["previous_hash"]) == (sequence + 1, previous)
        heads[record["chain"]] = (record["sequence"], digest)
    return {chain: sequence for chain, (sequence, _) in heads.items()}


def test_an_export_can_be_checked_without_the_store(synced: Installation) -> None:
    lines = synced.done("audit", "export").out.splitlines()
    assert recomputed(lines) == RECORDS
    some = synced.done("audit", "export", "--format", "jsonl", "--group", "db").out.splitlines()
    assert len(some) == 4
    assert set(some) < set(lines)


def test_verify_says_what_it_cannot_know(synced: Installation) -> None:
    alone = synced.done("audit", "verify").out
    assert alone.startswith(f"{ALL} records in 2 chains verify; whether newer records of")
    whole = synced.done("audit", "verify", "--head", "heads.txt").out
    reached = f"{ALL} records in 2 chains verify, and every chain reaches its published head\n"
    assert whole == reached
    [service, eu] = (synced.directory / "heads.txt").read_text().splitlines()
    assert service.startswith("_service 4:")
    document = synced.done("audit", "verify", "--head", eu.split()[1], "--output", "json").json
    assert document == {"records": ALL, "heads": [service, eu], "without_head": ["_service"]}


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE records SET object_name='pan.x' WHERE chain='eu' AND sequence=3", "3 of chain eu"),
        ("UPDATE records SET time='2026' WHERE chain='eu' AND sequence=1", "1 of chain eu"),
        ("DELETE FROM records WHERE chain='eu' AND sequence=5", "5 of chain eu"),
        ("DELETE FROM records WHERE chain='_service' AND sequence=4", "4 of chain _service"),
        ("UPDATE bodies SET zlib=x'00' WHERE sha256 IN (SELECT after FROM records)", "eu"),
        ("DELETE FROM objects", "of chain eu"),
    ],
)
def test_tampering_is_8_and_the_first_bad_record_is_named(
    synced: Installation, statement: str, where: str
) -> None:
    tamper(synced, statement)
    done = synced.run("audit", "verify")
    assert (done.code, done.out) == (8, "")
    [sentence] = sentences(done)
    assert sentence.startswith("the audit trail is broken at record ")
    assert where in sentence


def test_only_a_head_tells_that_the_tail_was_cut_off(place: Installation) -> None:
    place.configure("eu", audit={"head_file": "heads.txt"})
    place.done("sync")
    shutil.copy(place.directory / "zonebridge.db", place.directory / "older.db")
    place.panorama(eu={"web": ["10.1.0.9/32"]})
    place.done("sync")
    (place.directory / "older.db").replace(place.directory / "zonebridge.db")
    place.done("audit", "verify")
    done = place.run("audit", "verify", "--head", "heads.txt")
    assert done.code == 8
    [sentence] = sentences(done)
    assert "record 3 of chain _service: it was cut off, the head is _service 4:" in sentence


def test_a_sync_does_not_publish_over_what_an_older_store_lacks(place: Installation) -> None:
    place.configure("eu", audit={"head_file": "heads.txt"})
    place.done("sync")
    shutil.copy(place.directory / "zonebridge.db", place.directory / "older.db")
    place.panorama(eu={"web": ["10.1.0.9/32"]})
    place.done("sync")
    heads = (place.directory / "heads.txt").read_bytes()
    (place.directory / "older.db").replace(place.directory / "zonebridge.db")
    store = (place.directory / "zonebridge.db").read_bytes()
    done = place.run("sync")
    assert done.code == 8
    [sentence] = sentences(done)
    assert "the store was replaced, or restored from an older copy" in sentence
    assert (place.directory / "heads.txt").read_bytes() == heads
    assert (place.directory / "zonebridge.db").read_bytes() == store


def test_the_database_itself_refuses_to_change_or_remove_records(synced: Installation) -> None:
    with closing(sqlite3.connect(synced.directory / "zonebridge.db")) as connection:
        for statement in (
            "DELETE FROM records",
            "UPDATE records SET error=''",
            "DELETE FROM bodies",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_store_is_an_error_and_none_is_made(place: Installation, command: str) -> None:
    before = everything(place.directory)
    done = place.run("audit", *command.split())
    assert (done.code, done.out) == (1, "")
    [sentence] = sentences(done)
    assert sentence == (
        f"there is no store at {place.directory}/zonebridge.db; correct store.url, or run "
        "`zonebridge sync` first"
    )
    assert everything(place.directory) == before


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: file.write_bytes(b"junk" * 100), "is not a SQLite database"),
        (lambda file: file.mkdir(), "directory"),
        (lambda file: sqlite3.connect(file).execute("CREATE TABLE t (x)"), "are not zonebridge's"),
    ],
)
def test_what_is_no_store_of_ours_is_one_sentence(
    place: Installation, make: Callable[[Path], object], says: str
) -> None:
    make(place.directory / "zonebridge.db")
    for command in ("plan", "sync"):
        done = place.run(*command.split())
        assert (done.code, done.out) == (1, ""), command
        [sentence] = sentences(done)
        assert says in sentence


def test_the_schema_is_made_and_checked(place: Installation) -> None:
    missing = place.run("db", "check")
    assert (missing.code, missing.out) == (1, "")
    place.done("db", "upgrade")
    place.done("db", "check")
    place.done("sync")
    place.done("db", "check")
    tamper(place)
    damaged = place.run("db", "check")
    assert damaged.code == 1
    assert "lacks the triggers bodies_delete, bodies_update, records_delete, " in damaged.err
    place.done("db", "upgrade")
    place.done("db", "check")


def test_looking_writes_nothing(synced: Installation) -> None:
    before = everything(synced.directory)
    for command in COMMANDS:
        synced.done("audit", *command.split())
    assert everything(synced.directory) == before


def test_everything_works_on_postgresql(place: Installation, postgresql_database: Database) -> None:
    secret = place.directory / "password"
    secret.write_text(postgresql_database.password + "\n")
    secret.chmod(0o600)
    place.configure("eu", store={"url": postgresql_database.url, "password_file": "password"})
    nothing = place.run("audit", "verify")
    assert nothing.code == 1
    assert "there is no store at " in nothing.err
    assert f"{objects(2)} to create" in place.done("plan").out
    between, time = twice(place)
    assert not (place.directory / "zonebridge.db").exists()
    assert place.done("db", "check").err == ""
    assert place.done("plan", "--detailed-exitcode").out.startswith(
        "Cluster eu (ENFORCED): no changes"
    )
    assert recomputed(place.done("audit", "export").out.splitlines()) == RECORDS
    assert [each["action"] for each in place.records("--group", "db")] == [
        *("create", "create", "delete", "delete")
    ]
    past = place.done("audit", "show", "--at", time.isoformat()).json
    assert {each["metadata"]["name"]: each for each in past["eu"]} == between
    assert place.done("audit", "verify").out.startswith(f"{ALL} records in 2 chains verify; ")
    secret.write_text("wrong")
    refused = place.run("sync")
    assert refused.code == 1
    [sentence] = sentences(refused)
    assert "refuses the user; check the user in store.url" in sentence
    assert "wrong" not in sentence
    assert postgresql_database.password not in sentence

"""Whatever is changed in the file, `verify` finds it and names the record."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sync.errors import UsageError
from sync.store import ApprovalError, BrokenRecordError, Head, Outcome, Store
from sync.store.recorder import Conclusion
from sync.store.records import Record, hash_of, values
from sync.store.verification import verify
from tests.unit.store.words import (
    DATABASE,
    LONG,
    START,
    WEB,
    WIDER,
    apply,
    create,
    delete,
    group,
    intend,
    new_store,
    recover,
    tampering,
    ticking,
    update,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Chain `eu`: 1-4 web and db created; 5-6 web wider; 7-8 db deleted; 9 still open."""
    path = tmp_path_factory.mktemp("written") / "store.db"
    with new_store(path, clock=ticking()) as opened:
        run = opened.run("test")
        apply(run, "eu", create(WEB, rules=("allow web",)), create(DATABASE))
        apply(run, "eu", update(WEB, WIDER))
        apply(run, "eu", delete(DATABASE))
        intend(run, "eu", [create(group("open"))])
        apply(run, "us", create(WEB))
        run.finish("succeeded", {"applied": 5})
    return path.read_bytes()


@pytest.fixture
def store(path: Path, written: bytes) -> Iterator[Store]:
    """What was written, in a file of the test's own."""
    path.write_bytes(written)
    with new_store(path, clock=ticking(START + timedelta(hours=1))) as opened:
        yield opened


def broken(store: Store, *published: Head) -> tuple[str, int]:
    with pytest.raises(BrokenRecordError) as caught:
        verify(store, published)
    chain, sequence = caught.value.chain, caught.value.sequence
    assert (f"record {sequence} of chain {chain}" if chain else "") in str(caught.value)
    return chain, sequence


def test_an_untouched_trail_verifies(store: Store) -> None:
    verified = verify(store)
    assert verified.records == 13
    assert verified.without_head == ("_service", "eu", "us")
    assert "only a published head shows" in str(verified)


def test_with_every_head_published_nothing_is_left_open(store: Store) -> None:
    verified = verify(store, store.heads())
    assert verified.without_head == ()
    assert "reaches its published head" in str(verified)


@pytest.mark.parametrize(
    "field", [name for name in Record._fields if name not in ("chain", "sequence")]
)
def test_a_changed_field_is_found(store: Store, path: Path, field: str) -> None:
    forged: object = {"intent": 99}.get(field, "forged")
    with tampering(path) as connection:
        connection.execute(
            f'UPDATE records SET "{field}" = ? WHERE chain = ? AND sequence = 5', (forged, "eu")
        )
    assert broken(store) == ("eu", 5)


@pytest.mark.parametrize("forged", [b"\xff\xfe", b"bytes", '["a", 1]', "[", '{"a": 1}', "7"])
@pytest.mark.parametrize("field", ["rules", "error", "after"])
def test_a_field_of_another_type_is_found(
    store: Store, path: Path, field: str, forged: object
) -> None:
    with tampering(path) as connection:
        connection.execute(
            f"UPDATE records SET {field} = ? WHERE chain = 'eu' AND sequence = 5", (forged,)
        )
    assert broken(store) == ("eu", 5)


@pytest.mark.parametrize("field", ["error", "after"])
def test_text_that_is_no_utf_8_is_found(store: Store, path: Path, field: str) -> None:
    with tampering(path) as connection:
        connection.execute(
            f"UPDATE records SET {field} = CAST(x'ff' AS TEXT) WHERE chain = 'eu' AND sequence = 5"
        )
    assert broken(store) == ("eu", 5)


def test_a_changed_sequence_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("UPDATE records SET sequence = 77 WHERE chain = 'eu' AND sequence = 5")
    assert broken(store) == ("eu", 5)


def test_a_record_moved_to_another_chain_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute(
            "UPDATE records SET chain = 'us', sequence = 3 WHERE chain = 'eu' AND sequence = 9"
        )
    assert broken(store) == ("eu", 9)


def test_a_deleted_record_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("DELETE FROM records WHERE chain = 'eu' AND sequence = 4")
    assert broken(store) == ("eu", 4)


def test_swapped_records_are_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        for now, then in ((3, -1), (4, 3), (-1, 4)):
            connection.execute(
                "UPDATE records SET sequence = ? WHERE chain = 'eu' AND sequence = ?", (then, now)
            )
    assert broken(store) == ("eu", 3)


def test_a_record_with_its_hash_made_anew_breaks_the_next_one(store: Store, path: Path) -> None:
    _rewrite(path, "eu", 5, error="forged")
    assert broken(store) == ("eu", 6)


def test_a_cut_tail_is_found_by_the_table_of_heads(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("DELETE FROM records WHERE chain = 'us' AND sequence = 2")
    assert broken(store) == ("us", 2)


def test_a_cut_tail_with_everything_else_made_to_fit_is_found_by_a_published_head(
    store: Store, path: Path
) -> None:
    published = {head.chain: head for head in store.heads()}
    _cut_last(path, "eu")
    verify(store)
    assert broken(store, published["eu"]) == ("eu", 9)
    assert broken(store, *Head.parse_file("\n".join(map(str, published.values())))) == ("eu", 9)
    nameless = Head.parse(f"{published['eu'].sequence}:{published['eu'].hash}")
    assert broken(store, nameless) == ("", 9)


def test_a_rewritten_tail_is_found_by_a_published_head(store: Store, path: Path) -> None:
    published = store.heads()
    head = _rewrite(path, "eu", 9, firewall_version="forged")
    with tampering(path) as connection:
        connection.execute("UPDATE heads SET hash = ? WHERE chain = 'eu'", (head,))
    verify(store)
    assert broken(store, *published) == ("eu", 9)


def test_an_older_published_head_still_fits_when_the_chain_has_grown(store: Store) -> None:
    published = store.heads()
    apply(store.run("later"), "us", delete(WEB))
    assert verify(store, published).without_head == ()


@pytest.mark.parametrize("column", ["sequence", "hash", "time"])
def test_a_changed_head_is_found(store: Store, path: Path, column: str) -> None:
    forged = 3 if column == "sequence" else "forged"
    with tampering(path) as connection:
        connection.execute(f"UPDATE heads SET {column} = ? WHERE chain = 'eu'", (forged,))
    assert broken(store) == ("eu", 9)


@pytest.mark.parametrize(
    ("table", "column", "forged"),
    [
        ("heads", "sequence", "text"),
        ("heads", "chain", b"bytes"),
        ("heads", "time", b"bytes"),
        ("records", "sequence", b"bytes"),
        ("records", "chain", b"bytes"),
        ("objects", "cluster", b""),
        ("objects", "sequence", 1.5),
        ("open_intents", "chain", b""),
        ("open_intents", "sequence", "2026-03-03T12:00:01.000000Z"),
        ("identities", "cluster", b"bytes"),
        ("bodies", "sha256", b"bytes"),
        ("names", "digest", "text"),
        ("names", "sequence", b"bytes"),
    ],
)
def test_another_kind_of_value_than_was_written_is_found(
    store: Store, path: Path, table: str, column: str, forged: object
) -> None:
    with store.lease("eu", "me", LONG) as lease:
        store.run("test").identify(lease, "uid")
    with tampering(path) as connection:
        first = "rowid = (SELECT min(rowid) FROM {table})"
        if table == "names":  # without rowids
            key = "chain, sequence, kind, digest"
            first = f"({key}) = (SELECT {key} FROM names LIMIT 1)"
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE {first.format(table=table)}", (forged,)
        )
    with pytest.raises(BrokenRecordError, match=f"the table of {table}, which holds"):
        verify(store)


def test_a_deleted_head_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("DELETE FROM heads WHERE chain = 'eu'")
    assert broken(store) == ("eu", 9)


@pytest.mark.parametrize("packed", [zlib.compress(b"{}"), b"no zlib", "text", b""])
def test_a_changed_body_is_found_at_the_first_record_that_has_it(
    store: Store, path: Path, packed: object
) -> None:
    with tampering(path) as connection:
        connection.execute("UPDATE bodies SET zlib = ? WHERE sha256 = ?", (packed, DATABASE.digest))
    assert broken(store) == ("eu", 2)


def test_a_deleted_body_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("DELETE FROM bodies WHERE sha256 = ?", (WIDER.digest,))
    assert broken(store) == ("eu", 5)


def test_a_damaged_body_that_no_record_has_is_found(store: Store, path: Path) -> None:
    with tampering(path) as connection:
        connection.execute("INSERT INTO bodies VALUES ('nobody', x'00')")
    assert broken(store) == ("", 0)


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("DELETE FROM objects WHERE cluster = 'eu'", 6),
        (f"UPDATE objects SET digest = '{WEB.digest}' WHERE cluster = 'eu'", 6),
        ("UPDATE objects SET sequence = 3 WHERE cluster = 'eu'", 6),
        (f"INSERT INTO objects VALUES ('eu', 'K', 'n', '{WEB.digest}', 3)", 3),
        ("DELETE FROM open_intents", 9),
        ("INSERT INTO open_intents VALUES ('eu', 1)", 1),
        ("DELETE FROM names", 1),
        ("DELETE FROM names WHERE sequence = 4 AND kind = 'administrator'", 4),
        ("DELETE FROM names WHERE kind = 'rule' AND sequence = 3", 3),
        ("UPDATE names SET digest = x'00' WHERE sequence = 3 AND kind = 'rule'", 3),
        ("UPDATE names SET kind = 'group' WHERE sequence = 1 AND kind = 'rule'", 1),
        ("INSERT INTO names VALUES ('eu', 7, 'rule', x'00')", 7),
        ("INSERT INTO names VALUES ('eu', 10, 'rule', x'00')", 10),
        ("INSERT INTO names VALUES ('eu', 0, 'rule', x'00')", 0),
    ],
)
def test_a_changed_projection_is_found(
    store: Store, path: Path, statement: str, sequence: int
) -> None:
    with tampering(path) as connection:
        connection.execute(statement)
    assert broken(store) == ("eu", sequence)


PLAN = "ab" * 32


@pytest.fixture
def approved(store: Store) -> Store:
    """Chain `uk`: 1 a plan is blocked; 2 approved; 3 written; 4 another plan is blocked."""
    run = store.run("alice")
    run.blocked("uk", ["mass-delete"], PLAN, document=b"{}")
    run.approve(PLAN)
    with store.lease("uk", "alice", LONG) as lease:
        run.intend(lease, [create(WEB)], (), approved=PLAN)
    run.blocked("uk", ["mass-delete"], "c" * 64, document=b"{}")
    return store


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE approvals SET used = 0", 3),
        ("UPDATE approvals SET approved = 0", 3),
        ("UPDATE approvals SET approved = 2, used = 3", 4),
        ("UPDATE approvals SET blocked = 2", 3),
        (f"DELETE FROM approvals WHERE plan = '{PLAN}'", 3),
        (f"INSERT INTO approvals VALUES ('uk', '{'d' * 64}', 1, 2, 0, x'')", 0),
    ],
)
def test_a_changed_approval_is_found(
    approved: Store, path: Path, statement: str, sequence: int
) -> None:
    verify(approved)
    with tampering(path) as connection:
        connection.execute(statement)
    assert broken(approved) == ("uk", sequence)


def test_an_approval_that_no_record_gives_lets_nothing_through(approved: Store, path: Path) -> None:
    for statement in (
        "UPDATE approvals SET used = 0, approved = 1",
        "UPDATE approvals SET used = 2",
    ):
        with tampering(path) as connection:
            connection.execute(statement)
        with pytest.raises(ApprovalError, match="zonebridge audit verify"):
            approved.approved("uk", PLAN)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("approved", "did not wait for it"), ("intent", "was not approved")],
)
def test_an_approval_made_up_in_the_trail_is_found(
    store: Store, path: Path, kind: str, reason: str
) -> None:
    _forge(store, path, kind=kind, outcome="", plan=PLAN)
    with pytest.raises(BrokenRecordError, match=reason):
        verify(store)


def test_an_outcome_of_a_closed_intent_is_found(store: Store, path: Path) -> None:
    _forge(store, path, intent=1)
    assert broken(store) == ("eu", 10)


def test_an_outcome_of_another_change_is_found(store: Store, path: Path) -> None:
    _forge(store, path, intent=9, object_name="other")
    assert broken(store) == ("eu", 10)


def test_a_record_older_than_the_one_before_it_is_found(store: Store, path: Path) -> None:
    _forge(store, path, kind="operator", time="2001-01-01T00:00:00.000000Z")
    assert broken(store) == ("eu", 10)


@pytest.mark.parametrize("written", ["", "12", "12:ab", "x:" + "0" * 64, "-1:" + "0" * 64])
def test_what_is_no_head_is_a_usage_error(written: str) -> None:
    with pytest.raises(UsageError, match="SEQUENCE:HASH"):
        Head.parse(written)


def test_an_unknown_outcome_leaves_the_intent_open_and_the_trail_whole(store: Store) -> None:
    run = store.run("test")
    [intent] = store.open_intents("eu")
    run.conclude([Conclusion(intent, Outcome.UNKNOWN, "timed out")])
    assert store.open_intents("eu") == [intent]
    recover(run, intent, None)
    assert verify(store).records == 16


def _rewrite(path: Path, chain: str, sequence: int, **changed: object) -> str:
    """Change a record and give it the hash that fits; the hash."""
    with tampering(path) as connection:
        row = connection.execute(
            "SELECT * FROM records WHERE chain = ? AND sequence = ?", (chain, sequence)
        ).fetchone()
        return _insert(connection, {**dict(zip(Record._fields, row, strict=True)), **changed})


def _forge(store: Store, path: Path, **changed: object) -> None:
    """Append to `eu` an outcome like that of its open intent, with fields changed."""
    head = next(head for head in store.heads() if head.chain == "eu")
    [intent] = store.open_intents("eu")
    fields = values(intent) | {"kind": "outcome", "outcome": "failed", "sequence": 10}
    fields |= {"previous_hash": head.hash, **changed}
    # As the store writes a list: otherwise its text alone would give the record away.
    written = {
        name: json.dumps(value, separators=(",", ":")) if isinstance(value, tuple) else value
        for name, value in fields.items()
    }
    with tampering(path) as connection:
        _insert(connection, written)
        connection.execute(
            "UPDATE heads SET (sequence, hash, time) = (SELECT sequence, hash, time FROM records"
            " WHERE chain = 'eu' AND sequence = 10) WHERE chain = 'eu'"
        )


def _insert(connection: sqlite3.Connection, fields: dict[str, object]) -> str:
    """Insert or replace a record, with the hash that fits; the hash."""
    lists = ("administrators", "rules", "groups")
    record = Record._make(
        tuple(json.loads(str(value))) if name in lists else value for name, value in fields.items()
    )
    digest = hash_of(record)
    row = tuple({**fields, "hash": digest}.values())
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO records VALUES ({marks})", row)
    return digest


def _cut_last(path: Path, chain: str) -> None:
    """Cut the last record off and make every other table fit."""
    last = "chain = ?1 AND sequence = (SELECT MAX(sequence) FROM records WHERE chain = ?1)"
    with tampering(path) as connection:
        connection.execute(f"DELETE FROM open_intents WHERE {last}", (chain,))
        connection.execute(f"DELETE FROM names WHERE {last}", (chain,))
        connection.execute(f"DELETE FROM records WHERE {last}", (chain,))
        connection.execute(
            "UPDATE heads SET (sequence, hash, time) ="
            f" (SELECT sequence, hash, time FROM records WHERE {last}) WHERE chain = ?1",
            (chain,),
        )


@pytest.mark.parametrize("value", ["text", 7, 1 << 62, 1.5])
def test_a_memory_that_is_no_bytes_is_as_if_it_were_not_there(
    store: Store, path: Path, value: object
) -> None:
    memory = store.memory("main")
    memory.remember("list", "a", b"one")
    with tampering(path) as connection:
        connection.execute("UPDATE memories SET zlib = ?", (value,))
    assert memory.recall("list", "a") is None
    verify(store)

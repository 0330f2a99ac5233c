"""What a record holds and how it is sealed."""

from datetime import UTC, datetime, timedelta, timezone

from sync.store.models import Records
from sync.store.records import FIRST_PREVIOUS_HASH, Record, hash_of, seal, stamp, values


def sealed(draft: Record) -> Record:
    return seal(draft, chain="eu", sequence=1, time="t", previous_hash=FIRST_PREVIOUS_HASH)


def test_the_columns_are_the_fields_in_their_order() -> None:
    assert tuple(Records.__table__.columns.keys()) == Record._fields


def test_the_hash_covers_every_field_but_itself() -> None:
    record = Record(chain="eu", sequence=1, rules=("a",))
    assert hash_of(record) == hash_of(Record(chain="eu", sequence=1, rules=("a",), hash="x"))
    for field in set(Record._fields) - {"hash"}:
        value = getattr(record, field)
        other = {int: 2, str: "other", tuple: ("other",)}[type(value)]
        changed = Record._make({**values(record), field: other}.values())
        assert hash_of(changed) != hash_of(record), field


def test_the_hash_stays_what_it_was_when_it_was_first_published() -> None:
    record = Record(chain="eu", sequence=1, kind="intent", rules=("allow wéb",), error="a\nb")
    assert hash_of(record) == "0654c5df710fb47c2928bf1fddffdfd85f030954cb20a6d17189a3ab7fa0d991"


def test_what_no_database_can_hold_is_replaced_so_that_it_is_seen() -> None:
    record = sealed(Record(error="a\0b", rules=("x\ud800y", "é")))
    assert record.error == "a␀b"
    assert record.rules == ("x\ufffdy", "é")
    assert record.hash == hash_of(record)


def test_times_are_utc_with_microseconds() -> None:
    noon = datetime(2026, 3, 3, 12, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(noon) == "2026-03-03T10:00:00.000000Z"
    assert stamp(datetime(2026, 3, 3, 12, 0, 0, 7, tzinfo=UTC)) == "2026-03-03T12:00:00.000007Z"

"""The record: what it holds, how it is hashed, and what it says about an object."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from sync.store.errors import BrokenRecordError

Clock = Callable[[], datetime]
"""Gives the time now, with its time zone."""

SERVICE = "_service"
"""The chain of records that belong to no single cluster."""

FIRST_PREVIOUS_HASH = "0" * 64


class Kind(StrEnum):
    """What a record is about."""

    INTENT = "intent"
    OUTCOME = "outcome"
    RUN = "run"
    BLOCKED = "blocked"
    APPROVED = "approved"
    OPERATOR = "operator"
    ADOPTED = "adopted"
    RECOVERED = "recovered"
    CHECKPOINT = "checkpoint"


IDENTIFY = "identify"
"""The action of an adopted record that says which cluster an entry of the configuration is."""

ACCEPT = "accept-cluster"
"""The action of an operator's record: an entry may be another cluster from now on."""

FORGET = "forget-cluster"
"""The action of an operator's record: nothing is believed of a cluster any more."""
ADOPT = "adopt"
"""The action of an operator's record: a foreign object may be taken over, as it was seen."""


class Outcome(StrEnum):
    """What became of an intent.

    `not-applied`: the cluster was not changed; `failed`: the cluster refused; `unknown`: nobody
    can tell yet (a timeout), and the intent stays open until the object is read back.
    """

    APPLIED = "applied"
    NOT_APPLIED = "not-applied"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Record(NamedTuple):
    """One line of the audit trail. "", 0 and () mean none; there are no nulls and no floats.

    `time` is UTC, ISO-8601 with microseconds and Z. `before`, `after` and `found` are digests of
    bodies (SHA-256, lower-case hex). `intent` is the sequence, in the same chain, of the intent
    that an outcome or a recovery speaks of. `plan` is the digest of a blocked or approved plan; the
    records of what an approval let through have it too.
    """

    chain: str = ""
    sequence: int = 0
    time: str = ""
    run: str = ""
    kind: str = ""
    trigger: str = ""
    cluster: str = ""
    object_kind: str = ""
    object_name: str = ""
    action: str = ""
    cause: str = ""
    before: str = ""
    after: str = ""
    found: str = ""
    plan: str = ""
    firewall_version: str = ""
    administrators: tuple[str, ...] = ()
    description: str = ""
    rules: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    intent: int = 0
    outcome: str = ""
    error: str = ""
    detail: str = ""
    previous_hash: str = ""
    hash: str = ""


FIELDS = Record._fields

# What UTF-8 or PostgreSQL cannot hold is shown as a symbol: a hostile name must not stop a record.
_UNSTORABLE = {0: "\u2400", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


def now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def stamp(time: datetime) -> str:
    """A time as records hold it, so that the order of texts is the order of times."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def values(record: Record) -> dict[str, Any]:
    """The fields by name, in their order."""
    return record._asdict()


def canonical(record: Record) -> bytes:
    """The record with its hash in RFC 8785 form.

    The fields' names are ASCII and their values strings, integers and lists of strings: for those
    sorted keys are that form. Raises `BrokenRecordError` for what was never written by `seal`.
    """
    return _canonical(values(record))


def hash_of(record: Record) -> str:
    """SHA-256, in lower-case hex, over the RFC 8785 form of every field but `hash`."""
    hashed = values(record)
    del hashed["hash"]
    return hashlib.sha256(_canonical(hashed)).hexdigest()


def seal(draft: Record, *, chain: str, sequence: int, time: str, previous_hash: str) -> Record:
    """Put a draft in its place in a chain, with text that every database can hold."""
    held = values(draft)
    held.update(chain=chain, sequence=sequence, time=time, previous_hash=previous_hash)
    del held["hash"]
    # Nearly every record is plain. Looking at its bytes as a whole tells, and a first sync seals
    # two records for each object it writes.
    try:
        hashed = _canonical(held)
        plain = b"\\u0000" not in hashed
    except BrokenRecordError:
        plain = False
    if not plain:
        held = {name: _storable(value) for name, value in held.items()}
        hashed = _canonical(held)
    return Record(**held, hash=hashlib.sha256(hashed).hexdigest())


def storable(text: str) -> str:
    """The text with a symbol for each character that some database cannot hold."""
    return text.translate(_UNSTORABLE)


def closes(record: Record) -> bool:
    """Whether the record closes the intent it names: all do, but an `unknown` outcome."""
    return record.kind == Kind.RECOVERED or (
        record.kind == Kind.OUTCOME and record.outcome != Outcome.UNKNOWN
    )


def effect(record: Record) -> str | None:
    """The digest of the object's body after the record; "" if it is gone, None if unchanged.

    What we believe of a cluster is the sum of these effects and nothing else.
    """
    if record.kind == Kind.RECOVERED:
        return record.found
    if record.action in (IDENTIFY, ACCEPT):
        return None
    if record.kind == Kind.ADOPTED or (
        record.kind == Kind.OUTCOME and record.outcome == Outcome.APPLIED
    ):
        return record.after
    return None


def _canonical(named: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(named, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        reason = "it holds bytes that are no text"
        raise BrokenRecordError(named["chain"], named["sequence"], reason) from None


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, tuple):
        return tuple(map(storable, value))
    return value

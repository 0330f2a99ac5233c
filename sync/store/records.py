"""The record: its fields, its hash, and its effect on an object."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from sync.store.errors import BrokenRecordError

Clock = Callable[[], datetime]
"""Returns the current time, with its time zone."""

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
"""The action of an adopted record that names the cluster of an entry of the configuration."""

ACCEPT = "accept-cluster"
"""The action of an operator's record: an entry may be another cluster from now on."""

FORGET = "forget-cluster"
"""The action of an operator's record: the store forgets a cluster."""
ADOPT = "adopt"
"""The action of an operator's record: a foreign object may be taken over, as it was seen."""


class Outcome(StrEnum):
    """The outcome of an intent.

    `not-applied`: the cluster was not changed; `failed`: the cluster refused; `unknown`: not known
    yet, after a timeout for example, and the intent stays open until the object is read again.
    """

    APPLIED = "applied"
    NOT_APPLIED = "not-applied"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Record(NamedTuple):
    """One entry of the audit trail. "", 0 and () mean none; there are no nulls and no floats.

    `time` is UTC, ISO 8601 with microseconds and Z. `before`, `after` and `found` are digests of
    bodies (SHA-256, lower-case hex). `intent` is the sequence, in the same chain, of the intent
    that an outcome or a recovery closes. `plan` is the digest of a blocked or approved plan; the
    records of an approved plan's changes have it too.
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


# Characters that UTF-8 or PostgreSQL cannot hold become a symbol: no name may prevent a record.
_UNSTORABLE = {0: "\u2400", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


def now() -> datetime:
    """Return the current time of the system's clock."""
    return datetime.now(UTC)


def stamp(time: datetime) -> str:
    """Write a time as records have it: texts sort by time."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def values(record: Record) -> dict[str, Any]:
    """Return the fields by name, in their order."""
    return record._asdict()


def canonical(record: Record) -> bytes:
    """Return the record with its hash in RFC 8785 form.

    The fields' names are ASCII and their values strings, integers and lists of strings, for which
    JSON with sorted keys is that form. Raises `BrokenRecordError` for values that `seal` never
    writes.
    """
    return _canonical(values(record))


def hash_of(record: Record) -> str:
    """Return the SHA-256, in lower-case hex, of the RFC 8785 form of every field but `hash`."""
    hashed = values(record)
    del hashed["hash"]
    return hashlib.sha256(_canonical(hashed)).hexdigest()


def seal(draft: Record, *, chain: str, sequence: int, time: str, previous_hash: str) -> Record:
    """Turn a draft into a chain's next record, with text that every database can hold."""
    held = values(draft)
    held.update(chain=chain, sequence=sequence, time=time, previous_hash=previous_hash)
    del held["hash"]
    # Nearly every record is plain, and one check of all its bytes is quick: a first sync seals
    # two records for each object.
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
    """Replace each character that some database cannot hold by a symbol."""
    return text.translate(_UNSTORABLE)


def closes(record: Record) -> bool:
    """Return whether the record closes its intent: all do, except an `unknown` outcome."""
    return record.kind == Kind.RECOVERED or (
        record.kind == Kind.OUTCOME and record.outcome != Outcome.UNKNOWN
    )


def effect(record: Record) -> str | None:
    """Return the digest of the object's body after the record; "" if deleted, None if unchanged.

    The objects that the store has for a cluster are the sum of these effects.
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
        reason = "it holds bytes that are not text"
        raise BrokenRecordError(named["chain"], named["sequence"], reason) from None


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, tuple):
        return tuple(map(storable, value))
    return value

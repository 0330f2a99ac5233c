"""Errors of a database as messages with what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sync.errors import AuditBrokenError, StoreError

WAIT_SECONDS = 30
"""How long a writer waits for another one's lock before it gives up."""

# By SQLite's primary result code and PostgreSQL's SQLSTATE (or its class, the first two letters).
_WHAT = {
    "SQLITE_NOTADB": "is not a SQLite database; name another file in store.url",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup",
    "SQLITE_BUSY": f"has been locked by another process for more than {WAIT_SECONDS} s; "
    "wait until that has finished and try again",
    "SQLITE_FULL": "cannot be written, the disk is full; free some space and try again",
    "SQLITE_READONLY": "cannot be written; make the file and its directory writable",
    "SQLITE_CANTOPEN": "cannot be opened; make the file and its directory readable and writable",
    "SQLITE_IOERR": "cannot be read or written, the disk reports an error; check the disk",
    "28": "refuses the user; check the user in store.url and the password in store.password_file",
    "3D": "does not exist; create the database or name another one in store.url",
    "42501": "denies the user this; grant it rights on the database's tables",
    "25006": "is read-only, a standby perhaps; name the primary server in store.url",
    "53100": "cannot be written, the server's disk is full; free some space and try again",
    "53300": "accepts no more connections; raise max_connections or stop some clients",
    "55P03": f"has been locked by another process for more than {WAIT_SECONDS} s; "
    "wait until that has finished and try again",
    "57": "has shut the connection down; try again when the server is up",
    "08": "cannot be reached; check that the server is up and that store.url names it",
}


class BrokenRecordError(AuditBrokenError):
    """The first record that does not verify.

    `sequence` is its place in `chain`; both are empty (0, "") if it belongs to no chain.
    """

    def __init__(self, chain: str, sequence: int, reason: str) -> None:
        where = f"record {sequence} of chain {chain}: " if chain else ""
        super().__init__(
            f"the audit trail is broken at {where}{reason}; compare the store with a backup or an "
            "export to see what was there"
        )
        self.chain = chain
        self.sequence = sequence
        self.reason = reason


class StoreReplacedError(AuditBrokenError, StoreError):
    """The store is not the one that was opened, or has lost records; nothing was written.

    `what` is a clause about the store in `place`.
    """

    def __init__(self, place: str, what: str) -> None:
        super().__init__(
            f"the store {place} {what}: the store was replaced, or restored from an older copy; "
            "nothing is written any more; stop zonebridge, restore the newest copy and start it "
            "again; to continue without the lost records, move audit.head_file away before that"
        )


@contextmanager
def explained(place: str, password: Callable[[], str | None]) -> Iterator[None]:
    """Turn errors of the database and its driver into a `StoreError` about `place`.

    The driver's error is not kept as the cause, since it can quote connection parameters.
    """
    try:
        yield
    except SQLAlchemyError as error:
        words = _words(error)
        if secret := password():
            words = words.replace(secret, "***")
        raise StoreError(f"the store {place} {_what(error, words)} ({words})") from None


def _what(error: SQLAlchemyError, words: str) -> str:
    original: Any = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None) or ""
    for prefix in (code, "_".join(code.split("_")[:2]), code[:2]):
        if prefix in _WHAT:
            return _WHAT[prefix]
    if code or not isinstance(original, psycopg.OperationalError):
        return "rejects the query; run `zonebridge db check`"
    # PostgreSQL's client gives no code for a failed connection, only a message.
    if "password" in words or "authentication" in words:
        return _WHAT["28"]
    if "does not exist" in words:
        return _WHAT["3D"]
    return _WHAT["08"]


def _words(error: SQLAlchemyError) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    return "; ".join(line.strip() for line in str(original).splitlines() if line.strip())

"""Standings: the status of each cluster and source, for `zonebridge status`, never for decisions.

They are not part of the trail: each is overwritten by the next, and nothing verifies them. Whether
a cluster is half-written comes from the trail, since a killed sync leaves no status.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, or_, select, text

from sync.store.models import Heads, Memories, Records, StatusRow
from sync.store.records import FORGET, Kind, Outcome, storable

_OPEN: Final = "its outcome is not known yet"


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """The status of one cluster or source; both times are UTC as in a record, "" means never."""

    kind: str
    name: str
    attempted: str
    succeeded: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class HalfWritten:
    """A cluster with writes since its last success, by syncs that did not complete.

    `since` is the time of the first intent, UTC as in a record. `written` counts the objects that
    were written; `unwritten` has the kind, the name and the reason of each that was intended and
    is not known to be written. Objects without an intent are in neither.
    """

    since: str
    written: int
    unwritten: tuple[tuple[str, str, str], ...]

    def document(self) -> dict[str, Any]:
        """Return the value for `--output json`."""
        return {
            "since": self.since,
            "written": self.written,
            "unwritten": [
                {"kind": kind, "name": name, "error": error} for kind, name, error in self.unwritten
            ],
        }


def stand(
    connection: Connection,
    kind: Literal["cluster", "source"],
    name: str,
    *,
    time: str,
    succeeded: bool,
    state: str,
    detail: str,
) -> None:
    """Set a status; without success the time of the last success stays.

    A cluster's time is never older than its records, even if the clock is wrong.
    """
    newest = connection.scalar(select(Heads.time).where(Heads.chain == storable(name)))
    time = max(time, newest or "") if kind == "cluster" else time
    connection.execute(
        text(
            "INSERT INTO standings (kind, name, attempted, succeeded, state, detail)"
            " VALUES (:kind, :name, :attempted, :succeeded, :state, :detail)"
            " ON CONFLICT (kind, name) DO UPDATE SET attempted = excluded.attempted,"
            " succeeded = CASE excluded.succeeded WHEN '' THEN standings.succeeded"
            " ELSE excluded.succeeded END, state = excluded.state, detail = excluded.detail"
        ),
        {
            "kind": kind,
            "name": storable(name),
            "attempted": time,
            "succeeded": time if succeeded else "",
            "state": storable(state),
            "detail": storable(detail),
        },
    )


def forget(connection: Connection, cluster: str) -> None:
    """Remove the status of a cluster and what is kept about it, as if no sync had tried it."""
    connection.execute(
        delete(StatusRow).where(StatusRow.kind == "cluster", StatusRow.name == storable(cluster))
    )
    connection.execute(delete(Memories).where(Memories.source == storable(f"cluster/{cluster}")))


def standings(connection: Connection) -> list[StoredStatus]:
    """Return every status, sorted by kind and name."""
    query = select(
        StatusRow.kind,
        StatusRow.name,
        StatusRow.attempted,
        StatusRow.succeeded,
        StatusRow.state,
        StatusRow.detail,
    ).order_by(StatusRow.kind, StatusRow.name)
    return [StoredStatus(*row) for row in connection.execute(query)]


def half_written(  # over 50 lines: a query, and one pass over its rows
    connection: Connection, cluster: str
) -> HalfWritten | None:
    """Return how a cluster is half-written, by its trail since its last success; None if not.

    While a sync writes, the cluster is half-written. Records from before it was forgotten do not
    count.
    """
    succeeded = select(StatusRow.succeeded).where(
        StatusRow.kind == "cluster", StatusRow.name == storable(cluster)
    )
    query = (
        select(
            Records.kind,
            Records.action,
            Records.time,
            Records.object_kind,
            Records.object_name,
            Records.outcome,
            Records.error,
        )
        .where(
            Records.chain == cluster,
            Records.time > (connection.scalar(succeeded) or ""),
            or_(
                Records.kind.in_((Kind.INTENT, Kind.OUTCOME, Kind.RECOVERED)),
                Records.action == FORGET,
            ),
        )
        .order_by(Records.sequence)
    )
    since = ""
    written: set[tuple[str, str]] = set()
    unwritten: dict[tuple[str, str], str] = {}
    touched = False  # whether something was written, or may have been
    for kind, action, time, object_kind, name, outcome, error in connection.execute(query):
        if action == FORGET:
            since, written, unwritten, touched = "", set(), {}, False
            continue
        key = (object_kind, name)
        since = since or time
        if kind == Kind.INTENT:
            unwritten[key] = _OPEN
        elif outcome == Outcome.APPLIED:
            unwritten.pop(key, None)
            written.add(key)
        elif outcome == Outcome.UNKNOWN:
            unwritten[key] = error or "it was changed outside zonebridge meanwhile"
            touched = True
        else:
            unwritten[key] = error or "it was not written before the sync ended"
        touched = touched or bool(written)
    if not touched and _OPEN not in unwritten.values():
        return None
    listed = tuple((*key, why) for key, why in unwritten.items())
    return HalfWritten(since, len(written - unwritten.keys()), listed)

"""Standings: how each cluster and each source stands, for `zonebridge status` and for no decision.

They are no part of the trail: each is overwritten by the next, and nothing verifies them. That a
cluster is half-written is in no standing, for a killed sync notes none: the trail says it.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, or_, select, text

from sync.store.models import Heads, Records, StatusRow
from sync.store.records import FORGET, Kind, Outcome, storable

_OPEN: Final = "nobody knows yet whether it was written"


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """How one cluster or source stands; both times are UTC as in a record, "" is never."""

    kind: str
    name: str
    attempted: str
    succeeded: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class HalfWritten:
    """A cluster that was written since its last success, by no sync that came to its end.

    `since` is when the first of that was intended, UTC as in a record. `written` counts the objects
    that were, `unwritten` has the kind, the name and the reason of each that was intended and is
    not known to be written. Objects that no sync has intended yet are in neither.
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
    """Set a standing; without success the time of the last one stays.

    That of a cluster is never older than the records that it tells of, whatever the clock says.
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
    """Remove the status of a cluster, as if no sync had tried it."""
    connection.execute(
        delete(StatusRow).where(StatusRow.kind == "cluster", StatusRow.name == storable(cluster))
    )


def standings(connection: Connection) -> list[StoredStatus]:
    """Every standing, sorted by kind and name."""
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
    """Whether a cluster is half-written, by its trail since its last success; None if it is not.

    While a sync writes, it is. What was written before it was forgotten is none of it.
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
    touched = False  # by what was written, or may have been
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
            unwritten[key] = error or "another hand changed it meanwhile"
            touched = True
        else:
            unwritten[key] = error or "it was not written before the sync ended"
        touched = touched or bool(written)
    if not touched and _OPEN not in unwritten.values():
        return None
    listed = tuple((*key, why) for key, why in unwritten.items())
    return HalfWritten(since, len(written - unwritten.keys()), listed)

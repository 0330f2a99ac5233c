"""Standings: how each cluster and each source stands, for `zonebridge status` and for no decision.

They are no part of the trail: each is overwritten by the next, and nothing verifies them.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select, text

from sync.store.models import Standings
from sync.store.records import storable


@dataclass(frozen=True, slots=True)
class Standing:
    """How one cluster or source stands; both times are UTC as in a record, "" is never."""

    kind: str
    name: str
    attempted: str
    succeeded: str
    state: str
    detail: str


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
    """Set a standing; without success the time of the last one stays."""
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


def standings(connection: Connection) -> list[Standing]:
    """Every standing, sorted by kind and name."""
    query = select(
        Standings.kind,
        Standings.name,
        Standings.attempted,
        Standings.succeeded,
        Standings.state,
        Standings.detail,
    ).order_by(Standings.kind, Standings.name)
    return [Standing(*row) for row in connection.execute(query)]

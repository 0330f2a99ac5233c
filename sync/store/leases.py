"""Leases: who may write to a cluster, one holder at a time, on the database's clock.

    take (epoch + 1) ── renew, renew, … ── release
                     └─ no renewal for the time to live: the next one takes it (epoch + 1)

An epoch belongs to one holder for ever. Intents commit only under the current one.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    literal_column,
    select,
    text,
    update,
)

from sync.errors import LeaseError, StoreError
from sync.store.database import Database
from sync.store.models import Leases
from sync.store.records import storable

# Milliseconds since 1970. SQLite knows `unixepoch('subsec')` from 3.42 only.
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
}

_HELD = select(Leases.holder, Leases.epoch).where(Leases.name == bindparam("of")).with_for_update()

# What cutting both ends of a lease to whole milliseconds can take from it.
_CUT = 2


class LeaseHeldError(LeaseError):
    """`holder` has the cluster's lease."""

    def __init__(self, cluster: str, holder: str, seconds: float) -> None:
        super().__init__(
            f"cluster {cluster} is in the hands of {holder}, whose lease lasts {seconds:.0f} s "
            "more unless it is renewed; wait, or stop that process"
        )
        self.holder = holder


class LeaseLostError(LeaseError):
    """The lease went to somebody else; nothing was committed."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A lease as the database has it: its last holder, and the seconds left (0.0: it is free)."""

    name: str
    holder: str
    epoch: int
    seconds: float


@dataclass(slots=True, eq=False)
class Lease:
    """A lease that was taken: `holder` may write to `cluster`, under `epoch`. Any thread may ask.

    `_until` is by `time.monotonic`; only the thread that renews moves it, and after it `release`.
    """

    cluster: str
    holder: str
    epoch: int
    _database: Database
    _ttl: timedelta
    _until: float
    _left: bool = False

    def leave(self) -> None:
        """Let the lease run out at the end, instead of letting the next one in at once.

        For a holder that does not know what became of a request: it may still be under way, and
        until the lease has run out nobody shall look and think that it is not.
        """
        self._left = True

    def remaining(self) -> float:
        """The seconds for which nobody else can have taken it; at most 0 once expired or lost.

        This fences writers: who sends a request only while more remains than the request's timeout
        has none under way when a successor may take the lease. Counted from before the last take
        or renewal was sent to the database, which counts from its arrival. Neither clock may jump:
        a machine that sleeps, or a server whose time is set forward, can break this promise; then
        the next intent is refused, for the epoch has moved.
        """
        return self._until - time.monotonic()

    def hold(self, connection: Connection) -> None:
        """Keep anyone from taking the lease until this writing transaction ends.

        Raises `LeaseLostError` if somebody has.
        """
        row = connection.execute(_HELD, {"of": self.cluster}).one_or_none()
        holder, epoch = row or ("nobody", 0)
        if epoch != self.epoch:
            raise LeaseLostError(
                f"the lease of cluster {self.cluster} went to {holder} meanwhile (epoch {epoch}, "
                f"ours was {self.epoch}); nothing was written after that; it goes on from there"
            )

    def renew_until(self, stop: Event) -> None:
        """Renew every third of the time to live, until told to stop or until it is lost."""
        while not stop.wait(self._ttl.total_seconds() / 3):
            sent = time.monotonic()
            try:
                with self._database.writing() as connection:
                    expires = _now(connection) + _milliseconds(self._ttl)
                    renewed = self._expire(connection, expires)
            except StoreError:
                continue  # until it expires the next beat may still succeed
            if not renewed:
                self._until = -math.inf
                return
            self._until = sent + self._ttl.total_seconds()

    def release(self) -> None:
        """Let the next one in at once, unless `leave` was asked for."""
        self._until = -math.inf
        if self._left:
            return
        # A store that cannot be reached lets the lease expire.
        with suppress(StoreError), self._database.writing() as connection:
            self._expire(connection, 0)

    def _expire(self, connection: Connection, at: ColumnElement[int] | int) -> bool:
        """Let the lease expire at another time; whether it was still ours."""
        ours = (Leases.name == self.cluster) & (Leases.epoch == self.epoch)
        return bool(connection.execute(update(Leases).where(ours).values(expires_at=at)).rowcount)


@contextmanager
def taken(database: Database, cluster: str, holder: str, ttl: timedelta) -> Iterator[Lease]:
    """Take a cluster's lease, renew it every third of `ttl`, and release it at the end.

    Always taken anew: the same `holder` does not get in twice. Raises `LeaseHeldError` if it is
    held, `StoreError` if the store cannot be written.
    """
    sent = time.monotonic()
    with database.writing() as connection:
        epoch = _take(connection, cluster, holder, ttl)
    lease = Lease(cluster, holder, epoch, database, ttl, sent + ttl.total_seconds())
    stop = Event()
    renewing = Thread(
        target=lease.renew_until, args=[stop], name=f"lease of {cluster}", daemon=True
    )
    renewing.start()
    try:
        yield lease
    finally:
        stop.set()
        renewing.join()
        lease.release()


def holdings(connection: Connection) -> tuple[Holding, ...]:
    """Every lease that was ever taken, sorted by name."""
    left = Leases.expires_at - _now(connection)
    query = select(Leases.name, Leases.holder, Leases.epoch, left).order_by(Leases.name)
    return tuple(
        Holding(name, holder, epoch, max(milliseconds, 0) / 1000)
        for name, holder, epoch, milliseconds in connection.execute(query)
    )


def _take(connection: Connection, cluster: str, holder: str, ttl: timedelta) -> int:
    """The new epoch."""
    connection.execute(
        text(
            "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (:name, '', 0, 0)"
            " ON CONFLICT DO NOTHING"
        ),
        {"name": cluster},
    )
    now = _now(connection)
    # One statement looks and takes: it locks the row, so no two can take the same epoch.
    epoch: int | None = connection.scalar(
        update(Leases)
        .where(Leases.name == cluster, Leases.expires_at <= now)
        .values(
            holder=storable(holder),
            epoch=Leases.epoch + 1,
            expires_at=now + _milliseconds(ttl),
        )
        .returning(Leases.epoch)
    )
    if epoch is None:
        [held] = [each for each in holdings(connection) if each.name == cluster]
        raise LeaseHeldError(cluster, held.holder, held.seconds)
    return epoch


def _now(connection: Connection) -> ColumnElement[int]:
    """The database's time, in milliseconds since 1970."""
    return literal_column(_NOW[connection.dialect.name], BigInteger())


def _milliseconds(ttl: timedelta) -> int:
    """What the database adds to its time, so that a lease never expires before its holder knows."""
    return math.ceil(ttl / timedelta(milliseconds=1)) + _CUT

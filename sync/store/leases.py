"""Leases: one holder at a time may write to a cluster, by the database's clock.

    take (epoch + 1) ── renew, renew, … ── release
                     └─ no renewal for the time to live: the next holder takes it (epoch + 1)

An epoch belongs to one holder permanently. Intents commit only under the current one. If a row was
deleted, or the database was restored from before it was taken, epochs start again; so a lease is
identified by its epoch and its row's holder, which contains the time it was taken.

If the database's clock was ahead once, a lease ends far in the future. A waiting process takes it
anyway once it has seen it unchanged for the holder's time to live, by its own monotonic clock: each
renewal changes the end, so by then the lease has expired by the holder's clock too.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread

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
from sync.store.records import SERVICE, stamp, storable
from sync.transport.spreading import sooner

# Milliseconds since 1970. SQLite has `unixepoch('subsec')` only since 3.42.
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
}

_HELD = select(Leases.holder, Leases.epoch).where(Leases.name == bindparam("of")).with_for_update()

# How much rounding both ends of a lease down to milliseconds can shorten it.
_CUT = 2

# How much two monotonic clocks may differ in rate: far more than those that a kernel corrects.
_APART = 1.01

# The stored form of a holder: with the time it took the lease, by the database, and its TTL.
_SIGNED = re.compile(r"(.*) \[since (\d{1,14}) ms, ttl (\d{1,12}) ms\]", re.DOTALL)


class LeaseHeldError(LeaseError):
    """`holder` has the cluster's lease.

    It lasts `seconds` more. By the database it `ends` later if the database's clock was ahead once.
    """

    def __init__(self, cluster: str, holder: str, seconds: float, ends: float) -> None:
        ahead = (
            f" (it ends in {ends:.0f} s by the database, whose clock was ahead; a waiting process, "
            "such as `zonebridge sync --lease-timeout`, takes it once it has not been renewed for "
            "its time to live)"
        )
        super().__init__(
            f"cluster {cluster} is held by {holder}, whose lease lasts {seconds:.0f} s "
            f"more unless it is renewed{ahead if ends > _APART * seconds + 1 else ''}; wait, or "
            "stop that process"
        )
        self.holder = holder
        self.seconds = seconds


class LeaseLostError(LeaseError):
    """Another process took the lease; nothing was committed."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A lease in the database: its last holder, and the seconds left (0.0: it is free).

    `since` is when it was taken, by the database, UTC as in a record; "" if unknown. More seconds
    than its `ttl` are left if the database's clock was ahead. `released`: its holder released it,
    rather than stop renewing it.
    """

    name: str
    holder: str
    epoch: int
    seconds: float
    since: str = ""
    ttl: float = math.inf
    released: bool = False

    @property
    def ahead(self) -> bool:
        """Return whether it ends later than a correct clock of the database allows."""
        return self.seconds > _APART * self.ttl + 1


class Waits:
    """Leases of other holders as this process has seen them, by its own clock. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[tuple[str, int, int], float]] = {}
        self._looking = Lock()

    def unchanged(self, cluster: str, lease: tuple[str, int, int]) -> float:
        """Return the seconds for which a lease (holder, epoch and end) has been unchanged.

        Call it after reading the lease, so that its last change is earlier than the first sight.
        """
        with self._looking:
            now = self._monotonic()
            seen, since = self._seen.get(cluster, (lease, now))
            since = since if seen == lease else now
            self._seen[cluster] = lease, since
            return now - since


@dataclass(slots=True, eq=False)
class Lease:
    """A lease that was taken: `holder` may write to `cluster`, under `epoch`. Thread-safe.

    `_stored` is the holder as the row has it. `_until` is by `time.monotonic`; only the renewing
    thread sets it, and `release` after that thread.
    """

    cluster: str
    holder: str
    epoch: int
    _stored: str
    _database: Database
    _ttl: timedelta
    _until: float
    _left: bool = False
    _kept: bool = False
    _stop: Event = field(default_factory=Event)
    _renewing: Thread | None = None

    def keep(self) -> None:
        """Keep the lease at the end, for the next caller in this process."""
        self._kept = True

    def leave(self) -> None:
        """Let the lease expire at the end, instead of releasing it at once.

        For a holder with a request of unknown outcome: the request may still be in progress, and
        no process may read the cluster and conclude otherwise until the lease has expired.
        """
        self._left = True

    def remaining(self) -> float:
        """Return the seconds for which no other process can take it; at most 0 once lost.

        This fences writers: a holder that sends a request only while more than the request's
        timeout remains has none in progress when a successor may take the lease. The time counts
        from before the last take or renewal was sent; the database counts from its arrival. Neither
        clock may jump: a machine that sleeps, or a server whose time is set forward, can break this
        guarantee; then the next intent is refused, since the epoch has changed.
        """
        return self._until - time.monotonic()

    def hold(self, connection: Connection) -> None:
        """Keep other processes from taking the lease until this writing transaction ends.

        Raises `LeaseLostError` if another process has it.
        """
        row = connection.execute(_HELD, {"of": self.cluster}).one_or_none()
        stored, epoch = row or ("nobody", 0)
        holder, _, _ = _signed(stored)
        if (stored, epoch) != (self._stored, self.epoch):
            raise LeaseLostError(
                f"{holder} has taken the lease of cluster {self.cluster} (epoch {epoch}, ours was "
                f"{self.epoch}); nothing was written after that; {holder} continues there"
            )

    def begin(self) -> None:
        """Start renewing it, from its own thread."""
        name = f"lease of {self.cluster}"
        self._renewing = Thread(target=self._renew, name=name, daemon=True)
        self._renewing.start()

    def end(self) -> None:
        """Stop renewing it, and release it unless `leave` was called."""
        self._stop.set()
        if self._renewing:
            self._renewing.join()
        self.release()

    def goes_on(self, holder: str, ttl: timedelta) -> bool:
        """Return whether `holder` continues with a kept lease, until the next `end`."""
        self._kept = False
        return (self.holder, self._ttl) == (holder, ttl) and self.remaining() > 0

    @property
    def is_kept(self) -> bool:
        """Return whether the lease is kept: not if a request may still be in progress."""
        return self._kept and not self._left and self.remaining() > 0

    def _renew(self) -> None:
        """Renew about every third of the time to live, until stopped or until it is lost."""
        # Jitter: leases of many clusters that are taken together must not be renewed together.
        third = self._ttl.total_seconds() / 3
        while not self._stop.wait(sooner(third)):
            sent = time.monotonic()
            try:
                with self._database.writing() as connection:
                    expires = _now(connection) + _milliseconds(self._ttl)
                    renewed = self._expire(connection, expires)
            except StoreError:
                continue  # the next renewal may succeed before it expires
            if not renewed:
                self._until = -math.inf
                return
            self._until = sent + self._ttl.total_seconds()

    def release(self) -> None:
        """Release the lease at once, unless `leave` was called."""
        self._until = -math.inf
        if self._left:
            return
        # If the store cannot be reached, the lease expires.
        with suppress(StoreError), self._database.writing() as connection:
            self._expire(connection, 0)

    def _expire(self, connection: Connection, at: ColumnElement[int] | int) -> bool:
        """Set when the lease expires; return whether it was still ours."""
        ours = (
            (Leases.name == self.cluster)
            & (Leases.epoch == self.epoch)
            & (Leases.holder == self._stored)
        )
        return bool(connection.execute(update(Leases).where(ours).values(expires_at=at)).rowcount)


@contextmanager
def taken(
    database: Database,
    cluster: str,
    holder: str,
    ttl: timedelta,
    waits: Waits | None = None,
    kept: dict[str, Lease] | None = None,
) -> Iterator[Lease]:
    """Take a cluster's lease, renew it every third of `ttl`, and release it at the end.

    The same `holder` cannot take it twice, except for a kept lease, which is in `kept` until a
    caller continues with it. `waits` is what this process has seen of leases that it waits for.
    Raises `LeaseHeldError` if it is held, `StoreError` if the store cannot be written.
    """
    kept = {} if kept is None else kept
    lease = kept.pop(cluster, None)
    if lease and not lease.goes_on(holder, ttl):
        lease.end()
        lease = None
    if lease is None:
        sent = time.monotonic()
        with database.writing() as connection:
            epoch, stored = _take(connection, cluster, holder, ttl, waits or Waits())
        lease = Lease(cluster, holder, epoch, stored, database, ttl, sent + ttl.total_seconds())
        lease.begin()
    try:
        yield lease
    finally:
        if lease.is_kept:
            kept[cluster] = lease
        else:
            lease.end()


def holdings(connection: Connection) -> tuple[Holding, ...]:
    """Return every lease that was ever taken, sorted by name, and the service's heartbeat."""
    left = Leases.expires_at - _now(connection)
    query = select(Leases.name, Leases.holder, Leases.epoch, left, Leases.expires_at)
    return tuple(
        _holding(name, stored, epoch, milliseconds, released=not ends)
        for name, stored, epoch, milliseconds, ends in connection.execute(
            query.order_by(Leases.name)
        )
    )


def _holding(
    name: str, stored: str, epoch: int, milliseconds: int, *, released: bool = False
) -> Holding:
    holder, since, ttl = _signed(stored)
    return Holding(name, holder, epoch, max(milliseconds, 0) / 1000, since, ttl, released)


def beat(connection: Connection, holder: str, lasts: timedelta) -> None:
    """Write the service's heartbeat: a lease that any service may take at any time."""
    now = _now(connection)
    row = {
        "name": SERVICE,
        "holder": _sign(holder, connection.scalar(select(now)), lasts),
        "lasts": _milliseconds(lasts),
    }
    connection.execute(
        text(
            "INSERT INTO leases (name, holder, epoch, expires_at)"  # noqa: S608 - constants of ours
            f" VALUES (:name, :holder, 0, {now} + :lasts) ON CONFLICT (name)"
            " DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at"
        ),
        row,
    )


def end(connection: Connection) -> None:
    """End the service's heartbeat, since the service has shut down cleanly."""
    connection.execute(update(Leases).where(Leases.name == SERVICE).values(expires_at=0))


def _sign(holder: str, since: int | None, ttl: timedelta) -> str:
    """Return the stored form of a holder."""
    return f"{storable(holder)} [since {since} ms, ttl {_milliseconds(ttl)} ms]"


def _signed(stored: str) -> tuple[str, str, float]:
    """Parse a stored holder: its name, when it took the lease, and its time to live in seconds."""
    found = _SIGNED.fullmatch(stored)
    if not found:
        return stored, "", math.inf
    holder, since, ttl = found.groups()
    try:
        taken_at = stamp(datetime.fromtimestamp(int(since) / 1000, UTC))
    except (OverflowError, ValueError, OSError):
        taken_at = ""
    return holder, taken_at, int(ttl) / 1000


def _take(
    connection: Connection, cluster: str, holder: str, ttl: timedelta, waits: Waits
) -> tuple[int, str]:
    """Take the lease; return the new epoch, and the stored form of the holder."""
    connection.execute(
        text(
            "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (:name, '', 0, 0)"
            " ON CONFLICT DO NOTHING"
        ),
        {"name": cluster},
    )
    now = _now(connection)
    signed = _sign(holder, connection.scalar(select(now)), ttl)
    # One statement checks and takes: it locks the row, so no two can take the same epoch.
    take = (
        update(Leases)
        .where(Leases.name == cluster)
        .values(
            holder=signed,
            epoch=Leases.epoch + 1,
            expires_at=now + _milliseconds(ttl),
        )
        .returning(Leases.epoch)
    )
    epoch: int | None = connection.scalar(take.where(Leases.expires_at <= now))
    if epoch is not None:
        return epoch, signed
    query = select(Leases.holder, Leases.epoch, Leases.expires_at, Leases.expires_at - now)
    stored, held_epoch, ends, left = connection.execute(query.where(Leases.name == cluster)).one()
    stood = waits.unchanged(cluster, (stored, held_epoch, ends))
    held = _holding(cluster, stored, held_epoch, left)
    # A holder without a stored TTL has ours: all that share a store have one configuration.
    lasts = (held.ttl if held.ttl < math.inf else ttl.total_seconds()) * _APART
    if stood >= lasts:
        epoch = connection.scalar(
            take.where(
                Leases.holder == stored, Leases.epoch == held_epoch, Leases.expires_at == ends
            )
        )
        if epoch is not None:
            return epoch, signed
    raise LeaseHeldError(cluster, held.holder, min(held.seconds, lasts - stood), held.seconds)


def _now(connection: Connection) -> ColumnElement[int]:
    """Return the database's time, in milliseconds since 1970."""
    return literal_column(_NOW[connection.dialect.name], BigInteger())


def _milliseconds(ttl: timedelta) -> int:
    """Return the TTL in milliseconds, rounded so that the database never expires a lease early."""
    return math.ceil(ttl / timedelta(milliseconds=1)) + _CUT

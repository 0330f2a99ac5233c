"""Leases: who may write to a cluster, one holder at a time, on the database's clock.

    take (epoch + 1) ── renew, renew, … ── release
                     └─ no renewal for the time to live: the next one takes it (epoch + 1)

An epoch belongs to one holder permanently. Intents commit only under the current one. Where a row
was deleted, or the database went back to before it was taken, epochs start again: so a lease is
known by its epoch and by its row's holder, which tells when it was taken.

Where the database's clock was ahead once, a lease ends far in the future. Who waits for it takes
it all the same when it has seen it unchanged for the holder's time to live, by its own monotonic
clock: each renewal changes when it ends, so by then nothing remains by the holder's count either.
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

# Milliseconds since 1970. SQLite knows `unixepoch('subsec')` from 3.42 only.
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
}

_HELD = select(Leases.holder, Leases.epoch).where(Leases.name == bindparam("of")).with_for_update()

# What cutting both ends of a lease to whole milliseconds can take from it.
_CUT = 2

# By how much two monotonic clocks may differ: far more than any clock that a kernel corrects.
_APART = 1.01

# How a holder is stored: with when it took the lease, by the database, and its time to live.
_SIGNED = re.compile(r"(.*) \[since (\d{1,14}) ms, ttl (\d{1,12}) ms\]", re.DOTALL)


class LeaseHeldError(LeaseError):
    """`holder` has the cluster's lease.

    It lasts `seconds` more; by the database it `ends` after more than that where its clock was
    ahead once.
    """

    def __init__(self, cluster: str, holder: str, seconds: float, ends: float) -> None:
        ahead = (
            f" (it ends in {ends:.0f} s by the database, whose clock was ahead; who waits for it, "
            "as `zonebridge sync --lease-timeout` does, takes it once it has not been renewed for "
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
    """A lease as the database has it: its last holder, and the seconds left (0.0: it is free).

    `since` is when it was taken, by the database, UTC as in a record; "" where that is not known.
    More seconds are left than its `ttl` where the database's clock was ahead. `released`: its
    holder let it go, and did not just stop renewing it.
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
        """Whether it ends later than it can where the database's clock was always right."""
        return self.seconds > _APART * self.ttl + 1


class Waits:
    """Leases of others as this process has seen them, by its own clock. Any thread may ask."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[tuple[str, int, int], float]] = {}
        self._looking = Lock()

    def unchanged(self, cluster: str, lease: tuple[str, int, int]) -> float:
        """The seconds for which a lease (its holder, epoch and end) has stood as it stands now.

        Asked after it was read: what changes it is later than the first time it was seen so.
        """
        with self._looking:
            now = self._monotonic()
            seen, since = self._seen.get(cluster, (lease, now))
            since = since if seen == lease else now
            self._seen[cluster] = lease, since
            return now - since


@dataclass(slots=True, eq=False)
class Lease:
    """A lease that was taken: `holder` may write to `cluster`, under `epoch`. Any thread may ask.

    `_stored` is the holder as the row has it. `_until` is by `time.monotonic`; only the thread that
    renews moves it, and after it `release`.
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
        """Hold the lease on at the end, for the next one in this process who asks for it."""
        self._kept = True

    def leave(self) -> None:
        """Let the lease run out at the end, instead of letting the next one in at once.

        For a holder that does not know what became of a request: it may still be under way, and
        until the lease has run out no process may look and conclude that it is not.
        """
        self._left = True

    def remaining(self) -> float:
        """Return the seconds for which no other process can have taken it; at most 0 once lost.

        This fences writers: who sends a request only while more remains than the request's timeout
        has none under way when a successor may take the lease. Counted from before the last take
        or renewal was sent to the database, which counts from its arrival. Neither clock may jump:
        a machine that sleeps, or a server whose time is set forward, can break this promise; then
        the next intent is refused, for the epoch has moved.
        """
        return self._until - time.monotonic()

    def hold(self, connection: Connection) -> None:
        """Keep anyone from taking the lease until this writing transaction ends.

        Raises `LeaseLostError` if another process has it.
        """
        row = connection.execute(_HELD, {"of": self.cluster}).one_or_none()
        stored, epoch = row or ("nobody", 0)
        holder, _, _ = _signed(stored)
        if (stored, epoch) != (self._stored, self.epoch):
            raise LeaseLostError(
                f"the lease of cluster {self.cluster} went to {holder} meanwhile (epoch {epoch}, "
                f"ours was {self.epoch}); nothing was written after that; {holder} continues there"
            )

    def begin(self) -> None:
        """Renew it from now on, from a thread of its own."""
        name = f"lease of {self.cluster}"
        self._renewing = Thread(target=self._renew, name=name, daemon=True)
        self._renewing.start()

    def end(self) -> None:
        """Renew it no more, and let the next one in at once unless `leave` was asked for."""
        self._stop.set()
        if self._renewing:
            self._renewing.join()
        self.release()

    def goes_on(self, holder: str, ttl: timedelta) -> bool:
        """Return whether `holder` continues with a kept lease: it has it until the next end."""
        self._kept = False
        return (self.holder, self._ttl) == (holder, ttl) and self.remaining() > 0

    @property
    def is_kept(self) -> bool:
        """Whether it is to be held on: not where a request may still be under way."""
        return self._kept and not self._left and self.remaining() > 0

    def _renew(self) -> None:
        """Renew about every third of the time to live, until told to stop or until it is lost."""
        # Leases of many clusters that are taken together must not be renewed in step.
        third = self._ttl.total_seconds() / 3
        while not self._stop.wait(sooner(third)):
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

    The same `holder` does not get in twice, except with a lease that was kept: that is in `kept`
    until a caller continues with it. `waits` is what this process has seen of leases
    that it waits for. Raises `LeaseHeldError` if it is held, `StoreError` if the store cannot be
    written.
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
    """Every lease that was ever taken, sorted by name, and the service's sign of life."""
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
    """Set the service's sign of life, which is a lease that anybody may take at any time."""
    now = _now(connection)
    row = {
        "name": SERVICE,
        "holder": _sign(holder, connection.scalar(select(now)), lasts),
        "lasts": _milliseconds(lasts),
    }
    connection.execute(
        text(
            "INSERT INTO leases (name, holder, epoch, expires_at)"  # noqa: S608 - our own words
            f" VALUES (:name, :holder, 0, {now} + :lasts) ON CONFLICT (name)"
            " DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at"
        ),
        row,
    )


def end(connection: Connection) -> None:
    """Take the service's sign of life away: it ended as it should."""
    connection.execute(update(Leases).where(Leases.name == SERVICE).values(expires_at=0))


def _sign(holder: str, since: int | None, ttl: timedelta) -> str:
    """A holder as it is stored."""
    return f"{storable(holder)} [since {since} ms, ttl {_milliseconds(ttl)} ms]"


def _signed(stored: str) -> tuple[str, str, float]:
    """A holder as it was given, since when it holds, and its time to live in seconds."""
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
    """The new epoch, and the holder as it is stored."""
    connection.execute(
        text(
            "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (:name, '', 0, 0)"
            " ON CONFLICT DO NOTHING"
        ),
        {"name": cluster},
    )
    now = _now(connection)
    signed = _sign(holder, connection.scalar(select(now)), ttl)
    # One statement looks and takes: it locks the row, so no two can take the same epoch.
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
    # Who stored none has ours: all that share a store have one configuration.
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
    """The database's time, in milliseconds since 1970."""
    return literal_column(_NOW[connection.dialect.name], BigInteger())


def _milliseconds(ttl: timedelta) -> int:
    """What the database adds to its time, so that a lease never expires before its holder knows."""
    return math.ceil(ttl / timedelta(milliseconds=1)) + _CUT

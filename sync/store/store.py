"""The store: opened for a sync, or read-only."""

import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import select

from sync.calico.manifest import Manifest
from sync.store import adoptions, approvals, bodies, chain, identities, leases, schema, status
from sync.store.adoptions import Adoption, Asked
from sync.store.approvals import Approval
from sync.store.database import Database, Password, nothing, open_database
from sync.store.identities import Identity
from sync.store.leases import Holding, Lease
from sync.store.models import Base, Bodies, Objects, Records
from sync.store.projections import open_intents
from sync.store.recorder import Recorder
from sync.store.records import FORGET, SERVICE, Clock, Kind, Record, now, stamp
from sync.store.source_cache import StoredMemory
from sync.store.status import HalfWritten, StoredStatus

NO_UUID = str(uuid.UUID(int=0))
"""The UUID of a store that does not exist yet: no object in any cluster carries it."""


@dataclass(frozen=True, slots=True)
class Store:
    """The trail and the tables beside it. As a context manager it closes its connections.

    `uuid` is created with the store and never changes. Every method raises `StoreError` if the
    database cannot be read or written.
    """

    uuid: str
    database: Database
    clock: Clock
    waits: leases.Waits = field(default_factory=leases.Waits, repr=False)
    kept: dict[str, Lease] = field(default_factory=dict, repr=False)

    @property
    def shared(self) -> bool:
        """Return whether processes on other machines may use it too."""
        return self.database.engine.dialect.name == "postgresql"

    def written(self, cluster: str) -> dict[tuple[str, str], Manifest]:
        """Return our objects that the cluster holds, by the trail; keys are (kind, name).

        Raises `AuditBrokenError` if a body is damaged.
        """
        query = (
            select(Objects.kind, Objects.name, Objects.digest, Bodies.zlib)
            .join(Bodies, Bodies.sha256 == Objects.digest)
            .where(Objects.cluster == cluster)
            .order_by(Objects.kind, Objects.name)
        )
        with self.database.reading() as connection:
            return {
                (kind, name): Manifest(kind, name, bodies.unpack(digest, packed), digest)
                for kind, name, digest, packed in connection.execute(query)
            }

    def digests(self, cluster: str) -> dict[tuple[str, str], str]:
        """Return the digest of each object of `written`, without its body."""
        query = select(Objects.kind, Objects.name, Objects.digest).where(Objects.cluster == cluster)
        with self.database.reading() as connection:
            return {(kind, name): digest for kind, name, digest in connection.execute(query)}

    def open_intents(self, cluster: str) -> list[Record]:
        """Return the open intents, oldest first; a kill or a timeout leaves some."""
        with self.database.reading() as connection:
            return open_intents(connection, cluster)

    def last_change(self, cluster: str) -> tuple[int, str] | None:
        """Return the sequence and time of the last record that changed an object of a cluster, or
        was about to, or what is known of one; None if there is none."""
        kinds = (Kind.INTENT, Kind.ADOPTED, Kind.RECOVERED)
        query = (
            select(Records.sequence, Records.time)
            .where(Records.chain == cluster, Records.kind.in_(kinds) | (Records.action == FORGET))
            .order_by(Records.sequence.desc())
            .limit(1)
        )
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return (row.sequence, row.time) if row else None

    def heads(self) -> tuple[chain.Head, ...]:
        """Return the head of every chain, to be published outside the database."""
        with self.database.reading() as connection:
            return chain.heads(connection)

    def clusters(self) -> list[str]:
        """Return the clusters that have records, by name."""
        return [head.chain for head in self.heads() if head.chain != SERVICE]

    def identities(self) -> dict[str, Identity]:
        """Return the identity of each entry's cluster that was ever met, by the entry's name."""
        with self.database.reading() as connection:
            return identities.identities(connection)

    def reaches(self, head: chain.Head) -> bool:
        """Return whether a chain holds a published head's record; else its tail was cut off."""
        return not self.lacking([head])

    def lacking(self, named: Iterable[chain.Head]) -> set[chain.Head]:
        """Return the named records (chain, sequence and hash) that no chain holds."""
        with self.database.reading() as connection:
            return chain.lacking(connection, named)

    def run(self, trigger: str) -> Recorder:
        """Return a run by `trigger`; it begins with `begin` or with its first record."""
        return Recorder(str(uuid.uuid4()), trigger, self.database, self.clock)

    def lease(self, cluster: str, holder: str, ttl: timedelta) -> AbstractContextManager[Lease]:
        """Take the cluster's lease, renew it every third of `ttl`, and release it at the end.

        The same `holder` cannot take it twice, unless its last holder in this process kept it
        (`Lease.keep`). Entering raises `LeaseHeldError` if it is held. A caller that keeps trying
        gets it once it was not renewed for its time to live, even if the database's clock is wrong.
        """
        return leases.taken(self.database, cluster, holder, ttl, self.waits, self.kept)

    def release_kept(self) -> None:
        """Release the leases that were kept and that no caller continued with."""
        while self.kept:
            self.kept.popitem()[1].end()

    def leases(self) -> tuple[Holding, ...]:
        """Return the lease of each cluster that was ever taken, sorted by name."""
        with self.database.reading() as connection:
            return tuple(each for each in leases.holdings(connection) if each.name != SERVICE)

    def beat(self, holder: str, lasts: timedelta) -> None:
        """Write the service's heartbeat, for other processes, and read the heads.

        So a standby knows what others recorded, and notices a store that lost it.
        """
        with self.database.writing() as connection:
            leases.beat(connection, holder, lasts)

    def end_service(self) -> None:
        """Record that the service has shut down cleanly."""
        with self.database.writing() as connection:
            leases.end(connection)

    def service(self) -> Holding | None:
        """Return the last heartbeat of a service, whose time is `since`; None if none ever ran."""
        with self.database.reading() as connection:
            found = [each for each in leases.holdings(connection) if each.name == SERVICE]
        return found[0] if found else None

    def approved(self, cluster: str, plan: str) -> bool:
        """Return whether a plan has an approval that is unused and not expired."""
        with self.database.reading() as connection:
            return approvals.holds(connection, cluster, plan, stamp(self.clock()))

    def adoptions(self, cluster: str) -> frozenset[Adoption]:
        """Return the foreign objects of a cluster that an operator lets the next sync take over."""
        with self.database.reading() as connection:
            return adoptions.adoptions(connection, cluster, self.clock())

    def asked_adoptions(self, cluster: str) -> list[Asked]:
        """Return the adoptions of a cluster that are valid now, with who asked and until when."""
        with self.database.reading() as connection:
            return adoptions.asked(connection, cluster, self.clock())

    def approvals(self) -> list[Approval]:
        """Return the plans that wait for an approval, or for the sync that uses it, by cluster.

        The plan of a cluster that came in sync without a new record is among them.
        """
        with self.database.reading() as connection:
            return approvals.current(connection, stamp(self.clock()))

    def stand(
        self,
        kind: Literal["cluster", "source"],
        name: str,
        *,
        state: str,
        detail: str,
        succeeded: bool,
    ) -> None:
        """Set the status of a cluster or a source after an attempt now; `state` is one word."""
        with self.database.writing() as connection:
            status.stand(
                connection,
                kind,
                name,
                time=stamp(self.clock()),
                succeeded=succeeded,
                state=state,
                detail=detail,
            )

    def standings(self) -> list[StoredStatus]:
        """Return the status of every cluster and source, by kind and name; not in the trail."""
        with self.database.reading() as connection:
            return status.standings(connection)

    def half_written(self, cluster: str) -> HalfWritten | None:
        """Return how a cluster is half-written since its last success; None if it is not."""
        with self.database.reading() as connection:
            return status.half_written(connection, cluster)

    def memory(self, source: str) -> StoredMemory:
        """Return the memory of a source: its last answers. Not part of the trail."""
        return StoredMemory(source, self.database, self.clock)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str, *, password: Password = None, clock: Clock = now) -> Store:
    """Open the store for a sync, and create it if the database is empty.

    Raises `UsageError` for a URL that names no store; `StoreError` if the database cannot be
    opened, is not ours, or has the schema of another version of zonebridge.
    """
    database = open_database(url, password)
    try:
        store = Store(schema.prepare(database, clock), database, clock)
        database.continuity.begin(store.uuid, store.heads())
    except BaseException:
        database.close()
        raise
    return store


def open_store_read_only(url: str, *, password: Password = None) -> Store:
    """Open the store read-only: nothing is written anywhere, not even beside a SQLite file.

    A missing store reads as an empty one with the `uuid` `NO_UUID`. Raises as `open_store` does.
    """
    database = open_database(url, password, read_only=True)
    try:
        with database.reading() as connection:
            revision = schema.revision(connection, database.place)
            if revision:
                return Store(schema.identity(connection, database.place), database, now)
    except BaseException:
        database.close()
        raise
    database.close()
    empty = nothing(database.place)
    Base.metadata.create_all(empty.engine)
    return Store(NO_UUID, empty, now)

"""The store: opened to sync, or to look only."""

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
from sync.store.adoptions import Adoption
from sync.store.approvals import Approval
from sync.store.database import Database, Password, nothing, open_database
from sync.store.identities import Identity
from sync.store.leases import Holding, Lease
from sync.store.models import Base, Bodies, Objects
from sync.store.projections import open_intents
from sync.store.recorder import Recorder
from sync.store.records import SERVICE, Clock, Record, now, stamp
from sync.store.source_cache import StoredMemory
from sync.store.status import HalfWritten, StoredStatus

NO_UUID = str(uuid.UUID(int=0))
"""The identity of a store that is not there yet: no object in any cluster carries it."""


@dataclass(frozen=True, slots=True)
class Store:
    """What is remembered. Used as a context manager it closes its connections at the end.

    `uuid` is made with the store and never changes. Every method raises `StoreError` if the
    database cannot be read or written.
    """

    uuid: str
    database: Database
    clock: Clock
    waits: leases.Waits = field(default_factory=leases.Waits, repr=False)
    kept: dict[str, Lease] = field(default_factory=dict, repr=False)

    @property
    def shared(self) -> bool:
        """Whether processes on other machines may use it too."""
        return self.database.engine.dialect.name == "postgresql"

    def written(self, cluster: str) -> dict[tuple[str, str], Manifest]:
        """What we believe the cluster holds of ours, by (kind, name).

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
        """The digest of each object of `written`, without its body."""
        query = select(Objects.kind, Objects.name, Objects.digest).where(Objects.cluster == cluster)
        with self.database.reading() as connection:
            return {(kind, name): digest for kind, name, digest in connection.execute(query)}

    def open_intents(self, cluster: str) -> list[Record]:
        """Return the open intents, oldest first: a kill or a timeout leaves them."""
        with self.database.reading() as connection:
            return open_intents(connection, cluster)

    def heads(self) -> tuple[chain.Head, ...]:
        """The head of every chain, to be published where the database's owner cannot rewrite it."""
        with self.database.reading() as connection:
            return chain.heads(connection)

    def clusters(self) -> list[str]:
        """The clusters that something is recorded of, in name order."""
        return [head.chain for head in self.heads() if head.chain != SERVICE]

    def identities(self) -> dict[str, Identity]:
        """Which cluster each entry is that anybody has met, by the entry's name."""
        with self.database.reading() as connection:
            return identities.identities(connection)

    def reaches(self, head: chain.Head) -> bool:
        """Whether a chain holds the record of a published head; if not, its tail was cut off."""
        return not self.lacking([head])

    def lacking(self, named: Iterable[chain.Head]) -> set[chain.Head]:
        """Those of the records, each named by chain, sequence and hash, that no chain holds."""
        with self.database.reading() as connection:
            return chain.lacking(connection, named)

    def run(self, trigger: str) -> Recorder:
        """A run by `trigger` (who or what); it begins with `begin` or with its first record."""
        return Recorder(str(uuid.uuid4()), trigger, self.database, self.clock)

    def lease(self, cluster: str, holder: str, ttl: timedelta) -> AbstractContextManager[Lease]:
        """Take the cluster's lease, renew it every third of `ttl`, and release it at the end.

        Always taken anew, for the same `holder` does not get in twice: but for one whose last
        holder here asked to `keep` it. Entering raises `LeaseHeldError` if it is held. Who goes on
        asking gets it when nobody has renewed it for its time to live, whatever the database's
        clock says.
        """
        return leases.taken(self.database, cluster, holder, ttl, self.waits, self.kept)

    def release_kept(self) -> None:
        """Release the leases that were kept and that no caller continued with."""
        while self.kept:
            self.kept.popitem()[1].end()

    def leases(self) -> tuple[Holding, ...]:
        """The lease of each cluster that was ever taken, sorted by name."""
        with self.database.reading() as connection:
            return tuple(each for each in leases.holdings(connection) if each.name != SERVICE)

    def beat(self, holder: str, lasts: timedelta) -> None:
        """Write the service's sign of life, for others to see; it also is held to all it has seen.

        A standby learns by this what others recorded, before it may have to go on from there.
        """
        with self.database.writing() as connection:
            leases.beat(connection, holder, lasts)

    def end_service(self) -> None:
        """Say that the service ended as it should."""
        with self.database.writing() as connection:
            leases.end(connection)

    def service(self) -> Holding | None:
        """The last sign of life of a service, `since` when; None where none ever ran."""
        with self.database.reading() as connection:
            found = [each for each in leases.holdings(connection) if each.name == SERVICE]
        return found[0] if found else None

    def approved(self, cluster: str, plan: str) -> bool:
        """Whether a plan was approved, and neither written since nor is that too long ago."""
        with self.database.reading() as connection:
            return approvals.holds(connection, cluster, plan, stamp(self.clock()))

    def adoptions(self, cluster: str) -> frozenset[Adoption]:
        """The foreign objects of a cluster that an operator lets the next sync take over."""
        with self.database.reading() as connection:
            return adoptions.adoptions(connection, cluster, self.clock())

    def approvals(self) -> list[Approval]:
        """The plans that wait for an approval, or for the sync that uses it, by cluster.

        A cluster that is in sync by now, and of which nothing was recorded since, is among them.
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
        """Set how a cluster or a source stands after an attempt now; `state` is one word."""
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
        """How every cluster and source stands, sorted by kind and name. Not part of the trail."""
        with self.database.reading() as connection:
            return status.standings(connection)

    def half_written(self, cluster: str) -> HalfWritten | None:
        """What was written of a cluster since its last success, where it has none since."""
        with self.database.reading() as connection:
            return status.half_written(connection, cluster)

    def memory(self, source: str) -> StoredMemory:
        """What a source was told and is to find again. Not part of the trail."""
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
    """Open the store for a sync, and create it where the database is empty.

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
    """Open the store to look only: nothing is written anywhere, not even beside a SQLite file.

    No store is an empty store, whose `uuid` is `NO_UUID`. Raises as `open_store` does.
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

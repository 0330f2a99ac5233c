"""Record one run of zonebridge in the trail: intents before the writes, outcomes after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Event, Lock

from sqlalchemy import Connection, select

from sync.calico.manifest import Manifest
from sync.errors import StoreError
from sync.plan.changes import Change
from sync.plan.origin import Origin
from sync.store import approvals, bodies, drafts, identities, status
from sync.store.chain import append, lock
from sync.store.database import Database
from sync.store.drafts import digest_of
from sync.store.leases import Lease
from sync.store.models import Records
from sync.store.projections import open_intents, open_now, project, require_open
from sync.store.records import (
    ACCEPT,
    ADOPT,
    FORGET,
    IDENTIFY,
    SERVICE,
    Clock,
    Kind,
    Outcome,
    Record,
    stamp,
)

BATCH = 64
"""The most intents at a time, and so the most that a kill can leave open."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome of one intent; `found` is what the cluster held, if that was read."""

    intent: Record
    outcome: Outcome
    error: str = ""
    found: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """A run. `id` is in each of its records, `trigger` is who or what began it.

    It begins with its first record, so a run that finds nothing to do leaves no trace. Every method
    is one transaction, durable when it returns; it raises `StoreError` if that fails. Methods with
    a lease raise `LeaseLostError`, and record nothing, if another process took it. Thread-safe.
    """

    id: str
    trigger: str
    database: Database
    clock: Clock
    _begun: Event = field(default_factory=Event, init=False, repr=False)
    _beginning: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def begun(self) -> bool:
        """Return whether the run has any record."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Record that the run has begun, unless that is recorded."""
        if not self.begun:
            with self._recording():
                pass

    def finish(self, outcome: str, counts: Mapping[str, int], error: str = "") -> None:
        """Record how the run ended, with what was counted (`{"applied": 3, "failed": 0}`).

        Does nothing for a run that has not begun.
        """
        if not self.begun:
            return
        detail = " ".join(f"{name}={count}" for name, count in sorted(counts.items()))
        self._note(
            SERVICE,
            Record(kind=Kind.RUN, action="finish", outcome=outcome, error=error, detail=detail),
        )

    def blocked(
        self,
        cluster: str,
        blockers: Sequence[str],
        plan: str,
        error: str = "",
        *,
        document: bytes | None = None,
    ) -> None:
        """Record that the plan with this digest is blocked, by which guards, and why.

        It is recorded once, until something else happens to the cluster. `document` is the plan as
        JSON, kept for its approval, if one can let it through.
        """
        newest = select(Records.kind, Records.plan).where(Records.chain == cluster)
        with self.database.reading() as connection:
            last = connection.execute(
                newest.order_by(Records.sequence.desc()).limit(1)
            ).one_or_none()
        if last == (Kind.BLOCKED, plan):
            return
        draft = Record(
            run=self.id,
            kind=Kind.BLOCKED,
            trigger=self.trigger,
            cluster=cluster,
            plan=plan,
            detail=", ".join(blockers),
            error=error,
        )
        with self._recording() as connection:
            [record] = append(connection, cluster, [draft], self.clock)
            approvals.keep(connection, record, document)

    def approve(self, digest: str) -> Record:
        """Let a blocked plan through, once, within `approvals.LIFETIME`; return the record.

        `digest` is the plan's, or at least its first 8 digits. Raises `UsageError` if it names no
        plan, and `ApprovalError` if the plan does not wait for an approval.
        """
        with self._recording() as connection:
            cluster, plan = approvals.named(connection, digest)
            head = lock(connection, cluster)
            now = stamp(self.clock())
            guards = approvals.require_waiting(connection, cluster, plan, head, now)
            draft = Record(
                run=self.id,
                kind=Kind.APPROVED,
                trigger=self.trigger,
                cluster=cluster,
                plan=plan,
                detail=approvals.detail(guards, head, now),
            )
            [record] = append(connection, cluster, [draft], self.clock)
            approvals.approve(connection, record)
        return record

    def identify(self, lease: Lease, uid: str) -> None:
        """Record that a cluster's entry is the cluster with this UID from now on.

        If it replaces another cluster, nothing of ours was written to the new one: the store
        forgets the objects of the old one, with a record for each. Raises `StoreError` unless an
        operator has accepted that.
        """
        cluster = lease.cluster
        with self._recording(lease) as connection:
            lock(connection, cluster)
            known = identities.identities(connection).get(cluster)
            if known and known.uid == uid:
                return
            if known and known.accepted != uid:
                raise StoreError(
                    f"no operator has accepted {uid} as cluster {cluster}; run `zonebridge sync "
                    f"--cluster {cluster} --accept-new-cluster {cluster}`"
                )
            before = known.uid if known else ""
            drafted = [drafts.identity(self._by, cluster, Kind.ADOPTED, IDENTIFY, uid, before)]
            if known:
                drafted += drafts.forgotten(
                    self._by, connection, cluster, f"was written to the cluster {before}"
                )
            first, *rest = append(connection, cluster, drafted, self.clock)
            identities.keep(connection, first, known)
            project(connection, cluster, rest)

    def accept(self, cluster: str, uid: str) -> None:
        """Record that an operator lets the cluster with this UID replace the known one.

        No lease is needed, as for an approval: the holder of the lease continues with `identify`.
        """
        with self._recording() as connection:
            lock(connection, cluster)
            known = identities.identities(connection)[cluster]
            draft = drafts.identity(self._by, cluster, Kind.OPERATOR, ACCEPT, uid, known.uid)
            [record] = append(connection, cluster, [draft], self.clock)
            identities.keep(connection, record, known)

    def forget(self, lease: Lease) -> Record:
        """Record that the store forgets a cluster; return that record.

        Each open intent is closed as unknown, and each object gets a record. The identity, status
        and approvals of the cluster are removed. The trail stays, and so does the lease, since its
        epoch belongs to one holder permanently.
        """
        cluster = lease.cluster
        why = "the cluster was forgotten"
        with self._recording(lease) as connection:
            lock(connection, cluster)
            known = identities.identities(connection).get(cluster)
            closing = [
                drafts.closing(self._by, intent, Kind.RECOVERED, None, Outcome.UNKNOWN, why)
                for intent in open_intents(connection, cluster)
            ]
            forgotten = drafts.forgotten(self._by, connection, cluster, why)
            last = Record(
                run=self.id,
                kind=Kind.OPERATOR,
                trigger=self.trigger,
                cluster=cluster,
                action=FORGET,
                detail=f"objects={len(forgotten)} open_intents={len(closing)}"
                + (f" uid={known.uid}" if known else ""),
            )
            # Last: later records of the cluster start from nothing.
            *rest, record = append(connection, cluster, [*closing, *forgotten, last], self.clock)
            project(connection, cluster, rest)
            for table in (identities, approvals, status):
                table.forget(connection, cluster)
        return record

    def let_adopt(self, cluster: str, changes: Sequence[Change]) -> None:
        """Record that an operator lets the next sync take over these changes' foreign objects.

        No lease is needed, as for an approval. It is valid for the objects as they are here, once,
        and for as long as an approval.
        """
        with self._recording() as connection:
            head = lock(connection, cluster)
            detail = approvals.detail("", head, stamp(self.clock()))
            drafted = [
                Record(
                    run=self.id,
                    kind=Kind.OPERATOR,
                    trigger=self.trigger,
                    cluster=cluster,
                    object_kind=change.kind,
                    object_name=change.name,
                    action=ADOPT,
                    before=digest_of(change.before),
                    detail=detail,
                )
                for change in changes
            ]
            bodies.keep(connection, [change.before for change in changes])
            append(connection, cluster, drafted, self.clock)

    def adopt(self, lease: Lease, changes: Sequence[Change], origins: Sequence[Origin]) -> None:
        """Record that the cluster holds objects as desired, though we did not write them."""
        if not changes:
            return
        drafted = [
            drafts.intent_of(self._by, lease.cluster, change, origins)._replace(
                kind=Kind.ADOPTED, action=""
            )
            for change in changes
        ]
        with self._recording(lease) as connection:
            bodies.keep(connection, [change.after for change in changes])
            records = append(connection, lease.cluster, drafted, self.clock)
            project(connection, lease.cluster, records)

    def intend(
        self,
        lease: Lease,
        changes: Sequence[Change],
        origins: Sequence[Origin],
        *,
        approved: str = "",
    ) -> list[Record]:
        """Commit the intents of at most `BATCH` changes, before the first of them is written.

        `origins` are the firewall's commits behind them, of one source or of several. `approved`
        is the digest of their plan if it needs its approval: its first intent uses the approval.
        Raises `ApprovalError` if that is not valid, and `ValueError` for more changes.
        """
        if len(changes) > BATCH:
            raise ValueError(f"{len(changes)} changes in one batch, at most {BATCH} are allowed")
        if not changes:
            return []
        drafted = [
            drafts.intent_of(self._by, lease.cluster, change, origins, approved)
            for change in changes
        ]
        with self._recording(lease) as connection:
            bodies.keep(
                connection, [body for change in changes for body in (change.before, change.after)]
            )
            intents = append(connection, lease.cluster, drafted, self.clock)
            if approved:
                approvals.use(connection, intents[0], stamp(self.clock()))
            open_now(connection, intents)
        return intents

    def conclude(self, conclusions: Sequence[Conclusion]) -> list[Record]:
        """Commit the outcomes of intents of one cluster, and update its projections.

        An intent whose outcome is `unknown` stays open. Raises `StoreError` if one is not open.
        No lease is needed: the outcome of our own intent stays true under any holder, and an intent
        that a successor recovered is not open.
        """
        if not conclusions:
            return []
        drafted = [
            drafts.closing(
                self._by, each.intent, Kind.OUTCOME, each.found, each.outcome, each.error
            )
            for each in conclusions
        ]
        found = [conclusion.found for conclusion in conclusions]
        with self._recording() as connection:
            return self._close(connection, drafted[0].chain, drafted, found)

    def recover(
        self, lease: Lease, recovered: Sequence[tuple[Record, Manifest | None]]
    ) -> list[Record]:
        """Close open intents, given the object that the cluster holds for each (None: nothing).

        The outcome is `applied`, `not-applied`, or `unknown` if the object is neither the old nor
        the intended one. Raises `StoreError` if an intent is not open.
        """
        if not recovered:
            return []
        drafted = []
        for intent, found in recovered:
            outcomes = {intent.before: Outcome.NOT_APPLIED, intent.after: Outcome.APPLIED}
            outcome = outcomes.get(digest_of(found), Outcome.UNKNOWN)
            drafted.append(drafts.closing(self._by, intent, Kind.RECOVERED, found, outcome))
        with self._recording(lease) as connection:
            return self._close(
                connection, lease.cluster, drafted, [found for _, found in recovered]
            )

    @property
    def _by(self) -> Record:
        """Return a draft that names the run."""
        return Record(run=self.id, trigger=self.trigger)

    @contextmanager
    def _recording(self, lease: Lease | None = None) -> Iterator[Connection]:
        """Open a writing transaction under a lease; the run's first one records its beginning."""
        with nullcontext() if self.begun else self._beginning:
            with self.database.writing() as connection:
                if lease:
                    lease.hold(connection)
                if not self.begun:
                    draft = Record(kind=Kind.RUN, action="begin", run=self.id, trigger=self.trigger)
                    append(connection, SERVICE, [draft], self.clock)
                yield connection
            self._begun.set()

    def _note(self, chain: str, draft: Record) -> None:
        draft = draft._replace(run=self.id, trigger=self.trigger)
        with self._recording() as connection:
            append(connection, chain, [draft], self.clock)

    def _close(
        self,
        connection: Connection,
        chain: str,
        drafted: Sequence[Record],
        found: Sequence[Manifest | None],
    ) -> list[Record]:
        if any(draft.chain != chain for draft in drafted):
            raise ValueError("the intents of several clusters in one batch")
        bodies.keep(connection, found)
        records = append(connection, chain, drafted, self.clock)
        require_open(connection, chain, [record.intent for record in records])
        project(connection, chain, records)
        return records

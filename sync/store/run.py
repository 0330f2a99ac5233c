"""One run of zonebridge, as the trail tells it: intents before the writes, outcomes after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, delete, insert, select

from sync.calico.manifest import Manifest
from sync.errors import StoreError
from sync.plan.changes import Change
from sync.plan.plan import Origin
from sync.store import bodies
from sync.store.chain import append
from sync.store.database import Database
from sync.store.models import Objects, OpenIntents
from sync.store.records import SERVICE, Clock, Kind, Outcome, Record, closes, effect

BATCH = 64
"""How many writes may be intended at a time: as many as a kill can leave open."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What became of one intent; `found` is what the cluster held, where that was read."""

    intent: Record
    outcome: Outcome
    error: str = ""
    found: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has begun. `id` is in each of its records, `trigger` says who or what began it.

    Every method is one transaction, on the disk when it returns, and raises `StoreError` if it
    could not be.
    """

    id: str
    trigger: str
    database: Database
    clock: Clock

    def begin(self) -> None:
        """Record that the run has begun."""
        self._note(SERVICE, Record(kind=Kind.RUN, action="begin"))

    def finish(self, outcome: str, counts: Mapping[str, int], error: str = "") -> None:
        """Record how the run ended, with what was counted (`{"applied": 3, "failed": 0}`)."""
        detail = " ".join(f"{name}={count}" for name, count in sorted(counts.items()))
        self._note(
            SERVICE,
            Record(kind=Kind.RUN, action="finish", outcome=outcome, error=error, detail=detail),
        )

    def blocked(self, cluster: str, blockers: Sequence[str], plan: str, error: str = "") -> None:
        """Record that the plan with this digest waits, the names of what blocks it, and why."""
        detail = ", ".join(blockers)
        self._note(
            cluster,
            Record(kind=Kind.BLOCKED, cluster=cluster, plan=plan, detail=detail, error=error),
        )

    def adopt(self, cluster: str, changes: Sequence[Change], origins: Sequence[Origin]) -> None:
        """Record that objects stand in the cluster as they shall, though we did not write them."""
        if not changes:
            return
        drafts = [
            replace(self._intent(cluster, change, origins), kind=Kind.ADOPTED, action="")
            for change in changes
        ]
        with self.database.writing() as connection:
            bodies.keep(connection, [change.after for change in changes])
            _project(connection, cluster, append(connection, cluster, drafts, self.clock))

    def intend(
        self, cluster: str, changes: Sequence[Change], origins: Sequence[Origin]
    ) -> list[Record]:
        """Commit the intents of at most `BATCH` changes, before the first of them is written.

        `origins` are the firewall's commits behind them, of one source or of several.
        Raises `ValueError` for more.
        """
        if len(changes) > BATCH:
            raise ValueError(f"{len(changes)} changes in one batch, at most {BATCH} are allowed")
        if not changes:
            return []
        drafts = [self._intent(cluster, change, origins) for change in changes]
        with self.database.writing() as connection:
            bodies.keep(
                connection, [body for change in changes for body in (change.before, change.after)]
            )
            intents = append(connection, cluster, drafts, self.clock)
            connection.execute(
                insert(OpenIntents),
                [{"chain": intent.chain, "sequence": intent.sequence} for intent in intents],
            )
        return intents

    def conclude(self, conclusions: Sequence[Conclusion]) -> list[Record]:
        """Commit what became of intents of one cluster, and what we believe of it from now on.

        An intent whose outcome is `unknown` stays open. Raises `StoreError` if one is not open.
        """
        drafts = [
            replace(
                self._closing(conclusion.intent, Kind.OUTCOME, conclusion.found),
                outcome=conclusion.outcome,
                error=conclusion.error,
            )
            for conclusion in conclusions
        ]
        return self._close(drafts, [conclusion.found for conclusion in conclusions])

    def recover(self, intent: Record, found: Manifest | None) -> Record:
        """Close an open intent with what the cluster was found to hold (None: nothing).

        The outcome is `applied`, `not-applied`, or `unknown` where it is neither what was before
        nor what was intended. Raises `StoreError` if the intent is not open.
        """
        draft = self._closing(intent, Kind.RECOVERED, found)
        outcomes = {intent.before: Outcome.NOT_APPLIED, intent.after: Outcome.APPLIED}
        draft = replace(draft, outcome=outcomes.get(draft.found, Outcome.UNKNOWN))
        return self._close([draft], [found])[0]

    def _note(self, chain: str, draft: Record) -> None:
        draft = replace(draft, run=self.id, trigger=self.trigger)
        with self.database.writing() as connection:
            append(connection, chain, [draft], self.clock)

    def _intent(self, cluster: str, change: Change, origins: Sequence[Origin]) -> Record:
        return Record(
            run=self.id,
            kind=Kind.INTENT,
            trigger=self.trigger,
            cluster=cluster,
            object_kind=change.kind,
            object_name=change.name,
            action=change.action,
            cause=change.cause,
            before=_digest(change.before),
            after=_digest(change.after),
            firewall_version="; ".join(f"{each.source} {each.version}" for each in origins),
            administrators=tuple(
                sorted({name for each in origins for name in each.administrators})
            ),
            description="; ".join(each.description for each in origins if each.description),
            rules=change.rules,
            groups=change.groups,
        )

    def _closing(self, intent: Record, kind: Kind, found: Manifest | None) -> Record:
        return replace(
            intent,
            run=self.id,
            trigger=self.trigger,
            kind=kind,
            intent=intent.sequence,
            found=_digest(found),
        )

    def _close(self, drafts: Sequence[Record], found: Sequence[Manifest | None]) -> list[Record]:
        if not drafts:
            return []
        chain = drafts[0].chain
        if any(draft.chain != chain for draft in drafts):
            raise ValueError("the intents of several clusters in one batch")
        with self.database.writing() as connection:
            bodies.keep(connection, found)
            records = append(connection, chain, drafts, self.clock)
            _require_open(connection, chain, [record.intent for record in records])
            _project(connection, chain, records)
        return records


def _digest(manifest: Manifest | None) -> str:
    return manifest.digest if manifest else ""


def _require_open(connection: Connection, chain: str, sequences: Sequence[int]) -> None:
    query = select(OpenIntents.sequence).where(
        OpenIntents.chain == chain, OpenIntents.sequence.in_(sequences)
    )
    still_open = list(connection.scalars(query))
    if len(still_open) != len(sequences):
        closed = min(set(sequences) - set(still_open), default=sequences[0])
        raise StoreError(
            f"intent {closed} of cluster {chain} is closed already; another process works on this "
            "cluster, let only one of them run"
        )


def _project(connection: Connection, chain: str, records: Sequence[Record]) -> None:
    """Bring both projections to where the records leave them."""
    closed = [record.intent for record in records if closes(record)]
    connection.execute(
        delete(OpenIntents).where(OpenIntents.chain == chain, OpenIntents.sequence.in_(closed))
    )
    moved = {
        (record.object_kind, record.object_name): {
            "cluster": chain,
            "kind": record.object_kind,
            "name": record.object_name,
            "digest": effect(record),
            "sequence": record.sequence,
        }
        for record in records
        if effect(record) is not None
    }
    if not moved:
        return
    connection.execute(
        delete(Objects).where(
            Objects.cluster == chain,
            Objects.kind == bindparam("of_kind"),
            Objects.name == bindparam("of_name"),
        ),
        [{"of_kind": kind, "of_name": name} for kind, name in moved],
    )
    present = [row for row in moved.values() if row["digest"]]
    if present:
        connection.execute(insert(Objects), present)

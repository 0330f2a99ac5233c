"""The store: the audit trail, and the state of each cluster that follows from it.

    store ── uuid                     who owns the objects in the clusters
    heads ── records                  one hash chain per cluster, and `_service` for the runs
               │ before, after, found
               ▼
             bodies                   every body once, by its digest
               ▲
    objects ───┘  open_intents        projections of the trail, for speed; `verify` replays them
    names                             digests of the names in records: a projection too
    approvals                         blocked plans: a projection too
    identities                        the UID of each entry's cluster: a projection too

    leases                            who may write to each cluster now, under which epoch
    standings                         the status of clusters and sources; not part of the trail
    memories                          the last answers to sources; not part of the trail

Nothing is written to a cluster before its intent is committed here, under its lease. All that the
store assumes about a cluster follows from records.
"""

from sync.store.adoptions import Adoption, Asked
from sync.store.approvals import Approval, ApprovalError
from sync.store.chain import Head
from sync.store.errors import BrokenRecordError
from sync.store.identities import Identity
from sync.store.leases import Holding, Lease, LeaseHeldError, LeaseLostError
from sync.store.recorder import BATCH, Conclusion, Recorder
from sync.store.records import Clock, Kind, Outcome, Record
from sync.store.schema import check, upgrade
from sync.store.status import HalfWritten, StoredStatus
from sync.store.store import NO_UUID, Store, open_store, open_store_read_only

__all__ = [
    "BATCH",
    "NO_UUID",
    "Adoption",
    "Approval",
    "ApprovalError",
    "Asked",
    "BrokenRecordError",
    "Clock",
    "Conclusion",
    "HalfWritten",
    "Head",
    "Holding",
    "Identity",
    "Kind",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "Outcome",
    "Record",
    "Recorder",
    "Store",
    "StoredStatus",
    "check",
    "open_store",
    "open_store_read_only",
    "upgrade",
]

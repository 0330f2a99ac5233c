"""The state of a source: its version, who committed it, and firewalls that are out of sync."""

from collections.abc import Mapping, Sequence

from sync.errors import SourceError
from sync.firewall.configuration import Snapshot
from sync.plan.origin import NotPushed, Origin
from sync.store import Store
from sync.text import shortened


def note_source(store: Store, name: str, found: Snapshot | SourceError) -> None:
    """Store the state of a source for `zonebridge status`."""
    failed = isinstance(found, SourceError)
    state = "failed" if failed else "read"
    store.stand("source", name, state=state, detail=source_detail(found), succeeded=not failed)


def source_detail(found: Snapshot | SourceError) -> str:
    """Describe a source in a sentence: its version and firewalls out of sync, or why it failed."""
    if isinstance(found, SourceError):
        return str(found)
    return "; ".join(filter(None, (found.provenance.version, lagging(found))))


def lagging(found: Snapshot) -> str:
    """Name device groups that are not pushed to some firewall in a bounded clause; "" if none."""
    return shortened([each.clause for each in not_pushed(found, sorted(found.not_pushed))])


def origins_of(snapshots: Mapping[str, Snapshot]) -> list[Origin]:
    """The version of each source that a plan is made from, and who committed it, by name."""
    return [
        Origin(found.source, found.version, found.administrators, found.description, found.pending)
        for found in (snapshot.provenance for _, snapshot in sorted(snapshots.items()))
    ]


def not_pushed(snapshot: Snapshot, device_groups: Sequence[str]) -> list[NotPushed]:
    """Find the device groups with firewalls that are out of sync with Panorama."""
    return [
        NotPushed(snapshot.provenance.source, name, devices)
        for name in device_groups
        if (devices := snapshot.not_pushed.get(name))
    ]

"""The owner of an object, and the parts of it that are ours.

An object is ours if it carries all three labels of this installation; any other is foreign and is
never changed. On an object of ours, the spec and the labels and annotations under our prefixes
are ours; all other labels, annotations and finalizers are foreign and are kept. Ours is also that
an object has none of the labels by which selectors distinguish pods from sets: with one of them a
set of ours would count as a pod, or no longer as a set.

Each write stamps the object with annotations that name the record under which it was made, and by
whom. They change with every write and decide nothing in a data plane, so a `Manifest` is without
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sync.calico.added import without_added
from sync.calico.manifest import Manifest
from sync.calico.names import (
    FIREWALL_PREFIX,
    INSTANCE,
    MANAGED_BY,
    MANAGED_BY_VALUE,
    NAMESPACE_LABEL,
    ORCHESTRATOR_LABEL,
    RECORD_ANNOTATION,
    STORE,
    TIER_LABEL,
    WRITER_ANNOTATION,
)
from sync.calico.objects import Pairs
from sync.calico.tigera import written_by

_OUR_PREFIXES: Final = (f"{FIREWALL_PREFIX}/", "zonebridge.io/")
_OUR_KEYS: Final = frozenset({MANAGED_BY, TIER_LABEL, NAMESPACE_LABEL, ORCHESTRATOR_LABEL})
_STAMPS: Final = frozenset({RECORD_ANNOTATION, WRITER_ANNOTATION})

_OF_DIRECTORIES: Final = "manifests"


@dataclass(frozen=True, slots=True)
class Owner:
    """What an installation owns: `labels` are on all of it; `required` make an object ours."""

    labels: Pairs
    required: Pairs


def owner_labels(instance: str, store: str) -> Pairs:
    """The labels of what one installation with one store owns."""
    return ((MANAGED_BY, MANAGED_BY_VALUE), (INSTANCE, instance), (STORE, store))


def directory_owner(instance: str, store: str | None) -> Owner:
    """The owner of a directory's files: an installation, with any store, or with the one named.

    Pipelines write directories on machines that begin with an empty store each time. What two
    installations of one instance would do to each other there, a version control system shows
    before a cluster sees it. No live cluster takes such labels for its store's own.
    """
    labels = owner_labels(instance, store or _OF_DIRECTORIES)
    return Owner(labels, labels if store else tuple(each for each in labels if each[0] != STORE))


def foreign_because(document: Mapping[str, Any], owner: Pairs) -> str:
    """Why an object is foreign, as a clause about it; "" if it carries every label of `owner`."""
    labels = _mapping(_mapping(document, "metadata"), "labels")
    differ = [key for key, value in owner if labels.get(key) != value]
    if differ == [STORE] and STORE in labels:
        return (
            f"was written with another store ({labels[STORE]}); if that was moved or restored, "
            "name it in store.url (for a directory, in store.id)"
        )
    if not differ:
        return ""
    theirs = "" if INSTANCE in labels else written_by(document)
    return theirs or "does not carry the labels of this installation"


def lost_labels_alone(document: Mapping[str, Any], owner: Pairs) -> bool:
    """Whether a foreign object has kept a label of this installation or of its store, and has no
    other value for any label of `owner`: no one else claims it, and only some labels were removed.
    """
    labels = _mapping(_mapping(document, "metadata"), "labels")
    kept = {key for key, value in owner if labels.get(key) == value}
    changed = {key for key, _ in owner if key in labels} - kept
    return not changed and not kept.isdisjoint({INSTANCE, STORE}) and len(kept) < len(owner)


def ours_of(document: Mapping[str, Any], *, just_sent: bool = False) -> Manifest:
    """Our part of an object, in the form in which it was written.

    Foreign labels and annotations go, and so does all that an API server adds; with `just_sent`
    this is its answer to a write of ours.
    """
    metadata = _mapping(document, "metadata")
    kept: dict[str, Any] = {"name": metadata.get("name")}
    for part in ("labels", "annotations"):
        found = {
            key: value
            for key, value in _mapping(metadata, part).items()
            if _is_our_key(key) and key not in _STAMPS
        }
        if found:
            kept[part] = found
    # An unknown part beside the spec shows as a difference, and is overwritten.
    rest = {key: value for key, value in document.items() if key not in ("metadata", "status")}
    if "spec" in rest:
        rest["spec"] = without_added(document, just_sent=just_sent)
    return Manifest.of({**rest, "metadata": kept})


def stamp(record: str, writer: str) -> Pairs:
    """The annotations of what is written under a record, as `chain sequence:hash`, by a writer."""
    return ((RECORD_ANNOTATION, record), (WRITER_ANNOTATION, writer))


def stamp_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """The record and the writer that an object names, "" for what it does not name as text."""
    annotations = _mapping(_mapping(document, "metadata"), "annotations")
    record, writer = (annotations.get(key) for key in (RECORD_ANNOTATION, WRITER_ANNOTATION))
    return record if isinstance(record, str) else "", writer if isinstance(writer, str) else ""


def stamped(manifest: Manifest, stamp: Pairs) -> dict[str, Any]:
    """The document of a new object, with its stamp."""
    document = manifest.document()
    if stamp:
        metadata = document["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), **dict(stamp)}
    return document


def merged(manifest: Manifest, live: Mapping[str, Any], stamp: Pairs = ()) -> dict[str, Any]:
    """The document to write over `live`: ours, with the foreign metadata that is there."""
    document = stamped(manifest, stamp)
    ours, found = document["metadata"], _mapping(live, "metadata")
    # Without managedFields an API server keeps those it has.
    kept = {key: value for key, value in found.items() if key != "managedFields"}
    for part in ("labels", "annotations"):
        pairs = {key: value for key, value in _mapping(found, part).items() if not _is_our_key(key)}
        kept[part] = {**pairs, **ours.get(part, {})}
    document["metadata"] = {key: value for key, value in {**ours, **kept}.items() if value != {}}
    return document


def _is_our_key(key: str) -> bool:
    return key in _OUR_KEYS or str(key).startswith(_OUR_PREFIXES)


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a document that others may have written: anything but a mapping counts as none."""
    found = document.get(key)
    # JSON has no other mapping, and asking for the abstract one takes many times longer.
    return found if isinstance(found, dict) else {}

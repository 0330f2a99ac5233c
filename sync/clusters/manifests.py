"""A directory of manifests, for GitOps: `<path>/<kind in lower case>/<name>.yaml`, one object each.

Only files that hold an object of ours under its own name are ours; all other files stay unchanged.
A file is written atomically, even if the machine crashes.
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import yaml

from sync import yaml_documents
from sync.calico.manifest import Manifest
from sync.calico.objects import KINDS, Pairs
from sync.calico.ownership import merged, ours_of, stamped
from sync.clusters.cluster import (
    Changed,
    ClusterFacts,
    CriticalEndpoints,
    Key,
    Labelled,
    LiveObject,
    Noticed,
    NotWrittenError,
    OutOfReachError,
    Remaining,
    WatchNotice,
    Workload,
    ignore_notice,
)
from sync.errors import ClusterError
from sync.files import UnconfirmedError, confirm, remove_left, write_whole

_SUFFIX = ".yaml"
TEMPORARY = ".zonebridge-"
"""The beginning of temporary names; no .yaml, so that no tool applies a half-written file."""
_CHANGED = "{} was changed by someone else meanwhile; the next sync plans it again"
LOOK_SECONDS = 2.0
"""Seconds between two looks at a directory that is watched."""

# Far above any object of ours: a larger file is foreign.
_MAX_BYTES = 4 * 1024 * 1024


class ManifestsReader:
    """Reads a directory of manifests; `owner` are the labels that make an object ours."""

    def __init__(self, path: Path, owner: Pairs) -> None:
        self._path = path
        self._owner = owner

    def identity(self) -> str:
        """None: a directory may move, and the configuration gives no two clusters the same one."""
        return ""

    def read(self) -> Mapping[Key, LiveObject]:
        """Read every file in the place of an object of our kinds.

        A file without such an object is foreign. A missing directory is empty.
        """
        return {
            (kind, file.name.removesuffix(_SUFFIX)): self._live(kind, file)
            for kind, file in _object_files(self._path)
        }

    def _live(self, kind: str, file: Path) -> LiveObject:
        document = _document(file)
        name = file.name.removesuffix(_SUFFIX)
        metadata = document.get("metadata")
        named = isinstance(metadata, Mapping) and metadata.get("name") == name
        if not named or document.get("kind") != kind:
            return LiveObject(None, document, f"is a file that holds something else ({file})")
        try:
            found = LiveObject.of(document, self._owner)
            _ = found.stands
        except TypeError:
            # It holds a value without JSON form (a date, a set), which we never write.
            return LiveObject(None, document, f"is a file that an API server would reject ({file})")
        return found

    def facts(self, zone_label: str) -> ClusterFacts:
        """Unknown: the cluster to which the directory is applied is not known."""
        del zone_label
        because = f"a directory of manifests ({self._path}) reports nothing about the cluster"
        return ClusterFacts(
            pod_networks_because=because,
            nodes_because=because,
            foreign_policies_because=because,
            selectable_because=because,
        )

    def lifelines(self) -> CriticalEndpoints:
        """None, for the same reason."""
        return CriticalEndpoints()

    def pods_at(self, addresses: Collection[tuple[int, int]]) -> Sequence[Workload]:
        """None, for the same reason."""
        del addresses
        return ()


class ManifestsWriter:
    """Writes a directory of manifests under a lease, and creates it if it is missing.

    Threads may share it.
    """

    def __init__(self, path: Path, *, remaining: Remaining) -> None:
        self._path = path
        self._remaining = remaining
        self._tidied = False
        self._tidying = Lock()

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        self._write(manifest, stamped(manifest, stamp), new=True)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        assert live.stands is not None, "what must be left alone is not replaced"
        if _document(self._file(manifest)) != live.document:
            raise NotWrittenError(_CHANGED.format(self._file(manifest)))
        self._write(manifest, merged(manifest, live.document, stamp), new=False)

    def delete(self, live: LiveObject) -> None:
        assert live.manifest is not None, "only an object of ours is deleted"
        file = self._file(live.manifest)
        self._require_lease(file)
        if file.exists() and not _holds(file, live.manifest):
            raise NotWrittenError(_CHANGED.format(file))
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise NotWrittenError(f"cannot remove {file}: {error.strerror}") from error
        try:
            confirm(file.parent)
        except UnconfirmedError as error:
            raise _unconfirmed(error) from error

    def _require_lease(self, file: Path) -> None:
        if self._remaining() <= 0:
            raise OutOfReachError(
                f"the lease could not be renewed in time, so {file} was not written; check that "
                "the store can be reached"
            )
        with self._tidying:
            if not self._tidied:
                _remove_left(self._path)
                self._tidied = True

    def _write(self, manifest: Manifest, document: Mapping[str, Any], *, new: bool) -> None:
        file = self._file(manifest)
        self._require_lease(file)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, render(document), temporary=TEMPORARY, new=new)
        except UnconfirmedError as error:
            raise _unconfirmed(error) from error
        except FileExistsError as error:
            raise NotWrittenError(_CHANGED.format(file)) from error
        except OSError as error:
            raise NotWrittenError(
                f"cannot write {file}: {error.strerror}; make the directory writable or free space"
            ) from error

    def _file(self, manifest: Manifest) -> Path:
        return self._path / place(manifest.kind, manifest.name)


class ManifestsWatcher:
    """Polls the metadata of the files in a directory `every` few seconds.

    If any changed, the directory must be read again.
    """

    def __init__(self, path: Path, every: float = LOOK_SECONDS) -> None:
        self._path = path
        self._every = every

    def watch(
        self,
        changed: Changed,
        labelled: Labelled,
        missed: Callable[[], None],
        stopping: Event,
        noticed: Noticed = ignore_notice,
    ) -> None:
        del changed, labelled

        def look() -> None:
            seen: Mapping[Path, tuple[int, ...]] | str | None = None
            while True:
                now = self._marks()
                if isinstance(seen, str) and not isinstance(now, str):
                    noticed("directory", WatchNotice.BACK)
                if now != seen:
                    missed()
                seen = now
                if stopping.wait(self._every):
                    return

        Thread(target=look, name=f"watch {self._path}", daemon=True).start()

    def _marks(self) -> Mapping[Path, tuple[int, ...]] | str:
        """The marks by which changes of each file are noticed, or why they cannot be read."""
        try:
            return {file: _mark(file.stat()) for _, file in _object_files(self._path)}
        except (ClusterError, OSError) as error:
            return str(error)


def place(kind: str, name: str) -> Path:
    """The file of an object within its directory."""
    return Path(kind.lower(), f"{name}{_SUFFIX}")


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def render(document: Mapping[str, Any]) -> bytes:
    """A document as YAML in a fixed layout: equal documents are equal bytes."""
    ordered = {key: document[key] for key in ("apiVersion", "kind", "metadata") if key in document}
    ordered.update(sorted((key, value) for key, value in document.items() if key not in ordered))
    return yaml.dump(
        ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096, encoding="utf-8"
    )


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that some YAML reader might take for another type.

    `1e3`, `0o17` and `y` are texts to PyYAML, and numbers and booleans to the readers of Go.
    """

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


_PLAIN = re.compile(
    r"(?!(?i:true|false|null)$)[A-Za-z]{4,}"
    r"|[A-Za-z][A-Za-z0-9]*[.-][A-Za-z0-9.-]*[A-Za-z0-9]"
    r"|[A-Za-z0-9][A-Za-z0-9.:-]*/[A-Za-z0-9.-]+"
)


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _object_files(path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a directory in the place of an object, each with the object's kind.

    `ClusterError` if a folder cannot be read; a missing one is empty.
    """
    for kind in KINDS:
        for file in _files(path / kind.lower()):
            yield kind, file


def _files(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as found:
            names = sorted(
                each.name
                for each in found
                if each.name.endswith(_SUFFIX) and not each.name.startswith(".")
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise ClusterError(
            f"cannot read {directory}: {error.strerror}; make it a readable directory"
        ) from error
    yield from (directory / name for name in names)


def _document(file: Path) -> Mapping[str, Any]:
    """The only document in a file; empty if the file holds anything else, or is not a file."""
    try:
        if not file.is_file():
            return {}
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ClusterError(f"cannot read {file}: {error.strerror}; make it readable") from error
    if len(data) > _MAX_BYTES:
        return {}
    try:
        document = yaml_documents.load(data, "kubernetes")
    except yaml_documents.RefusedYamlError:
        return {}
    return document if isinstance(document, Mapping) else {}


def _remove_left(path: Path) -> None:
    """Remove temporary files of killed writers; the holder of the lease is the only writer."""
    for folder in (path, *(path / kind.lower() for kind in KINDS)):
        with contextlib.suppress(OSError):
            remove_left(folder, temporary=TEMPORARY)


def _holds(file: Path, manifest: Manifest) -> bool:
    """Whether our part of the object in a file is this manifest."""
    try:
        return ours_of(_document(file)) == manifest
    except (KeyError, TypeError):
        return False


def _unconfirmed(error: UnconfirmedError) -> ClusterError:
    return ClusterError(
        f"{error.filename} was changed, but the disk does not confirm the write: {error.strerror}"
    )

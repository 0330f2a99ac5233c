"""A `kustomization.yaml` beside the manifests, for `kubectl apply -k`, Argo CD and Flux.

It lists the files of our objects, and nothing else, in the order in which they are to be applied:
tiers first, since Calico's API server refuses a policy whose tier is missing; then sets, since a
policy decides by what they hold; then policies. `sortOptions` holds the tools to that order.

The list follows from the files: it is no object of a cluster, and has no record in the audit trail.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from sync.calico.names import INSTANCE
from sync.calico.objects import KINDS, Pairs
from sync.clusters.cluster import Key, OutOfReachError, Remaining
from sync.clusters.manifests import TEMPORARY, place, render
from sync.errors import ClusterError
from sync.files import confirm, write_whole

NAME: Final = "kustomization.yaml"
_OTHERS: Final = ("kustomization.yml", "Kustomization")  # names that kustomize takes besides
_ORDER: Final = tuple(KINDS)
_MOST: Final = 16 * 1024 * 1024  # bytes; ours name at most some ten thousand files


class Kustomization:
    """The list in one directory; `owner` are the labels that make an object ours.

    Unless it is `wanted`, a list of ours is removed. A file of someone else always stays.
    """

    def __init__(self, path: Path, owner: Pairs, *, wanted: bool) -> None:
        self._path = path
        self._wanted = wanted
        who = dict(owner)[INSTANCE]
        self._mark = f"# Kept by zonebridge, instance {who}: changes are overwritten.\n".encode()

    def warnings(self, ours: Iterable[Key]) -> Sequence[str]:
        if not self._wanted:
            return []
        if foreign := self._foreign():
            sentence = (
                f"{foreign} is not ours and stays as it is, so no kustomization lists our files; "
                "move it to the folder above, where it can name this one, or set kustomization: "
                "false"
            )
            return [sentence]
        file = self._path / NAME
        standing = _content(file)
        if standing == self._wanted_of(ours):
            return []
        how = "was changed" if standing else "is missing"
        return [f"{file} {how}; a sync writes it"]

    def keep(self, ours: Iterable[Key], remaining: Remaining) -> None:
        file = self._path / NAME
        try:
            standing = _content(file)
        except ClusterError:
            if not self._wanted:
                return  # it cannot be ours
            raise
        if standing is not None and not standing.startswith(self._mark):
            return
        wanted = self._wanted_of(ours) if self._wanted and not self._foreign() else None
        if wanted == standing:
            return
        if remaining() <= 0:
            raise OutOfReachError(
                f"the lease could not be renewed in time, so {file} was not written; check that "
                "the store can be reached"
            )
        try:
            if wanted is None:
                file.unlink(missing_ok=True)
                confirm(self._path)
            else:
                write_whole(file, wanted, temporary=TEMPORARY)
        except OSError as error:
            raise ClusterError(
                f"cannot write {file}: {error.strerror}; make the directory writable or free space"
            ) from error

    def _wanted_of(self, ours: Iterable[Key]) -> bytes | None:
        listed = sorted(ours, key=lambda key: (_ORDER.index(key[0]), key[1]))
        return self._listing(listed) if listed else None

    def _foreign(self) -> Path | None:
        """A file that is a kustomization and not ours."""
        standing = _content(self._path / NAME)
        if standing is not None and not standing.startswith(self._mark):
            return self._path / NAME
        return next((file for name in _OTHERS if (file := self._path / name).exists()), None)

    def _listing(self, ours: Sequence[Key]) -> bytes:
        return self._mark + render(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [place(*key).as_posix() for key in ours],
                "sortOptions": {"order": "fifo"},
            }
        )


def _content(file: Path) -> bytes | None:
    """The content of a file, None if it is missing; raises `ClusterError`."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return b""
    except OSError as error:
        raise ClusterError(f"cannot read {file}: {error.strerror}; make it readable") from error

"""Copies of one store at random, with kills: who is stopped, and who never is.

What is expected is not read from any trail: the cluster notes which of the stores wrote each object
last, and when.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.calico.objects import Pairs
from sync.clusters.cluster import Key, LiveObject
from sync.reconcile.copied_store import CopiedStoreError
from sync.store import Store, open_store
from sync.store.verification import verify
from tests.integration.test_copies import copy
from tests.integration.test_cycle import A, B, C, Killed, KnownCluster, World
from tests.unit.store.words import ticking
from tests.words import Word, group

CONFIGURATIONS: Sequence[tuple[Word, ...]] = (
    (A, B, C, group("web", "a")),
    (A, B, C, group("web", "a", "b"), group("db", "c")),
    (A, B, C, group("web", "a", "b"), group("db", "b"), group("app", "a")),
    (A, B, C, group("app", "c")),
)

steps = st.tuples(
    st.sampled_from(["first", "second"]),
    st.integers(0, len(CONFIGURATIONS) - 1),
    # After how many writes it is killed, and whether before or after the last one has arrived.
    st.none() | st.tuples(st.integers(0, 3), st.booleans()),
)


@dataclass
class NotedCluster(KnownCluster):
    """A cluster that notes who wrote each object last; `both`: it was before there was a copy."""

    writer_is: str = ""
    left: int | None = None
    arrives: bool = False
    wrote: dict[Key, str] = field(default_factory=dict)

    def create(self, manifest: Manifest, stamp: Pairs = ()) -> None:
        with self._noted((manifest.kind, manifest.name)):
            super().create(manifest, stamp)

    def replace(self, manifest: Manifest, live: LiveObject, stamp: Pairs = ()) -> None:
        with self._noted((manifest.kind, manifest.name)):
            super().replace(manifest, live, stamp)

    def delete(self, live: LiveObject) -> None:
        assert live.manifest
        with self._noted(key := (live.manifest.kind, live.manifest.name)):
            super().delete(live)
        self.wrote.pop(key, None)

    @contextmanager
    def _noted(self, key: Key) -> Iterator[None]:
        killed = self.left is not None and self.left <= 0
        self.left = None if self.left is None else self.left - 1
        if killed and not self.arrives:
            raise Killed
        yield
        self.wrote[key] = self.writer_is
        if killed:
            raise Killed


def syncs(world: World, cluster: NotedCluster, name: str, step: Any) -> Any:
    """One sync, perhaps killed; its result, None if it was."""
    _, configuration, kill = step
    cluster.writer_is = name
    cluster.left, cluster.arrives = kill or (None, False)
    world.export(*CONFIGURATIONS[configuration])
    with suppress(Killed):
        return world.only()
    return None


@given(st.lists(steps, min_size=1, max_size=2), st.lists(steps, min_size=2, max_size=6))
@settings(max_examples=12)
def test_whoever_finds_what_the_other_wrote_since_the_copy_was_made_is_stopped(
    until_then: list[Any],
    taken: list[Any],
) -> None:
    with running(until_then, copied=True) as (worlds, cluster):
        for step in taken:
            name = step[0]
            theirs = [key for key, by in cluster.wrote.items() if by not in ("both", name)]
            before, wrote = dict(cluster.documents), list(cluster.writes)
            trail = worlds[name].trail()
            result = syncs(worlds[name], cluster, name, step)
            stopped = result is not None and isinstance(result.error, CopiedStoreError)
            event(f"stopped: {stopped}, killed: {result is None}")
            assert stopped == bool(theirs)
            if stopped:
                assert (cluster.documents, cluster.writes) == (before, wrote)
                assert worlds[name].trail() == trail
        for world in worlds.values():
            assert verify(world.store)


@given(st.lists(steps, min_size=2, max_size=6))
@settings(max_examples=8)
def test_neither_kills_nor_takeovers_among_replicas_look_like_a_copy(taken: list[Any]) -> None:
    with running((), copied=False) as (worlds, cluster):
        for step in taken:
            result = syncs(worlds[step[0]], cluster, step[0], step)
            event(f"killed: {result is None}")
            assert result is None or result.succeeded
        assert verify(worlds["first"].store)


@contextmanager
def running(
    until_then: Sequence[Any], *, copied: bool
) -> Iterator[tuple[dict[str, World], NotedCluster]]:
    """Two with one store that has synced, or with a copy of it for the second one.

    `until_then` are the syncs, killed ones among them, that the copy has whole or in part.
    """
    path = Path(tempfile.mkdtemp())
    with ExitStack() as kept:
        kept.callback(shutil.rmtree, path)

        def opened(name: str) -> Store:
            return kept.enter_context(open_store(f"sqlite:///{path}/{name}.db", clock=ticking()))

        first = World(path, opened("first"))
        cluster = NotedCluster(first.owner)
        first.kept["prod"] = cluster
        for step in until_then:
            syncs(first, cluster, "both", step)
        if copied:
            copy(path, "first", "second")
        second = World(path, opened("second" if copied else "first"), kept=first.kept)
        yield {"first": first, "second": second}, cluster

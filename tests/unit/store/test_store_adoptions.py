"""Foreign objects that an operator lets us take over: as they were seen, once, for a day."""

from datetime import timedelta
from pathlib import Path

from sync.store import Store, open_store
from sync.store.verification import verify
from tests.unit.store.words import START, apply, group, update


def opened(path: Path, later: timedelta = timedelta()) -> Store:
    return open_store(f"sqlite:///{path}/store.db", clock=lambda: START + later)


def test_what_may_be_taken_over_is_one_object_as_it_was_seen_for_a_day(tmp_path: Path) -> None:
    theirs, ours = group("pan.web", "192.0.2.0/24"), group("pan.web", "10.0.0.1/32")
    asked = frozenset({(theirs.kind, theirs.name, theirs.digest)})
    with opened(tmp_path) as store:
        store.run("somebody").let_adopt("eu", [update(theirs, ours)])
        assert store.adoptions("eu") == asked
        assert store.adoptions("us") == frozenset()
        assert store.written("eu") == {}
        verify(store)
    for hours, holds in ((23, asked), (24, frozenset()), (25, frozenset())):
        with opened(tmp_path, timedelta(hours=hours)) as store:
            assert store.adoptions("eu") == holds


def test_it_holds_once_and_the_last_look_counts(tmp_path: Path) -> None:
    theirs, ours = group("pan.web", "192.0.2.0/24"), group("pan.web", "10.0.0.1/32")
    other = group("pan.web", "198.51.100.0/24")
    with opened(tmp_path) as store:
        run = store.run("somebody")
        run.let_adopt("eu", [update(theirs, ours)])
        run.let_adopt("eu", [update(other, ours)])
        assert store.adoptions("eu") == {(other.kind, other.name, other.digest)}
        apply(run, "eu", update(other, ours))
        assert store.adoptions("eu") == frozenset()
        verify(store)


def test_it_is_void_in_another_cluster_and_in_one_that_was_forgotten(tmp_path: Path) -> None:
    theirs, ours = group("pan.web", "192.0.2.0/24"), group("pan.web", "10.0.0.1/32")
    asked = frozenset({(theirs.kind, theirs.name, theirs.digest)})
    with opened(tmp_path) as store:
        run = store.run("somebody")
        with store.lease("eu", "somebody", timedelta(minutes=1)) as lease:
            run.identify(lease, "1")
            run.let_adopt("eu", [update(theirs, ours)])
            assert store.adoptions("eu") == asked
            run.accept("eu", "2")
            assert store.adoptions("eu") == frozenset()
            run.let_adopt("eu", [update(theirs, ours)])
            run.forget(lease)
            assert store.adoptions("eu") == frozenset()
        verify(store)


def test_it_ends_a_day_later_by_the_clock_though_that_was_ahead_once(tmp_path: Path) -> None:
    theirs, ours = group("pan.web", "192.0.2.0/24"), group("pan.web", "10.0.0.1/32")
    with opened(tmp_path, timedelta(days=400)) as ahead:
        apply(ahead.run("somebody"), "eu", update(ours, theirs))
    with opened(tmp_path) as store:
        store.run("somebody").let_adopt("eu", [update(theirs, ours)])
        assert store.adoptions("eu")
        verify(store)
    with opened(tmp_path, timedelta(hours=25)) as store:
        assert store.adoptions("eu") == frozenset()

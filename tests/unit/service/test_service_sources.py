"""A source that is polled: what it keeps, and when it is read."""

import time

import pytest

from sync.errors import SourceError
from sync.service.sources import PolledSource
from tests.memory import HeldMemory
from tests.unit.service.words import SaidSource
from tests.words import address


@pytest.fixture
def said() -> SaidSource:
    return SaidSource()


@pytest.fixture
def memory() -> HeldMemory:
    return HeldMemory()


@pytest.fixture
def polled(said: SaidSource, memory: HeldMemory) -> PolledSource:
    return PolledSource(said, memory)


def test_a_source_that_was_not_asked_yet_gives_an_error_that_says_so(polled: PolledSource) -> None:
    found = polled.last_good
    assert isinstance(found, SourceError)
    assert "main was not read yet" in str(found)
    assert polled.attempted == polled.succeeded == 0


def test_an_unchanged_revision_is_not_read(said: SaidSource, polled: PolledSource) -> None:
    assert polled.poll() is True
    first = polled.succeeded
    assert [polled.poll() for _ in range(3)] == [False, False, False]
    assert said.reads == 1
    # But it was asked, and its answer still holds.
    assert polled.succeeded >= first > 0


def test_a_changed_revision_with_the_same_content_is_no_change(
    said: SaidSource, polled: PolledSource
) -> None:
    polled.poll()
    said.moves()
    assert polled.poll() is False
    assert polled.poll() is False
    assert said.reads == 2


def test_other_content_is_a_change(said: SaidSource, polled: PolledSource) -> None:
    polled.poll()
    said.says(address("a", "10.0.0.1"), version="2")
    assert polled.poll() is True
    assert polled.snapshot
    assert polled.snapshot.provenance.version == "2"


def test_other_content_under_the_same_version_is_a_change(
    said: SaidSource, polled: PolledSource
) -> None:
    """What a full read is for."""
    polled.poll()
    said.says(address("a", "10.0.0.1"), version=said.version)
    assert polled.poll() is True


@pytest.mark.parametrize("fails", ["error", "revision_error"])
def test_a_failure_keeps_the_last_good_answer_and_its_time(
    said: SaidSource, polled: PolledSource, fails: str
) -> None:
    polled.poll()
    before, succeeded, attempted = polled.last_good, polled.succeeded, polled.attempted
    said.says(version="2")
    setattr(said, fails, "the disk is on fire")
    assert polled.poll() is False
    assert polled.last_good is before
    assert str(polled.error) == "the disk is on fire"
    assert polled.succeeded == succeeded
    assert polled.attempted >= attempted


def test_what_failed_is_read_once_it_can_be(said: SaidSource, polled: PolledSource) -> None:
    said.error = "half written"
    assert [polled.poll(), polled.poll()] == [False, False]
    failure = polled.error
    assert polled.last_good is failure
    said.error = ""
    assert polled.poll() is True
    assert polled.error is None
    said.error = "half written"
    said.says(version="2")
    polled.poll()
    said.error = ""
    assert polled.poll() is True
    assert polled.snapshot
    assert polled.snapshot.provenance.version == "2"


def test_a_revision_asked_for_before_the_read_never_hides_a_change_during_it(
    said: SaidSource, polled: PolledSource
) -> None:
    real = said.read

    def moving() -> object:
        found = real()
        said.says(version="2")
        return found

    said.read = moving  # type: ignore[method-assign, assignment]
    polled.poll()
    said.read = real  # type: ignore[method-assign]
    assert polled.poll() is True
    assert polled.snapshot
    assert polled.snapshot.provenance.version == "2"


def test_what_is_remembered_stands_until_the_source_answers(
    said: SaidSource, polled: PolledSource, memory: HeldMemory
) -> None:
    before = time.time()
    polled.poll()
    polled.remember()
    again = PolledSource(said, memory)
    again.recall()
    assert again.last_good == polled.last_good
    assert before <= again.succeeded <= time.time()
    # Nobody syncs before the source was asked.
    assert again.attempted == 0
    succeeded = again.succeeded
    said.error = "the disk is on fire"
    assert again.poll() is False
    assert (again.last_good, again.succeeded) == (polled.last_good, succeeded)
    assert str(again.error) == "the disk is on fire"
    said.error = ""
    said.says(address("a", "10.0.0.1"), version="2")
    assert again.poll() is True
    assert again.last_good != polled.last_good
    assert again.succeeded > succeeded


def test_what_is_remembered_is_read_again_whatever_the_revision_is(
    said: SaidSource, polled: PolledSource, memory: HeldMemory
) -> None:
    polled.poll()
    polled.remember()
    again = PolledSource(said, memory)
    again.recall()
    said.revision = lambda: ""  # type: ignore[method-assign]
    assert again.poll() is False
    assert said.reads == 2


def test_nothing_remembered_is_nothing(said: SaidSource, memory: HeldMemory) -> None:
    again = PolledSource(said, memory)
    again.recall()
    assert "was not read yet" in str(again.last_good)
    again.remember()
    assert (again.succeeded, memory) == (0, {})


def test_an_answer_is_remembered_once(polled: PolledSource, memory: HeldMemory) -> None:
    polled.poll()
    polled.remember()
    memory.clear()
    polled.poll()
    polled.remember()
    assert memory == {}


def test_a_clock_that_was_set_back_makes_no_answer_newer_than_now(
    said: SaidSource, polled: PolledSource, memory: HeldMemory
) -> None:
    polled.poll()
    polled.succeeded += 3600
    polled.remember()
    again = PolledSource(said, memory)
    again.recall()
    assert again.succeeded <= time.time()


def test_a_clock_that_is_set_back_makes_no_answer_younger(
    said: SaidSource, polled: PolledSource, memory: HeldMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, real = 5_000.0, 100.0
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: real)
    polled.poll()
    polled.remember()
    again = PolledSource(said, memory)
    again.recall()
    wall, real = wall - 3_600, real + 600
    assert [each.age for each in (polled, again)] == [600, 600]
    wall += 2 * 3_600
    assert polled.age == 3_600
    assert PolledSource(said, memory).age == wall

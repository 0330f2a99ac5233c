"""Answers that age: what is asked, in which order, and when the next round is due."""

from collections import Counter
from dataclasses import dataclass

from sync.sources.answer_cache import AnswerCache
from sync.transport.stopping import Stopping
from tests.clock import Clock


@dataclass
class Entry:
    asked_at: float = 0.0
    due_at: float = 0.0


def cache(clock: Clock, least_seconds: float = 0.0) -> AnswerCache[str, Entry]:
    return AnswerCache(
        lambda _: Entry(), at_once=1, round_seconds=120, least_seconds=least_seconds, now=clock
    )


def answered(asked: AnswerCache[str, Entry], key: str, lasts: float) -> None:
    entry = asked.entries[key]
    entry.asked_at, entry.due_at = asked.now(), asked.now() + lasts


def ended(asked: AnswerCache[str, Entry]) -> None:
    asked.end_round(lambda entry, _: entry.due_at)


def test_a_key_is_due_once_its_answer_has_aged_or_the_clock_was_set_back() -> None:
    clock = Clock()
    asked = cache(clock)
    assert asked.due()
    assert asked.keep("a") == ["a"]
    answered(asked, "a", 60)
    ended(asked)
    assert not asked.due()
    assert asked.keep("a") == []
    clock.now += 60
    assert asked.due()
    assert asked.keep("a") == ["a"]
    answered(asked, "a", 60)
    ended(asked)
    clock.now -= 1
    assert asked.due()
    assert asked.keep("a") == ["a"]


def test_nothing_is_due_without_keys() -> None:
    asked = cache(Clock())
    asked.keep("")
    ended(asked)
    assert not asked.due()


def test_an_entry_is_recalled_once_and_forgotten_with_its_key() -> None:
    recalled: Counter[str] = Counter()

    def entry(key: str) -> Entry:
        recalled[key] += 1
        return Entry()

    asked = AnswerCache(entry, at_once=1, round_seconds=1, least_seconds=0, now=Clock())
    asked.keep("ab")
    asked.keep("ab")
    assert recalled == {"a": 1, "b": 1}
    asked.keep("b")
    asked.keep("ab")
    assert recalled == {"a": 2, "b": 1}


def test_a_key_that_a_round_had_no_time_for_comes_first_in_the_next_one() -> None:
    clock = Clock()
    asked = cache(clock)
    due = asked.keep("ab")

    def last(key: str, _: float) -> str:
        asked.stopping.set()
        return key

    assert asked.replies(due, last) == [("a", "a")]
    answered(asked, "a", 60)
    ended(asked)
    assert asked.due()
    clock.now += 60
    assert asked.keep("ab") == ["b", "a"]


def test_a_question_without_a_reply_stays_due() -> None:
    asked = cache(Clock())
    assert asked.replies(asked.keep("a"), lambda key, seconds: None) == []
    ended(asked)
    assert asked.due()


def test_nothing_is_asked_with_too_little_time_left() -> None:
    asked = cache(Clock(), least_seconds=120)
    assert asked.replies(asked.keep("a"), lambda key, seconds: key) == []


def test_nothing_is_asked_once_the_process_is_asked_to_end() -> None:
    stopping = Stopping()
    stopping.set()
    asked = cache(Clock())
    asked.stopping = stopping
    assert asked.replies(asked.keep("a"), lambda key, seconds: key) == []

"""Answers that age: kept by key, refreshed in rounds, and remembered beyond the process.

keys  ->  recalled once  ->  those due, asked in parallel within one deadline  ->  next round
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sync.transport.stopping import Stopping


class Aging(Protocol):
    """The last answer for a key; `asked_at` and `due_at` are Unix times, 0 if never requested."""

    asked_at: float
    due_at: float


_Key = TypeVar("_Key")
_Reply = TypeVar("_Reply")
_Entry = TypeVar("_Entry", bound=Aging)


@dataclass(slots=True)
class AnswerCache(Generic[_Key, _Entry]):
    """The entries of some keys, and when they may change; for one thread.

    `recalled` makes the entry of a new key, from what an earlier process remembered of it. A round
    of questions takes `round_seconds` at most, asks `at_once` of them at a time and none with
    `least_seconds` left or less: it would fail for no reason of its own. Once `stopping`, nothing
    is asked.
    """

    recalled: Callable[[_Key], _Entry]
    at_once: int
    round_seconds: float
    least_seconds: float
    now: Callable[[], float] = time.time
    stopping: Stopping = field(default_factory=Stopping)
    entries: dict[_Key, _Entry] = field(default_factory=dict)
    _last_round: float = 0.0
    _next_change: float = 0.0

    def due(self) -> bool:
        """Whether another round may change an answer."""
        # A clock that was set back shows nothing of what is due.
        return not self._last_round <= self.now() < self._next_change

    def keep(self, keys: Iterable[_Key]) -> list[_Key]:
        """Keep the entries of these keys alone; returns those that are due, the longest due first.

        Where questions that time out use up a round, the others come first in the next one.
        """
        self.entries = {key: self.entries.get(key) or self.recalled(key) for key in keys}
        now = self.now()
        due = [
            key for key, entry in self.entries.items() if not entry.asked_at <= now < entry.due_at
        ]
        return sorted(due, key=lambda key: self.entries[key].due_at)

    def replies(
        self, keys: Sequence[_Key], ask: Callable[[_Key, float], _Reply | None]
    ) -> list[tuple[_Key, _Reply]]:
        """Ask for keys in parallel; `ask` is given the seconds that are left.

        A key that gets no reply, or None, is left out: the next round asks for it.
        """
        if not keys:
            return []
        deadline = time.monotonic() + self.round_seconds

        def reply(key: _Key) -> _Reply | None:
            seconds = deadline - time.monotonic()
            enough = seconds > self.least_seconds and not self.stopping.is_set()
            return ask(key, seconds) if enough else None

        with ThreadPoolExecutor(self.at_once, "answers") as threads:
            replies = threads.map(reply, keys)
            return [
                (key, reply) for key, reply in zip(keys, replies, strict=True) if reply is not None
            ]

    def end_round(self, changes: Callable[[_Entry, float], float]) -> float:
        """End a round; returns its time. `changes` gives when an entry changes next after it."""
        self._last_round = now = self.now()
        self._next_change = min(
            (changes(entry, now) for entry in self.entries.values()), default=math.inf
        )
        return now

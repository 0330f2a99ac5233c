"""FQDN objects by DNS: what each name stands for, by the resolvers of this machine.

name  ->  A and AAAA, once the last answer ran out  ->  what it has, and had until a while ago

Firewalls ask for themselves, other resolvers perhaps and at other times: these answers are ours.
"""

import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import dns.exception
import dns.name
import dns.resolver
import orjson
import structlog

from sync.net.addresses import AddressSet, address, network
from sync.sources import Memory
from sync.transport.stopping import Stopping

NEVER: Final = AddressSet.union(
    network(each)
    for each in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/96",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)
"""What no answer of DNS can open: a name has no server there, whoever answers for it.

"This network", loopback, link-local (where clouds tell credentials), multicast, reserved and
broadcast, and IPv4 written as IPv6. Private networks are not in it: names of one's own are there.
"""

_KIND: Final = "name"
_FAMILIES: Final = ("A", "AAAA")
_AT_ONCE: Final = 16
_ANSWER_SECONDS: Final = 5.0
_ROUND_SECONDS: Final = 15.0
_SHORTEST_TTL: Final = 5.0
_LONGEST_TTL: Final = 3600.0
_AFTER_FAILURE: Final = 30.0
_MOST_GONE: Final = 1000
_SHOWN: Final = 5  # names in a line of the log

_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
# What ends with a number is an address (RFC 3696, section 2).
_HOST_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.$){_LABEL}\.")

_Question = tuple[str, str]
"""A name, absolute and in lower case, and `A` or `AAAA`."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was answered: the addresses of the last answer, and when it runs out (Unix time).

    `gone` are those of earlier answers, and when the last answer that had each of them ran out.
    """

    current: frozenset[str]
    until: float
    gone: Mapping[str, float] = field(default_factory=dict)

    def addresses(self, oldest: float) -> AddressSet:
        """What counts: the last answer, and what ran out after `oldest`."""
        late = (each for each, end in self.gone.items() if end > oldest)
        return AddressSet.union(map(network, (*self.current, *late))) - NEVER

    def followed_by(self, current: frozenset[str], until: float, oldest: float) -> "_Answer":
        """The next answer, in which what ran out by `oldest` is forgotten."""
        gone = {**self.gone, **dict.fromkeys(self.current, self.until)}
        late = [(end, each) for each, end in gone.items() if each not in current and end > oldest]
        # Of a name that turns with each answer the newest are enough.
        return _Answer(current, until, {each: end for end, each in sorted(late)[-_MOST_GONE:]})


@dataclass(slots=True)
class _Asked:
    """A question: its answer, None if there was none yet, and when it was asked and is due."""

    answer: _Answer | None
    remembered: _Answer | None
    at: float = 0.0
    due: float = 0.0
    failed: bool = False


class DnsCache:
    """The answers of DNS to the names of one source; for one thread.

    An answer holds for its TTL, of at least 5 seconds and at most an hour. Where a lookup fails
    the last one stays without an end. That there is no such name, or no address, is an answer.
    What an answer has no more stays for `grace` after the last one that had it ran out.
    """

    def __init__(
        self,
        memory: Memory,
        grace: timedelta,
        *,
        resolver: Callable[[], dns.resolver.Resolver] = dns.resolver.Resolver,
        now: Callable[[], float] = time.time,
        answer_seconds: float = _ANSWER_SECONDS,
        round_seconds: float = _ROUND_SECONDS,
        stopping: Stopping | None = None,
    ) -> None:
        """`resolver` is made for each round of questions: the system's may have changed.

        Once `stopping`, no question is asked any more.
        """
        self._memory = memory
        self._grace = grace.total_seconds()
        self._resolver = resolver
        self._now = now
        self.answer_seconds, self.round_seconds = answer_seconds, round_seconds
        self._stopping = stopping or Stopping()
        self._asked: dict[_Question, _Asked] = {}
        self._last_round, self._next_change = 0.0, 0.0

    def due(self) -> bool:
        """Whether `answers` may say something else by now."""
        # A clock that was set back says nothing of what is due.
        return not self._last_round <= self._now() < self._next_change

    def answers(self, texts: Collection[str]) -> dict[str, AddressSet]:
        """What names stand for, by the text that was given, after asking for those that are due.

        One that is no name of DNS, or was never answered, is not in it.
        """
        names = {text: name for text in texts if (name := absolute(text))}
        questions = [(name, family) for name in sorted({*names.values()}) for family in _FAMILIES]
        self._asked = {each: self._asked.get(each) or self._recalled(each) for each in questions}
        self._ask()
        self._last_round = self._now()
        oldest = self._last_round - self._grace
        self._next_change = min(
            (self._change(asked, oldest) for asked in self._asked.values()), default=math.inf
        )
        found = {}
        for text, name in names.items():
            answers = [self._asked[name, family].answer for family in _FAMILIES]
            if any(answers):
                found[text] = AddressSet.union(each.addresses(oldest) for each in answers if each)
        return found

    def _change(self, asked: _Asked, oldest: float) -> float:
        """When a question is due, or an address of its answers to be forgotten."""
        gone = asked.answer.gone.values() if asked.answer else ()
        return min([asked.due, *(end + self._grace for end in gone if end > oldest)])

    # --- asking -----------------------------------------------------------------------------------

    def _ask(self) -> None:
        now = self._now()
        due = [each for each, asked in self._asked.items() if not asked.at <= now < asked.due]
        if not due:
            return
        # Names that nobody answers for take a round's time: others have their turn all the same.
        due.sort(key=lambda each: self._asked[each].due)
        failing = {
            question[0].rstrip(".")
            for question, reply in zip(due, self._replies(due), strict=True)
            if self._note(question, reply)
        }
        if failing:
            shown = sorted(failing)[:_SHOWN]
            structlog.get_logger().warning(
                "DNS does not answer; what it said last stays",
                names=", ".join(shown),
                more=len(failing) - len(shown),
            )

    def _replies(self, due: Sequence[_Question]) -> list["_Reply"]:
        try:
            resolver = self._resolver()
        except dns.exception.DNSException:
            return [_FAILED] * len(due)  # no resolver is configured
        deadline = time.monotonic() + self.round_seconds

        def reply(question: _Question) -> _Reply:
            seconds = min(self.answer_seconds, deadline - time.monotonic())
            # With little time left a lookup would fail for no reason of its own.
            enough = seconds > self.answer_seconds / 2 and not self._stopping.is_set()
            return _reply(resolver, question, seconds) if enough else None

        with ThreadPoolExecutor(_AT_ONCE, "names") as pool:
            return list(pool.map(reply, due))

    def _note(self, question: _Question, reply: "_Reply") -> bool:
        """Keep what came of a question; whether it fails now and did not before."""
        if reply is None:
            return False  # nobody came to ask it: the next round does
        asked = self._asked[question]
        asked.at = now = self._now()
        current, ttl = reply
        if current is None:
            failed_before, asked.failed = asked.failed, True
            asked.due = now + _AFTER_FAILURE
            return not failed_before
        asked.failed = False
        asked.due = now + min(max(ttl, _SHORTEST_TTL), _LONGEST_TTL)
        before = asked.answer or _Answer(current, asked.due)
        asked.answer = before.followed_by(current, asked.due, now - self._grace)
        self._remember(question, asked)
        return False

    # --- remembering ------------------------------------------------------------------------------

    def _remember(self, question: _Question, asked: _Asked) -> None:
        """Remember an answer, unless it is the one remembered and as good as new."""
        answer, before = asked.answer, asked.remembered
        assert answer is not None, "only answers are remembered"
        if (
            before is None
            or (answer.current, answer.gone.keys()) != (before.current, before.gone.keys())
            or answer.until - before.until > self._grace / 10
        ):
            document = {
                "current": sorted(answer.current),
                "until": answer.until,
                "gone": dict(answer.gone),
            }
            self._memory.remember(_KIND, " ".join(question), orjson.dumps(document))
            asked.remembered = answer

    def _recalled(self, question: _Question) -> _Asked:
        kept = self._memory.recall(_KIND, " ".join(question))
        answer = None if kept is None else _read(kept, self._now() + _LONGEST_TTL)
        return _Asked(answer, answer)


_Reply = tuple[frozenset[str] | None, float] | None
"""The addresses of an answer, None for a failed lookup, and their TTL; None: was not asked."""
_FAILED: Final = (None, 0.0)


def _reply(resolver: dns.resolver.Resolver, question: _Question, seconds: float) -> _Reply:
    name, family = question
    try:
        try:
            answer = resolver.resolve(
                name, family, raise_on_no_answer=False, lifetime=seconds, search=False
            )
            rows, chain = answer.rrset or (), answer.chaining_result
        except dns.resolver.NXDOMAIN as error:
            rows, chain = (), error.response(dns.name.from_text(name)).resolve_chaining()
    except (dns.exception.DNSException, OSError):
        return _FAILED
    return frozenset(row.address for row in rows), chain.minimum_ttl


def absolute(text: str) -> str:
    """A name as it is asked for, absolute and in lower case; empty if it is no host's name."""
    try:
        name = dns.name.from_text(text.strip()).canonicalize().to_text()
    except (dns.exception.DNSException, UnicodeError):
        return ""
    return name if _HOST_NAME.fullmatch(name) else ""


def _read(kept: bytes, latest: float) -> _Answer | None:
    """A remembered answer; None if it is none of ours, or of a time that is still to come."""
    try:
        document = orjson.loads(kept)
        current, gone = document["current"], dict(document["gone"])
        ends = [float(document["until"]), *map(float, gone.values())]
        for each in (*current, *gone):
            address(each)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if max(ends) > latest:
        return None
    return _Answer(frozenset(current), ends[0], dict(zip(gone, ends[1:], strict=True)))

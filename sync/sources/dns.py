"""FQDN objects by DNS: the addresses of each name, by the resolvers of this machine.

name  ->  A and AAAA, once the last answer expires  ->  its current and its recent addresses

Firewalls resolve names themselves, perhaps by other resolvers and at other times: these answers are
our own.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
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
from sync.sources.answer_cache import AnswerCache
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
"""Networks that no answer of DNS can open: no name has a server there.

"This network", loopback, link-local (where clouds offer credentials), multicast, reserved and
broadcast, and IPv4 written as IPv6. Private networks are not in it: internal names resolve to them.
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
# A name that ends with a number is an address (RFC 3696, section 2).
_HOST_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.$){_LABEL}\.")

_Question = tuple[str, str]
"""A name, absolute and in lower case, and `A` or `AAAA`."""
_Reply = tuple[frozenset[str] | None, float]
"""The addresses of an answer, None for a failed lookup, and their TTL."""
_FAILED: Final[_Reply] = (None, 0.0)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The addresses of the last answer, and when it expires (Unix time).

    `gone` are those of earlier answers, and when the last answer with each of them expired.
    """

    current: frozenset[str]
    until: float
    gone: Mapping[str, float] = field(default_factory=dict)

    def addresses(self, oldest: float) -> AddressSet:
        """The addresses that count: of the last answer, and those that expired after `oldest`."""
        late = (each for each, end in self.gone.items() if end > oldest)
        return AddressSet.union(map(network, (*self.current, *late))) - NEVER

    def followed_by(self, current: frozenset[str], until: float, oldest: float) -> "_Answer":
        """The next answer; addresses that expired by `oldest` are forgotten."""
        gone = {**self.gone, **dict.fromkeys(self.current, self.until)}
        late = [(end, each) for each, end in gone.items() if each not in current and end > oldest]
        # Of a name whose addresses rotate with each answer, the newest are enough.
        return _Answer(current, until, {each: end for end, each in sorted(late)[-_MOST_GONE:]})


@dataclass(slots=True)
class _QuestionState:
    """A question: its answer, None if there was none yet, and when it was asked and is due."""

    answer: _Answer | None
    remembered: _Answer | None
    asked_at: float = 0.0
    due_at: float = 0.0
    failed: bool = False


class DnsCache:
    """The answers of DNS to the names of one source; for one thread.

    An answer is valid for its TTL, of at least 5 seconds and at most an hour. While lookups fail,
    the last one stays valid. No such name, and no address, are answers too. An address that the
    next answer lacks is kept for `grace` after the last answer with it expired.
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
        self.answer_seconds = answer_seconds
        self._cache = AnswerCache(
            self._recalled,
            at_once=_AT_ONCE,
            round_seconds=round_seconds,
            least_seconds=answer_seconds / 2,
            now=now,
            stopping=stopping or Stopping(),
        )

    def due(self) -> bool:
        """Whether `answers` may differ by now."""
        return self._cache.due()

    def answers(self, texts: Collection[str]) -> dict[str, AddressSet]:
        """Return the addresses of names, by the text that was given, after asking for those due.

        One that is not a name of DNS, or was never answered, is not in it.
        """
        names = {text: name for text in texts if (name := absolute(text))}
        self._ask([(name, family) for name in sorted({*names.values()}) for family in _FAMILIES])
        oldest = self._cache.end_round(self._next_change) - self._grace
        found = {}
        for text, name in names.items():
            answers = [self._cache.entries[name, family].answer for family in _FAMILIES]
            if any(answers):
                found[text] = AddressSet.union(each.addresses(oldest) for each in answers if each)
        return found

    def _next_change(self, state: _QuestionState, now: float) -> float:
        """When a question is due, or an address of its answers to be forgotten."""
        gone = state.answer.gone.values() if state.answer else ()
        forgotten = [end + self._grace for end in gone if end > now - self._grace]
        return min([state.due_at, *forgotten])

    def _ask(self, questions: Collection[_Question]) -> None:
        due = self._cache.keep(questions)
        if not due:
            return
        try:
            resolver = self._resolver()
        except dns.exception.DNSException:
            resolver = None  # none is configured

        def ask(question: _Question, seconds: float) -> _Reply:
            seconds = min(self.answer_seconds, seconds)
            return _FAILED if resolver is None else _reply(resolver, question, seconds)

        failing = {
            question[0].rstrip(".")
            for question, reply in self._cache.replies(due, ask)
            if self._note(question, reply)
        }
        if failing:
            shown = sorted(failing)[:_SHOWN]
            structlog.get_logger().warning(
                "DNS lookups fail; the last answers stay valid",
                names=", ".join(shown),
                more=len(failing) - len(shown),
            )

    def _note(self, question: _Question, reply: _Reply) -> bool:
        """Take over a reply; whether the question fails now and did not before."""
        state = self._cache.entries[question]
        state.asked_at = now = self._cache.now()
        current, ttl = reply
        if current is None:
            failed_before, state.failed = state.failed, True
            state.due_at = now + _AFTER_FAILURE
            return not failed_before
        state.failed = False
        state.due_at = now + min(max(ttl, _SHORTEST_TTL), _LONGEST_TTL)
        before = state.answer or _Answer(current, state.due_at)
        state.answer = before.followed_by(current, state.due_at, now - self._grace)
        self._remember(question, state)
        return False

    def _remember(self, question: _Question, state: _QuestionState) -> None:
        """Remember an answer, unless the remembered one is the same and nearly as recent."""
        answer, before = state.answer, state.remembered
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
            state.remembered = answer

    def _recalled(self, question: _Question) -> _QuestionState:
        document = self._memory.recall(_KIND, " ".join(question))
        latest = self._cache.now() + _LONGEST_TTL
        answer = None if document is None else _read(document, latest)
        return _QuestionState(answer, answer)


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
    """Return a name as it is looked up, absolute, in lower case; empty if it is no host's name."""
    try:
        name = dns.name.from_text(text.strip()).canonicalize().to_text()
    except (dns.exception.DNSException, UnicodeError):
        return ""
    return name if _HOST_NAME.fullmatch(name) else ""


def _read(document: bytes, latest: float) -> _Answer | None:
    """A remembered answer; None if it cannot be read, or expires after `latest`."""
    try:
        answer = orjson.loads(document)
        current, gone = answer["current"], dict(answer["gone"])
        ends = [float(answer["until"]), *map(float, gone.values())]
        for each in (*current, *gone):
            address(each)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if max(ends) > latest:
        return None
    return _Answer(frozenset(current), ends[0], dict(zip(gone, ends[1:], strict=True)))

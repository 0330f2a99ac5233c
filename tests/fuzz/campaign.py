"""Very many documents, each within bounds of time and memory, on every core."""

import math
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import FrameType
from typing import NoReturn

import structlog

from tests.fuzz.targets import Target, numbered

SECONDS = 5.0  # of the processor, for one document of a mebibyte at most
GROWTH = 64, 64  # MiB, and times its size, that a document may add to its worker's peak
ADDRESS_SPACE = 4096  # MiB of a worker, threads and what is only reserved with it
_BLOCK = 100


class _SlowError(BaseException):
    """A document takes too long; no reader catches this by accident."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reader should not have done with a document, and where it was then.

    Findings of one `kind` and `place` are one. `told` is the whole of the first one's traceback.
    """

    number: int
    target: str
    kind: str
    place: str
    told: str = field(compare=False)


@dataclass
class Outcome:
    """What became of some documents.

    `slowest` is in seconds of the processor and `largest` in MiB that reading added to the most
    memory that its worker ever had, each with the document's number; `size` in bytes. `idle` and
    `peak` are the least memory that a worker began with, and the most that one had, in MiB: making
    the documents is part of that.
    """

    documents: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)
    largest: tuple[float, int] = (0.0, 0)
    size: int = 0
    idle: float = math.inf
    peak: float = 0

    def add(self, other: "Outcome") -> None:
        self.documents += other.documents
        self.refused += other.refused
        self.findings += other.findings
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)
        self.size += other.size
        self.idle = min(self.idle, other.idle)
        self.peak = max(self.peak, other.peak)

    def kinds(self) -> dict[tuple[str, str, str], list[Finding]]:
        """The findings that are one, together."""
        found: dict[tuple[str, str, str], list[Finding]] = {}
        for each in sorted(self.findings, key=lambda finding: finding.number):
            found.setdefault((each.target, each.kind, each.place), []).append(each)
        return found


def fed(target: Target, data: bytes) -> bool:
    """Give a reader a document; false if it refuses it with an error that it declares."""
    try:
        target.read(data)
    except target.declared as error:
        said = str(error)
        # What is said goes to a log and a terminal, whatever stood in the document.
        assert "\n" not in said or target.name == "settings", said
        assert len(said) < 5_000, f"an error of {len(said):,} characters"
        return False
    return True


def peak_memory() -> float:
    """The most memory that this process ever had in use, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def run(
    seed: int,
    numbers: Iterable[int],
    seconds: float = SECONDS,
    memory: Callable[[], float] = peak_memory,
) -> Outcome:
    """Feed documents by number, in this process and thread."""
    outcome = Outcome(idle=memory())
    before = signal.signal(signal.SIGPROF, _too_slow)
    try:
        # A version that goes backwards is warned of.
        with structlog.testing.capture_logs():
            for number in numbers:
                _one(outcome, seed, number, seconds, memory)
    finally:
        signal.signal(signal.SIGPROF, before)
    outcome.peak = memory()
    return outcome


def _one(
    outcome: Outcome, seed: int, number: int, seconds: float, memory: Callable[[], float]
) -> None:
    target, data = numbered(seed, number)
    outcome.documents[target.name] += 1
    outcome.size += len(data)
    peak, began = memory(), time.process_time()
    kind, error = "", None
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        outcome.refused[target.name] += not fed(target, data)
    except (Exception, _SlowError) as raised:  # noqa: BLE001 - whatever it is, it is a finding
        kind, error = type(raised).__name__, raised
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took = time.process_time() - began
    outcome.slowest = max(outcome.slowest, (took, number))
    place, told = ("", "") if error is None else (_place(error), _told(error))
    grown = memory() - peak
    outcome.largest = max(outcome.largest, (grown, number))
    if error is None and grown > GROWTH[0] + GROWTH[1] * len(data) / 1024**2:
        kind, told = "memory", f"{grown:.0f} MiB more for {len(data):,} bytes"
    if kind:
        outcome.findings.append(Finding(number, target.name, kind, place, told))


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:
    raise _SlowError


def _place(error: BaseException) -> str:
    """The innermost line of ours that was reached."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if "/sync/" in each.filename] or frames
    return f"{ours[-1].filename.rpartition('/sync/')[2]}:{ours[-1].lineno}"


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4_000:]


# --- on every core --------------------------------------------------------------------------------


def _bounded(address_space: int) -> None:
    limit = address_space * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@dataclass(frozen=True, slots=True)
class _Block:
    """The work of one worker's turn."""

    seed: int
    seconds: float

    def __call__(self, numbers: range) -> Outcome:
        return run(self.seed, numbers, self.seconds)


def campaign(
    seed: int,
    documents: int,
    workers: int,
    seconds: float = SECONDS,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Feed so many documents in processes of their own; `told` hears how far it is."""
    whole = Outcome()
    # A worker is a fresh process: it begins with no memory of another's.
    context = get_context("spawn")
    with context.Pool(workers, _bounded, (ADDRESS_SPACE,)) as pool:
        for outcome in pool.imap_unordered(_Block(seed, seconds), _blocks(documents)):
            whole.add(outcome)
            told(whole)
    return whole


def _blocks(documents: int) -> Iterator[range]:
    for first in range(0, documents, _BLOCK):
        yield range(first, min(first + _BLOCK, documents))

"""What befalls a soak, and when: all of it follows from one seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

SLOTS = 3
"""Replicas. The last one is paused and cut off, never killed: its memory is watched throughout."""

CLUSTERS = ("eu", "us")

CLUSTER_FAULTS = (
    "refused",
    "cut",
    "trickle",
    "500",
    "503",
    "429",
    "silent",
    "silent after the head",
    "no JSON",
    "answer lost",
    "watch cut",
    "watch refused",
)
SOURCE_FAULTS = ("500", "503", "429", "reset", "truncated", "drip", "silent", "login page")
REPLICA_FAULTS = ("pause", "database silent", "database refuses")
ENDS = ("kill", "terminate")


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """`what` begins at `at` seconds, in a cluster, a slot or nowhere in particular (`where`).

    It ends after `lasts` seconds; 0: it is over at once. `chance` seeds what it decides itself.
    """

    at: float
    what: str
    where: str = ""
    lasts: float = 0
    chance: int = 0


def schedule(seed: int, seconds: float) -> list[Event]:
    """Everything that begins within so many seconds. What has one place never overlaps there."""
    chance = random.Random(seed)

    def lane(where: str, what: tuple[str, ...], pause: float, lasts: float) -> Iterator[Event]:
        """One event after the other, `pause` and `lasts` seconds in the mean."""
        own = random.Random(chance.getrandbits(64))
        at = own.uniform(0.2, 1.8) * pause
        while at < seconds:
            length = own.uniform(0.2, 1.8) * lasts
            yield Event(at, own.choice(what), where, length, own.getrandbits(32))
            at += length + own.uniform(0.2, 1.8) * pause

    lanes = [
        lane("panorama", ("commit",), 6, 0),
        lane("panorama", tuple(f"source {each}" for each in SOURCE_FAULTS), 60, 15),
        *(lane(name, CLUSTER_FAULTS, 40, 12) for name in CLUSTERS),
        *(lane(name, ("drift",), 25, 0) for name in CLUSTERS),
        *(lane(str(slot), REPLICA_FAULTS + ENDS * 2, 45, 20) for slot in range(SLOTS - 1)),
        lane(str(SLOTS - 1), REPLICA_FAULTS, 60, 20),
    ]
    return list(merge(*lanes))

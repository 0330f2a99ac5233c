"""A clock for tests of what depends on time."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Time that passes as it is told to, in seconds."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

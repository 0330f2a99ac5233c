"""The one exponential backoff: each wait is longer than the one before, with jitter on top."""

import random
from dataclasses import dataclass


def grown(seconds: float, longest: float, failures: int = 1, factor: float = 2.0) -> float:
    """A wait of `seconds` after so many failures more, `longest` at most."""
    # What is capped anyway must not overflow.
    return min(seconds * factor ** min(failures, 64), longest)


def jittered(seconds: float, retry_after: float = 0.0) -> float:
    """Half of a wait to all of it, at random, but at least the server's `Retry-After`.

    Clients that failed together must not come back together.
    """
    return max(retry_after, seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


@dataclass(slots=True)
class Backoff:
    """The waits between the tries of one thing, from `first` seconds to `longest`."""

    first: float
    longest: float
    factor: float = 2.0
    _failures: int = 0

    def wait(self, retry_after: float = 0.0) -> float:
        """The seconds to wait after another failure."""
        seconds = grown(self.first, self.longest, self._failures, self.factor)
        self._failures += 1
        return jittered(seconds, retry_after)

    def reset(self) -> None:
        """Begin again with the first wait, after a success."""
        self._failures = 0

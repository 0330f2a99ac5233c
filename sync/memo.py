"""Cache the results of pure functions of bytes, so that unchanged input costs little."""

import hashlib
import time
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Final, TypeVar

_Found = TypeVar("_Found")

# The overhead of an entry: its key, its place, a small value.
_ENTRY_BYTES: Final = 512

GENERATION_SECONDS: Final = 300.0
"""The least age of a generation, when the next one begins."""


def remembered(
    most: int, clock: Callable[[], float] = time.monotonic
) -> Callable[[Callable[[bytes], _Found]], Callable[[bytes], _Found]]:
    """Cache the results of a function by the SHA-256 of its only argument.

    The function must be pure and its results immutable. The cache has two generations: used
    results move to the new one, and the old one is dropped when the next begins. So a service holds
    only what its last syncs used, however long it was idle between them, and not every version of
    every object. A generation also ends once it has results of `most` bytes of input. The cache
    keeps no exceptions. Threads may share it.
    """

    def wrapped(function: Callable[[bytes], _Found]) -> Callable[[bytes], _Found]:
        # Each result with its weight.
        new: dict[bytes, tuple[_Found, int]] = {}
        old: dict[bytes, tuple[_Found, int]] = {}
        lock = Lock()
        weight = 0
        began = clock()

        def keep(key: bytes, entry: tuple[_Found, int]) -> None:
            nonlocal new, old, weight, began
            now = clock()
            full = key not in new and weight + entry[1] > most
            if full or now - began >= GENERATION_SECONDS:
                new, old, weight, began = {}, new, 0, now
            if key not in new:
                new[key] = entry
                weight += entry[1]

        @wraps(function)
        def called(of: bytes) -> _Found:
            key = hashlib.sha256(of).digest()
            with lock:
                entry = new.get(key) or old.pop(key, None)
                if entry:
                    keep(key, entry)
                    return entry[0]
            found = function(of)
            with lock:
                keep(key, (found, len(of) + _ENTRY_BYTES))
            return found

        return called

    return wrapped

"""Cache the results of pure functions of bytes, so that unchanged input costs little."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Final, TypeVar

_Found = TypeVar("_Found")

# The overhead of an entry: its key, its place in the order, a small value.
_ENTRY_BYTES: Final = 512

# An entry unused for this many rounds of all entries is not needed again: it may belong to an
# earlier version of an object. Without this, a service fills its memory up to each limit.
_ROUNDS: Final = 4
_CALLS: Final = 1000  # fewer calls prove nothing


def remembered(most: int) -> Callable[[Callable[[bytes], _Found]], Callable[[bytes], _Found]]:
    """Cache the results of a function by the SHA-256 of its only argument.

    The function must be pure and its results immutable. The cache keeps the most recently used
    results of up to `most` bytes of input, and drops those unused for many calls, in proportion to
    the number of entries. It caches no exceptions. Threads may share it.
    """

    def wrapped(function: Callable[[bytes], _Found]) -> Callable[[bytes], _Found]:
        # The result, its weight, the number of the last call that used it.
        known: OrderedDict[bytes, tuple[_Found, int, int]] = OrderedDict()
        lock = Lock()
        weight = calls = 0

        @wraps(function)
        def called(of: bytes) -> _Found:
            nonlocal weight, calls
            key = hashlib.sha256(of).digest()
            with lock:
                calls += 1
                if key in known:
                    found, size, _ = known[key]
                    known[key] = found, size, calls
                    known.move_to_end(key)
                    return found
            found = function(of)
            with lock:
                if key not in known:
                    known[key] = found, len(of) + _ENTRY_BYTES, calls
                    weight += len(of) + _ENTRY_BYTES
                unused = calls - _ROUNDS * len(known) - _CALLS
                while known and (weight > most or next(iter(known.values()))[2] < unused):
                    _, (_, freed, _) = known.popitem(last=False)
                    weight -= freed
            return found

        return called

    return wrapped

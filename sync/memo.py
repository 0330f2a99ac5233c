"""What pure functions gave for the same bytes before, so that what did not change costs little."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Final, TypeVar

_Found = TypeVar("_Found")

# What an entry takes besides: its key, its place in the order, a small value.
_ENTRY_BYTES: Final = 512

# What was not asked for while everything could have been this many times is not asked for again:
# an earlier version of an object, say. Without this a service fills its memory up to each limit.
_ROUNDS: Final = 4
_CALLS: Final = 1000  # fewer calls say nothing


def remembered(most: int) -> Callable[[Callable[[bytes], _Found]], Callable[[bytes], _Found]]:
    """Remember what a function gives, by the SHA-256 of the only thing that it is given.

    That holds all that the function may look at, and what it gives may not be changed by anybody:
    then it is what it would give anew. Of what was used last as much is remembered as was made
    from `most` bytes, and nothing that was not asked for in the last calls, four for each entry;
    what it raises is not. Threads may share it.
    """

    def wrapped(function: Callable[[bytes], _Found]) -> Callable[[bytes], _Found]:
        # What was found, its weight, the number of the call that asked for it last.
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

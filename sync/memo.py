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


def remembered(most: int) -> Callable[[Callable[[bytes], _Found]], Callable[[bytes], _Found]]:
    """Remember what a function gives, by the SHA-256 of the only thing that it is given.

    That holds all that the function may look at, and what it gives may not be changed by anybody:
    then it is what it would give anew. Of what was used last as much is remembered as was made
    from `most` bytes; what it raises is not. Threads may share it.
    """

    def wrapped(function: Callable[[bytes], _Found]) -> Callable[[bytes], _Found]:
        known: OrderedDict[bytes, tuple[_Found, int]] = OrderedDict()
        lock = Lock()
        weight = 0

        @wraps(function)
        def called(of: bytes) -> _Found:
            nonlocal weight
            key = hashlib.sha256(of).digest()
            with lock:
                if key in known:
                    known.move_to_end(key)
                    return known[key][0]
            found = function(of)
            with lock:
                if key not in known:
                    known[key] = found, len(of) + _ENTRY_BYTES
                    weight += len(of) + _ENTRY_BYTES
                while weight > most:
                    _, (_, freed) = known.popitem(last=False)
                    weight -= freed
            return found

        return called

    return wrapped

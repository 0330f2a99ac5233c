"""How bodies are packed: whole, and as small as zlib's own settings make them."""

import hashlib
import random
import zlib

import pytest

from sync.store.bodies import pack, unpack


@pytest.mark.parametrize(
    "size", [0, 1, 300, 1023, 1024, 2**13, 2**14 - 1, 2**14, 2**15 - 1, 2**15, 2**15 + 1, 2**20]
)
def test_a_body_of_any_size_is_packed_whole_and_small(size: int) -> None:
    # Its end repeats its beginning, which only a window over all of it can see.
    half = bytes(random.Random(size).choices(b"0123456789./,", k=size // 2))
    body = half + half + b"x" * (size % 2)
    packed = pack(body)
    assert unpack(hashlib.sha256(body).hexdigest(), packed) == body
    assert len(packed) <= len(zlib.compress(body)) * 1.02

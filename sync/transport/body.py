"""Bodies of answers: whole, uncompressed, and no longer than what was asked for can be."""

from collections.abc import Callable
from typing import Final

import urllib3

_CHUNK: Final = 1 << 18


def is_compressed(answer: urllib3.BaseHTTPResponse) -> bool:
    """Whether a body is compressed, which is never asked for: what is small may then be huge."""
    encoding: str = answer.headers.get("Content-Encoding", "identity")
    return encoding.strip().lower() != "identity"


def read_body(
    answer: urllib3.BaseHTTPResponse, most: int, require_whole: Callable[[], None]
) -> bytes | None:
    """A body as it came, None if it has more than `most` bytes, of which no more are read then.

    The answer is one that is not decoded: `is_compressed` was asked, or `urlopen` was called
    without decoding.

    `require_whole` raises if the call was cut. It is asked first, since a head that was cut looks
    like a whole one, and after the end, since a chunk's length that was cut may look like the last
    one's. Raises what urllib3 does.
    """
    parts, size = [], 0
    require_whole()
    while part := answer.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > most:
            return None
        require_whole()
    require_whole()
    return b"".join(parts)

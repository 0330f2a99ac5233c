"""Reading bodies within limits."""

import io

import pytest
import urllib3

from sync.transport.body import is_compressed, read_body


def answer(body: bytes, **headers: str) -> urllib3.HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.HTTPResponse(io.BytesIO(body), headers=named, preload_content=False)


def whole() -> None:
    """The call was not cut."""


@pytest.mark.parametrize("size", [0, 1, 999, 1_000])
def test_a_body_within_its_limit_is_read_whole(size: int) -> None:
    assert read_body(answer(b"x" * size), 1_000, whole) == b"x" * size


def test_a_longer_body_is_none_and_read_no_further_than_a_part() -> None:
    stream = io.BytesIO(b"x" * 10_000_000)
    found = urllib3.HTTPResponse(stream, preload_content=False)
    assert read_body(found, 1_000, whole) is None
    assert stream.tell() < 1_000_000


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_call_that_was_cut_is_noticed_before_between_and_after_the_parts(at: int) -> None:
    calls = iter(range(10))

    def require_whole() -> None:
        if next(calls) == at:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        read_body(answer(b"x"), 1_000, require_whole)


@pytest.mark.parametrize(
    ("encoding", "compressed"), [("gzip", True), (" Identity ", False), ("br", True)]
)
def test_what_is_compressed_is_told_by_its_head(encoding: str, compressed: bool) -> None:
    assert is_compressed(answer(b"", Content_Encoding=encoding)) is compressed
    assert not is_compressed(answer(b""))

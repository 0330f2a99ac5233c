"""One vocabulary for failed calls: the kind of an error tells its caller how to react."""

import pytest
import urllib3

from sync.clusters.kubernetes import errors as kubernetes
from sync.errors import ClusterError, SourceError
from sync.sources.panorama import errors as panorama
from sync.sources.panorama.response import require_ok
from sync.transport.errors import Refused, Retryable, Unauthenticated

_UNPREPARED = "policy 'x' denied request: failed to configure policy: no such kind"


@pytest.mark.parametrize(
    ("status", "words", "kind", "reactions"),
    [
        (0, "", kubernetes.UnansweredError, {Retryable}),
        (301, "", kubernetes.RefusedError, {Refused}),
        (400, "", kubernetes.RefusedError, {Refused}),
        (401, "", kubernetes.UnauthenticatedError, {Refused, Unauthenticated}),
        (403, "", kubernetes.ForbiddenError, {Refused}),
        (403, _UNPREPARED, kubernetes.RefusedNowError, {Refused, Retryable}),
        (404, "", kubernetes.NotFoundError, {Refused}),
        (408, "", kubernetes.RefusedNowError, {Refused, Retryable}),
        (409, "", kubernetes.ConflictError, {Refused}),
        (410, "", kubernetes.GoneError, {Refused}),
        (422, "", kubernetes.RefusedError, {Refused}),
        (429, "", kubernetes.RefusedNowError, {Refused, Retryable}),
        (500, "", kubernetes.ServerError, {Retryable}),
        (504, "", kubernetes.ServerError, {Retryable}),
        (409, "Cannot delete a non-empty tier", kubernetes.NotEmptyError, {Refused}),
        (500, "Cannot delete a non-empty tier", kubernetes.NotEmptyError, {Refused}),
    ],
)
def test_an_api_servers_answer_is_an_error_of_its_kind(
    status: int, words: str, kind: type[ClusterError], reactions: set[type[Exception]]
) -> None:
    error = kubernetes.error_of(status, "no", 7, words)
    assert type(error) is kind
    assert str(error) == "no"
    assert error.exit_code == ClusterError.exit_code
    assert _reactions(error) == reactions
    if isinstance(error, Retryable):
        assert error.after == (7 if status else 0)


def _answer(message: str, code: str = "", status: str = "error") -> bytes:
    return f'<response status="{status}" code="{code}"><msg>{message}</msg></response>'.encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "reactions"),
    [
        (302, b"", panorama.PanoramaError, set()),
        (401, b"", panorama.UnauthenticatedError, {Refused, Unauthenticated}),
        (403, b"<h1>no</h1>", panorama.UnauthenticatedError, {Refused, Unauthenticated}),
        (404, b"", panorama.PanoramaError, set()),
        (408, b"", panorama.UnavailableError, {Retryable}),
        (429, b"", panorama.UnavailableError, {Retryable}),
        (503, b"", panorama.UnavailableError, {Retryable}),
        (503, b"the server is not ready yet", panorama.StartingError, {Retryable}),
        (400, _answer("Bad xpath", "6"), panorama.RefusedError, {Refused}),
        (400, _answer("No such node"), panorama.NoSuchNodeError, {Refused}),
        (500, _answer("Bad xpath", "6"), panorama.RefusedNowError, {Refused, Retryable}),
        (400, _answer("Internal error", "11"), panorama.RefusedNowError, {Refused, Retryable}),
        (403, _answer("starting up", "403"), panorama.RefusedNowError, {Refused, Retryable}),
        (403, _answer("Forbidden", "403"), panorama.RefusedKeyError, {Refused, Unauthenticated}),
        (400, _answer("no", "", "unauth"), panorama.RefusedKeyError, {Refused, Unauthenticated}),
        (500, _answer("a passive device", "13"), panorama.PassiveError, {Refused}),
    ],
)
def test_a_panoramas_answer_is_an_error_of_its_kind(
    status: int, body: bytes, kind: type[SourceError], reactions: set[type[Exception]]
) -> None:
    answer = urllib3.HTTPResponse(status=status, headers={"Retry-After": "7"})
    with pytest.raises(panorama.PanoramaError) as raised:
        require_ok(answer, body, "Panorama p:443", ())
    assert type(raised.value) is kind
    assert raised.value.exit_code == SourceError.exit_code
    assert _reactions(raised.value) == reactions
    if isinstance(raised.value, Retryable):
        assert raised.value.after == 7


def _reactions(error: Exception) -> set[type[Exception]]:
    kinds: tuple[type[Exception], ...] = (Refused, Retryable, Unauthenticated)
    return {kind for kind in kinds if isinstance(error, kind)}

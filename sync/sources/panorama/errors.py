"""Errors of a Panorama, by how to react to them.

`RefusedError` and those under it carry the Panorama's own message; the others describe an answer
that is none of its API's, or that did not come.
"""

from sync.errors import SourceError
from sync.transport.errors import Refused, Retryable, TimedOut, Unauthenticated


class PanoramaError(SourceError):
    """A Panorama did not answer, or answered with an error."""


class UnavailableError(PanoramaError, Retryable):
    """It does not answer now; the next poll tries again."""


class LateError(UnavailableError, TimedOut):
    """It takes too long to answer."""


class StartingError(UnavailableError):
    """It is starting, and its API is not ready yet."""


class UnauthenticatedError(PanoramaError, Unauthenticated):
    """It does not accept the API key or the password."""


class RefusedError(PanoramaError, Refused):
    """It understood a call and refused it; `said` is its own message, empty if it gave none."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class NoSuchNodeError(RefusedError):
    """The configuration has nothing at an xpath."""


class PassiveError(RefusedError):
    """It is the passive member of a pair."""


class RefusedKeyError(RefusedError, UnauthenticatedError):
    """It refuses a call because of the API key, or of the rights of the key's user."""


class RefusedNowError(RefusedError, UnavailableError):
    """It refuses a call because of an internal error, of too many calls or of its start."""

    def __init__(self, message: str, said: str = "", after: float = 0.0) -> None:
        super().__init__(message, said)
        self.after = after

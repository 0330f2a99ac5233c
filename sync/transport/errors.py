"""The kinds of failed calls, by how a caller reacts to them.

Each server's errors inherit them: a Kubernetes API server's in `sync.clusters.kubernetes.errors`,
a Panorama's in `sync.sources.panorama.errors`, those of external dynamic lists and of the webhook
beside their calls. An error of none of these kinds stays until someone repairs its cause.
"""

from http import HTTPStatus


class Retryable(Exception):
    """The same call may succeed later, `after` seconds from now at the earliest."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class TimedOut(Retryable):
    """The answer took too long."""


class Refused(Exception):
    """The server answered that it does not do what was asked, and did nothing."""


class Unauthenticated(Refused):
    """The server does not accept the credentials."""


def may_pass(status: int) -> bool:
    """Whether a call with this HTTP status may succeed later, as it is."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    )

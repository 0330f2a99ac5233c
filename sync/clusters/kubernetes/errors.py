"""Errors of a Kubernetes API server, by how to react to them."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import orjson
import urllib3

from sync.errors import ClusterError
from sync.redaction import redact
from sync.transport.errors import Refused, Retryable, TimedOut, Unauthenticated, may_pass
from sync.transport.failures import retry_after

LONGEST_WAIT = 10.0
"""Seconds between two tries at most, whatever a server asks for."""

_UNPREPARED = "failed to configure policy"
_NOT_EMPTY = "Cannot delete a non-empty tier"
# `k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go`
_DENIED = re.compile(
    r"ValidatingAdmissionPolicy '([^']*)' with binding '[^']*' denied request: (.*)"
)


class ApiError(ClusterError):
    """A request to an API server failed, or has no valid answer.

    Only after a `RefusedError` or a `NotSentError` it surely had no effect.
    """


class UnansweredError(ApiError, Retryable):
    """No answer came, or none that an API server gives."""


class LateError(UnansweredError, TimedOut):
    """The answer took too long."""


class NotSentError(UnansweredError):
    """The API server surely never received the request."""


class TooLargeError(ApiError):
    """The API server's answer is larger than any valid one."""


class ServerError(ApiError, Retryable):
    """The API server failed (5xx); what it was asked for may have happened, or still may."""


class RefusedError(ApiError, Refused):
    """The API server refuses the request."""


class UnauthenticatedError(RefusedError, Unauthenticated):
    """The API server does not accept the credentials (401)."""


class ForbiddenError(RefusedError):
    """The user lacks a right, or an admission policy denies the request (403)."""


class NotFoundError(RefusedError):
    """There is no such object, or no such kind is served (404)."""


class ConflictError(RefusedError):
    """The object was changed or created meanwhile (409)."""


class GoneError(RefusedError):
    """The API server no longer has the requested resource version (410)."""


class NotEmptyError(RefusedError):
    """Calico's API server deletes no tier that still holds policies."""


class RefusedNowError(RefusedError, Retryable):
    """The API server refuses the request now: it has too many, or is not prepared yet."""


_BY_STATUS: Final[Mapping[int, type[RefusedError]]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: GoneError,
}


def error_of(status: int, message: str, after: float = 0.0, words: str = "") -> ApiError:
    """Return the error of an HTTP status, 0 without an answer; `words` are the server's own text.

    `after` are the seconds of its Retry-After, 0 without one.
    """
    if not status:
        return UnansweredError(message)
    # Calico's status for it varies (`libcalico-go/lib/clientv3/tier.go`).
    if _NOT_EMPTY in words:
        return NotEmptyError(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(message, after)
    # A server that has just started may not know yet what admission policies refer to.
    if may_pass(status) or (status == HTTPStatus.FORBIDDEN and _UNPREPARED in words):
        return RefusedNowError(message, after)
    return _BY_STATUS.get(status, RefusedError)(message)


def refusal(
    cluster: str,
    method: str,
    path: str,
    query: str,
    answer: urllib3.BaseHTTPResponse,
    body: bytes,
    secrets: Sequence[str],
) -> ApiError:
    """Make the error for a failed answer; its text is redacted, `secrets` are hidden."""
    status = answer.status
    try:
        words = str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = body.decode(errors="replace")
    if denied := _DENIED.search(words):
        said = f"admission policy {redact(denied[1], secrets)}: {redact(denied[2], secrets)}"
        remedy = ""
    else:
        said = redact(words, secrets)
        remedy = {
            401: "; renew the credentials for it",
            403: (
                f"; grant the user this in the cluster ({missing_right(method, path, query)}): "
                f"`zonebridge rbac --cluster {cluster}` prints all that is needed there"
            ),
        }.get(status, "")
    return error_of(
        status,
        f"cluster {cluster} refuses {method} {path} with {status}"
        f"{': ' if said else ''}{said}{remedy}",
        retry_after(answer.headers.get("Retry-After", ""), LONGEST_WAIT),
        words,
    )


def missing_right(method: str, path: str, query: str) -> str:
    """The right that a request needs: a verb, on a resource, in a namespace if it is in one.

    Paths are `/api/v1/…` or `/apis/group/version/…`, then `[namespaces/name/]resource[/name]`.
    """
    pieces = path.strip("/").split("/")
    group, parts = ("", pieces[2:]) if pieces[0] == "api" else (pieces[1:2], pieces[3:])
    if not parts:
        return f"get on {path}"
    within = f" in namespace {unquote(parts[1])}" if len(parts) > 2 else ""
    resource, *name = parts[2:] if within else parts
    reads = "get" if name else "watch" if "watch=" in query else "list"
    verb = {"GET": reads, "POST": "create", "PUT": "update", "DELETE": "delete"}[method]
    named = f" {unquote(name[0])}" if name else ""
    return f"{verb} on {'.'.join([resource, *group])}{named}{within}"

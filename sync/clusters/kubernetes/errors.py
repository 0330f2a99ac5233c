"""Errors of a Kubernetes API server, by how to react to them."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import unquote

import orjson
import urllib3

from sync.errors import ClusterError
from sync.redaction import redact
from sync.transport.failures import retry_after

LONGEST_WAIT = 10.0
"""Seconds between two tries at most, whatever a server asks for."""

_UNPREPARED = "failed to configure policy"
# `k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go`
_DENIED = re.compile(
    r"ValidatingAdmissionPolicy '([^']*)' with binding '[^']*' denied request: (.*)"
)


class ApiError(ClusterError):
    """The API server answered with an error; `status` is its HTTP status, 0 where none came.

    `retry_after` are the seconds of its Retry-After, 0 without one; `sent` is False if it surely
    never received the request. `words` are the server's own text: for checks, never shown.
    """

    def __init__(
        self,
        message: str,
        status: int,
        retry_after: float = 0,
        *,
        sent: bool = True,
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.sent = sent
        self.words = words or message

    @property
    def may_arrive(self) -> bool:
        """Whether the request may have taken effect despite this answer, or still may."""
        return self.sent and (self.status == 0 or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR)

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        # A server that has just started may not know yet what admission policies refer to.
        unprepared = self.status == HTTPStatus.FORBIDDEN and _UNPREPARED in self.words
        return unprepared or self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= 500


class TooLargeError(ApiError):
    """The API server's answer is larger than any valid one."""

    @property
    def passing(self) -> bool:
        return False


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
            401: "; renew the credentials that it is reached with",
            403: (
                f"; grant the user this in the cluster ({missing_right(method, path, query)}): "
                f"`zonebridge rbac --cluster {cluster}` prints all that is needed there"
            ),
        }.get(status, "")
    return ApiError(
        f"cluster {cluster} refuses {method} {path} with {status}"
        f"{': ' if said else ''}{said}{remedy}",
        status,
        retry_after(answer.headers.get("Retry-After", ""), LONGEST_WAIT),
        words=words,
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

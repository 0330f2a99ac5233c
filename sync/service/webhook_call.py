"""One call of the webhook: a POST, signed, over verified TLS, within one deadline."""

import hashlib
import hmac
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import urlsplit

import urllib3

from sync.errors import UsageError
from sync.redaction import redact
from sync.transport.deadline import WatchedPlainConnection, cut_after
from sync.transport.errors import Refused, Retryable, may_pass
from sync.transport.failures import certificate_refusal, deepest, own_words, retry_after, silent
from sync.transport.https import pool, request_target, tls_context

LAST_RETRY: Final = 300.0
"""The longest pause between two calls, in seconds, also if Retry-After asks for more."""

_READ: Final = 2000  # bytes of an answer that are read


class CallError(Retryable):
    """A call failed: a clause that says why, without the URL."""


class RefusedError(CallError, Refused):
    """The receiver does not accept this message; it may accept others, and this one later."""


class Call(Protocol):
    """Calls a webhook with a body, as the message `identity`; `CallError` unless accepted."""

    def __call__(self, identity: str, body: bytes, seconds: float) -> None: ...


def caller(
    url: Callable[[], str],
    key: Callable[[], bytes | None],
    context: Callable[[], ssl.SSLContext],
    clock: Callable[[], float] = time.time,
) -> Call:
    """Return a `Call` of the URL, which asks for the current key and trust each time.

    Each of them may raise `UsageError`. TLS is verified, redirects are not followed, and one
    deadline covers the whole call; for https a proxy of the environment is used.
    """

    def call(identity: str, body: bytes, seconds: float) -> None:
        try:
            where, secret = url(), key()
            parts = urlsplit(where)
            headers = signed(identity, int(clock()), body, secret)
            host = parts.hostname or ""
            connections = (
                pool(host, parts.port or 443, context())
                if parts.scheme == "https"
                else _plain(host, parts.port or 80)
            )
        except UsageError as error:
            raise CallError(str(error)) from None
        path = request_target(parts)
        _post(connections, path, headers, body, seconds, [where, path])

    return call


def signed(identity: str, at: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers of a call, signed if there is a key.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "zonebridge",
        "webhook-id": identity,
        "webhook-timestamp": str(at),
    }
    if key:
        content = f"{identity}.{at}.".encode() + body
        digest = hmac.new(key, content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{b64encode(digest).decode()}"
    return headers


def _plain(host: str, port: int) -> urllib3.HTTPConnectionPool:
    found = urllib3.HTTPConnectionPool(host, port)
    found.ConnectionCls = WatchedPlainConnection
    return found


def _post(
    connections: urllib3.HTTPConnectionPool,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    seconds: float,
    secrets: list[str],
) -> None:
    try:
        with connections, cut_after(seconds) as cut:
            response = connections.urlopen(
                "POST",
                path,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                said = response.read1(_READ, decode_content=False)
            finally:
                response.close()
        if cut.cut:
            raise CallError(_late(seconds))
    except urllib3.exceptions.HTTPError as error:
        late = cut.cut or silent(error)
        raise CallError(_late(seconds) if late else _why(error)) from None
    except ValueError:
        raise CallError("the call cannot be sent; check the URL and the secret") from None
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        words = redact(said, secrets)
        moved = "; it redirects, which is not followed" if response.status < 400 else ""
        refused = response.status >= HTTPStatus.BAD_REQUEST and not may_pass(response.status)
        raise (RefusedError if refused else CallError)(
            f"it answers with HTTP {response.status}{f': {words}' if words else ''}{moved}",
            retry_after(response.headers.get("Retry-After", ""), LAST_RETRY),
        )


def _late(seconds: float) -> str:
    return f"it takes more than {seconds:.0f} s to answer"


def _why(error: urllib3.exceptions.HTTPError) -> str:
    reason = deepest(error)
    if said := certificate_refusal(reason):
        return f"its certificate is refused: {said}; name its authority in webhook_ca_file"
    return f"it does not answer ({own_words(reason)})"


def trust(authority: bytes | None) -> ssl.SSLContext:
    """Return a TLS context that trusts these authorities, or the system's.

    `authority` is PEM. Raises `UsageError`.
    """
    try:
        return tls_context(authority)
    except ValueError:
        raise UsageError("webhook_ca_file holds no certificate in PEM; correct it.") from None

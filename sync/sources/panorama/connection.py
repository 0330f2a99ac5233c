"""One Panorama host's XML API over HTTPS: verified TLS, one deadline a call, errors by kind.

Neither the key nor the request is ever in a URL.
"""

import ssl
import time
from collections.abc import Callable, Mapping
from threading import BoundedSemaphore
from typing import Final
from urllib.parse import urlencode

import structlog
import urllib3
from lxml import etree
from urllib3.exceptions import InsecureRequestWarning, ProxyError

from sync.errors import UsageError
from sync.firewall.parse.document import MAX_BYTES
from sync.firewall.parse.odd_bytes import odd_elements
from sync.firewall.parse.xml import brief, path
from sync.sources.panorama.errors import LateError, PanoramaError, UnavailableError
from sync.sources.panorama.response import require_ok, success
from sync.transport import https
from sync.transport.body import is_compressed, read_body
from sync.transport.deadline import Call, cut_after
from sync.transport.failures import certificate_refusal, deepest, own_words
from sync.transport.https import pool
from sync.transport.stopping import Stopping

AT_ONCE: Final = 5
"""Calls to one Panorama at a time, all of its traffic together (the vendor's API guide)."""

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0
_WHOLE_SECONDS: Final = 600.0
_WHICH_SERVER: Final = "check which server is at that address"
MAX_TAGS = 20_000_000
"""The most `<` that an answer may hold: an element of four bytes takes 100 bytes of memory."""


class PanoramaConnection:
    """Connections to one host. Threads may share it; `slots` are shared by a Panorama's hosts."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        trust: ssl.SSLContext | Callable[[], ssl.SSLContext],
        slots: BoundedSemaphore,
        *,
        whole_seconds: float = _WHOLE_SECONDS,
        read_seconds: float = _READ_SECONDS,
        now: Callable[[], float] = time.monotonic,
        stopping: Stopping | None = None,
    ) -> None:
        """`name` is the source's, for messages. Once `stopping`, calls are cut and none is made.

        `trust` verifies the host, or returns the context for each call: authorities may change.
        """
        self.host, self.port = host, port
        self.where = f"source {name}: Panorama {host}:{port}"
        self._slots = slots
        self._whole, self._read_seconds = whole_seconds, read_seconds
        self._now = now
        self.stopping = stopping or Stopping()
        self._trust = trust if callable(trust) else lambda: trust
        self._connections: tuple[ssl.SSLContext, urllib3.HTTPConnectionPool] | None = None
        # An invalid proxy is an error now.
        self._pool()
        self._odd: set[str] = set()  # calls whose odd bytes were logged

    def post(self, form: Mapping[str, str], key: str | None) -> etree._Element:
        """Return the `<response>` to one call; `PanoramaError` for any error."""
        with self._slots:
            body = self._answer(form, key)
        found = success(body, self.where, _secrets(form, key))
        self._tell_odd(form, found)
        return found

    def _tell_odd(self, form: Mapping[str, str], found: etree._Element) -> None:
        """Warn, once for each call, about an answer with bytes that are read by their numbers."""
        call = brief(form.get("cmd") or form.get("xpath") or form["type"])
        if call in self._odd or not (odd := odd_elements(found)):
            return
        self._odd.add(call)
        structlog.get_logger().warning(
            r"an answer holds bytes that are not UTF-8, or characters that XML does not allow; "
            r"they are read as \x..",
            panorama=f"{self.host}:{self.port}",
            call=call,
            path=path(odd[0]),
            places=len(odd),
        )

    def close(self) -> None:
        """Close open connections; the next call opens another one."""
        if self._connections:
            self._connections[1].close()
            self._connections = None

    def _pool(self) -> urllib3.HTTPConnectionPool:
        """Connections that the current context has verified, no earlier one."""
        context = self._trust()
        known = self._connections
        if known is None or known[0] is not context:
            self._connections = known = (
                context,
                pool(self.host, self.port, context, connections=AT_ONCE),
            )
        return known[1]

    def _answer(self, form: Mapping[str, str], key: str | None) -> bytes:
        if self.stopping.is_set():
            raise self._stopped()
        deadline = self._now() + self._whole
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/xml"}
        if key is not None:
            headers["X-PAN-KEY"] = key
        try:
            with cut_after(self._whole, self.stopping) as call:
                response = self._pool().urlopen(
                    "POST",
                    "/api/",
                    body=urlencode(form).encode(),
                    headers=headers,
                    timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._read_seconds),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
                try:
                    body = self._read(response, deadline, call)
                finally:
                    # The next call cannot use a connection with an unread rest.
                    response.close()
        except urllib3.exceptions.HTTPError as error:
            self._require_whole(deadline, call)
            raise self._failed(error) from error
        except ValueError:
            # A key with a line break, for example: neither this error nor its cause may quote it.
            raise PanoramaError(
                f"{self.where}: the request cannot be sent; check the API key's file"
            ) from None
        require_ok(response, body, self.where, _secrets(form, key))
        return body

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float, call: Call) -> bytes:
        self._require_whole(deadline, call)
        if is_compressed(response):
            raise PanoramaError(
                f"{self.where} compresses its answers although asked not to, which no Panorama "
                f"does; {_WHICH_SERVER}"
            )
        body = read_body(response, MAX_BYTES, lambda: self._require_whole(deadline, call))
        if body is None:
            raise self._too_large(f"{MAX_BYTES:,} bytes")
        if body.count(b"<") > MAX_TAGS:
            raise self._too_large(f"{MAX_TAGS:,} tags")
        return body

    def _too_large(self, bound: str) -> PanoramaError:
        return PanoramaError(
            f"{self.where} answers with more than {bound}, more than any configuration; "
            f"{_WHICH_SERVER}"
        )

    def _require_whole(self, deadline: float, call: Call) -> None:
        if call.cut and self.stopping.is_set():
            raise self._stopped()
        if call.cut or self._now() > deadline:
            raise LateError(
                f"{self.where} takes more than {self._whole:g} seconds for one answer; the next "
                "poll tries again"
            )

    def _stopped(self) -> PanoramaError:
        return PanoramaError(f"{self.where}: call cut off, since zonebridge is shutting down")

    def _failed(self, error: urllib3.exceptions.HTTPError) -> PanoramaError:
        reason = deepest(error)
        if refusal := certificate_refusal(reason):
            return PanoramaError(
                f"{self.where} shows a certificate that is refused "
                f"({refusal}); nothing was sent to it: name the "
                "authority of its certificate in ca_file, and the host as the certificate does"
            )
        said = own_words(reason)
        proxy = " through the proxy of HTTPS_PROXY" if isinstance(error, ProxyError) else ""
        late = isinstance(error, urllib3.exceptions.TimeoutError)
        return (LateError if late else UnavailableError)(
            f"{self.where} does not answer{proxy} ({said}); check that it is up and can be reached "
            "from here"
        )


def _secrets(form: Mapping[str, str], key: str | None) -> list[str]:
    """The secrets of a call, which no error may quote if the answer echoes them."""
    return [each for each in (key, form.get("password")) if each]


def tls_context(name: str, authority: bytes | None, *, verify: bool) -> ssl.SSLContext:
    """Return a context that verifies a Panorama's certificate, unless `verify` is False.

    `name` is the source's. `authority` holds certificates in PEM, None for those that the system
    trusts; `UsageError` if it holds none.
    """
    try:
        context = https.tls_context(authority if verify else None)
    except ValueError:
        raise UsageError(
            f"The ca_file of source {name} holds no certificate in PEM; correct it."
        ) from None
    # Appliances' own authorities often lack what RFC 5280 requires of them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        # A warning at each start reports it, once.
        urllib3.disable_warnings(InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        # Each of these certificates is trusted, Panorama's own included.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context

"""One Panorama host's XML API over HTTPS: verified TLS, one deadline a call, errors by kind.

Neither the key nor what is asked ever stands in a URL, and no answer in an error but its message.
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Final
from urllib.parse import unquote, urlencode
from urllib.request import getproxies, proxy_bypass

import structlog
import urllib3
from lxml import etree
from urllib3.exceptions import InsecureRequestWarning, LocationValueError, ProxyError

from sync.errors import SourceError, UsageError
from sync.firewall.parse.document import MAX_BYTES, xml_of
from sync.firewall.parse.odd_bytes import odd_elements
from sync.firewall.parse.xml import brief, path
from sync.redaction import redact
from sync.transport.body import is_compressed, read_body
from sync.transport.deadline import Call, WatchedConnection, cut_after
from sync.transport.failures import deepest, own_words, retry_after
from sync.transport.stopping import Stopping

AT_ONCE: Final = 5
"""Calls to one Panorama at a time, all of its traffic together (the vendor's API guide)."""

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0
_WHOLE_SECONDS: Final = 600.0
_LONGEST_WAIT: Final = 60.0

# Internal errors; the vendor's API guide, "PAN-OS XML API error codes".
_INTERNAL: Final = frozenset({"2", "3", "4", "5", "11", "21"})
_UNAUTHORIZED: Final = frozenset({"16", "22", "403"})
_NO_RIGHT: Final = "16"
# What it says of a key or a password that it does not know.
_BAD_KEY: Final = ("invalid credential", "session timed out", "invalid api key")
_RENEW: Final = "renew the API key or the password"
_ROLE: Final = (
    "give the role of its user the XML API's configuration and operational requests "
    "(Panorama > Admin Roles)"
)
# What it says, to people as to programs, while it starts.
_STARTS: Final = re.compile(
    r"\binitiali[sz]ing\b|\b(?:starting|booting)\s+up\b|\bis\s+(?:starting|booting)\b"
    r"|\bnot\s+(?:yet\s+)?ready\b",
    re.IGNORECASE,
)
_TITLE: Final = 4_000  # bytes of a page that are looked at for that
_PASSIVE: Final = "passive"
_MISSING: Final = "no such node"


class PanoramaError(SourceError):
    """A Panorama did not answer, or with an error.

    `passing`: the same call may well succeed later, after `retry_after` seconds at least.
    `unauthorized`: it does not know the key. `passive`: it is the passive member of a pair.
    `late`: it took too long. `said` are its own words, where it has any.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = False,
        unauthorized: bool = False,
        passive: bool = False,
        late: bool = False,
        retry_after: float = 0,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.unauthorized = unauthorized
        self.passive = passive
        self.late = late
        self.retry_after = retry_after
        self.said = said


class RefusedError(PanoramaError):
    """A Panorama understood a call and says itself that it is not to be had."""


class NoSuchNodeError(RefusedError):
    """The configuration has nothing at an xpath."""


# An element takes over a hundred bytes of memory, and four as it is written: a gigabyte or two.
MAX_TAGS = 20_000_000


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

        `trust` verifies the host, or says before each call what does: authorities may be renewed.
        """
        self.host, self.port = host, port
        self.where = f"source {name}: Panorama {host}:{port}"
        self._slots = slots
        self._whole, self._read_seconds = whole_seconds, read_seconds
        self._now = now
        self.stopping = stopping or Stopping()
        self._trust = trust if callable(trust) else lambda: trust
        self._connections: tuple[ssl.SSLContext, urllib3.HTTPConnectionPool] | None = None
        # A proxy that is none is told now.
        self._pool()
        self._odd: set[str] = set()  # calls whose odd bytes were told of

    def post(self, form: Mapping[str, str], key: str | None) -> etree._Element:
        """The `<response>` to one call; `PanoramaError` for an error, whoever says so."""
        with self._slots:
            body = self._answer(form, key)
        found = self._success(body, _secrets(form, key))
        self._tell_odd(form, found)
        return found

    def _tell_odd(self, form: Mapping[str, str], found: etree._Element) -> None:
        """Warn, once for each call, of an answer with bytes that are read by their numbers."""
        call = brief(form.get("cmd") or form.get("xpath") or form["type"])
        if call in self._odd or not (odd := odd_elements(found)):
            return
        self._odd.add(call)
        structlog.get_logger().warning(
            r"an answer holds bytes that are no UTF-8, or characters that XML has none of; they "
            r"are read as \x..",
            panorama=f"{self.host}:{self.port}",
            call=call,
            path=path(odd[0]),
            places=len(odd),
        )

    def close(self) -> None:
        """Close what is open; another call opens it again."""
        if self._connections:
            self._connections[1].close()
            self._connections = None

    def _pool(self) -> urllib3.HTTPConnectionPool:
        """Connections that what is trusted now has verified, and nothing that was before."""
        context = self._trust()
        known = self._connections
        if known is None or known[0] is not context:
            self._connections = known = context, pool(self.host, self.port, context)
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
                    # What was not read to its end is of no use to the next call.
                    response.close()
        except urllib3.exceptions.HTTPError as error:
            self._require_whole(deadline, call)
            raise self._failed(error) from error
        except ValueError:
            # A key with a line break, say: it must not be quoted, by what led here neither.
            raise PanoramaError(
                f"{self.where}: the request cannot be sent; look at the API key's file"
            ) from None
        self._require_ok(response, body, _secrets(form, key))
        return body

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float, call: Call) -> bytes:
        self._require_whole(deadline, call)
        if is_compressed(response):
            raise PanoramaError(
                f"{self.where} compresses its answers although asked not to, which no Panorama "
                "does; check what stands at that address"
            )
        body = read_body(response, MAX_BYTES, lambda: self._require_whole(deadline, call))
        if body is None:
            raise PanoramaError(
                f"{self.where} answers with more than {MAX_BYTES:,} bytes, more than any "
                "configuration; check what stands at that address"
            )
        if body.count(b"<") > MAX_TAGS:
            raise PanoramaError(
                f"{self.where} answers with more than {MAX_TAGS:,} tags, more than any "
                "configuration; check what stands at that address"
            )
        return body

    def _require_whole(self, deadline: float, call: Call) -> None:
        if call.cut and self.stopping.is_set():
            raise self._stopped()
        if call.cut or self._now() > deadline:
            raise PanoramaError(
                f"{self.where} takes more than {self._whole:g} seconds for one answer; the next "
                "poll tries again",
                passing=True,
                late=True,
            )

    def _stopped(self) -> PanoramaError:
        return PanoramaError(f"{self.where} was not waited for: zonebridge was asked to end")

    def _failed(self, error: urllib3.exceptions.HTTPError) -> PanoramaError:
        reason = deepest(error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return PanoramaError(
                f"{self.where} shows a certificate that is refused "
                f"({reason.verify_message.rstrip('.')}); nothing was sent to it: name the "
                "authority of its certificate in ca_file, and the host as the certificate does"
            )
        said = own_words(reason)
        proxy = " through the proxy of HTTPS_PROXY" if isinstance(error, ProxyError) else ""
        return PanoramaError(
            f"{self.where} does not answer{proxy} ({said}); check that it is up and can be reached "
            "from here",
            passing=True,
            late=isinstance(error, urllib3.exceptions.TimeoutError),
        )

    def _require_ok(
        self, response: urllib3.BaseHTTPResponse, body: bytes, secrets: list[str]
    ) -> None:
        status = response.status
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status < HTTPStatus.BAD_REQUEST:
            raise PanoramaError(
                f"{self.where} sends its callers elsewhere (HTTP {status}), which no Panorama's "
                "API does; correct hosts and port"
            )
        unauthorized = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        passing = (
            status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
        wait = retry_after(response.headers.get("Retry-After", ""), _LONGEST_WAIT)
        try:
            self._success(body, secrets, unauthorized=unauthorized)
        except RefusedError as error:
            # What it says itself is better than a number.
            error.passing |= passing
            error.retry_after = wait
            raise
        except PanoramaError as error:
            # A page for people, unless it says that it starts.
            if error.passing and _starts(body):
                raise self._not_ready(wait) from None
        remedy = f"{_RENEW}, or {_ROLE}" if unauthorized else "look at its state"
        raise PanoramaError(
            f"{self.where} answers with HTTP {status}; "
            f"{'the next poll tries again' if passing else remedy}",
            passing=passing,
            unauthorized=unauthorized,
            retry_after=wait,
        )

    def _not_ready(self, retry_after: float = 0) -> PanoramaError:
        return PanoramaError(
            f"{self.where} is not ready yet: it says that it starts; the next poll tries again",
            passing=True,
            retry_after=retry_after,
        )

    def _success(
        self, body: bytes, secrets: list[str], *, unauthorized: bool = False
    ) -> etree._Element:
        """The root of a success; raises what it says otherwise."""
        try:
            root = xml_of(body, f"the answer of {self.where}")
        except SourceError as error:
            if _starts(body):
                raise self._not_ready() from None
            # Cut off, or a page of something in between.
            raise PanoramaError(
                f"{self.where} answers with something that is no XML of PAN-OS; check what stands "
                "at that address, the next poll tries again",
                passing=True,
            ) from error
        if root.tag != "response":
            if _starts(body):
                raise self._not_ready()
            raise PanoramaError(
                f"{self.where} answers with <{redact(root.tag, secrets)}>, which is no answer of "
                "its API; correct hosts and port"
            )
        status = (root.get("status") or "").strip()
        if status == "success":
            return root
        words = " ".join(word for text in root.itertext() for word in str(text).split()).lower()
        said = redact(" ".join(map(str, root.itertext())), secrets)
        code = redact(root.get("code") or "", secrets)
        if not code and words == _MISSING:
            raise NoSuchNodeError(f"{self.where}: {said}")
        unauthorized = unauthorized or code in _UNAUTHORIZED or status in ("unauth", "noauth")
        named = f"code {code}: " if code else ""
        said_or_status = said or f"status {redact(status, secrets)!r}"
        remedy = f"; {_remedy(code, said)}" if unauthorized else ""
        raise RefusedError(
            f"{self.where} refuses a call ({named}{said_or_status}){remedy}",
            passing=code in _INTERNAL or _STARTS.search(said) is not None,
            unauthorized=unauthorized,
            passive=_PASSIVE in words,
            said=said,
        )


def _remedy(code: str, said: str) -> str:
    """What to do where it refuses a key: it says much the same of a role that lacks a right.

    Source: the vendor's API guide, "PAN-OS XML API error codes" (403 and 16).
    """
    if any(each in said.lower() for each in _BAD_KEY):
        return _RENEW
    return f"{_ROLE}, or {_RENEW}" if code == _NO_RIGHT else f"{_RENEW}, or {_ROLE}"


def _starts(body: bytes) -> bool:
    """Whether a page says that what stands there starts, and is not ready yet."""
    return _STARTS.search(body[:_TITLE].decode("utf-8", "replace")) is not None


def _secrets(form: Mapping[str, str], key: str | None) -> list[str]:
    """What a call holds that no error may quote, should the answer echo it."""
    return [each for each in (key, form.get("password")) if each]


def tls_context(name: str, authority: bytes | None, *, verify: bool) -> ssl.SSLContext:
    """A context that verifies a Panorama's certificate, unless it is told not to.

    `name` is the source's. `authority` holds certificates in PEM, None for those that the system
    trusts; `UsageError` if it holds none.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Appliances' own authorities often lack what RFC 5280 wants of them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        # Whoever wants it so is told at each start, once.
        urllib3.disable_warnings(InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Any certificate that is given is one to be trusted, Panorama's own included.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            raise UsageError(
                f"The ca_file of source {name} holds no certificate in PEM; correct it."
            ) from None
    return context


def pool(host: str, port: int, context: ssl.SSLContext) -> urllib3.HTTPConnectionPool:
    """Connections to a host, through the proxy that the environment names for it."""
    found = _proxied(host, port, context)
    found.ConnectionCls = WatchedConnection
    return found


def _proxied(host: str, port: int, context: ssl.SSLContext) -> urllib3.HTTPConnectionPool:
    proxy = getproxies().get("https")
    if not proxy or proxy_bypass(f"{host}:{port}"):
        return urllib3.HTTPSConnectionPool(host, port, maxsize=AT_ONCE, ssl_context=context)
    try:
        url = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(url.auth)) if url.auth else None
        manager = urllib3.ProxyManager(
            url._replace(auth=None).url, proxy_headers=headers, maxsize=AT_ONCE, ssl_context=context
        )
    except LocationValueError:
        # It may hold a password.
        raise UsageError("HTTPS_PROXY is no URL of an HTTP proxy; correct it.") from None
    return manager.connection_from_host(host, port, "https")

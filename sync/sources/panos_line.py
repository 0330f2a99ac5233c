"""One Panorama host's XML API over HTTPS: verified TLS, one deadline a call, errors by kind.

Neither the key nor what is asked ever stands in a URL, and no answer in an error but its message.
"""

import math
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from http.client import HTTPException
from socket import SHUT_RDWR, socket
from threading import BoundedSemaphore, Lock, Timer
from typing import Any, Final
from urllib.parse import unquote, urlencode
from urllib.request import getproxies, proxy_bypass

import structlog
import urllib3
from lxml import etree
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import InsecureRequestWarning, LocationValueError, ProxyError

from sync.errors import SourceError, UsageError
from sync.firewall.document import MAX_BYTES, xml_of
from sync.firewall.odd_bytes import odd_elements
from sync.firewall.xml import brief, path

AT_ONCE: Final = 5
"""Calls to one Panorama at a time, all of its traffic together (the vendor's API guide)."""

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0
_WHOLE_SECONDS: Final = 600.0
_CHUNK: Final = 1 << 20
_SAID: Final = 500  # characters of what a Panorama says of an error
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


class Line:
    """Connections to one host. Threads may share it; `slots` are shared by a Panorama's hosts."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        context: ssl.SSLContext,
        slots: BoundedSemaphore,
        *,
        whole_seconds: float = _WHOLE_SECONDS,
        read_seconds: float = _READ_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the source's, for messages."""
        self.host, self.port = host, port
        self.where = f"source {name}: Panorama {host}:{port}"
        self._slots = slots
        self._whole, self._read_seconds = whole_seconds, read_seconds
        self._now = now
        self._pool = pool(host, port, context)
        self._odd: set[str] = set()  # calls whose odd bytes were told of

    def post(self, form: Mapping[str, str], key: str | None) -> etree._Element:
        """The `<response>` to one call; `PanoramaError` for an error, whoever says so."""
        with self._slots:
            body = self._answer(form, key)
        found = self._success(body)
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

    def _answer(self, form: Mapping[str, str], key: str | None) -> bytes:
        deadline = self._now() + self._whole
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/xml"}
        if key is not None:
            headers["X-PAN-KEY"] = key
        try:
            with cut_after(self._whole):
                response = self._pool.urlopen(
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
                    body = self._read(response, deadline)
                finally:
                    # What was not read to its end is of no use to the next call.
                    response.close()
        except urllib3.exceptions.HTTPError as error:
            self._require_in_time(deadline)
            raise self._failed(error) from error
        except ValueError:
            # A key with a line break, say: it must not be quoted, by what led here neither.
            raise PanoramaError(
                f"{self.where}: the request cannot be sent; look at the API key's file"
            ) from None
        self._require_ok(response, body)
        return body

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        parts, size = [], 0
        # A head that was cut looks like a whole one.
        self._require_in_time(deadline)
        while part := response.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise PanoramaError(
                    f"{self.where} answers with more than {MAX_BYTES:,} bytes, more than any "
                    "configuration; check what stands at that address"
                )
            self._require_in_time(deadline)
        # A chunk's length that was cut may look like the last one's.
        self._require_in_time(deadline)
        return b"".join(parts)

    def _require_in_time(self, deadline: float) -> None:
        if self._now() > deadline:
            raise PanoramaError(
                f"{self.where} takes more than {self._whole:g} seconds for one answer; the next "
                "poll tries again",
                passing=True,
                late=True,
            )

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

    def _require_ok(self, response: urllib3.BaseHTTPResponse, body: bytes) -> None:
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
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        try:
            self._success(body, unauthorized=unauthorized)
        except RefusedError as error:
            # What it says itself is better than a number.
            error.passing |= passing
            error.retry_after = retry_after
            raise
        except PanoramaError as error:
            # A page for people, unless it says that it starts.
            if error.passing and _starts(body):
                raise self._not_ready(retry_after) from None
        remedy = f"{_RENEW}, or {_ROLE}" if unauthorized else "look at its state"
        raise PanoramaError(
            f"{self.where} answers with HTTP {status}; "
            f"{'the next poll tries again' if passing else remedy}",
            passing=passing,
            unauthorized=unauthorized,
            retry_after=retry_after,
        )

    def _not_ready(self, retry_after: float = 0) -> PanoramaError:
        return PanoramaError(
            f"{self.where} is not ready yet: it says that it starts; the next poll tries again",
            passing=True,
            retry_after=retry_after,
        )

    def _success(self, body: bytes, *, unauthorized: bool = False) -> etree._Element:
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
                f"{self.where} answers with <{brief(str(root.tag))}>, which is no answer of its "
                "API; correct hosts and port"
            )
        status = (root.get("status") or "").strip()
        if status == "success":
            return root
        said = " ".join(word for text in root.itertext() for word in str(text).split())[:_SAID]
        code = (root.get("code") or "").strip()
        if not code and said.lower() == _MISSING:
            raise NoSuchNodeError(f"{self.where}: {said}")
        unauthorized = unauthorized or code in _UNAUTHORIZED or status in ("unauth", "noauth")
        named = f"code {brief(code)}: " if code else ""
        remedy = f"; {_remedy(code, said)}" if unauthorized else ""
        raise RefusedError(
            f"{self.where} refuses a call ({named}{said or f'status {brief(status)!r}'}){remedy}",
            passing=code in _INTERNAL or _STARTS.search(said) is not None,
            unauthorized=unauthorized,
            passive=_PASSIVE in said.lower(),
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


class _Watch:
    """Cuts the connection that one thread hears an answer by, once its time is up."""

    def __init__(self) -> None:
        self._heard: socket | None = None
        self._up = False
        self._lock = Lock()

    def hear(self, line: socket | None) -> None:
        """This connection is the one to be cut."""
        with self._lock:
            self._heard = line
            self._cut()

    def end(self) -> None:
        """Time is up."""
        with self._lock:
            self._up = True
            self._cut()

    def _cut(self) -> None:
        if self._up and self._heard is not None:
            # Not TLS's own way to end it: a thread is reading.
            with suppress(OSError):
                socket.shutdown(self._heard, SHUT_RDWR)


_watch: Final[ContextVar[_Watch | None]] = ContextVar("watch", default=None)


@contextmanager
def cut_after(seconds: float) -> Iterator[None]:
    """Cut what this thread hears an answer by if the block takes longer.

    Any time limit for a read begins anew with each byte that trickles, of a head as of a chunk's
    length or a trailer.
    """
    watch = _Watch()
    timer = Timer(seconds, watch.end)
    timer.daemon = True
    timer.start()
    before = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(before)
        timer.cancel()
        # It may go off right now, and others go on with this connection.
        watch.hear(None)


class WatchedConnection(HTTPSConnection):
    """A connection that is cut where `cut_after` says so."""

    def getresponse(self) -> Any:  # urllib3's class and http.client's are not one another's
        if watch := _watch.get():
            # Now, since one that is to be closed after this answer is forgotten with its head.
            watch.hear(self.sock)
        return super().getresponse()


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


def deepest(error: BaseException) -> BaseException:
    """What the network or TLS said first, under all that was made of it."""
    found, each = error, error.__cause__ or error.__context__
    while each is not None:
        if isinstance(each, OSError | HTTPException):
            found = each
        each = each.__cause__ or each.__context__
    return found


def own_words(reason: BaseException) -> str:
    """What the system itself says of a failed call, cut short: a proxy's own words may be in it.

    The words of urllib3 hold what was asked, those of http.client what was answered.
    """
    said = getattr(reason, "strerror", None) or (str(reason) if isinstance(reason, OSError) else "")
    return " ".join(said.split())[:_SAID] or type(reason).__name__


def _seconds(text: str) -> float:
    try:
        asked = float(text)
    except ValueError:
        return 0
    return min(max(asked, 0), _LONGEST_WAIT) if math.isfinite(asked) else 0

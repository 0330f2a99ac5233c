"""What our HTTPS clients share: trust, the environment's proxy, bounded bodies."""

import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationValueError

from sync.errors import UsageError
from sync.transport.deadline import WatchedConnection

_PIECE: Final = 1 << 20  # bytes of a body that are read at a time


def tls_context(authority: bytes | None) -> ssl.SSLContext:
    """Return a context that verifies servers' certificates, by TLS 1.2 or newer.

    `authority` holds certificates in PEM, None for those that the system trusts; `ValueError` if
    it holds none.
    """
    if authority is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            # The text between the certificates may be anything.
            context.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
        except ssl.SSLError:
            raise ValueError("no certificate in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def pool(
    host: str, port: int, context: ssl.SSLContext, *, connections: int = 1
) -> urllib3.HTTPConnectionPool:
    """Return a pool of connections to a host, through the proxy that the environment names for it.

    It keeps up to `connections` of them open. `UsageError` if the proxy's URL is not valid.
    """
    found = _proxied(host, port, context, connections)
    found.ConnectionCls = WatchedConnection
    return found


def _proxied(
    host: str, port: int, context: ssl.SSLContext, connections: int
) -> urllib3.HTTPConnectionPool:
    proxy = getproxies().get("https")
    if not proxy or proxy_bypass(f"{host}:{port}"):
        return urllib3.HTTPSConnectionPool(host, port, maxsize=connections, ssl_context=context)
    try:
        url = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(url.auth)) if url.auth else None
        manager = urllib3.ProxyManager(
            url._replace(auth=None).url,
            proxy_headers=headers,
            maxsize=connections,
            ssl_context=context,
        )
    except LocationValueError:
        # It may hold a password.
        raise UsageError("HTTPS_PROXY is no URL of an HTTP proxy; correct it.") from None
    return manager.connection_from_host(host, port, "https")


def request_target(url: SplitResult) -> str:
    """Return what a request line holds of a URL: its path and its query."""
    return f"{url.path or '/'}{'?' if url.query else ''}{url.query}"


def compressed(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether a body is compressed although no request of ours allows it.

    A small one may unpack to any size.
    """
    encoding: str = response.headers.get("Content-Encoding", "identity")
    return encoding.strip().lower() != "identity"


def whole_body(
    response: urllib3.BaseHTTPResponse, most: int, require_whole: Callable[[], None]
) -> bytes | None:
    """Return a body that is not compressed, or None if it has more than `most` bytes.

    `require_whole` is called between its pieces and raises if the call was cut meanwhile.
    """
    pieces, size = [], 0
    while piece := response.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return None
        require_whole()
    # A chunk's length that was cut may look like the last one's.
    require_whole()
    return b"".join(pieces)

"""Shared parts of our HTTPS clients: trust, the environment's proxy, request targets."""

import ssl
from urllib.parse import SplitResult, unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationValueError

from sync.errors import UsageError
from sync.transport.deadline import WatchedConnection


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
        raise UsageError("HTTPS_PROXY is not the URL of an HTTP proxy; correct it.") from None
    return manager.connection_from_host(host, port, "https")


def request_target(url: SplitResult) -> str:
    """Return what a request line holds of a URL: its path and its query."""
    return f"{url.path or '/'}{'?' if url.query else ''}{url.query}"

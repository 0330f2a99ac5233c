"""Make a client of an API server from the settings of one cluster.

A kubeconfig is read as `kubectl` reads it (`kubeconfig_file`).

The client is the official one, but not its kubeconfig loader. That runs any program that the file
names, without a time limit, and only logs a failure; it skips TLS verification if the file asks for
it; it treats a missing user as anonymous; it raises TypeError on odd input; and it leaves keys in
temporary files until the process ends.
"""

import base64
import hashlib
import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from kubernetes.client import ApiClient, Configuration
from urllib3.util import make_headers, parse_url

from sync.clusters.kubernetes.auth.exec_plugin import Credentials, ask
from sync.clusters.kubernetes.auth.kubeconfig_file import (
    SERVICE_ACCOUNT,
    Cluster,
    User,
    chosen,
    read_file,
    read_kubeconfig,
    service_account,
)
from sync.clusters.kubernetes.auth.tls import tls_context
from sync.errors import ClusterError

PARALLEL = 24
"""Connections to one API server that are kept open: for all writers and watches."""

_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_VISIBLE = re.compile(r"[!-~]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class Access:
    """How one cluster is reached; the fields are keys of clusters[].

    Without a `kubeconfig` it is the cluster of the pod that we run in. An exec plugin runs only
    if `exec_plugins` holds its command exactly as the kubeconfig writes it; an operator who lists
    one trusts the kubeconfig with its arguments and environment.
    """

    cluster: str
    kubeconfig: Path | None
    context: str | None
    exec_plugins: tuple[str, ...]
    exec_timeout: timedelta
    insecure_skip_tls_verify: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """A client with fixed credentials: connect again to renew them.

    That is due from `renew_at` on (`time.monotonic()`), None: never; when the digest of one of
    `files`, from which it was made, changes; and once the API server refuses the credentials.
    Threads may share it.
    """

    client: ApiClient
    renew_at: float | None
    files: Mapping[Path, str] = field(default_factory=dict)


class Connector:
    """Connects to one cluster, always by the context that was current at the start.

    An operator who runs `kubectl config use-context` means later kubectl commands, not a service
    that runs for months: following it would write the policies of one cluster into another.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def pin(self) -> tuple[str, ...]:
        """Pin the context; return the file's contexts, sorted, if one of several had to be chosen.

        Without a current context nothing is pinned. `ClusterError` if the file cannot be read.
        """
        access = self._access
        if access.kubeconfig is None or access.context:
            return ()
        current, known = contexts(access.kubeconfig)
        if current is None:
            return ()
        self._access = replace(access, context=current)
        return known if len(known) > 1 else ()

    @property
    def context(self) -> str | None:
        """The pinned context; None: not yet, or there is none."""
        return self._access.context

    def __call__(self) -> Connection:
        """Make a client by `connect`; one at a time."""
        # A file that was missing at the start may exist now.
        with suppress(ClusterError):
            self.pin()
        return connect(self._access)


def contexts(path: Path) -> tuple[str | None, tuple[str, ...]]:
    """The current context of a kubeconfig and all of its contexts; `ClusterError`."""
    found = read_kubeconfig(path)
    names = (each.get("name") for each in found.contexts or ())
    return found.current_context or None, tuple(sorted(n for n in names if isinstance(n, str)))


def server(path: Path | None, context: str | None) -> str:
    """The API server's address that a kubeconfig names, or the pod's own; `ClusterError`.

    Without any credentials in it: users see it.
    """
    if path is None:
        cluster, _ = service_account(SERVICE_ACCOUNT)
    else:
        cluster, _ = chosen(read_kubeconfig(path), context)
    parts = urlsplit(cluster.server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def connect(access: Access, service_account_in: Path = SERVICE_ACCOUNT) -> Connection:
    """Make a client of a cluster from the current files, variables and plugins.

    A pod's own credentials are in `service_account_in`. Nothing is sent yet. Raises `ClusterError`;
    its message holds no token, key or password.
    """
    try:
        if access.kubeconfig is None:
            source, folder = "the pod's service account", service_account_in
            files: dict[Path, str] = {}
            cluster, user = service_account(service_account_in)
        else:
            source, folder = str(access.kubeconfig), access.kubeconfig.absolute().parent
            # Before the read, so that every later write counts as a change.
            files = digests([access.kubeconfig])
            cluster, user = chosen(read_kubeconfig(access.kubeconfig), access.context)
        files |= digests(_named(cluster, user, folder))
        _check_server(cluster, access)
        authority = _content(
            "certificate-authority",
            cluster.certificate_authority,
            cluster.certificate_authority_data,
            folder,
        )
        headers = _impersonation(user)
        credentials = _credentials(user, cluster, authority, folder, access)
        client = _client(cluster, authority, credentials)
    except ClusterError as error:
        raise ClusterError(f"cluster {access.cluster}: {source}: {error}") from error
    # The name becomes the objects' field manager, too.
    client.default_headers.update({"User-Agent": "zonebridge", **headers})
    return Connection(client, credentials.renew_at, files)


def digests(files: Iterable[Path]) -> dict[Path, str]:
    """The SHA-256 of what each file holds now; "" where it cannot be read."""
    found = {}
    for path in files:
        try:
            found[path] = hashlib.sha256(read_file(path, "")).hexdigest()
        except ClusterError:
            found[path] = ""
    return found


def _named(cluster: Cluster, user: User, folder: Path) -> list[Path]:
    """The files from which a connection is made, besides the kubeconfig."""
    names = [
        "" if cluster.certificate_authority_data else cluster.certificate_authority,
        "" if user.client_certificate_data else user.client_certificate,
        "" if user.client_key_data else user.client_key,
        user.token_file,
    ]
    found = [folder / name for name in names if name]
    if not (cluster.certificate_authority_data or cluster.certificate_authority):
        system = ssl.get_default_verify_paths().cafile
        found += [Path(system)] if system else []
    return found


def _check_server(cluster: Cluster, access: Access) -> None:
    """Refuse a URL of no API server, and one without verified TLS unless a setting accepts that."""
    if not _can_be_asked(cluster):
        raise ClusterError(
            "server or tls-server-name of the cluster is not valid; write them as in "
            "https://api.example.com:6443 and api.example.com"
        )
    if access.insecure_skip_tls_verify:
        return
    if not cluster.server.lower().startswith("https://"):
        raise ClusterError(
            "server of the cluster is http://, which anyone on the path can read and change; "
            "write https://, or set clusters[].insecure_skip_tls_verify: true"
        )
    if cluster.insecure_skip_tls_verify:
        raise ClusterError(
            "insecure-skip-tls-verify is refused; give the cluster its certificate-authority, or "
            "set clusters[].insecure_skip_tls_verify: true"
        )


def _can_be_asked(cluster: Cluster) -> bool:
    """Whether the client would accept the server's URL and names when it sends a request."""
    try:
        # Both parsers of the client have to accept the URL, and each refuses others.
        url = parse_url(cluster.server)
        host = cluster.tls_server_name or urlsplit(cluster.server).hostname
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=host)
    except (ValueError, TypeError):
        return False
    known = url.scheme in ("http", "https") and bool(url.host)
    extra = url.auth or url.query is not None or url.fragment is not None
    return known and not extra and bool(_VISIBLE.fullmatch(cluster.server))


def _impersonation(user: User) -> dict[str, str]:
    """The headers for `as` and its companions.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    single = {
        "Impersonate-User": [user.impersonated] if user.impersonated else [],
        "Impersonate-Uid": [user.as_uid] if user.as_uid else [],
        "Impersonate-Group": user.as_groups or [],
    }
    for key, values in (user.as_user_extra or {}).items():
        single[f"Impersonate-Extra-{quote(key, safe='')}"] = values
    headers = {name: values[0] for name, values in single.items() if values}
    if headers and not user.impersonated:
        raise ClusterError("as-uid, as-groups and as-user-extra of the user need as; add it")
    # The client keeps one value per header, and the server reads joined values as one group.
    if any(len(values) > 1 for values in single.values()):
        raise ClusterError(
            "as-groups and every key of as-user-extra may have one value here; leave one, and "
            "bind its rights to the user of as"
        )
    if not all(_HEADER_VALUE.fullmatch(value) for value in headers.values()):
        raise ClusterError("as and its companions must be printable ASCII; correct them")
    return headers


def _credentials(
    user: User, cluster: Cluster, authority: bytes | None, folder: Path, access: Access
) -> Credentials:
    """The credentials of the user for the API server."""
    if user.auth_provider is not None:
        raise ClusterError(
            "auth-provider of the user is deprecated and not supported; use exec with your "
            "provider's plugin, such as kubelogin or gke-gcloud-auth-plugin"
        )
    if user.username or user.password:
        raise ClusterError(
            "no API server accepts username and password of the user (since 1.19); use a "
            "token, a client certificate or exec"
        )
    certificate = _content(
        "client-certificate", user.client_certificate, user.client_certificate_data, folder
    )
    key = _content("client-key", user.client_key, user.client_key_data, folder)
    if (certificate is None) != (key is None):
        raise ClusterError("the user has only one of client-certificate and client-key; add both")
    if user.plugin is None:
        token = user.token
        if user.token_file:
            file = folder / user.token_file
            token = read_file(file, "tokenFile").decode(errors="replace").strip()
            if not token:
                raise ClusterError(f"tokenFile {file} is empty; renew it")
        both = certificate + b"\n" + key if certificate and key else None
        return Credentials(token or None, both)
    if user.token or user.token_file or certificate:
        raise ClusterError("the user has exec and a token or client certificate; leave one of them")
    if user.plugin.command not in access.exec_plugins:
        raise ClusterError(
            f"the user's exec command {user.plugin.command} may not run; if you trust it, add "
            "just this text to clusters[].exec_plugins"
        )
    told = _told(cluster, authority) if user.plugin.provide_cluster_info else None
    return ask(user.plugin, folder, told, access.exec_timeout)


def _told(cluster: Cluster, authority: bytes | None) -> dict[str, object]:
    """Describe the cluster for a plugin that asks for it."""
    config = next(
        (each.extension for each in cluster.extensions or () if each.name == _EXEC_EXTENSION), None
    )
    told = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": authority and base64.b64encode(authority).decode(),
        "proxy-url": cluster.proxy_url,
        "config": config,
    }
    return {key: value for key, value in told.items() if value is not None}


def _client(cluster: Cluster, authority: bytes | None, credentials: Credentials) -> ApiClient:
    if credentials.token and not _VISIBLE.fullmatch(credentials.token):
        raise ClusterError("the token holds characters that no token has; renew it")
    proxy = cluster.proxy_url or None
    configuration = Configuration(
        host=cluster.server.rstrip("/"),
        api_key={"BearerToken": f"Bearer {credentials.token}"} if credentials.token else None,
        verify_ssl=not cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name or None,
        connection_pool_maxsize=PARALLEL,
        retries=False,
        proxy=proxy,
        # As with kubectl, NO_PROXY applies to proxies from the environment.
        no_proxy="" if proxy else None,
    )
    context = tls_context(authority, credentials.certificate, verify=configuration.verify_ssl)
    try:
        if configuration.proxy and (auth := parse_url(configuration.proxy).auth):
            configuration.proxy_headers = make_headers(proxy_basic_auth=unquote(auth))
        client = ApiClient(configuration)
    # No URL, no kind of proxy that urllib3 knows, or SOCKS without PySocks.
    except (ValueError, ImportError):
        source = "proxy-url of the cluster" if proxy else "HTTPS_PROXY or ALL_PROXY"
        raise ClusterError(
            f"{source} is not a usable proxy; write it as in http://proxy.example.com:3128"
        ) from None
    # The client itself accepts a key only from a file that stays.
    client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
    return client


def _content(key: str, name: str | None, data: str | None, folder: Path) -> bytes | None:
    """The content of `<key>-data`, else of the file that `<key>` names; None without either."""
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except ValueError:
            raise ClusterError(f"{key}-data is not base64; correct it") from None
    return read_file(folder / name, key) if name else None

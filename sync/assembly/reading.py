"""Build the sources of the settings, without reading any of them."""

from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Literal

import structlog

from sync.errors import SourceError, UsageError
from sync.settings import (
    Settings,
    api_key,
    authority,
    panorama_password,
)
from sync.settings.models import Source as SourceSettings
from sync.sources import NoMemory, Source
from sync.sources.export import ExportSource
from sync.store import Store
from sync.transport.stopping import Stopping

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from sync.sources.panorama.client import ApiKey


def sources(
    settings: Settings,
    store: Store | None,
    *,
    candidate: bool = False,
    stopping: Stopping | None = None,
) -> list[Source]:
    """Build every source, unread; with `candidate` a Panorama gives its uncommitted configuration.

    Only a plan that is never written may ask for the candidate. Once `stopping` is set, no request
    is waited for. The store has the last answers of firewalls, DNS and lists; without a store, DNS
    and lists are not queried.
    """
    found = [
        _panorama(settings, source, store, "candidate" if candidate else "running", stopping)
        if source.kind == "panorama"
        else _export(source)
        for source in settings.sources
    ]
    return [_answered(settings, source, store, stopping) for source in found] if store else found


def _answered(
    settings: Settings, source: Source, store: Store, stopping: Stopping | None
) -> Source:
    """Add the answers of DNS and external lists to a source, where the settings ask for them."""
    if settings.fqdn == "skip" and settings.edl == "skip":
        return source
    # Their libraries take long to import, and are needed only here.
    from sync.sources.dns import DnsCache
    from sync.sources.edl.client import EdlClient
    from sync.sources.enriched import AnsweredSource
    from sync.sources.panorama.connection import tls_context
    from sync.sources.trust import Trust

    memory = store.memory(source.name)
    names = lists = None
    if settings.fqdn == "resolve":
        names = DnsCache(memory, settings.fqdn_grace, stopping=stopping)
    if settings.edl == "fetch":
        shortest = settings.guard.min_prefix_length
        lists = EdlClient(
            memory,
            Trust(source.name, None, lambda: tls_context(source.name, None, verify=True)),
            max_bytes=settings.edl_max_bytes,
            shortest=(shortest.ipv4, shortest.ipv6),
            stopping=stopping,
        )
    return AnsweredSource(source, names, lists, _used(settings, source.name))


def _used(settings: Settings, source: str) -> set[str]:
    """Return the device groups of a source that clusters use."""
    return {
        group.name
        for cluster in settings.clusters
        for group in cluster.device_groups
        if settings.source_of(group).name == source
    }


def _export(source: SourceSettings) -> Source:
    assert source.path is not None, "the settings require a path of every file"
    return ExportSource(source.name, source.path)


def _panorama(
    settings: Settings,
    source: SourceSettings,
    store: Store | None,
    view: Literal["running", "candidate"],
    stopping: Stopping | None,
) -> Source:
    # The HTTPS client takes long to import, and only a Panorama needs it.
    from sync.sources.panorama.client import PanoramaHost
    from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection, tls_context
    from sync.sources.panorama.registered_ips import RegistrationCache
    from sync.sources.panorama.source import PanoramaSource
    from sync.sources.trust import Trust

    if not source.verify_tls:
        structlog.get_logger().warning("TLS is unverified", source=source.name)
    trust = Trust(
        source.name,
        source.ca_file,
        lambda: tls_context(source.name, authority(source), verify=source.verify_tls),
    )
    slots = BoundedSemaphore(AT_ONCE)
    members = [
        PanoramaHost(
            PanoramaConnection(source.name, host, source.port, trust, slots, stopping=stopping),
            partial(_credentials, source),
        )
        for host in source.hosts
    ]
    return PanoramaSource(
        source.name,
        members,
        source.full_read_interval,
        settings.registered_interval,
        # Without a store, only the configuration is read.
        _used(settings, source.name) if store else (),
        settings.rules.devices,
        RegistrationCache(
            source.name,
            store.memory(source.name) if store else NoMemory(),
            settings.health.max_source_age.total_seconds(),
        ),
        view,
    )


def _credentials(source: SourceSettings) -> "ApiKey":
    """Return a Panorama's credentials; read again each time, since secrets are rotated."""
    from sync.sources.panorama.client import ApiKey

    try:
        key, password = api_key(source), panorama_password(source)
    except UsageError as error:
        # A file that is missing for a moment fails the source, not the command.
        raise SourceError(f"source {source.name}: {error}") from None
    return ApiKey(
        key.get_secret_value() if key else None,
        source.username or "",
        password.get_secret_value() if password else "",
    )

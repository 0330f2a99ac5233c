"""From the settings to the rooms: what a cycle works on, built for one run.

The command line and the service both assemble here, so that neither decides anything alone.
"""

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from os import environ, getpid
from socket import gethostname
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Literal

import structlog

from sync.calico import selectors
from sync.calico.objects import Pairs
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import (
    ClusterReader,
    ClusterWatcher,
    ClusterWriter,
    EventRecorder,
    Remaining,
)
from sync.clusters.in_memory import GivenReader
from sync.clusters.manifests import ManifestsReader, ManifestsWatcher, ManifestsWriter
from sync.errors import ClusterError, SourceError, UsageError
from sync.firewall import tag_filter
from sync.net.addresses import AddressSet, network
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.settings import Cluster as ClusterSettings
from sync.settings import (
    Settings,
    api_key,
    authority,
    panorama_password,
    store_password,
    webhook,
    webhook_authority,
    webhook_secret,
)
from sync.settings.models import Source as SourceSettings
from sync.settings.models import Zone as ZoneDefinitionSettings
from sync.settings.models import Zones as ZoneSettings
from sync.settings.problems import Place, Problem
from sync.sources import NoMemory, Source
from sync.sources.export import ExportSource
from sync.store import Store, open_store, open_store_read_only
from sync.store.head_file import publish_heads
from sync.translate.compiler import Options
from sync.transport.stopping import Stopping

if TYPE_CHECKING:
    from sync.clusters.kubernetes.auth.kubeconfig import Connector
    from sync.service.metrics import Metrics
    from sync.service.notices import Announcer, Channel
    from sync.service.queue import SyncQueue
    from sync.service.step import ClusterStep


def store_of(settings: Settings, *, write: bool) -> Store:
    """The store of the settings; without `write` it is only looked at, and nothing is created."""

    def password() -> str | None:
        # Asked again for each connection: the file may hold another one by then.
        secret = store_password(settings.store)
        return secret.get_secret_value() if secret else None

    if write:
        return open_store(settings.store.url, password=password)
    return open_store_read_only(settings.store.url, password=password)


def sources(
    settings: Settings,
    store: Store | None,
    *,
    candidate: bool = False,
    stopping: Stopping | None = None,
) -> list[Source]:
    """Every source, none of them read yet; as `candidate` a Panorama gives what is not committed.

    Once `stopping`, nothing is waited for any more.

    Only a plan that nobody writes may ask for that. The store has what firewalls, DNS and lists
    said last; without one nobody is asked for what the settings want of the latter two.
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
    """A source with the answers of DNS and the lists that the settings want, if they want any."""
    if settings.fqdn == "skip" and settings.edl == "skip":
        return source
    # Only those who want one of them wait for their libraries.
    from sync.sources.dns import DnsCache
    from sync.sources.edl import EdlClient
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
    """The device groups of a source that clusters stand for."""
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
    # What speaks HTTPS takes long to import, and only those with a Panorama need it.
    from sync.sources.panorama.client import ApiKey, PanoramaHost
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

    def credentials() -> ApiKey:
        try:
            key, password = api_key(source), panorama_password(source)
        except UsageError as error:
            # A file that is gone for a while is the source's failure, not the command's.
            raise SourceError(f"source {source.name}: {error}") from None
        return ApiKey(
            key.get_secret_value() if key else None,
            source.username or "",
            password.get_secret_value() if password else "",
        )

    members = [
        PanoramaHost(
            PanoramaConnection(source.name, host, source.port, trust, slots, stopping=stopping),
            credentials,
        )
        for host in source.hosts
    ]
    return PanoramaSource(
        source.name,
        members,
        source.full_read_interval,
        settings.registered_interval,
        # Whoever has no store looks at the configuration alone.
        _used(settings, source.name) if store else (),
        settings.rules.devices,
        RegistrationCache(
            source.name,
            store.memory(source.name) if store else NoMemory(),
            settings.health.max_source_age.total_seconds(),
        ),
        view,
    )


def options(settings: Settings, store: Store) -> Options:
    """What decides how the firewall's objects and rules become ours; raises as the next."""
    return translation_options(settings, owner_labels(settings.instance, store.uuid))


def translation_options(settings: Settings, owner: Pairs) -> Options:
    """The same where `owner` are the labels of what is ours; `UsageError` if it cannot be used.

    Which addresses hold every pod is each cluster's own, and not in it.
    """
    problems = expression_problems(settings)
    if problems:
        listed = "\n  ".join(map(str, problems))
        raise UsageError(f"The configuration holds what cannot be read:\n  {listed}")
    return Options(
        tags=settings.address_groups.tags,
        registered_known=settings.registered_ips == "optional",
        registered_accepted=settings.registered_ips == "optional",
        owner=owner,
        rules=RuleOptions(**dict(settings.rules)),
        zones=_zones(settings.zones),
    )


def expression_problems(settings: Settings) -> list[Problem]:
    """What is wrong with the rules' filter and with selectors.

    The settings stand alone and know neither language, so what holds them together judges it.
    """
    problems = []
    if settings.rules.filter.strip():
        try:
            tag_filter.parse(settings.rules.filter)
        except ValueError as error:
            problems.append(Problem(("rules", "filter"), f"cannot be read: {error}; correct it"))
    for place, selector in _selectors(settings.zones):
        found = selectors.problem(selector)
        if found:
            text = f"is no selector: {found.message} at character {found.position + 1}; correct it"
            problems.append(Problem(("zones", *place), text))
        elif "global(" in selector:
            problems.append(Problem(("zones", *place), "selects no pods: remove global()"))
    return problems


def _selectors(zones: ZoneSettings) -> Iterator[tuple[Place, str]]:
    for i, essential in enumerate(zones.essentials):
        yield ("essentials", i, "on"), essential.on
        if essential.pods:
            yield ("essentials", i, "pods"), essential.pods
    for name, zone in zones.definitions.items():
        for key in ("selector", "namespace_selector"):
            selector = getattr(zone.workloads, key, None)
            if selector:
                yield ("definitions", name, "workloads", key), selector


def _zones(zones: ZoneSettings) -> ZoneOptions:
    return ZoneOptions(
        label=zones.label,
        derive_networks=zones.derive_networks,
        trust_addresses=zones.trust_addresses,
        unzoned_pods=zones.unzoned_pods,
        unknown_addresses=zones.unknown_addresses,
        essentials=tuple(
            Essential(
                direction=each.direction,
                on=each.on,
                pods=each.pods or "",
                cidrs=tuple(map(str, each.cidrs)),
                ports=each.ports,
            )
            for each in zones.essentials
        ),
        definitions={name: _definition(zone) for name, zone in zones.definitions.items()},
    )


def _definition(zone: ZoneDefinitionSettings) -> ZoneDefinition:
    workloads = zone.workloads
    return ZoneDefinition(
        selector=(workloads and workloads.selector) or "",
        namespace_selector=(workloads and workloads.namespace_selector) or "",
        networks=None if zone.networks is None else tuple(map(str, zone.networks)),
    )


def device_groups(settings: Settings, cluster: ClusterSettings) -> tuple[TierBinding, ...]:
    """The device groups that a cluster stands for."""
    return tuple(
        TierBinding(settings.source_of(group).name, group.name, group.tier, group.order, group.mode)
        for group in cluster.device_groups
    )


def pod_cidrs(cluster: ClusterSettings) -> AddressSet | None:
    """The configured networks of a cluster's pods; None if there are none."""
    return AddressSet.union(network(str(cidr)) for cidr in cluster.pod_cidrs) or None


def clusters(
    settings: Settings,
    store: Store,
    *,
    write: bool,
    only: Collection[str],
    adopt: bool = False,
    accept: Collection[str] = (),
    stopping: Stopping | None = None,
) -> list[Cluster]:
    """The clusters named in `only`, or all; without `write` none of them has a writer.

    With `adopt` they take over foreign objects that stand where ours shall stand. Those named in
    `accept` are planned as if an operator had taken them for the clusters that they are now. Once
    `stopping`, nothing is waited for any more but a write that is under way.
    """
    owner = owner_labels(settings.instance, store.uuid)
    found: list[Cluster] = []
    for cluster in settings.clusters:
        if only and cluster.name not in only:
            continue
        events = None
        if cluster.kind == "kubernetes":
            reader, writer, watcher, events = _kubernetes(
                cluster, owner, settings.lease_ttl, stopping
            )
        else:
            reader, writer, watcher = _manifests(cluster, owner)
        made = _cluster(settings, cluster, reader, writer if write else None, watcher)
        made = replace(made, events=events if write else None)
        found.append(replace(made, adopt=adopt, accept=cluster.name in accept))
    return found


def queue(settings: Settings, store: Store) -> "SyncQueue | None":
    """The queue that clusters are synced by; None where the service syncs them itself."""
    if settings.engine.kind == "embedded":
        return None
    # Its libraries take long to import, and only those with a queue need them.
    from sync.service.queue import SyncQueue

    return SyncQueue(store.database)


def steps(
    settings: Settings,
    store: Store,
    clusters: Collection[Cluster],
    *,
    trigger: str,
    metrics: "Metrics",
    announcer: "Announcer",
    stopping: Stopping,
) -> dict[str, "ClusterStep"]:
    """What a worker does of each cluster, by its name: with what the store has of the sources."""
    from sync.service.step import ClusterStep
    from sync.service.tasks import RememberedSource

    publishing = Lock()
    remembered = {
        each.name: RememberedSource(each.name, store.memory(each.name)) for each in settings.sources
    }
    translating = options(settings, store)

    def publish() -> None:
        with publishing:
            publish_heads(store, settings.audit.head_file)

    def step(cluster: Cluster) -> ClusterStep:
        used = {here.source for here in cluster.device_groups}
        return ClusterStep(
            cluster=cluster,
            read=lambda: {name: remembered[name].last_good for name in used},
            store=store,
            options=translating,
            trigger=trigger,
            publish_heads=publish,
            metrics=metrics,
            stopping=stopping,
            announcer=announcer,
        )

    return {cluster.name: step(cluster) for cluster in clusters}


def unreached_cluster(settings: Settings, cluster: ClusterSettings) -> Cluster:
    """A cluster with no way to it: nothing is known of it but what the settings say."""
    return _cluster(settings, cluster, GivenReader({}), None, None)


def _cluster(
    settings: Settings,
    cluster: ClusterSettings,
    reader: ClusterReader,
    writer: Callable[[Remaining, Callable[[], bool]], ClusterWriter] | None,
    watcher: ClusterWatcher | None,
) -> Cluster:
    return Cluster(
        name=cluster.name,
        device_groups=device_groups(settings, cluster),
        reader=reader,
        writer=writer,
        watcher=watcher,
        repair_drift=settings.drift == "repair",
        pod_cidrs=pod_cidrs(cluster),
        refuse_windows=cluster.windows == "refuse",
        moves=cluster.kind == "kubernetes",
        others=tuple(each.name for each in settings.clusters if each.name != cluster.name),
    )


_Ends = tuple[
    ClusterReader, Callable[[Remaining, Callable[[], bool]], ClusterWriter], ClusterWatcher
]


def _kubernetes(
    cluster: ClusterSettings, owner: Pairs, ttl: timedelta, stopping: Stopping | None
) -> tuple[*_Ends, EventRecorder]:
    # The official client takes long to import, and only those with such a cluster need it.
    from urllib3.exceptions import InsecureRequestWarning

    from sync.clusters.kubernetes.auth.kubeconfig import Access, Connector
    from sync.clusters.kubernetes.client import LONGEST_SECONDS, LONGEST_WRITE_SECONDS, Api
    from sync.clusters.kubernetes.events import KubernetesEvents
    from sync.clusters.kubernetes.objects import KubernetesReader, KubernetesWriter
    from sync.clusters.kubernetes.watcher import KubernetesWatcher

    if cluster.insecure_skip_tls_verify:
        # Said here once and clearly, not by the library at each request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        structlog.get_logger().warning("TLS may be unverified", cluster=cluster.name)
    access = Access(
        cluster=cluster.name,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        exec_plugins=cluster.exec_plugins,
        exec_timeout=cluster.exec_timeout,
        insecure_skip_tls_verify=cluster.insecure_skip_tls_verify,
    )
    connector = Connector(access)
    _pin(connector, cluster.name)
    # A request ends well within what a lease has left between two renewals.
    seconds = min(ttl.total_seconds() / 2, LONGEST_SECONDS)
    api = Api(cluster.name, connector, seconds=seconds, stopping=stopping)

    reader = KubernetesReader(api, owner)

    def writer(remaining: Remaining, stops: Callable[[], bool]) -> ClusterWriter:
        return KubernetesWriter(
            api,
            owner,
            remaining=remaining,
            stopping=stops,
            seconds=min(seconds, LONGEST_WRITE_SECONDS),
            uid=reader.uid,
        )

    # Without `stopping`: the last ones are written when the process is asked to end.
    recorder = KubernetesEvents(Api(cluster.name, connector, seconds=seconds), _here())
    return reader, writer, KubernetesWatcher(api, owner), recorder


def _here() -> str:
    """This process, for Events."""
    return environ.get("POD_NAME") or f"{gethostname()}, process {getpid()}"


def announcer(
    settings: Settings, store: Store, clusters: Collection[Cluster] | None, metrics: "Metrics"
) -> "Announcer":
    """What tells people of sources and clusters: the webhook, and Events in `clusters`.

    Where these are None there are no Events, on our pod neither.
    """
    from sync.service.notices import Announcer, Channel

    channels: list[Channel] = []
    if settings.webhook or settings.webhook_url_file:
        channels.append(_webhook(settings, store, metrics))
    if clusters is not None:
        channels += _events(clusters, metrics)
    return Announcer(channels, settings.health.max_source_age.total_seconds())


def _events(clusters: Collection[Cluster], metrics: "Metrics") -> "Iterator[Channel]":
    from sync.service.events import Events, on_pod, on_tiers

    for cluster in clusters:
        if cluster.events:
            tiers = on_tiers(here.tier for here in cluster.device_groups)
            yield Events(cluster.events, tiers, metrics, cluster=cluster.name)
    if all(environ.get(key) for key in ("POD_NAME", "POD_NAMESPACE", "POD_UID")):
        from sync.clusters.kubernetes.auth.kubeconfig import Access, Connector
        from sync.clusters.kubernetes.client import Api
        from sync.clusters.kubernetes.events import KubernetesEvents, pod

        access = Access(
            cluster="of this pod",
            kubeconfig=None,
            context=None,
            exec_plugins=(),
            exec_timeout=timedelta(seconds=1),
            insecure_skip_tls_verify=False,
        )
        recorder = KubernetesEvents(Api("of this pod", Connector(access)), _here())
        yield Events(recorder, on_pod(pod(environ)), metrics, cluster=None)


def _webhook(settings: Settings, store: Store, metrics: "Metrics") -> "Channel":
    from sync.service.webhook import Webhook
    from sync.service.webhook_call import caller, trust

    def url() -> str:
        found = webhook(settings)
        assert found is not None, "there is a webhook"
        return found

    # All of them anew for each call: secrets change.
    call = caller(
        url,
        lambda: webhook_secret(settings),
        lambda: trust(webhook_authority(settings)),
    )
    return Webhook(call, settings.instance, store.memory("webhook"), metrics)


def _pin(connector: "Connector", cluster: str) -> None:
    """Settle the context now, before anybody makes another one current."""
    try:
        several = connector.pin()
    except ClusterError:
        # Whatever asks the cluster for anything is told.
        return
    if several:
        structlog.get_logger().warning(
            "context is not configured; the current one of the kubeconfig stays in use",
            cluster=cluster,
            context=connector.context,
            contexts=several,
        )


def _manifests(cluster: ClusterSettings, owner: Pairs) -> _Ends:
    assert cluster.path is not None, "the settings require a path of every manifests cluster"
    path = cluster.path

    def writer(remaining: Remaining, _stopping: Callable[[], bool]) -> ClusterWriter:
        return ManifestsWriter(path, remaining=remaining)

    return ManifestsReader(path, owner), writer, ManifestsWatcher(path)

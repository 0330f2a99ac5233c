"""Build the notification channels that the settings ask for: a webhook, and Events."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from os import environ
from typing import TYPE_CHECKING

from sync.assembly.targets import process_name
from sync.reconcile.desired import Cluster
from sync.settings import (
    Settings,
    webhook,
    webhook_authority,
    webhook_secret,
)
from sync.store import Store

if TYPE_CHECKING:
    from sync.service.metrics import Metrics
    from sync.service.notices import Announcer, Channel


def announcer(
    settings: Settings, store: Store, clusters: Collection[Cluster] | None, metrics: "Metrics"
) -> "Announcer":
    """Build what notifies people about sources and clusters: the webhook, and Events in `clusters`.

    If `clusters` is None no Events are written, not even about our own pod.
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
        recorder = KubernetesEvents(Api("of this pod", Connector(access)), process_name())
        yield Events(recorder, on_pod(pod(environ)), metrics, cluster=None)


def _webhook(settings: Settings, store: Store, metrics: "Metrics") -> "Channel":
    from sync.service.webhook import Webhook
    from sync.service.webhook_call import caller, trust

    def url() -> str:
        found = webhook(settings)
        assert found is not None, "there is a webhook"
        return found

    # Read again for each call, since secrets are rotated.
    call = caller(
        url,
        lambda: webhook_secret(settings),
        lambda: trust(webhook_authority(settings)),
    )
    return Webhook(call, settings.instance, store.memory("webhook"), metrics)

"""From the settings to the rooms: what a cycle works on, built for one run.

The command line and the service both assemble here, so that neither decides anything alone.
"""

from collections.abc import Collection

from sync.calico.ownership import owner_labels
from sync.clusters.manifests import ManifestsReader, ManifestsWriter
from sync.cycle import Cluster, Translation
from sync.settings import Settings, store_password
from sync.sources import Source
from sync.sources.export import ExportSource
from sync.store import Store, open_store, open_store_read_only


def store_of(settings: Settings, *, write: bool) -> Store:
    """The store of the settings; without `write` it is only looked at, and nothing is created."""
    secret = store_password(settings.store)
    password = secret.get_secret_value() if secret else None
    if write:
        return open_store(settings.store.url, password=password)
    return open_store_read_only(settings.store.url, password=password)


def sources(settings: Settings) -> list[Source]:
    """Every source, none of them read yet."""
    found: list[Source] = []
    for source in settings.sources:
        assert source.path is not None, "the settings require a path of every file"
        found.append(ExportSource(source.name, source.path))
    return found


def translation(settings: Settings, store: Store) -> Translation:
    """What decides how the firewall's objects become ours."""
    return Translation(
        tags=settings.address_groups.tags,
        registered_known=settings.registered_ips == "optional",
        owner=owner_labels(settings.instance, store.uuid),
    )


def clusters(
    settings: Settings, store: Store, *, write: bool, only: Collection[str]
) -> list[Cluster]:
    """The clusters named in `only`, or all; without `write` none of them has a writer."""
    owner = owner_labels(settings.instance, store.uuid)
    found: list[Cluster] = []
    for cluster in settings.clusters:
        if only and cluster.name not in only:
            continue
        assert cluster.path is not None, "the settings require a path of every manifests cluster"
        found.append(
            Cluster(
                name=cluster.name,
                device_groups=tuple(
                    (settings.source_of(group).name, group.name) for group in cluster.device_groups
                ),
                reader=ManifestsReader(cluster.path, owner),
                writer=ManifestsWriter(cluster.path) if write else None,
                repair_drift=settings.drift == "repair",
            )
        )
    return found

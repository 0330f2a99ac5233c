"""The device groups of clusters, from the sources to the targets of translation.

sources  ->  snapshots, each source once  ->  targets
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sync.errors import SourceError
from sync.firewall.configuration import Snapshot
from sync.firewall.effective import as_known, effective
from sync.firewall.zone_networks import derived
from sync.sources import Source
from sync.tracing import step
from sync.translate.network_sets import Target


@dataclass(frozen=True, slots=True)
class TierBinding:
    """A device group of a cluster, and its tier there."""

    source: str
    name: str
    tier: str = "firewallpolicy"
    order: int = 101
    mode: Literal["enforced", "staged"] = "staged"


Read = Mapping[str, Snapshot | SourceError]
"""Every source by name, each read once for all clusters; one that fails, fails for all of them."""


def read_sources(sources: Sequence[Source], used: Collection[str]) -> Read:
    """Read those of the sources that are used."""
    return {source.name: _read(source) for source in sources if source.name in used}


def whole(read: Snapshot | SourceError) -> Snapshot:
    """The snapshot, or raise the error of its source."""
    if isinstance(read, SourceError):
        raise read
    return read


def target_of(here: TierBinding, snapshot: Snapshot) -> Target:
    """A device group of a configuration, as a cluster gets it; `SourceError` if it has none."""
    configuration = snapshot.configuration
    try:
        device_group = effective(configuration, here.name)
    except SourceError as error:
        raise SourceError(f"{snapshot.provenance.origin}: {error}") from error
    return Target(
        source=here.source,
        device_group=as_known(device_group, snapshot),
        tier=here.tier,
        order=here.order,
        mode=here.mode,
        derived=derived(configuration, here.name),
    )


def _read(source: Source) -> Snapshot | SourceError:
    try:
        with step("read", source=source.name) as here:
            found = source.read()
            here.set("version", found.provenance.version)
            return found
    except SourceError as error:
        return error

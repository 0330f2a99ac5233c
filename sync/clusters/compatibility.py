"""Versions of Calico whose data plane is known to fail on our objects, and what to do.

An interval set of nftables refuses nested nets. We write none for one selector, but a foreign set
may have our labels, and foreign policies may select several of our sets at once. In nftables mode
Felix keeps nested nets out of its sets, depending on its version and mode. Read from
projectcalico/calico, pull requests by number:

- 12650 (12672 in v3.31.7, 12671 in v3.32.1): in mode Auto nothing was kept out; Felix then retries,
  and panics (issue 12851);
- 13274 (13441 in v3.31.7, 13444 in v3.32.2): a set could fail after a nested net was removed;
- 13275 (13442 in v3.31.7, 13445 in v3.32.2): Felix panicked on a member that it could not read
  back, which is what issue 13477 shows for a set with 0.0.0.0/0.

The mode is Disabled by default before v3.32, and Auto from there on; in mode Auto, nftables is
used where kube-proxy uses it (`felix/dataplane/linux/int_dataplane.go`, useNftables). eBPF keeps
sets in maps of its own, which take nested nets. `docs/compatibility.md` has the table.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from sync.clusters.cluster import ClusterFacts, FelixSettings

_Version = tuple[int, int, int]

# An edition with version numbers of its own has more than three parts.
_RELEASE: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_FIRST: Final = (3, 29, 0)  # with an nftables mode
_AUTO: Final = (3, 32, 0)  # with Auto by default
_OVERLAPS: Final = {(3, 31): 7, (3, 32): 1}
"""The first release of a minor version that keeps nested nets out in mode Auto too."""
_REMOVALS: Final = {(3, 31): 7, (3, 32): 2}
"""The same for the other faults of nftables sets."""
_OR_IPTABLES: Final = ", or set nftablesMode: Disabled where kube-proxy does not use nftables"
_SHOWN: Final = 3  # nodes that are named, at most


def warnings(cluster: str, facts: ClusterFacts) -> Iterator[str]:
    """Known failures of a cluster's version of Calico and what to do, a sentence each."""
    if facts.calico_because:
        yield (
            f"cluster {cluster} does not report its version of Calico, so versions known to "
            f"fail are not warned of: {facts.calico_because}"
        )
    found = _RELEASE.fullmatch(facts.calico_version)
    if found is None:
        return
    version = int(found[1]), int(found[2]), int(found[3])
    for mode, names in _modes(version, facts).items():
        if faults := [*_faults(version, mode)]:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            where = ", ".join(names[:_SHOWN]) + more
            yield (
                f"cluster {cluster} runs Calico {facts.calico_version} with nftablesMode {mode} "
                f"(FelixConfiguration {where}): "
                f"{'' if mode == 'Enabled' else 'where kube-proxy uses nftables, '}"
                f"{'; '.join(faults)}. Upgrade Calico to v3.31.7, v3.32.2 or later"
                f"{_OR_IPTABLES if mode == 'Enabled' else ''}"
            )


def _modes(version: _Version, facts: ClusterFacts) -> dict[str, list[str]]:
    """The modes that use nftables, or may, each with the FelixConfigurations that set it."""
    default = facts.felix.get("default", FelixSettings())
    usual = "Auto" if version >= _AUTO else "Disabled"
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, settings in ({"default": default} | dict(facts.felix)).items():
        bpf = default.bpf_enabled if settings.bpf_enabled is None else settings.bpf_enabled
        mode = settings.nftables_mode or default.nftables_mode or usual
        if not bpf and mode != "Disabled":
            found[mode].append(name)
    return dict(sorted(found.items()))


def _faults(version: _Version, mode: str) -> Iterator[str]:
    if version < _FIRST:
        return
    if mode != "Enabled" and _before(version, _OVERLAPS):
        yield (
            "Felix puts a net beside a part of it into one set, which nftables refuses, and panics "
            "(projectcalico/calico 12851, 12650)"
        )
    elif _before(version, _REMOVALS):
        yield "a set may fail after a part of a net of it has left (projectcalico/calico 13274)"
    if _before(version, _REMOVALS):
        yield (
            "Felix may panic when it reads back a set that holds all addresses "
            "(projectcalico/calico 13477, 13275)"
        )


def _before(version: _Version, fixed: dict[tuple[int, int], int]) -> bool:
    """Whether a release is older than the one of its minor version that fixed something."""
    minor = version[:2]
    return minor < min(fixed) or version[2] < fixed.get(minor, 0)

"""Clusters that were written and that no entry of the configuration names any more.

The policies in it stay in force, and no process changes or repairs them.
"""

from collections.abc import Sequence
from typing import Any

from sync.settings import Settings
from sync.store import Store
from sync.text import counted


def unconfigured(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """Each as JSON has it, in name order; one whose cluster another entry has met is none."""
    known = store.identities()
    holders = {each.name: each.holder for each in store.leases() if each.seconds > 0}
    configured = {cluster.name for cluster in settings.clusters}
    met = {each.uid for name, each in known.items() if name in configured}
    found = []
    for name in store.clusters():
        objects, intents = len(store.digests(name)), len(store.open_intents(name))
        uid = known[name].uid if name in known else None
        if name not in configured and uid not in met and (objects or intents):
            counts = {"objects": objects, "open_intents": intents}
            found.append({"name": name, "uid": uid, **counts, "holder": holders.get(name)})
    return found


def sentences(found: Sequence[dict[str, Any]]) -> list[str]:
    """What to say of each, and how what stands there is removed."""
    return [_sentence(each, each["name"]) for each in found]


def _sentence(found: dict[str, Any], name: str) -> str:
    objects = counted(found["objects"], "object")
    keeps = (
        f"{found['holder']} still keeps it, by an older configuration: restart that process; then"
        if found["holder"]
        else "no process keeps or removes them;"
    )
    return (
        f"cluster {name} is no longer configured, and {objects} of ours were there last; {keeps} "
        "to remove them, configure it again with `device_groups: []`, run `zonebridge "
        f"sync --cluster {name}`, and remove its entry; if the cluster no longer exists, run "
        f"`zonebridge forget {name}`"
    )

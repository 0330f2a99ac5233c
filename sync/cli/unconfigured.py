"""Clusters that were written, and that the configuration no longer names.

Their policies stay in force, and no process changes or repairs them.
"""

from collections.abc import Sequence
from typing import Any

from sync.settings import Settings
from sync.store import Store
from sync.text import counted


def unconfigured(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """Return each as JSON, by name; a cluster that another entry has met is not among them."""
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
    """Render each as a sentence, with how its objects are removed."""
    return [_sentence(each, each["name"]) for each in found]


def _sentence(found: dict[str, Any], name: str) -> str:
    objects = counted(found["objects"], "object")
    keeps = (
        f"{found['holder']} still syncs it by an older configuration: restart that process; then"
        if found["holder"]
        else "no process updates or removes them;"
    )
    return (
        f"cluster {name} is no longer configured, and {objects} of ours were there last; {keeps} "
        "to remove them, configure it again with `device_groups: []`, run `zonebridge "
        f"sync --cluster {name}`, and remove its entry; if the cluster no longer exists, run "
        f"`zonebridge forget {name}`"
    )

"""Watches a Kubernetes cluster, each kind in its own thread, and translates its events."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sync.calico.names import STORE
from sync.calico.objects import KINDS, Pairs
from sync.clusters.cluster import Changed, Labelled, Noticed, ignore_notice
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.kind_watch import GONE, PACE, KindWatch, Pace, Tell
from sync.clusters.kubernetes.objects import live_object
from sync.clusters.kubernetes.selectable import RESOURCES, selectable

SELECTABLE = {"GlobalNetworkSet": KINDS["GlobalNetworkSet"], **RESOURCES}
"""The foreign kinds that are watched, each with its resource name."""


class KubernetesWatcher:
    """Watches the objects with our labels, and foreign objects that our selectors could select.

    Each kind of either is watched in its own thread, at a `pace`: `ours` and `others` are these
    kinds, each with its resource name.
    """

    def __init__(
        self,
        api: Api,
        owner: Pairs,
        pace: Pace = PACE,
        clock: Callable[[], float] = time.monotonic,
        *,
        ours: Mapping[str, str] = KINDS,
        others: Mapping[str, str] = SELECTABLE,
    ) -> None:
        self._api = api
        self._owner = owner
        self._pace = pace
        self._clock = clock
        self._ours = ours
        self._others = others

    def watch(
        self,
        changed: Changed,
        labelled: Labelled,
        missed: Callable[[], None],
        stopping: threading.Event,
        noticed: Noticed = ignore_notice,
    ) -> None:
        ours = ",".join(f"{key}={value}" for key, value in self._owner)
        # Objects that only look like ours are not reported: the next read finds them.
        others = f"{STORE}!={dict(self._owner)[STORE]}"

        def follow(kind: str, resource: str, selector: str, tell: Tell) -> KindWatch:
            return KindWatch(
                self._api,
                kind,
                resource,
                selector,
                tell,
                missed,
                noticed,
                stopping,
                self._pace,
                self._clock,
            )

        followed = [
            *(
                follow(kind, resource, ours, self._of_ours(changed))
                for kind, resource in self._ours.items()
            ),
            *(
                follow(kind, resource, others, _of_others(labelled))
                for kind, resource in self._others.items()
            ),
        ]

        def end() -> None:
            stopping.wait()
            for each in followed:
                each.break_off()

        for work in (end, *(each.follow for each in followed)):
            threading.Thread(target=work, name=f"watch {self._api.name}", daemon=True).start()

    def _of_ours(self, changed: Changed) -> Tell:
        def tell(kind: str, event: str, document: dict[str, Any]) -> None:
            gone = event == GONE
            manifest = None if gone else live_object(kind, document, self._owner).manifest
            changed((kind, document["metadata"]["name"]), manifest)

        return tell


def _of_others(labelled: Labelled) -> Tell:
    def tell(kind: str, event: str, document: dict[str, Any]) -> None:
        found = selectable(kind, document)
        labelled((kind, found.name), None if event == GONE else found)

    return tell

"""The service's Prometheus metrics."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from sync import __version__
from sync.clusters.cluster import WatchNotice
from sync.plan.changes import Cause, Change
from sync.reconcile.result import Result
from sync.service.sources import PolledSource

_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Metrics:
    """Counters and gauges in their own registry; any thread may update them."""

    def __init__(self) -> None:  # over 50 lines: a table, a line for each metric
        # Without the series for when each counter was created, which is of no use here.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._labelled: list[tuple[Counter | Gauge | Histogram, tuple[str, ...]]] = []
        self._shown: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()
        info = Gauge("zonebridge_build_info", "Always 1.", ["version"], registry=self.registry)
        info.labels(__version__).set(1)
        self._source_attempt = self._time("source_last_attempt", "The last poll", "source")
        self._source_success = self._time("source_last_success", "The last good poll", "source")
        self._polls = self._counter("source_polls", "Polls", "source", "result")
        self._attempt = self._time("cluster_last_attempt", "The last sync", "cluster")
        self._success = self._time("cluster_last_success", "The last good sync", "cluster")
        self._syncs = self._counter("cluster_syncs", "Syncs by how they ended", "cluster", "state")
        self._changes = self._counter(
            "changes", "Changes tried", "cluster", "kind", "action", "result"
        )
        self._drift = self._counter("drift", "Drifted objects put back", "cluster")
        self._left = self._gauge("drift_left", "Drifted objects left as they are", "cluster")
        self._objects = self._gauge("objects", "Objects in the desired state", "cluster")
        self._blocked = self._gauge("blocked", "1 while the guard blocks", "cluster", "guard")
        self._held = self._gauge("lease_held", "1 while we hold the lease", "cluster")
        self._resyncs = self._counter(
            "cluster_relists", "Syncs that resync_interval asked for", "cluster"
        )
        self._watches = self._counter(
            "watches_ended", "Watches by how they ended", "cluster", "kind", "how"
        )
        self._lists = self._counter("watch_lists", "Kinds listed by watches", "cluster", "kind")
        self._heard = self._gauge(
            "watch_last_heard_timestamp_seconds",
            "The last event or bookmark, or list, Unix time",
            "cluster",
            "kind",
        )
        self._returns = self._counter(
            "cluster_returns", "Watches that reached a cluster again", "cluster"
        )
        self._queued = self._gauge("queue_length", "Tasks that are due and wait for a worker")
        self._seconds = self._histogram("sync_duration", "How long syncs took", "cluster")
        self._steps = self._histogram(
            "step_duration", "How long the steps of syncs took", "cluster", "step"
        )
        self._reloaded = self._gauge(
            "config_last_reload_successful",
            "1 if the configuration was accepted when it was last read, 0 if it was refused",
        )
        self._reloaded_at = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration was last accepted, Unix time",
        )
        self._poll_seconds = self._histogram(
            "source_poll_duration", "How long polls took", "source"
        )
        self._oldest = self._gauge(
            "source_max_age_seconds", "health.max_source_age: an older source is stale"
        )
        self._state = self._gauge(
            "cluster_state",
            "1 for how the last sync ended, while we hold the lease or workers sync the cluster",
            "cluster",
            "state",
        )
        self._writable = self._gauge(
            "store_writable", "1 while the heartbeat is written to the store"
        )
        self._calls = self._counter("webhook_calls", "Calls of the webhook", "result")
        self._waiting = self._gauge(
            "webhook_waiting", "Clusters and sources with a notice that waits for the webhook"
        )
        self._events = self._counter(
            "events", "Kubernetes Events; cluster is empty for the pod's", "cluster", "result"
        )
        for result in ("success", "failure"):
            # Exported from the start: a series that begins with 1 shows no increase.
            self._calls.labels(result)

    def configured(self, *, taken_up: bool) -> None:
        """Count a reading of the configuration, at the start or a reload: accepted or refused."""
        self._reloaded.set(taken_up)
        if taken_up:
            self._reloaded_at.set_to_current_time()

    def show(self, sources: frozenset[str], clusters: frozenset[str]) -> None:
        """Drop the series of sources and clusters that are no longer configured."""
        before, self._shown = self._shown, (sources, clusters)
        gone = [
            *(("source", name) for name in before[0] - sources),
            *(("cluster", name) for name in before[1] - clusters),
        ]
        for metric, labels in self._labelled:
            for label, name in gone:
                if label in labels:
                    metric.remove_by_labels({label: name})

    def polled(self, source: PolledSource) -> None:
        """Note a poll of a source."""
        self._source_attempt.labels(source.name).set(source.attempted)
        self._source_success.labels(source.name).set(source.succeeded)
        self._polls.labels(source.name, "failure" if source.error else "success").inc()

    def took(self, source: str, seconds: float) -> None:
        """Note the duration of a poll of a source."""
        self._poll_seconds.labels(source).observe(seconds)

    def stale_after(self, seconds: float) -> None:
        """Set the age at which a source becomes stale."""
        self._oldest.set(seconds)

    def follow_store(self, writable: Callable[[], bool]) -> None:
        """Call `writable` at each scrape: whether the store can be written."""
        self._writable.set_function(writable)

    def webhook_called(self, *, delivered: bool) -> None:
        """Count a call of the webhook."""
        self._calls.labels("success" if delivered else "failure").inc()

    def webhook_waits(self, subjects: int) -> None:
        """Set the number of clusters and sources with a notice that waits for the webhook."""
        self._waiting.set(subjects)

    def event(self, cluster: str, result: str) -> None:
        """Count a Kubernetes Event that was written, was dropped or failed."""
        self._events.labels(cluster, result).inc()

    def step(self, cluster: str, step: str, seconds: float) -> None:
        """Note the duration of a step of a sync."""
        self._steps.labels(cluster, step).observe(seconds)

    def held(self, cluster: str, *, held: bool) -> None:
        """Note that a cluster's lease was taken, or is no longer ours."""
        self._held.labels(cluster).set(held)
        if not held:
            # The new holder reports the state; our last one would contradict it.
            for each in (self._state, self._blocked, self._left, self._objects):
                each.remove_by_labels({"cluster": cluster})

    def handed_on(self, cluster: str) -> None:
        """Note that a worker gave a cluster back; another one may report its state next."""
        self.held(cluster, held=False)
        # Between tasks no worker holds the lease, which is normal.
        self._held.remove_by_labels({"cluster": cluster})

    def stands(self, cluster: str, state: str) -> None:
        """Set the state, from the store, of a cluster that workers sync."""
        self._state.remove_by_labels({"cluster": cluster})
        self._state.labels(cluster, state).set(1)

    def watched(self, cluster: str, kind: str, notice: WatchNotice) -> None:
        """Count what happened to the watch of a kind."""
        match notice:
            case WatchNotice.BACK:
                self._returns.labels(cluster).inc()
            case WatchNotice.HEARD:
                self._heard.labels(cluster, kind).set_to_current_time()
            case WatchNotice.LISTED:
                self._lists.labels(cluster, kind).inc()
                self._heard.labels(cluster, kind).set_to_current_time()
            case _:
                self._watches.labels(cluster, kind, notice.value).inc()

    def resynced(self, cluster: str) -> None:
        """Count a sync that `resync_interval` asked for."""
        self._resyncs.labels(cluster).inc()

    def queued(self, tasks: int) -> None:
        """Set the number of tasks that are due and wait for a worker."""
        self._queued.set(tasks)

    def synced(self, result: Result, seconds: float) -> None:
        """Note a sync of a cluster that ended now, with its duration."""
        cluster = result.cluster
        self._attempt.labels(cluster).set_to_current_time()
        self._syncs.labels(cluster, result.state).inc()
        self._seconds.labels(cluster).observe(seconds)
        self._state.remove_by_labels({"cluster": cluster})
        self._state.labels(cluster, result.state).set(1)
        if result.succeeded:
            self._success.labels(cluster).set_to_current_time()
        for change in result.applied:
            self._change(cluster, change, "applied")
        for change, _ in result.failed:
            self._change(cluster, change, "failed")
        if result.plan is None:
            return
        wanted = sum(change.after is not None for change in result.plan.changes)
        self._objects.labels(cluster).set(result.plan.unchanged + wanted)
        self._left.labels(cluster).set(len(result.plan.drift))
        self._blocked.remove_by_labels({"cluster": cluster})
        for guard in {blocker.guard for blocker in result.plan.blockers}:
            self._blocked.labels(cluster, guard).set(1)

    def exposition(self) -> bytes:
        """Render all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _change(self, cluster: str, change: Change, result: str) -> None:
        self._changes.labels(cluster, change.kind, change.action.value, result).inc()
        if change.cause is Cause.DRIFT and result == "applied":
            self._drift.labels(cluster).inc()

    def _time(self, name: str, what: str, label: str) -> Gauge:
        return self._gauge(f"{name}_timestamp_seconds", f"{what}, Unix time", label)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        made = Gauge(f"zonebridge_{name}", f"{what}.", labels, registry=self.registry)
        self._labelled.append((made, labels))
        return made

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        made = Counter(f"zonebridge_{name}_total", f"{what}.", labels, registry=self.registry)
        self._labelled.append((made, labels))
        return made

    def _histogram(self, name: str, what: str, *labels: str) -> Histogram:
        made = Histogram(
            f"zonebridge_{name}_seconds",
            f"{what}.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._labelled.append((made, labels))
        return made

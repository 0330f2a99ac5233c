"""Write the clusters of a `zonebridge sync`: one run, recorded, under their leases."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import click

from sync import __version__, assembly
from sync.cli import exit_codes
from sync.cli.context import clear_line, holder, trigger
from sync.cli.progress import progress
from sync.cli.signals import Signals, signals
from sync.cli.unconfigured import unconfigured
from sync.errors import ClusterError
from sync.reconcile import cluster_identity
from sync.reconcile.agreement import Agreed, PlanDiffersError
from sync.reconcile.cycle import Lessor, plan_cycle, run_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.result import Result
from sync.settings import Settings
from sync.store import Lease, LeaseHeldError, Recorder, Store
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import printable, shortened
from sync.tracing import tracing

_NOTICES_SECONDS = 10.0  # for notices at the end
_LEASE_SECONDS = 0.5  # between two looks at a lease


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the clusters, the exit code, and the clusters no longer configured.

    `ended` is true if a signal ended it.
    """

    results: list[Result]
    code: int
    left: list[dict[str, Any]]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """How a sync writes: the options that are the same for all of its runs."""

    settings: Settings
    lease_timeout: timedelta
    adopt: bool
    detailed: bool

    def planned(self, only: Sequence[str], accept: Collection[str]) -> list[Result]:
        """Plan what `write` would do; no lease is held.

        The store is made if there is none: only then the plan is the one that is written, since
        objects name their store.
        """
        with assembly.store_of(self.settings, write=True) as store, progress():
            hold_to_heads(store, self.settings.audit.head_file)
            return plan_cycle(
                assembly.sources(self.settings, store),
                assembly.clusters(
                    self.settings, store, write=False, only=only, adopt=self.adopt, accept=accept
                ),
                store,
                assembly.options(self.settings, store),
            )

    def write(
        self,
        only: Sequence[str],
        accept: Collection[str],
        agreed_with: Callable[[Store], Agreed],
        *,
        to_holders: bool = True,
    ) -> Written:
        """Sync the clusters in `only`, or all, where their plans are agreed.

        Clusters in `accept` may be other ones than before. `to_holders`: if another process holds
        the lease of one, its acceptance is recorded, and that process continues with it.
        """
        settings = self.settings
        with (
            tracing(os.environ, __version__),
            assembly.store_of(settings, write=True) as store,
            signals() as asked,
        ):
            hold_to_heads(store, settings.audit.head_file)
            run = store.run(trigger("zonebridge sync"))
            run.begin()
            try:
                with progress():
                    results = self._run(
                        store,
                        run,
                        asked,
                        only,
                        accept,
                        agreed_with(store),
                        to_holders=to_holders,
                    )
                code = asked.exit_code or exit_codes.of_sync(results, detailed=self.detailed)
                if not asked.stopping.is_set():
                    _announce(settings, store, results)
                _finish(run, results, code)
                left = unconfigured(store, settings)
            finally:
                publish_heads(store, settings.audit.head_file)
        return Written(results, code, left, ended=bool(asked.exit_code))

    def _run(
        self,
        store: Store,
        run: Recorder,
        asked: Signals,
        only: Sequence[str],
        accept: Collection[str],
        agreed: Agreed,
        *,
        to_holders: bool,
    ) -> list[Result]:
        settings, stopping = self.settings, asked.stopping
        take = partial(store.lease, holder=holder("zonebridge sync"), ttl=settings.lease_ttl)
        clusters = assembly.clusters(
            settings,
            store,
            write=True,
            only=only,
            adopt=self.adopt,
            accept=accept,
            stopping=stopping,
        )
        for cluster in clusters:
            if cluster.accept:
                _say(cluster_identity.nothing_to_accept(cluster, store))
        results = run_cycle(
            assembly.sources(settings, store, stopping=stopping),
            clusters,
            store,
            assembly.options(settings, store),
            run,
            _patient(take, self.lease_timeout, stopping),
            stopping.is_set,
            agreed,
        )
        for each in results:
            _say(each.accepted)
        if not to_holders:
            return results
        return [
            _left_to_its_holder(cluster, each, store, run) if cluster.accept else each
            for cluster, each in zip(clusters, results, strict=True)
        ]


def _finish(run: Recorder, results: Sequence[Result], code: int) -> None:
    """Record how the run ended."""
    counts = {
        "applied": sum(len(result.written) for result in results),
        "failed": sum(len(result.failed) for result in results),
        "clusters": len(results),
    }
    errors = shortened(str(result.error) for result in results if result.error)
    done = code in (exit_codes.DONE, exit_codes.CHANGES)
    run.finish("done" if done else f"exit {code}", counts, errors)


def _announce(settings: Settings, store: Store, results: Sequence[Result]) -> None:
    """Call the webhook as the service does; only the service writes Events, which repeat.

    Of a plan that was not agreed nothing became: the state of its cluster is what it was.
    """
    if not (settings.webhook or settings.webhook_url_file):
        return
    from sync.service.metrics import Metrics

    announcer = assembly.announcer(settings, store, None, Metrics())
    for result in results:
        if result.applied or not isinstance(result.error, PlanDiffersError):
            announcer.synced(result)
    announcer.close(_NOTICES_SECONDS)


def _left_to_its_holder(cluster: Cluster, result: Result, store: Store, run: Recorder) -> Result:
    """Accept a cluster whose lease a service holds, which continues with it; return the result."""
    if not isinstance(result.error, LeaseHeldError):
        return result
    try:
        _say(cluster_identity.accept(cluster, store, run))
    except ClusterError as error:
        return replace(result, error=error)
    _say(f"cluster {result.cluster}: {result.error.holder} continues with it")
    return replace(result, error=None)


def _say(sentence: str) -> None:
    """Print a sentence to stderr, if there is one."""
    if sentence:
        with clear_line():
            click.echo(printable(sentence), err=True)


def _patient(take: Lessor, timeout: timedelta, stopping: Event) -> Lessor:
    """Take leases, and wait for those that others hold, up to `timeout` in total."""
    deadline = time.monotonic() + timeout.total_seconds()

    @contextmanager
    def lease_of(cluster: str) -> Iterator[Lease]:
        with ExitStack() as kept:
            while True:
                try:
                    lease = kept.enter_context(take(cluster))
                    break
                except LeaseHeldError:
                    if time.monotonic() >= deadline or stopping.wait(_LEASE_SECONDS):
                        raise
            yield lease

    return lease_of

"""What each cluster answers to a question; one that fails keeps no other from its answer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sync import assembly
from sync.cli.context import checked
from sync.errors import ClusterError, SourceError, UsageError
from sync.reconcile.desired import Cluster, InvalidObjectError
from sync.reconcile.device_groups import Read, read_sources
from sync.reconcile.result import Result
from sync.settings import Settings
from sync.store import Store
from sync.translate.compiler import Options

_Answer = TypeVar("_Answer")


def answers_of(
    settings: Settings,
    only: Sequence[str],
    ask: Callable[[Cluster, Read, Store, Options], _Answer],
) -> tuple[list[_Answer], list[Result]]:
    """Ask the clusters named in `only`, or all; return the answers and the failures.

    The sources are read once, and nothing is written.
    """
    settings = checked(settings, only)
    found: list[_Answer] = []
    failed: list[Result] = []
    with assembly.store_of(settings, write=False) as store:
        options = assembly.options(settings, store)
        clusters = assembly.clusters(settings, store, write=False, only=only)
        used = {here.source for cluster in clusters for here in cluster.device_groups}
        read = read_sources(assembly.sources(settings, store), used)
        for cluster in clusters:
            try:
                found.append(ask(cluster, read, store, options))
            except (SourceError, ClusterError, InvalidObjectError, UsageError) as error:
                failed.append(Result(cluster.name, error=error))
    return found, failed

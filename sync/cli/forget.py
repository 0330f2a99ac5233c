"""`zonebridge forget`: remove a cluster that no longer exists from the store."""

import sys

import click

from sync import assembly
from sync.cli.context import Context, holder, trigger
from sync.errors import UsageError
from sync.settings.problems import did_you_mean
from sync.store import Store
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import counted, printable


@click.command(short_help="Forget a cluster that no longer exists.")
@click.argument("cluster")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def forget(context: Context, cluster: str, *, yes: bool) -> int:
    """Forget the CLUSTER, which no longer exists and is no longer configured.

    zonebridge contacts no cluster, and the audit trail stays. If the cluster still runs, the
    policies in it stay in force.
    """
    settings = context.settings()
    if cluster in [each.name for each in settings.clusters]:
        raise UsageError(
            f"cluster {cluster} is configured; remove its entry from the configuration, also "
            "that of a running service, and then forget it"
        )
    # Creates no store: without one there is nothing to forget.
    context.recorded().close()
    with assembly.store_of(settings, write=True) as store:
        hold_to_heads(store, settings.audit.head_file)
        if not _is_known(store, cluster):
            click.echo(
                printable(f"The store holds nothing about cluster {cluster}: nothing to forget.")
            )
            return 0
        if not yes:
            _ask(store, cluster)
        run = store.run(trigger("zonebridge forget"))
        try:
            with store.lease(cluster, holder("zonebridge forget"), settings.lease_ttl) as lease:
                run.forget(lease)
            run.finish("done", {})
        finally:
            if run.begun:
                publish_heads(store, settings.audit.head_file)
    click.echo(printable(f"Forgot cluster {cluster}. The audit trail keeps its records."))
    return 0


def _is_known(store: Store, cluster: str) -> bool:
    """Return whether the store knows a cluster; `UsageError` if it never did."""
    stands = {each.name for each in store.standings() if each.kind == "cluster"}
    known = sorted({*store.clusters(), *stands})
    if cluster not in known:
        raise UsageError(
            f"the store never knew a cluster {cluster!r}; {did_you_mean(cluster, known)}"
        )
    return bool(
        cluster in stands
        or cluster in store.identities()
        or store.digests(cluster)
        or store.open_intents(cluster)
        or any(each.cluster == cluster for each in store.approvals())
    )


def _ask(store: Store, cluster: str) -> None:
    """Ask for confirmation; `UsageError` if there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError(f"forgetting cluster {cluster} is not confirmed; add --yes")
    objects = counted(len(store.digests(cluster)), "object")
    click.confirm(
        printable(
            f"{objects} of ours were last in cluster {cluster}, and stay there if it still runs. "
            "Forget it?"
        ),
        abort=True,
        err=True,
    )

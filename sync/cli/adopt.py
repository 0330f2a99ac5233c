"""`zonebridge adopt`: let the next sync take over a foreign object that has the name of ours."""

from collections.abc import Sequence

import click

from sync import assembly
from sync.calico.objects import POLICIES
from sync.calico.tigera import written_by
from sync.cli.context import Context, checked, trigger
from sync.cli.results import print_error
from sync.errors import UsageError
from sync.plan.changes import Change
from sync.reconcile.cycle import plan_cycle
from sync.reconcile.result import Result
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import printable


@click.command(short_help="Let the next sync take over a foreign object, once.")
@click.argument(
    "kind",
    metavar="KIND",
    type=click.Choice(["Tier", "GlobalNetworkSet", *POLICIES], case_sensitive=False),
)
@click.argument("name")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.pass_obj
def adopt(  # over 50 lines: each refusal has its sentence
    context: Context, *, kind: str, name: str, only: Sequence[str]
) -> int:
    """Let the next sync take over the foreign object KIND NAME, once, within 24 hours.

    The next sync, by a running service too, overwrites the object as it is now. If a field that
    would be overwritten changes before, the object stays as it is; adopt it again then.
    """
    settings = checked(context.settings(), only)
    # Creates no store: without one, no change was ever blocked.
    context.recorded().close()
    with assembly.store_of(settings, write=True) as store:
        hold_to_heads(store, settings.audit.head_file)
        results = plan_cycle(
            assembly.sources(settings, store),
            assembly.clusters(settings, store, write=False, only=only),
            store,
            assembly.options(settings, store),
        )
        codes = [0]
        for result in results:
            if result.error:
                print_error(result)
                codes.append(result.error.exit_code)
        found = _held(results, kind, name)
        waits = [
            result.cluster
            for result in results
            if any(each[:2] == (kind, name) for each in store.adoptions(result.cluster))
        ]
        if not found and waits:
            click.echo(
                printable(
                    f"The next sync of cluster {', '.join(waits)} takes over {kind} {name} already."
                )
            )
            return max(codes)
        if not found and codes == [0]:
            raise UsageError(
                f"no foreign {kind} {name} is in the place of a desired object; `zonebridge plan` "
                "names those that are"
            )
        run = store.run(trigger("zonebridge adopt"))
        try:
            for cluster, change in found:
                run.let_adopt(cluster, [change])
                click.echo(
                    printable(
                        f"The next sync of cluster {cluster} takes over {kind} {name}, unless that "
                        "is changed before; this holds once, and for 24 hours."
                    )
                )
                if change.before and (theirs := written_by(change.before.document())):
                    click.echo(
                        printable(
                            f"It {theirs}: stop its controller first, which would write it again "
                            "(docs/migration.md)."
                        )
                    )
            run.finish("done", {})
        finally:
            if run.begun:
                publish_heads(store, settings.audit.head_file)
    return max(codes)


def _held(results: Sequence[Result], kind: str, name: str) -> list[tuple[str, Change]]:
    """Return the blocked changes of the object, each with its cluster.

    Raises `UsageError` for an object that cannot be taken over.
    """
    found = [
        (result.cluster, change)
        for result in results
        for change in (result.plan.held if result.plan else ())
        if (change.kind, change.name) == (kind, name)
    ]
    for cluster, change in found:
        if change.before is None:
            raise UsageError(
                f"the {kind} {name} of cluster {cluster} belongs to another installation, or "
                "cannot be taken over; `zonebridge plan` shows what to do"
            )
    return found

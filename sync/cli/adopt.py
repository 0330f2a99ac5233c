"""`zonebridge adopt`: let the next sync take over a foreign object that stands in our way."""

from collections.abc import Sequence

import click

from sync import assembly
from sync.calico.objects import POLICIES
from sync.cli.context import Context, checked, trigger
from sync.cli.results import print_error
from sync.errors import UsageError
from sync.plan.changes import Change
from sync.reconcile.cycle import plan_cycle
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import printable


@click.command()
@click.argument(
    "kind", type=click.Choice(["Tier", "GlobalNetworkSet", *POLICIES], case_sensitive=False)
)
@click.argument("name")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.pass_obj
def adopt(context: Context, *, kind: str, name: str, only: Sequence[str]) -> int:
    """Let the next sync take over the foreign object KIND NAME, once, within 24 hours.

    Whoever syncs, a running service too, writes over the object as it is now; if anything of it
    that would be written over changes before, it stays and is to be adopted anew.
    """
    settings = checked(context.settings(), only)
    # Nothing is made here: without a store nothing was ever held.
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
        found: list[tuple[str, Change]] = []
        for result in results:
            if result.error:
                print_error(result)
                codes.append(result.error.exit_code)
            held = result.plan.held if result.plan else ()
            ours = (each for each in held if (each.kind, each.name) == (kind, name))
            found += [(result.cluster, each) for each in ours]
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
                f"no foreign {kind} {name} stands in the way of ours; `zonebridge plan` names "
                "those that do"
            )
        for cluster, change in found:
            if change.before is None:
                raise UsageError(
                    f"the {kind} {name} of cluster {cluster} belongs to another installation, or "
                    "is no object that could be taken over; `zonebridge plan` says what helps"
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
            run.finish("done", {})
        finally:
            if run.begun:
                publish_heads(store, settings.audit.head_file)
    return max(codes)

"""`zonebridge approve`: let a blocked plan through, once."""

import click

from sync import assembly
from sync.cli.context import Context, trigger
from sync.store import Approval
from sync.store.head_file import hold_to_heads, publish_heads
from sync.text import printable


@click.command(short_help="Let a blocked plan through, once.")
@click.argument("digest")
@click.pass_obj
def approve(context: Context, digest: str) -> int:
    """Let the blocked plan with this DIGEST through, once, within 24 hours.

    Give at least the first 8 digits; `zonebridge status` shows them. The next sync writes exactly
    this plan; if the changes differ by then, the new plan is blocked again.
    """
    settings = context.settings()
    # Creates no store: without one, no plan waits for an approval.
    context.recorded().close()
    with assembly.store_of(settings, write=True) as store:
        hold_to_heads(store, settings.audit.head_file)
        run = store.run(trigger("zonebridge approve"))
        try:
            approved = run.approve(digest.lower())
            run.finish("done", {})
            # A sync may have used it already.
            found = [each for each in store.approvals() if each.plan == approved.plan]
        finally:
            if run.begun:
                publish_heads(store, settings.audit.head_file)
    click.echo(printable(_said(found[0])) if found else f"Approved plan {approved.plan}.")
    return 0


def _said(approval: Approval) -> str:
    return (
        f"Approved plan {approval.plan} of cluster {approval.cluster} ({approval.summary}), which "
        f"{approval.guards} blocked. A sync before {approval.expires} lets it through, once."
    )

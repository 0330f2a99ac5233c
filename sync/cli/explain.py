"""`zonebridge explain`: which rule of the firewall and which rule of Calico decide a flow."""

from collections.abc import Sequence

import click

from sync.cli import exit_codes
from sync.cli.answers import answers_of
from sync.cli.context import Context, fitted, print_json, until_closed
from sync.cli.report import errors
from sync.cli.results import print_error
from sync.queries.explain import Explained, NoSuchZoneError, asked_of, explained
from sync.queries.why_not import WhyNot, why_not
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import Read
from sync.reconcile.result import Result
from sync.render import why_not as reasons
from sync.render.explanation import document, text
from sync.store import Store
from sync.translate.compiler import Options
from sync.verify.traffic_space import Packet


@click.command(short_help="Show which rules decide a flow.")
@click.option("--from", "source", required=True, metavar="END", help="A zone, or an address.")
@click.option("--to", "destination", required=True, metavar="END", help="A zone, or an address.")
@click.option(
    "--port", required=True, metavar="PORT", help="443/tcp, 53/udp, icmp, 3:1/icmp, ip/47."
)
@click.option("--source-port", type=click.IntRange(0, 65535), help="Default: 50000.")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--live", is_flag=True, help="Use the objects that the cluster holds.")
@click.option("--verbose", is_flag=True, help="Show the rules that do not match, and why.")
@click.option(
    "--why-not",
    "ask_why",
    is_flag=True,
    help="Of a denied flow, show the smallest changes that would allow it, and who can make them.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def explain(
    context: Context,
    *,
    source: str,
    destination: str,
    port: str,
    source_port: int | None,
    only: Sequence[str],
    live: bool,
    verbose: bool,
    ask_why: bool,
    output: str,
) -> int:
    """Show which rules decide a flow, the firewall's and Calico's side by side.

    END is a zone (web: any pod of it), an address (10.1.2.3: the pod that has it, or a host outside
    pods), or a pod of a zone at an address (web@10.244.1.7).
    """
    asked = asked_of(source, destination, port, source_port)

    def ask(
        cluster: Cluster, read: Read, store: Store, options: Options
    ) -> tuple[Explained, WhyNot | None]:
        each = explained(cluster, read, store, options, asked, live=live, verbose=verbose)
        return each, why_not(cluster, each) if ask_why else None

    found, results = answers_of(context.settings(), only, ask)
    others = [each for each in results if not isinstance(each.error, NoSuchZoneError)]
    if found or others:
        # A zone may exist in one cluster only, perhaps in one that could not be read.
        results = others
    if not all(each.lacking for each, _ in found):
        found = [answer for answer in found if not answer[0].lacking]
    with until_closed():
        _print(found, results, asked.packet, output)
    return exit_codes.of_looking(results)


def _print(
    found: Sequence[tuple[Explained, WhyNot | None]],
    results: Sequence[Result],
    packet: Packet,
    output: str,
) -> None:
    """Print the explained flows, and the clusters without an answer."""
    if output == "json":
        documents = [
            {**document(each, packet), **({"why_not": reasons.document(why)} if why else {})}
            for each, why in found
        ]
        print_json({"clusters": documents, "errors": errors(results)})
    else:
        texts = (text(each, packet) + (reasons.text(why) if why else "") for each, why in found)
        click.echo(fitted("\n".join(texts)), nl=False)
    for result in results:
        print_error(result)

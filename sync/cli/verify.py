"""`zonebridge verify`: the proof that what a cluster shall have gives the firewall's verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from sync.cli.context import Context, print_json, until_closed
from sync.cli.report import errors, exit_code, reported
from sync.cli.sync import print_error
from sync.cycle import Result
from sync.printing import printable
from sync.proving import disagreements, flow_said
from sync.translate.fidelity import Report, Status
from sync.verify.proof import Proof

_FAILED = 6


@click.command()
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def verify(context: Context, *, only: Sequence[str], output: str) -> int:
    """Prove over all flows that the policies give the firewall's verdicts; exit 6 if not."""
    results = reported(context.settings(), only, prove=True)
    proven = [
        (result, result.proof, result.report)
        for result in results
        if result.proof and result.report
    ]
    with until_closed():
        if output == "json":
            documents = [_document(*each) for each in proven]
            print_json({"clusters": documents, "errors": errors(results)})
        else:
            for each in proven:
                click.echo("".join(f"{printable(line)}\n" for line in _lines(*each)), nl=False)
        for result in results:
            print_error(result)
    failed = any(proof.undecided or disagreements(proof, report) for _, proof, report in proven)
    return exit_code(results) or (_FAILED if failed else 0)


def _lines(result: Result, proof: Proof, report: Report) -> Iterator[str]:
    found = disagreements(proof, report)
    verdict = "FAILS" if found else "is not decided" if proof.undecided else "holds"
    yield (
        f"Cluster {result.cluster}: the proof {verdict}: {proof.rules:,} Calico rules in "
        f"{proof.lists:,} lists, every flow of each."
    )
    yield from (f"  ! {each}" for each in found)
    yield from (f"  ? {each}" for each in proof.undecided)
    accepted = [*_accepted(proof, report)]
    if accepted or report.essentials:
        yield "  Taken as the configuration accepts it:"
    for each in report.essentials:
        yield f"    essential: {each}"
    for rule, sample in accepted:
        flow = f", as in {sample}" if sample else ""
        yield f"    rule {rule['name']!r}: {'; '.join(rule['reasons'])}{flow}"


def _accepted(proof: Proof, report: Report) -> Iterator[tuple[dict[str, Any], str]]:
    """The rules that let more through because a setting accepts it, with a flow of each allow."""
    for each in report.rules:
        if each.status is Status.MORE_PERMISSIVE:
            place = (each.source, each.target, each.device_group, each.rulebase, each.position)
            sample = proof.samples.get(place)
            rule = {
                "source": each.source,
                "target": each.target,
                "device_group": each.device_group,
                "rulebase": each.rulebase,
                "position": each.position,
                "name": each.name,
                "reasons": list(each.reasons),
            }
            yield rule, flow_said(sample) if sample else ""


def _document(result: Result, proof: Proof, report: Report) -> dict[str, Any]:
    found = disagreements(proof, report)
    return {
        "cluster": result.cluster,
        "holds": not found and not proof.undecided,
        "lists": proof.lists,
        "rules": proof.rules,
        "disagreements": found,
        "undecided": list(proof.undecided),
        "essentials": list(report.essentials),
        "accepted": [{**rule, "flow": flow} for rule, flow in _accepted(proof, report)],
    }

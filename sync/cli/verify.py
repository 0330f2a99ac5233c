"""`zonebridge verify`: the proof that what a cluster shall have gives the firewall's verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from sync.cli.context import Context, print_json, until_closed
from sync.cli.report import errors, exit_code, reported
from sync.cli.sync import DONE, UNPROVEN, first_code, print_error
from sync.printing import printable
from sync.proving import disagreements, flow_said
from sync.translate.fidelity import Report, RuleFidelity, Status
from sync.translate.report import rule_document
from sync.verify.proof import Proof

_ON_THE_WAY = (
    "a chain's move was left half-way and overtaken; the next sync brings it back first, verify "
    "after that"
)


@click.command()
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def verify(context: Context, *, only: Sequence[str], output: str) -> int:
    """Prove over all flows that the policies give the firewall's verdicts; exit 6 if not."""
    results = reported(context.settings(), only, prove=True)
    judged = [Judged(each.cluster, each.report, each.proof) for each in results if each.report]
    with until_closed():
        if output == "json":
            documents = [each.document() for each in judged]
            print_json({"clusters": documents, "errors": errors(results)})
        else:
            for each in judged:
                click.echo("".join(f"{printable(line)}\n" for line in each.lines()), nl=False)
        for result in results:
            print_error(result)
    proven = all(each.holds for each in judged)
    return first_code({exit_code(results), DONE if proven else UNPROVEN})


class Judged:
    """What became of the proof of one cluster."""

    def __init__(self, cluster: str, report: Report, proof: Proof | None) -> None:
        """Without a proof an overtaken move of chains comes first."""
        self._cluster = cluster
        self._report = report
        self._proof = proof or Proof(undecided=(_ON_THE_WAY,))
        self._disagreements = disagreements(self._proof, report)

    @property
    def holds(self) -> bool:
        """Whether it is proven."""
        return not self._disagreements and not self._proof.undecided

    def lines(self) -> Iterator[str]:
        """It for people."""
        verdict = "FAILS" if self._disagreements else "holds" if self.holds else "is not decided"
        yield (
            f"Cluster {self._cluster}: the proof {verdict}: {self._proof.rules:,} Calico rules in "
            f"{self._proof.lists:,} lists, every flow of each."
        )
        yield from (f"  ! {each}" for each in self._disagreements)
        yield from (f"  ? {each}" for each in self._proof.undecided)
        accepted = [*self._accepted()]
        if accepted or self._report.essentials:
            yield "  Taken as the configuration accepts it:"
        for each in self._report.essentials:
            yield f"    essential: {each}"
        for rule, flow in accepted:
            example = f", as in {flow}" if flow else ""
            yield f"    rule {rule.name!r}: {'; '.join(rule.reasons)}{example}"

    def document(self) -> dict[str, Any]:
        """It for `--output json`."""
        return {
            "cluster": self._cluster,
            "holds": self.holds,
            "lists": self._proof.lists,
            "rules": self._proof.rules,
            "disagreements": self._disagreements,
            "undecided": list(self._proof.undecided),
            "essentials": list(self._report.essentials),
            "accepted": [
                {**rule_document(self._cluster, rule), "flow": flow}
                for rule, flow in self._accepted()
            ],
        }

    def _accepted(self) -> Iterator[tuple[RuleFidelity, str]]:
        """Rules that are more permissive since a setting accepts it, with a flow of each allow."""
        for each in self._report.rules:
            if each.status is Status.MORE_PERMISSIVE:
                sample = self._proof.samples.get(each.place)
                yield each, flow_said(sample) if sample else ""

"""`zonebridge verify`: prove that desired or observed policies give the firewall's verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import click

from sync import assembly
from sync.cli import exit_codes
from sync.cli.answers import answers_of
from sync.cli.context import Context, checked, print_json, until_closed
from sync.cli.report import errors
from sync.cli.results import print_error
from sync.queries.observed import ChainState, change_document, clause
from sync.queries.verification import Verified, verified
from sync.reconcile.cycle import plan_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import Read
from sync.reconcile.result import Result
from sync.reconcile.verification import disagreements, flow_said, said
from sync.render.report import rule_document
from sync.settings import Settings
from sync.store import Store
from sync.text import counted, printable, shortened
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, RuleFidelity, Status
from sync.verify.compare import Difference
from sync.verify.proof import Proof

_ON_THE_WAY = (
    "a chain's move was overtaken by a newer change; the next sync rolls it back first, so "
    "verify after that"
)


@click.command(short_help="Prove that the policies give the firewall's verdicts.")
@click.option("--cluster", "only", multiple=True, help="Only this cluster; repeatable.")
@click.option("--live", is_flag=True, help="Prove the objects that the cluster holds.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def verify(context: Context, *, only: Sequence[str], live: bool, output: str) -> int:
    """Prove over all flows that the policies give the firewall's verdicts; exit 6 if not."""
    results: list[Result]
    judged: Sequence[_Judged]
    if live:
        judged, results = answers_of(context.settings(), only, _live)
    else:
        results = _desired(context.settings(), only)
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
    code = exit_codes.DONE if proven else exit_codes.UNPROVEN
    return exit_codes.first_code({exit_codes.of_looking(results), code})


def _desired(settings: Settings, only: Sequence[str]) -> list[Result]:
    """Plan all clusters and prove every plan; write nothing."""
    settings = checked(settings, only)
    with assembly.store_of(settings, write=False) as store:
        return plan_cycle(
            assembly.sources(settings, store),
            assembly.clusters(settings, store, write=False, only=only),
            store,
            assembly.options(settings, store),
            prove=True,
        )


def _live(cluster: Cluster, read: Read, store: Store, options: Options) -> "JudgedLive":
    """Prove the observed state of a cluster."""
    return JudgedLive(verified(cluster, read, store, options))


class _Judged(Protocol):
    """The result of the proof of one cluster, as text and as a document."""

    @property
    def holds(self) -> bool: ...

    def lines(self) -> Iterator[str]: ...

    def document(self) -> dict[str, Any]: ...


class Judged:
    """The result of the proof of one cluster's desired state."""

    def __init__(self, cluster: str, report: Report, proof: Proof | None) -> None:
        """Without a proof, an overtaken move of chains has to be undone first."""
        self._cluster = cluster
        self._report = report
        self._proof = proof or Proof(undecided=(_ON_THE_WAY,))
        self._disagreements = disagreements(self._proof, report)

    @property
    def holds(self) -> bool:
        """Whether it is proven."""
        return not self._disagreements and not self._proof.undecided

    def lines(self) -> Iterator[str]:
        """Render the verdict as text."""
        verdict = "FAILS" if self._disagreements else "holds" if self.holds else "is not decided"
        yield (
            f"Cluster {self._cluster}: the proof {verdict}: {self._proof.rules:,} Calico rules in "
            f"{self._proof.lists:,} lists, every flow of each."
        )
        yield from (f"  ! {each}" for each in self._disagreements)
        yield from (f"  ? {each}" for each in self._proof.undecided)
        yield from _taken(self._report, self._proof)

    def document(self) -> dict[str, Any]:
        """Return the value for `--output json`."""
        return {
            "cluster": self._cluster,
            "holds": self.holds,
            "lists": self._proof.lists,
            "rules": self._proof.rules,
            "disagreements": self._disagreements,
            "undecided": list(self._proof.undecided),
            **_taken_document(self._cluster, self._report, self._proof),
        }


class JudgedLive:
    """The result of the proof of one cluster's observed state."""

    def __init__(self, found: Verified) -> None:
        self._found = found

    @property
    def holds(self) -> bool:
        """Whether it is proven."""
        return self._found.holds

    def lines(self) -> Iterator[str]:
        """Render the verdict as text."""
        found = self._found
        verdict = "is not decided" if found.undecided else "holds"
        if found.out_of_sync:
            verdict = "is out of sync"
        if found.opened:
            verdict = "FAILS"
        proof = found.proof
        yield (
            f"Cluster {found.cluster}, as the cluster holds it: the proof {verdict}: "
            f"{proof.rules:,} Calico rules in {proof.lists:,} lists, every flow of each."
        )
        yield from (f"  ! opened: {self._said(each)}" for each in found.opened)
        yield from (f"  ! out of sync: {self._said(each)}" for each in found.out_of_sync)
        yield from (f"  ? {each}" for each in found.undecided)
        if found.half:
            yield (
                f"  Half-written since {found.half.since}: {counted(found.half.written, 'object')} "
                "written, and no sync has completed since."
            )
        if found.unlike.pending:
            yield (
                f"  Not written yet: {counted(len(found.unlike.pending), 'change')} pending: "
                f"{shortened([clause(each) for each in found.unlike.pending])}"
            )
        yield from (f"  {_chain(each)}" for each in found.chains if each.state != "new")
        if found.unlike.drift:
            yield (
                f"  Drift: {counted(len(found.unlike.drift), 'object')}: "
                f"{shortened([f'{each.kind} {each.name}' for each in found.unlike.drift])}"
            )
        yield from (f"  {each}" for each in found.notes)
        yield from _taken(found.report, proof)

    def document(self) -> dict[str, Any]:
        """Return the value for `--output json`."""
        found = self._found
        opened, out_of_sync = (
            [self._said(each) for each in some] for some in (found.opened, found.out_of_sync)
        )
        return {
            "cluster": found.cluster,
            "live": True,
            "holds": found.holds,
            "lists": found.proof.lists,
            "rules": found.proof.rules,
            "disagreements": [*opened, *out_of_sync],
            "opened": opened,
            "out_of_sync": out_of_sync,
            "undecided": list(found.undecided),
            "half_written": found.half.document() if found.half else None,
            "pending": [change_document(each) for each in found.unlike.pending],
            "drift": [change_document(each) for each in found.unlike.drift],
            "chains": [
                {
                    "tier": each.tier,
                    "zone": each.zone,
                    "state": each.state,
                    "new": each.new,
                    "old": each.old,
                    "missing": each.missing,
                    "altered": each.altered,
                }
                for each in found.chains
            ],
            "notes": list(found.notes),
            **_taken_document(found.cluster, found.report, found.proof),
        }

    def _said(self, difference: Difference) -> str:
        """Render a difference, with the changes of its Calico rule that are not written yet."""
        pending = self._found.unlike.deciding(difference.where, self._found.policies)
        if not pending:
            return said(difference)
        return f"{said(difference)}; not written yet: {shortened([*map(clause, pending)])}"


def _chain(found: ChainState) -> str:
    counts = (
        (found.new, "in the desired state"),
        (found.old, "in the old state"),
        (found.missing, "missing"),
        (found.altered, "drifted"),
    )
    listed = ", ".join(f"{number:,} {what}" for number, what in counts if number)
    return f"Chain of zone {found.zone} in tier {found.tier} is {found.state}: policies {listed}."


def _taken(report: Report, proof: Proof) -> Iterator[str]:
    """Render what the proof assumes."""
    accepted = [*_accepted(report, proof)]
    if accepted or report.essentials:
        yield "  Assumed, since the configuration accepts it:"
    for each in report.essentials:
        yield f"    essential: {each}"
    for rule, flow in accepted:
        example = f", as in {flow}" if flow else ""
        yield f"    rule {rule.name!r}: {'; '.join(rule.reasons)}{example}"


def _taken_document(cluster: str, report: Report, proof: Proof) -> dict[str, Any]:
    return {
        "essentials": list(report.essentials),
        "accepted": [
            {**rule_document(cluster, rule), "flow": flow}
            for rule, flow in _accepted(report, proof)
        ],
    }


def _accepted(report: Report, proof: Proof) -> Iterator[tuple[RuleFidelity, str]]:
    """Yield rules that a setting lets be more permissive, with a flow of each allow."""
    for each in report.rules:
        if each.status is Status.MORE_PERMISSIVE:
            sample = proof.samples.get(each.place)
            yield each, flow_said(sample) if sample else ""

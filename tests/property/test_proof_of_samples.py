"""The proof and the naive evaluators agree over whole sample configurations, each device group.

What is written of them is proven, and no flow of a large sample says otherwise. Of what is written
with one mistake, no mutant that decides a flow otherwise is proven, and what the proof names as
counterexamples are flows that the naive evaluators judge differently.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest

from sync.errors import SourceError
from sync.firewall.configuration import Configuration
from sync.firewall.effective import effective
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from tests.conftest import samples
from tests.naive.calico_verdict import Calico
from tests.naive.rulebases import Known, case_of
from tests.property.test_proof_property import (
    KINDS,
    Mutant,
    Mutator,
    NoPlaceError,
    documents_of,
    is_denied,
    proof_of,
    untrue,
    verdicts_of,
    wrongly_proven,
)
from tests.property.test_translation_property import (
    Judged,
    more_permissive,
    translated,
    unequal,
)

PANORAMAS = [path for path in samples() if b"<device-group>" in path.read_bytes()]
KNOWN: tuple[Known, ...] = ("templates", "settings", "both")
FLOWS = 2000
GROUPS = 5  # device groups of one sample: those with the most rules
MANY_SEEDS = range(1, 7)
# What nobody can mistake in a cluster of one tier is left out.
MISTAKES = [kind for kind in KINDS if kind != "action_final"]
# A mutant of a kind is made this often, until one decides a flow otherwise.
TRIES = 2
# Of device groups with more rules than this only a few mutants are made: each takes a second.
RULES, EVERY = 15, 2


@cache
def configuration(path: Path) -> Configuration:
    return read_configuration(parse(path.read_bytes(), path.name))


@cache
def device_groups(path: Path) -> list[str]:
    """Those of a sample that are judged, with the most rules first."""
    rules = {}
    for name in configuration(path).device_groups:
        try:
            rules[name] = len(effective(configuration(path), name).rules)
        except SourceError:
            # A sample without its whole hierarchy: nobody knows what it means.
            continue
    return sorted(rules, key=lambda name: (-rules[name], name))[:GROUPS]


@cache
def judged(path: Path, number: int, known: Known, seed: int = 0) -> Judged:
    """A device group of a sample, by its number among those that are judged, translated."""
    return translated(
        case_of(
            configuration(path),
            device_groups(path)[number],
            seed,
            known=known,
            registered_known=(number + KNOWN.index(known) + seed) % 2 == 0,
            number=FLOWS,
        )
    )


def disagreements(one: Judged) -> Iterator[str]:
    """Flows of a case that are judged differently, and what is not proven of it."""
    yield from more_permissive(one)
    yield from unequal(one)
    proof = proof_of(one, documents_of(one))
    if not proof.holds:
        yield f"\nnot proven: {(*proof.allowed, *proof.denied, *proof.undecided)[:3]}"


# --- mutants --------------------------------------------------------------------------------------


def mutant_of(kind: str, one: Judged) -> tuple[Mutant, bool] | None:
    """A mutant of a kind, and whether a flow of the case is a witness; else that is any flow."""
    random = Random(f"{kind} {one.case.groups[0].name} {one.case.seed}")
    before, deciding = verdicts_of(one)
    found = None
    for _ in range(TRIES):
        documents = documents_of(one)
        try:
            KINDS[kind](Mutator(random, documents, deciding))
        except NoPlaceError:
            continue
        calico = Calico(documents, one.case.world)
        after = [calico.verdict(flow).allow for flow in one.case.flows]
        flows = zip(one.case.flows, before, after, strict=True)
        changed = [(flow, allow) for flow, allowed, allow in flows if allow != allowed]
        denied = (flow for flow, allow in changed if allow and is_denied(one.case, flow))
        witness, _ = (*changed, (one.case.flows[0], False))[0]
        proof = proof_of(one, documents)
        found = Mutant(kind, one, documents, witness, next(denied, None), proof), bool(changed)
        if changed:
            break
    return found


def mutated(kind: str) -> Iterator[Judged]:
    """The cases that get a mistake of this kind: another choice for each kind."""
    turn = MISTAKES.index(kind)
    for path in PANORAMAS:
        for number, name in enumerate(device_groups(path)):
            few = len(effective(configuration(path), name).rules) <= RULES
            if few or (number + turn) % EVERY == 0:
                yield judged(path, number, KNOWN[(number + turn) % 3])


@cache
def compared(kind: str) -> tuple[Counter[str], str]:
    """Mutants of a kind: how many of what there were, and where the two disagree about them."""
    counted: Counter[str] = Counter()
    wrong = "".join(text for one in mutated(kind) for text in wrong_about(kind, one, counted))
    return counted, wrong


def wrong_about(kind: str, one: Judged, counted: Counter[str]) -> Iterator[str]:
    """What is wrong about a mutant of a case.

    `counted` gets the mutants as `made`, as `refused` those with a witness, and by its sort each
    counterexample that the naive evaluators were asked about.
    """
    made = mutant_of(kind, one)
    if made is None:
        return
    mutant, witnessed = made
    counted["made"] += 1
    wrong: list[str] = []
    if witnessed:
        counted["refused"] += 1
        wrong += wrongly_proven(mutant)
    if not mutant.proof.holds:
        wrong += untrue(mutant, counted)
    yield from (f"\n{one.case.groups[0].name}: {text.strip()}" for text in wrong)


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("path", PANORAMAS, ids=lambda path: path.name)
def test_what_is_written_of_a_sample_is_proven_and_no_flow_is_judged_otherwise(
    path: Path, known: Known
) -> None:
    for number, name in enumerate(device_groups(path)):
        one = judged(path, number, known)
        assert len(one.case.flows) > FLOWS / 3
        assert not "".join(disagreements(one)), name


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mutant_of_a_sample_is_proven_only_if_it_decides_the_same(kind: str) -> None:
    _, wrong = compared(kind)
    assert not wrong


def test_mutants_were_refused_and_counterexamples_confirmed() -> None:
    by_kind = {kind: compared(kind)[0] for kind in MISTAKES}
    every = sum(by_kind.values(), Counter())
    # Of the demo alone, too.
    assert every["made"] > 20
    assert every["refused"] > every["made"] / 4
    assert every["allow"] > every["made"] / 8
    assert every["deny"] > every["made"] / 4
    assert sum(each["refused"] > 0 for each in by_kind.values()) > len(MISTAKES) / 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY_SEEDS)
@pytest.mark.parametrize("path", PANORAMAS, ids=lambda path: path.name)
def test_the_same_of_many_more(path: Path, seed: int) -> None:
    counted: Counter[str] = Counter()
    for number, name in enumerate(device_groups(path)):
        for known in KNOWN:
            one = judged.__wrapped__(path, number, known, seed)
            assert not "".join(disagreements(one)), (name, known)
            for kind in MISTAKES if known == KNOWN[(number + seed) % 3] else ():
                assert not "".join(wrong_about(kind, one, counted))
    assert counted["made"]

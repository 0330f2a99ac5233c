"""Nothing is allowed that the firewall denies, and where a translation says exact, it is.

Random configurations become policies, and each of many flows is judged twice, by a naive firewall
and a naive Calico that share no code with the translation. What nobody can know has several truths
(`tests.naive.flows.ORACLES`); the promise holds under each.

To look further than the tests do:

    python -c 'from tests.property.test_translation_property import hunt; hunt(range(1000, 2000))'
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import pytest

from sync.calico.manifest import Manifest
from sync.calico.validator import validate
from sync.clusters.cluster import Key
from sync.firewall.effective import EffectiveRule, effective
from sync.translate.compiler import Options
from sync.translate.fidelity import RuleFidelity, Status
from sync.translate.network_sets import Target
from tests.naive.calico_verdict import Calico, Verdict
from tests.naive.firewall_verdict import Firewall, cluster_verdict
from tests.naive.flows import ORACLES, Flow, Oracle
from tests.naive.rulebases import Case, case, derived_for
from tests.translation import Translated, translate

SEEDS = range(40)
# Fifty cases in each of many tests; cases of more rules than a policy holds take seconds each.
MANY_SEEDS = range(1000, 3000, 50)
LARGE_SEEDS = range(5000, 5020)


@dataclass(frozen=True)
class Judged:
    """A case, what it was translated to, and a Calico that has that."""

    case: Case
    translated: Translated
    calico: Calico


@cache
def judged(
    seed: int, *, tame: bool = False, size: int = 1, routed: bool = False, wild: bool = False
) -> Judged:
    return translated(case(seed, tame=tame, size=size, routed=routed, wild=wild))


def translated(made: Case, standing: Mapping[Key, Manifest] | None = None) -> Judged:
    """What a case is translated to where this stands, and a Calico that has that."""
    found = translate(
        "cluster",
        [
            Target(
                "panorama",
                made.seen(group.name),
                group.tier,
                group.order,
                "staged" if made.mode == "staged" else "enforced",
                derived_for(made, group),
            )
            for group in made.groups
        ],
        Options(
            tags=made.tags,
            registered_known=made.registered_known,
            owner=(("app.kubernetes.io/managed-by", "zonebridge"),),
            rules=made.rules,
            zones=made.zones,
            pod_cidrs=made.pods_in,
        ),
        standing or {},
    )
    documents = [manifest.document() for manifest in found.manifests.values()]
    return Judged(made, found, Calico(documents, made.world))


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_allowed_that_the_firewall_denies(seed: int) -> None:
    assert not "".join(more_permissive(judged(seed)))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_calico_can_say_is_said_exactly(seed: int) -> None:
    one = judged(seed, tame=True)
    assert not "".join(more_permissive(one))
    assert not "".join(unequal(one))
    assert not inexact(one)


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_manifest_is_valid_and_every_rule_has_a_line(seed: int, tame: bool) -> None:
    assert not "".join(misformed(judged(seed, tame=tame)))


@pytest.mark.slow
@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int, tame: bool) -> None:
    for seed in range(first, first + 50):
        assert not "".join(complaints(judged.__wrapped__(seed, tame=tame)))


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_allowed_whatever_router_a_packet_comes_in_by(seed: int, tame: bool) -> None:
    assert not "".join(more_permissive(judged(seed, tame=tame, routed=True)))


@pytest.mark.slow
@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more_with_routers(first: int, tame: bool) -> None:
    for seed in range(first, first + 50):
        assert not "".join(complaints(judged.__wrapped__(seed, tame=tame, routed=True)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", LARGE_SEEDS)
def test_the_same_of_rulebases_longer_than_a_policy(seed: int) -> None:
    assert not "".join(complaints(judged.__wrapped__(seed, tame=True, size=150)))


# --- counterexamples ------------------------------------------------------------------------------


def more_permissive(one: Judged) -> Iterator[str]:
    """Flows that Calico allows and the firewall denies, with settings that accept no loss."""
    for rule in inexact(one):
        if rule.status == Status.MORE_PERMISSIVE:
            yield f"\nseed {one.case.seed}: {rule.name!r} is more permissive: {rule.reasons}"
    for flow in one.case.flows:
        calico = one.calico.verdict(flow)
        if not calico.allow:
            continue
        for oracle in ORACLES:
            firewall = cluster_verdict(one.case.firewalls, flow, oracle)
            if not firewall.allow:
                yield _shown(one.case, flow, oracle, calico, firewall)
                break


def unequal(one: Judged) -> Iterator[str]:
    """Flows that the two judge differently, where the report says that all rules are exact."""
    firewalls = [replace(each, top_down_wildcards=True) for each in one.case.firewalls]
    if not _claims_exactness(one, firewalls):
        return
    for flow in one.case.flows:
        calico = one.calico.verdict(flow)
        for oracle in ORACLES[2:4]:
            firewall = cluster_verdict(firewalls, flow, oracle)
            if firewall.allow != calico.allow:
                yield _shown(one.case, flow, oracle, calico, firewall)
                break


def _claims_exactness(one: Judged, firewalls: Iterable[Firewall]) -> bool:
    return not inexact(one) and all(each.knows_all_networks for each in firewalls)


def inexact(one: Judged) -> list[RuleFidelity]:
    """The rules that the report does not call exact.

    Where registered addresses count as none at all, a rule with a dynamic group is more permissive
    than a firewall that has some; the firewalls here have none. What DNS says here, the firewalls
    here are told too.
    """
    dynamic = {
        (firewall.device_group, *_place(placed))
        for firewall in one.case.firewalls
        for placed in firewall.seen.rules
        if (one.case.registered_known and firewall.is_dynamic(placed.rule))
        or firewall.has_answers(placed.rule)
    }
    targets = [
        group.name
        for group in one.case.groups
        for _ in effective(one.case.configuration, group.name).rules
    ]
    return [
        rule
        for target, rule in zip(targets, one.translated.report.rules, strict=True)
        if not rule.status.without_loss
        and not (
            rule.status == Status.MORE_PERMISSIVE
            and (target, rule.device_group, rule.rulebase, rule.position, rule.name) in dynamic
        )
    ]


def _place(placed: EffectiveRule) -> tuple[str, str, int, str]:
    return placed.device_group, placed.rulebase, placed.position, placed.rule.name


def misformed(one: Judged) -> Iterator[str]:
    """Manifests that may not be written, and rules without one line of their own."""
    for manifest in one.translated.manifests.values():
        for violation in validate(manifest):
            yield f"\nseed {one.case.seed}: {manifest.kind} {manifest.name}: {violation}"
    expected = [
        _place(placed)
        for group in one.case.groups
        for placed in effective(one.case.configuration, group.name).rules
    ]
    lines = [
        (line.device_group, line.rulebase, line.position, line.name)
        for line in one.translated.report.rules
    ]
    if lines != expected:
        yield f"\nseed {one.case.seed}: the report has {lines} for {expected}"
    for line in one.translated.report.rules:
        if len(line.remedies) != len(line.reasons) or not all(line.remedies):
            yield f"\nseed {one.case.seed}: {line.reasons} have the remedies {line.remedies}"
        if not line.calico and not (line.reasons or line.disabled):
            yield f"\nseed {one.case.seed}: {line.name!r} has no Calico rules, and no reason"
    for held in one.translated.report.groups:
        if bool(held.reasons) != (held.remedies not in ((), ("",))):
            yield f"\nseed {one.case.seed}: {held.reasons} have the remedies {held.remedies}"


def complaints(one: Judged) -> Iterator[str]:
    """Everything that is wrong with one translation."""
    yield from misformed(one)
    yield from more_permissive(one)
    yield from unequal(one)


def _shown(case: Case, flow: Flow, oracle: Oracle, calico: Verdict, firewall: Verdict) -> str:
    allows = {True: "allows", False: "denies"}
    return (
        f"\nseed {case.seed}{', tame' if case.tame else ''}: {flow}\n"
        f"    Calico {allows[calico.allow]}: {calico.by}\n"
        f"    the firewall {allows[firewall.allow]}: {firewall.by} ({oracle})"
    )


def hunt(
    seeds: Iterable[int], *, size: int = 1, each: int = 2, routed: bool = False
) -> Counter[str]:
    """Look for counterexamples and print them, at most `each` of a case; count what was found."""
    found: Counter[str] = Counter()
    for seed in seeds:
        for tame in (True, False):
            try:
                one = judged.__wrapped__(seed, tame=tame, size=size, routed=routed)
            except Exception as error:  # noqa: BLE001 - a hunt goes on
                print(f"seed {seed}{', tame' if tame else ''}: {error!r}")
                found["raised"] += 1
                continue
            found["flows"] += len(one.case.flows)
            found["rules"] += len(one.translated.report.rules)
            for rule in one.translated.report.rules:
                found[f"rules {rule.status}{', tame' if tame else ''}"] += 1
            if tame and _claims_exactness(one, one.case.firewalls):
                found["exact cases"] += 1
            for name, complain in (
                ("misformed", misformed),
                ("more permissive", more_permissive),
                ("unequal", unequal),
            ):
                texts = list(complain(one))
                found[name] += len(texts)
                print(*texts[:each], sep="", end="\n" if texts else "")
    return found

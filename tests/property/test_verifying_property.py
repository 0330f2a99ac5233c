"""What stands between two rulebases is judged as it stands: the opened flows are those there are.

The firewall has a case's rules. In the cluster stands a state between what some other rules became
and what these become: each object as it was or as it shall be, whatever the order of the writes.
The naive evaluators, which share no code with the proof, say which sampled flows that opens.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sync.firewall.effective import EffectiveRule
from sync.firewall.zone_networks import Derived
from sync.queries.verification import Verified, verified
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.store import Store, open_store
from sync.translate import chains
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.memory import MemoryCluster
from tests.naive.calico_verdict import Calico
from tests.naive.flows import ORACLES, End, Flow
from tests.naive.rulebases import Case, case, snapshot_of
from tests.property.test_proof_property import Mutant, one_allows, untrue
from tests.property.test_translation_property import Judged
from tests.translation import Translated, translate

SEEDS = range(200, 210)
STATES = 3  # between one pair of rulebases
OWNER = (("app.kubernetes.io/managed-by", "zonebridge"),)

Objects = Mapping[tuple[str, str], Any]
Rules = Mapping[str, Sequence[EffectiveRule]]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few rules, so that a zone has several policies."""
    monkeypatch.setattr(chains, "LEAST_RULES", 3)
    monkeypatch.setattr(chains, "ONE_IN", 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


@dataclass(frozen=True)
class Between:
    """A case, what it is translated to, the documents that stand, and what is proven of them."""

    case: Case
    shall: Translated
    documents: tuple[dict[str, Any], ...]
    found: Verified

    def opened(self) -> Iterator[tuple[Flow, str, str]]:
        """Each sampled flow that is opened at one of its ends, with the direction and who that is.

        The far end's own policies are another question: there it is what it is for rules alone.
        """
        calico = Calico(self.documents, self.case.world)
        for flow in self.case.flows:
            ways = (
                ("egress", flow.source, replace(flow, destination=_address(flow.destination))),
                ("ingress", flow.destination, replace(flow, source=_address(flow.source))),
            )
            for direction, local, here in ways:
                if local.pod is None or not calico.verdict(here).allow:
                    continue
                if not self._anyone_allows(local, flow):
                    yield flow, direction, self._who(local)

    def _anyone_allows(self, local: End, flow: Flow) -> bool:
        """Whether, in some truth about what nobody knows, every device group allows it here."""
        return any(
            all(one_allows(firewall, local, flow, oracle) for firewall in self.case.firewalls)
            for oracle in ORACLES
        )

    def _who(self, local: End) -> str:
        firewalls = self.case.firewalls
        named = next((each for each in firewalls if each.zone_of_pod(local) in each.zones), None)
        zone = (named or firewalls[0]).zone_of_pod(local)
        if zone is not None:
            return f"a pod of zone {zone}"
        return "a pod whose label names no zone"


def _address(end: End) -> End:
    return replace(end, pod=None)


def changed(rules: Sequence[EffectiveRule], random: Random) -> list[EffectiveRule]:
    """The rules as they may have been before: some were not there, elsewhere, or said the other."""
    found = list(rules)
    for _ in range(random.choice((1, 2, 4))):
        at, other = random.randrange(len(found)), random.randrange(len(found))
        placed = found[at]
        match random.randrange(4):
            case 0 if len(found) > 2:
                del found[at]
            case 1:
                found.insert(other, found.pop(at))
            case 2:
                found[at] = replace(placed, rule=replace(placed.rule, services=("any",)))
            case _:
                action = "deny" if placed.rule.action == "allow" else "allow"
                found[at] = replace(placed, rule=replace(placed.rule, action=action))
    return found


def derived_of(made: Case, name: str) -> Derived:
    (group,) = (each for each in made.groups if each.name == name)
    found = group.derived
    because = dict.fromkeys(set(found.zones) - set(found.networks), "a test says so")
    return Derived(found.zones, found.all_networks(), because, found.defaults)


def options_of(made: Case) -> Options:
    return Options(
        tags=made.tags,
        registered_known=made.registered_known,
        owner=OWNER,
        rules=made.rules,
        zones=made.zones,
        pod_cidrs=made.pods_in,
    )


def translated(made: Case, rules: Rules, standing: Objects) -> Translated:
    targets = [
        Target(
            "panorama",
            replace(made.seen(group.name), rules=tuple(rules[group.name])),
            group.tier,
            group.order,
            "staged" if made.mode == "staged" else "enforced",
            derived_of(made, group.name),
        )
        for group in made.groups
    ]
    return translate("cluster", targets, options_of(made), standing)


def betweens(seed: int, store: Store) -> Iterator[Between]:
    """States between the rules that a case may have had before and its own."""
    made = case(seed, tame=bool(seed % 2))
    if made.zones.essentials:
        made = replace(made, zones=replace(made.zones, essentials=()))
    random = Random(f"between {seed}")
    rules = {group.name: made.seen(group.name).rules for group in made.groups}
    before = {name: changed(each, random) for name, each in rules.items()}
    old = translated(made, before, {}).manifests
    shall = translated(made, rules, old)
    new = shall.manifests
    for _ in range(STATES):
        stands = {}
        for key in {**old, **new}:
            side = old if random.random() < 0.5 or old.get(key) == new.get(key) else new
            # A tier is not asked for here; a policy without one is not decided.
            manifest = side.get(key) or (new[key] if key[0] == "Tier" else None)
            if manifest:
                stands[key] = manifest.document()
        memory = MemoryCluster(OWNER, stands)
        cluster = Cluster(
            "cluster",
            tuple(
                TierBinding(
                    "panorama",
                    group.name,
                    group.tier,
                    group.order,
                    "staged" if made.mode == "staged" else "enforced",
                )
                for group in made.groups
            ),
            memory,
            None,
            None,
            repair_drift=True,
            pod_cidrs=options_of(made).pod_cidrs,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "sync.reconcile.device_groups.derived", lambda _, name: derived_of(made, name)
            )
            found = verified(cluster, {"panorama": snapshot_of(made)}, store, options_of(made))
        yield Between(made, shall, tuple(stands.values()), found)


def unseen(between: Between, counted: Counter[str]) -> Iterator[str]:
    """Sampled flows that are opened and that the proof does not tell of."""
    found = between.found
    told = {(each.flow.direction, each.flow.local) for each in found.opened}
    for flow, direction, who in between.opened():
        counted["flows"] += 1
        if (direction, who) not in told and not found.undecided:
            yield f"\nseed {between.case.seed}: {direction} of {who}, {flow} is open, untold"


# --- what must hold -------------------------------------------------------------------------------


def test_opened_flows_between_two_rulebases_are_those_that_the_naive_evaluators_see(
    store: Store,
) -> None:
    counted: Counter[str] = Counter()
    wrong = "".join(hunted(SEEDS, store, counted))
    assert not wrong
    assert counted["flows"] > 40, counted
    assert counted["opened"] > 5, counted
    assert counted["pending"] > len(SEEDS), counted
    assert counted["allow"] > 10, counted


def hunted(seeds: Sequence[int], store: Store, counted: Counter[str]) -> Iterator[str]:
    """What the proof says of states between and must not."""
    for seed in seeds:
        for each in betweens(seed, store):
            counted["opened"] += bool(each.found.opened)
            counted["undecided"] += bool(each.found.undecided)
            counted["pending"] += len(each.found.unlike.pending)
            yield from unseen(each, counted)
            yield from _untrue(each, counted)


def _untrue(each: Between, counted: Counter[str]) -> Iterator[str]:
    """Flows that the proof tells of and that are none."""
    one = Judged(each.case, each.shall, Calico(each.documents, each.case.world))
    documents = [*each.documents]
    mutant = Mutant("between", one, documents, each.case.flows[0], None, each.found.proof)
    yield from untrue(mutant, counted)

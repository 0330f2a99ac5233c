"""What is offered for a denied flow allows it, by slow readings of the firewall and of Calico.

Configurations are drawn at random, and flows that they deny. Each change that is offered is made in
the model; a naive firewall and a naive Calico, which share no code with the translation and the
proof, judge the flow then.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from tempfile import TemporaryDirectory

import pytest

from sync.calico.manifest import Manifest
from sync.clusters.cluster import Workload
from sync.errors import UsageError
from sync.firewall.configuration import Provenance, Snapshot
from sync.net.addresses import network
from sync.queries.explain import asked_of, explained
from sync.queries.model_changes import Model, Remedy
from sync.queries.remedy_candidates import Candidates
from sync.queries.why_not import why_not
from sync.reconcile.desired import Cluster, rolled_out
from sync.reconcile.device_groups import target_of
from sync.store import open_store
from sync.translate.compiler import Options
from tests.firms import drawn
from tests.memory import MemoryCluster
from tests.naive.calico_verdict import Calico, labels_of
from tests.naive.firewall_verdict import Firewall, cluster_verdict, zone_names
from tests.naive.flows import End, Flow, Oracle, Pod, written
from tests.transitions import JUDGE, POD_CIDR, WORLD, Firm

SEEDS = range(12)
FLOWS = 4  # of one configuration
OWNER = (("app.kubernetes.io/managed-by", "zonebridge"),)


@dataclass(frozen=True)
class Offered:
    """A remedy, the model with it, and the flow in it."""

    remedy: Remedy
    model: Model
    flow: Flow
    firm: Firm


@pytest.mark.parametrize("seed", SEEDS)
def test_each_change_that_is_offered_allows_the_flow(seed: int) -> None:
    for each in offers(seed):
        assert firewall_allows(each), (seed, str(each.flow), each.remedy)
        assert calico_allows(each), (seed, str(each.flow), each.remedy)


def test_changes_of_several_kinds_are_offered() -> None:
    found = Counter(each.remedy.kind for seed in SEEDS for each in offers(seed))
    assert found["rule"] > 5, found
    assert len(found) > 2, found


@cache
def offers(seed: int) -> tuple[Offered, ...]:
    random = Random(f"why not {seed}")
    firm = drawn(random)
    firm = replace(
        firm,
        pods_known=True,
        here=tuple(replace(each, mode="enforced") for each in firm.here),
    )
    denied = [flow for flow in JUDGE.flows if not firm.verdict(flow).allow and flow.protocol == 6]
    flows = random.sample(denied, min(FLOWS, len(denied)))
    return tuple(each for flow in flows for each in offers_of(firm, flow))


def offers_of(firm: Firm, flow: Flow) -> Iterator[Offered]:
    memory = MemoryCluster(OWNER, pods=[workload(end) for end in WORLD])
    cluster = Cluster(
        "c", firm.here, memory, None, None, repair_drift=True, pod_cidrs=network(POD_CIDR)
    )
    read = {"main": Snapshot(firm.configuration, Provenance("main", "a test", "1"))}
    options = Options((), True, OWNER, rules=firm.rule_options, zones=firm.zone_options)
    ends = [written((end.family, end.address)) for end in (flow.source, flow.destination)]
    asked = asked_of(ends[0], ends[1], f"{flow.port}/tcp", flow.source_port)
    with TemporaryDirectory() as directory, open_store(f"sqlite:///{directory}/s.db") as store:
        try:
            found = explained(cluster, read, store, options, asked, live=False, verbose=False)
        except UsageError:
            return
    remedies = why_not(cluster, found).remedies
    assert found.inputs is not None
    now = Model(found.inputs.snapshots, found.inputs.options, found.parties)
    for remedy, model in Candidates(found.inputs, now, asked.packet, found.sides).all():
        if remedy in remedies:
            yield Offered(remedy, model, in_model(flow, model), firm)


def workload(end: End) -> Workload:
    assert end.pod is not None
    name = f"default/{written((end.family, end.address))}"
    return Workload(name, ((end.family, end.address),), labels_of(end.pod))


def in_model(flow: Flow, model: Model) -> Flow:
    """The flow between pods with the labels that they have in a model."""

    def end(old: End, labels: object) -> End:
        if old.pod is None or not isinstance(labels, dict):
            return old
        own = {
            key: value
            for key, value in labels.items()
            if not key.startswith(("projectcalico.org/", "pcns."))
        }
        return old if own == dict(old.pod.labels) else replace(old, pod=Pod(own))

    one, other = (each.labels for each in model.parties)
    return replace(flow, source=end(flow.source, one), destination=end(flow.destination, other))


def firewall_allows(offered: Offered) -> bool:
    firm, model = offered.firm, offered.model
    configuration = model.snapshots["main"].configuration
    names = {zone for each in firm.here for zone in zone_names(configuration, each.name)}
    firewalls = [
        Firewall(
            configuration,
            each.name,
            model.options.rules,
            model.options.zones,
            names=tuple(sorted(names)),
        )
        for each in firm.here
    ]
    return cluster_verdict(firewalls, offered.flow, Oracle(0)).allow


def calico_allows(offered: Offered) -> bool:
    firm, model = offered.firm, offered.model
    targets = [target_of(here, model.snapshots["main"]) for here in firm.here]
    rollout, _ = rolled_out("c", targets, model.options, {})
    manifests: list[Manifest] = [*rollout.manifests.values()]
    flow = offered.flow
    near = {(end.family, end.address): end for end in (flow.source, flow.destination)}
    world = [near.get((end.family, end.address), end) for end in WORLD]
    return Calico([each.document() for each in manifests], world).verdict(flow).allow

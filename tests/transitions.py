"""Every state that a cluster goes through while it is brought from one configuration to another.

A `Firm` is a small configuration with its settings. The real sync writes it to a cluster in memory;
which writes may happen in which order is read off the trail alone (a write may take effect at any
moment between the record of its intent and that of its outcome), so nothing here knows how a plan
is ordered. Each state is then judged by `tests.naive`, flow by flow:

- What every configuration denies that was aimed at since the cluster was last whole is denied.
- So it is within each tier, at each end of a flow: what the tier denies in all whole states.
- No policy stands in a tier that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from difflib import unified_diff
from functools import cached_property
from itertools import count, pairwise
from random import Random
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

import pytest

from sync.calico.manifest import Manifest
from sync.calico.names import LIST_LABEL
from sync.calico.objects import POLICIES
from sync.calico.ownership import ours_of, owner_labels
from sync.clusters.cluster import Key, NotWrittenError
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from sync.net.addresses import network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.plan.changes import Change
from sync.reconcile.cycle import sync_cluster
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.result import Result
from sync.store import Outcome
from sync.translate import chains
from sync.translate.compiler import Options
from tests import words
from tests.memory import HeldMemory, MemoryCluster
from tests.naive.calico_verdict import Calico, Verdict
from tests.naive.firewall_verdict import Firewall, cluster_verdict, zone_names
from tests.naive.flows import TCP, UDP, End, Flow, Oracle, Pod, span
from tests.naive.states import Judge, State

OWNER = owner_labels("test", "00000000-0000-0000-0000-000000000000")
POD_CIDR = "10.244.0.0/16"
LABEL = "firewall.tigera.io/zone"

Objects = Mapping[Key, Manifest]
_NO_OBJECTS: Objects = MappingProxyType({})
Refuses = Callable[[str, int], bool]
"""Whether a cluster refuses to write an object of this name, the how-manieth time (from 1)."""


# --- a small world --------------------------------------------------------------------------------

ADDRESSES: Mapping[str, str] = {
    **{f"h{number}": f"10.9.0.{number}" for number in range(1, 8)},
    "n-03": "10.9.0.0/30",
    "n-23": "10.9.0.2/31",
    "n-users": "10.9.0.0/16",
    "l1": "10.8.0.1",
    "n-lab": "10.8.0.0/24",
    "p-web": "10.244.0.1",
    "p-db": "10.244.0.16/28",
    "p-users": "10.244.0.33",
}
"""Address objects: hosts and networks of zone users (10.9/16) and lab (10.8/16), and pods."""


def _pod(host: str, **labels: str) -> End:
    found = {LABEL if key == "zone" else key: value for key, value in labels.items()}
    return End(span(f"10.244.0.{host}")[1], 4, Pod(found))


WORLD = (
    _pod("1", zone="web"),
    _pod("2", zone="web", app="web"),
    _pod("17", zone="db"),
    _pod("18", zone="db", app="web"),
    _pod("33", zone="users"),
    _pod("49"),
    _pod("50", zone="nowhere"),
)
_HOSTS = tuple(
    End(span(text)[1], 4)
    for text in (
        *(f"10.9.0.{number}" for number in range(1, 8)),
        "10.9.1.1",
        "10.8.0.1",
        "10.8.0.9",
        "203.0.113.9",
    )
)


def _flows() -> Iterator[Flow]:
    ends = (*WORLD, *_HOSTS)
    for source in ends:
        for destination in ends:
            if source != destination and (source.pod or destination.pod):
                yield Flow(source, destination, TCP, 40000, 80)
                yield Flow(source, destination, UDP, 40000, 53)


JUDGE = Judge(WORLD, tuple(_flows()))


# --- configurations -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    """A security rule in a few words."""

    name: str
    action: Literal["allow", "deny"]
    from_: tuple[str, ...] = ("any",)
    to: tuple[str, ...] = ("any",)
    source: tuple[str, ...] = ("any",)
    destination: tuple[str, ...] = ("any",)
    not_source: bool = False
    not_destination: bool = False
    service: str = "any"

    def __str__(self) -> str:
        ends = (
            f"{','.join(zones)}[{'not ' if negated else ''}{','.join(listed)}]"
            for zones, listed, negated in (
                (self.from_, self.source, self.not_source),
                (self.to, self.destination, self.not_destination),
            )
        )
        return f"{self.action} {' -> '.join(ends)} {self.service} ({self.name})"

    def word(self) -> words.Word:
        lists: dict[str, Sequence[str] | str] = {
            "from_": self.from_,
            "to": self.to,
            "source": self.source,
            "destination": self.destination,
            "service": (self.service,),
            "application": ("any",),
            "action": self.action,
        }
        if self.not_source:
            lists["negate_source"] = "yes"
        if self.not_destination:
            lists["negate_destination"] = "yes"
        return words.rule(self.name, **lists)


NETWORKS: Mapping[str, ZoneDefinition] = {
    "web": ZoneDefinition(networks=()),
    "db": ZoneDefinition(networks=()),
    "users": ZoneDefinition(networks=("10.9.0.0/16",)),
    "lab": ZoneDefinition(networks=("10.8.0.0/16",)),
}

_STRICT = RuleOptions(applications="strict")
_ZONES = ZoneOptions(definitions=NETWORKS)


@dataclass(frozen=True)
class Firm:
    """What a firewall of each device group has, and the settings it is written with.

    `groups` are address groups in Shared, by name: their members, or a filter over tags. `own` are
    those of one device group, which go before them. `tags` are those of address objects. `rules`
    and `zones` (which it has, whatever its rules name) are by device group. `pods_known` says
    whether it is known which networks hold every pod.
    """

    rules: Mapping[str, tuple[Says, ...]]
    groups: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    here: tuple[TierBinding, ...] = (TierBinding("main", "a", "tier-a", 101, mode="enforced"),)
    pods_known: bool = True
    rule_options: RuleOptions = _STRICT
    zone_options: ZoneOptions = _ZONES

    def __str__(self) -> str:
        lines = [f"  {each.tier}: {each.name}, {each.order}, {each.mode}" for each in self.here]
        lines += [f"  group {name}: {held}" for name, held in self.groups.items()]
        for name, held in self.own.items():
            lines += [f"  group {each} of {name}: {listed}" for each, listed in held.items()]
        lines += [f"  tags of {name}: {held}" for name, held in self.tags.items() if held]
        for name, rules in self.rules.items():
            lines += [f"  {name} has zones {','.join(self.zones.get(name, ()))}"]
            lines += [f"  {name}: {rule}" for rule in rules]
        options = self.zone_options
        lines += [
            f"  pods_known={self.pods_known} allow_as={self.rule_options.allow_as}",
            f"  unzoned_pods={options.unzoned_pods} unknown_addresses={options.unknown_addresses}",
        ]
        lines += [
            f"  zone {name}: {found.selector or 'by label'} {','.join(found.networks or ())}"
            for name, found in options.definitions.items()
        ]
        return "\n".join(lines)

    @property
    def document(self) -> bytes:
        shared = [
            words.address(name, value, tags=self.tags.get(name, ()))
            for name, value in ADDRESSES.items()
        ]
        shared += [_group(name, held) for name, held in self.groups.items()]
        return words.document(
            shared,
            {
                name: [
                    *(_group(each, held) for each, held in self.own.get(name, {}).items()),
                    *(rule.word() for rule in rules),
                    # A rule that is disabled names zones too.
                    *(
                        words.rule(f"has {zone}", from_=(zone,), to=(zone,), disabled="yes")
                        for zone in self.zones.get(name, ())
                    ),
                ]
                for name, rules in self.rules.items()
            },
        )

    @cached_property
    def configuration(self) -> Configuration:
        return words.read(self.document)

    @cached_property
    def denied(self) -> int:
        """The flows that some enforced firewall denies."""
        return JUDGE.mask(lambda flow: not self.verdict(flow).allow) if self._firewalls else 0

    def zone_of(self, end: End) -> str | None:
        """The zone of a pod, where any firewall is enforced."""
        return self._firewalls[0].zone_of_pod(end) if self._firewalls else None

    def verdict(self, flow: Flow) -> Verdict:
        return cluster_verdict(self._firewalls, flow, Oracle(0))

    @cached_property
    def _firewalls(self) -> list[Firewall]:
        names = {zone for each in self.here for zone in zone_names(self.configuration, each.name)}
        return [
            Firewall(
                self.configuration,
                each.name,
                self.rule_options,
                self.zone_options,
                names=tuple(sorted(names)),
            )
            for each in self.here
            if each.mode == "enforced"
        ]

    @cached_property
    def first(self) -> Trace:
        """How an empty cluster comes to hold it."""
        trace = synced(self, {})
        assert trace.succeeded, f"{trace.why}\n{self}"
        return trace

    @cached_property
    def whole(self) -> State:
        """The verdicts of a cluster that holds all of it, and nothing else."""
        return JUDGE.of(self.first.end.values())


def _group(name: str, held: tuple[str, ...] | str) -> words.Word:
    return words.dynamic(name, held) if isinstance(held, str) else words.group(name, *held)


# --- a sync ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """A write that took effect between two moments, numbers of records of the trail."""

    change: Change
    begun: int
    ended: int

    def __str__(self) -> str:
        return f"{self.change.action} {self.change.kind} {self.change.name}"


@dataclass(frozen=True)
class Trace:
    """One sync: what stood before it and after, and what it wrote, by when it was begun."""

    start: Objects
    end: Objects
    writes: tuple[Write, ...]
    result: Result
    refused: tuple[str, ...] = ()
    foreign: frozenset[Key] = frozenset()

    @property
    def succeeded(self) -> bool:
        return self.result.succeeded

    @property
    def why(self) -> str:
        return f"{self.result.state}: {self.result.detail}"

    @property
    def unordered(self) -> tuple[object, ...]:
        """What the plan says of itself that it cannot order."""
        return tuple(getattr(self.result.plan, "unordered", ()))

    def after(self, done: Sequence[Write]) -> dict[Key, Manifest]:
        """What stands when some of its writes took effect."""
        found = dict(self.start)
        for write in done:
            change = write.change
            if change.after:
                found[change.kind, change.name] = change.after
            else:
                found.pop((change.kind, change.name), None)
        return found

    def states(self, random: Random, turns: int = 2) -> Iterator[tuple[list[Write], Objects]]:
        """The states between, each with what was written till then in the order of its beginning.

        After each write as they were begun; with each write before all that need not precede it,
        and with each as late as it may be; and in a few more orders.
        """
        writes = self.writes
        orders = [list(writes[:number]) for number in range(1, len(writes) + 1)]
        orders += [[*(w for w in writes if w.ended < each.begun), each] for each in writes]
        orders += [[w for w in writes if w != each and w.begun < each.ended] for each in writes]
        for _ in range(turns):
            left, done = list(writes), list[Write]()
            while left:
                first = min(write.ended for write in left)
                ready = [write for write in left if write.begun < first]
                left.remove(chosen := random.choice(ready))
                done.append(chosen)
                orders.append(sorted(done, key=lambda write: write.begun))
        seen: set[tuple[Write, ...]] = set()
        for order in orders:
            if tuple(order) not in seen:
                seen.add(tuple(order))
                yield order, self.after(order)


class _Trail:
    """A store, a run and a lease in one: it keeps when writes were begun and ended.

    What was intended and not concluded when a sync ended in the middle is as the next one finds it,
    so a trail that begins with what stands is all that is left of earlier ones.
    """

    cluster = "eu"
    holder = "a test"
    id = "a run"

    def __init__(
        self, standing: Objects, asked: Objects = _NO_OBJECTS, *, approves: bool = True
    ) -> None:
        self.believed = dict(standing)
        self.asked = asked
        self.approves = approves
        self.writes: list[Write] = []
        self._now = count()

    # Of a store.

    def written(self, _cluster: str) -> dict[Key, Manifest]:
        return dict(self.believed)

    def digests(self, _cluster: str) -> dict[Key, str]:
        return {key: each.digest for key, each in self.believed.items()}

    def open_intents(self, _cluster: str) -> list[Any]:
        return []

    def approved(self, _cluster: str, _digest: str) -> bool:
        return self.approves

    def lacking(self, _heads: Iterable[object]) -> frozenset[Any]:
        return frozenset()

    def adoptions(self, _cluster: str) -> frozenset[tuple[str, str, str]]:
        return frozenset(
            (*key, ours_of(each.document()).digest) for key, each in self.asked.items()
        )

    def memory(self, _whose: str) -> HeldMemory:
        return HeldMemory()

    # Of a lease.

    def remaining(self) -> float:
        return 60.0

    def leave(self) -> None:
        pass

    # Of a run.

    def recover(self, _lease: object, closed: Sequence[object]) -> None:
        assert not closed

    def adopt(self, _lease: object, changes: Sequence[Change], _origins: object) -> None:
        for change in changes:
            self._believe(change)

    def blocked(self, *_: object, **__: object) -> None:
        pass

    def intend(
        self, _lease: object, changes: Sequence[Change], _origins: object, *, approved: str
    ) -> list[SimpleNamespace]:
        now = next(self._now)
        return [SimpleNamespace(change=change, begun=now) for change in changes]

    def conclude(self, conclusions: Sequence[Any]) -> None:
        now = next(self._now)
        for each in conclusions:
            assert each.outcome in (Outcome.APPLIED, Outcome.FAILED)
            if each.outcome is Outcome.APPLIED:
                self.writes.append(Write(each.intent.change, each.intent.begun, now))
                self._believe(each.intent.change)

    def _believe(self, change: Change) -> None:
        if change.after:
            self.believed[change.kind, change.name] = change.after
        else:
            self.believed.pop((change.kind, change.name), None)


def _nothing(_name: str, _time: int) -> bool:
    return False


def synced(
    firm: Firm,
    standing: Objects,
    refuses: Refuses = _nothing,
    foreign: Objects = _NO_OBJECTS,
    *,
    asked: Objects = _NO_OBJECTS,
    proven: bool = True,
    approves: bool = True,
) -> Trace:
    """One sync of a cluster in which this stands, of which it refuses some writes.

    What is `foreign` stands there too, in the place of what we wrote; what is `asked` for of it is
    taken over. What is not `proven` is quicker: the proof is of what shall be, and says nothing of
    the way there.
    """
    believed, standing = standing, {**standing, **foreign}
    cluster = MemoryCluster(OWNER, {key: each.document() for key, each in standing.items()})
    times: dict[str, int] = {}
    refused: list[str] = []

    def before_write(name: str) -> None:
        times[name] = times.get(name, 0) + 1
        if refuses(name, times[name]):
            refused.append(name)
            raise NotWrittenError(f"{name} was refused")

    cluster.before_write = before_write
    trail: Any = _Trail(believed, asked, approves=approves)
    with pytest.MonkeyPatch.context() as patch:
        # A few writes that go first are not all that may be under way at once.
        patch.setattr("sync.reconcile.apply.FIRST_BATCH", 1000, raising=False)
        # There is no record that an object could name.
        patch.setattr("sync.reconcile.apply.record_stamp", lambda *_: ())
        if not proven:
            patch.setattr("sync.reconcile.planning.proof_of", lambda *_, **__: None)
        result = sync_cluster(
            Cluster(
                "eu",
                firm.here,
                cluster,
                cluster.writer,
                None,
                repair_drift=True,
                pod_cidrs=network(POD_CIDR) if firm.pods_known else None,
            ),
            {"main": Snapshot(firm.configuration, Provenance("main", "a test", "1"))},
            trail,
            Options((), True, OWNER, firm.rule_options, firm.zone_options),
            trail,
            trail,
            lambda: False,
        )
    end = {key: Manifest.of(document) for key, document in cluster.documents.items()}
    writes = tuple(sorted(trail.writes, key=lambda write: (write.begun, write.ended)))
    trace = Trace(standing, end, writes, result, tuple(refused), frozenset(foreign))
    assert trace.after(trace.writes) == end, "the trail does not tell what became of the cluster"
    return trace


@contextmanager
def small_parts(least: int) -> Iterator[None]:
    """Parts of a few rules instead of a hundred and more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "LEAST_RULES", least)
        patch.setattr(chains, "ONE_IN", 2)
        yield


# --- what must hold -------------------------------------------------------------------------------


def complaints(
    traces: Sequence[Trace], aims: Sequence[Firm], random: Random, turns: int = 2
) -> Iterator[str]:
    """What is wrong in the last of these syncs, to the last of these aims.

    The first aim is where the cluster was last whole, and the first of the syncs began there. Where
    another hand had objects of ours, what that opened was open when the sync began.
    """
    trace = traces[-1]
    begun = JUDGE.of(trace.start.values()) if any(each.foreign for each in traces) else None
    denied = -1
    for aim in aims:
        denied &= aim.denied
    lasting = denied & begun.denied if begun else 0
    denied &= ~_excused(traces, aims)
    tiers = {
        place: mask
        for place, mask in aims[0].whole.by_tier.items()
        if all(place in aim.whole.by_tier for aim in aims)
    }
    for aim in aims[1:]:
        tiers = {place: mask & aim.whole.by_tier[place] for place, mask in tiers.items()}
    if begun:
        denied &= begun.denied
        tiers = {place: mask & begun.by_tier.get(place, 0) for place, mask in tiers.items()}
    for done, stands in trace.states(random, turns):
        state = JUDGE.of(stands.values())
        # Calico keeps a tier that has policies of others, and a test's cluster does not.
        for name in {*state.homeless} - {name for _, name in trace.foreign}:
            yield _told(trace, aims, done, f"{name} stands in a tier that does not")
            return
        # What had no order may be open for a moment, and not while something is held.
        stays = lasting if stands == trace.end else 0
        if opened := (denied | stays) & ~state.denied:
            yield _told(trace, aims, done, _opened(JUDGE.shown(opened), aims, stands))
            return
        for (tier, direction), mask in tiers.items():
            if opened := mask & ~state.by_tier.get((tier, direction), 0):
                flow = JUDGE.shown(opened)
                why = f"the {direction} of {tier} lets it by, which denies it in all whole states"
                yield _told(trace, aims, done, f"{_opened(flow, aims, stands)}\n    {why}")
                return


def ended(trace: Trace, firm: Firm) -> Iterator[str]:
    """What is wrong where a sync is said to have succeeded."""
    if not trace.succeeded:
        yield f"\nthe sync was not finished: {trace.why}\n{firm}"
        return
    state = JUDGE.of(trace.end.values())
    if state.denied != firm.whole.denied:
        wrong = JUDGE.shown(state.denied ^ firm.whole.denied)
        yield f"\nin the end {wrong} is not as a cluster that was empty would have it\n{firm}"
    if again := synced(firm, trace.end).writes:
        yield f"\nthe next sync continues and writes {', '.join(map(str, again))}\n{firm}"


def _excused(traces: Sequence[Trace], aims: Sequence[Firm]) -> int:
    """The flows of chains that plans name as impossible to order: those of both of two chains."""
    pairs = {_chains_named(named) for trace in traces for named in trace.unordered}

    def of_both(flow: Flow) -> bool:
        ends = [end for end in (flow.source, flow.destination) if end.pod]
        zones = {aim.zone_of(end) for aim in aims for end in ends}
        return any(all(zone in (*zones, "") for _, zone in chains) for chains in pairs)

    return JUDGE.mask(of_both) if pairs else 0


def _chains_named(named: object) -> frozenset[tuple[str, str]]:
    """The two chains that are named, as (tier, zone); no zone is what stands around chains.

    A chain is a tuple of texts that ends with these.
    """
    values = [getattr(named, each.name) for each in fields(named)]  # type: ignore[arg-type]
    chains = [value for value in values if isinstance(value, tuple)]
    assert len(chains) == 2, f"of which two chains is {named}?"
    return frozenset((str(chain[-2]), str(chain[-1])) for chain in chains)


def _opened(flow: Flow, aims: Sequence[Firm], stands: Objects) -> str:
    """A flow that is open, with every verdict."""
    calico = Calico([each.document() for each in stands.values()], WORLD, staged=False)
    verdicts = [("Calico", calico.verdict(flow))]
    verdicts += [(f"aim {number}", aim.verdict(flow)) for number, aim in enumerate(aims, 1)]
    lines = [
        f"    {who} {'allows' if each.allow else 'denies'}: {each.by}" for who, each in verdicts
    ]
    return "\n".join((str(flow), *lines))


def _told(trace: Trace, aims: Sequence[Firm], done: Sequence[Write], what: str) -> str:
    left = [write for write in trace.writes if write not in done]
    texts = [str(aim).splitlines() for aim in aims]
    changes = [
        [line for line in unified_diff(old, new, lineterm="", n=0) if line[:2] in ("- ", "+ ")]
        for old, new in pairwise(texts)
    ]
    return "\n".join(
        (
            "",
            what,
            "aim 1:",
            *texts[0],
            *(
                "\n".join((f"aim {number} changes:", *lines))
                for number, lines in enumerate(changes, 2)
            ),
            f"what stood: {', '.join(f'{kind} {name}' for kind, name in sorted(trace.start))}",
            *(f"refused: {name}" for name in trace.refused),
            *(f"foreign: {trace.start[key].document()}" for key in sorted(trace.foreign)),
            *(f"written: {write}{_nets(write.change)}" for write in done),
            *(f"not yet: {write}{_nets(write.change)}" for write in left),
            "",
        )
    )


def _nets(change: Change) -> str:
    if change.kind != "GlobalNetworkSet":
        return ""
    before, after = (
        sorted(side.document()["spec"].get("nets", ())) if side else "nothing"
        for side in (change.before, change.after)
    )
    return f" from {before} to {after}"


def journey(
    firms: Sequence[Firm], random: Random, *, kills: int, refusals: int, turns: int = 2
) -> Iterator[str]:
    """What is wrong between configurations that follow each other: left alone, killed and refused.

    The first three count: what is done to the sync of the second is taken up by one of the third,
    of the second again or of the first.
    """
    old, new, *more = firms
    trace = synced(new, old.first.end)
    yield from complaints((trace,), (old, new), random, turns)
    yield from ended(trace, new)
    on = (new, old, *more)
    between = [stands for _, stands in trace.states(random, turns)]
    for stands in random.sample(between, min(kills, len(between))):
        aim = random.choice(on)
        second = synced(aim, stands)
        yield from complaints((trace, second), (old, new, aim), random, turns=1)
        yield from ended(second, aim)
    names = [write.change.name for write in trace.writes]
    for name in random.sample(names, min(refusals, len(names))):
        time = random.choice((0, 0, 1, 2))

        def refuses(each: str, now: int, name: str = name, time: int = time) -> bool:
            return each == name and time in (0, now)

        traces = [synced(new, old.first.end, refuses)]
        aims = [old, new]
        yield from complaints(traces, aims, random, turns=1)
        for again in (refuses, _nothing) if random.random() < 0.5 else (_nothing,):
            aims.append(random.choice(on))
            traces.append(synced(aims[-1], traces[-1].end, again))
            yield from complaints(traces, aims, random, turns=1)
        yield from ended(traces[-1], aims[-1])


# --- objects of others in our places --------------------------------------------------------------


def obstructed(
    firms: Sequence[Firm], random: Random, *, times: int, turns: int = 1
) -> Iterator[tuple[Trace, str]]:
    """Syncs past objects of others in the places of ours, each with what is wrong of it.

    They come at any moment between two configurations and are there for two syncs, each of which
    may be killed, the second also refused some write. Then they are gone, what stood there is back,
    or some are taken over.
    """
    old, new, *more = firms
    trace = synced(new, old.first.end, proven=False)
    between = [stands for _, stands in trace.states(random, turns)]
    # Most things are still to be done at the start.
    for number in range(times if trace.writes else 0):
        early = number % 2 == 0 or not between
        stands = dict(old.first.end if early else random.choice(between))
        aim = random.choice((new, new, new, new, old, *more))
        foreign = _obstacles(trace, stands, random)
        aims, traces, held = [old, new], [trace], stands
        for again in range(2):
            aims.append(aim)
            refuses = _refusing(traces[-1], random) if again else _nothing
            there = {**foreign, **({} if again else _drifted(stands, foreign, random))}
            traces.append(synced(aim, held, refuses, there, proven=False))
            said = [*complaints(traces, aims, random, turns), *_touched(traces[-1], foreign)]
            yield traces[-1], "".join(said)
            ways = [done for done, _ in traces[-1].states(random, 0)]
            killed = ways and random.random() < 0.3
            end = traces[-1].after(random.choice(ways)) if killed else traces[-1].end
            held = {key: each for key, each in end.items() if key not in foreign}
            if random.random() < 0.3:
                aim = random.choice((new, old, *more))
        aims.append(aim)
        way = random.choice(("gone", "back", "adopted"))
        tiers = {each.document()["spec"].get("tier") for each in held.values()}
        if any(kind == "Tier" and name in tiers for kind, name in foreign):
            # Nobody can remove a tier in which a policy stands.
            way = "adopted"
        # Nobody has a policy without its tier.
        back = {
            key: each
            for key, each in stands.items()
            if way == "back"
            and key in foreign
            and ("Tier", each.document()["spec"].get("tier")) in {*held, *_NO_TIER}
        }
        if way == "adopted":
            there = {key: _without(each, _THEIRS) for key, each in foreign.items()}
            asked = {key: each for key, each in there.items() if random.random() < 0.7}
            traces.append(synced(aim, held, foreign=there, asked=asked, proven=False))
        else:
            traces.append(synced(aim, {**held, **back}, proven=False))
        said = [*complaints(traces, aims, random, turns)]
        if way != "adopted":
            said += ended(traces[-1], aim)
        yield traces[-1], "".join(said)


def _drifted(stands: Objects, foreign: Objects, random: Random) -> dict[Key, Manifest]:
    """A tier of ours that another hand lets deny at its end, sometimes."""
    tiers = sorted(key for key in stands if key[0] == "Tier" and key not in foreign)
    # Where the last policy of a chain is missing, it is the end of the tier that decides.
    often = 0.6 if any(kind in POLICIES for kind, _ in foreign) else 0.1
    if not tiers or random.random() > often:
        return {}
    key = random.choice(tiers)
    document = stands[key].document()
    document["spec"]["defaultAction"] = "Deny"
    return {key: Manifest.of(document)}


def _refusing(trace: Trace, random: Random) -> Refuses:
    """One name that was left or written is refused, sometimes."""
    plan = trace.result.plan
    names = sorted({each.name for each in plan.changes}) if plan else []
    if not names or random.random() < 0.7:
        return _nothing
    refused = random.choice(names)
    return lambda name, _time: name == refused


def _obstacles(trace: Trace, stands: Objects, random: Random) -> dict[Key, Manifest]:
    """Objects of others in places of ours, mostly where a sync like this one is about to write.

    What is written first is what most counts on: lists that denies are about to select, sets that
    lose, the policies in the middle of a chain that grows.
    """
    changes = [each.change for each in trace.writes]
    made = [each.after for each in changes if each.after and each.after not in stands.values()]
    new = [each for each in made if (each.kind, each.name) not in stands]
    lists = [each for each in made if LIST_LABEL in each.document()["metadata"]["labels"]]
    sets = [each for each in made if each.kind == "GlobalNetworkSet"]
    policies = [each for each in made if each.kind == "GlobalNetworkPolicy"]
    standing = [*stands.values()]
    selected = [each for each in standing if each.kind == "GlobalNetworkSet"]
    # What denies at the other end of what a chain lets by.
    around = [
        each for each in standing if each.kind in POLICIES and not each.contents.position.chain
    ]
    kinds = [lists, lists, sets, policies, policies, new, selected, around, around, standing, made]
    kinds = [each for each in kinds if each] or [list(trace.end.values())]
    found: dict[Key, Manifest] = {}
    for _ in range(random.choice((1, 1, 1, 2))):
        found |= _foreign(random.choice(kinds), random)
    return found


def _touched(trace: Trace, foreign: Objects) -> Iterator[str]:
    for key, each in foreign.items():
        if trace.end.get(key) != each:
            yield f"\n{key} of others was touched"
    plan = trace.result.plan
    if plan and plan.held and not trace.refused and trace.result.state != "blocked":
        yield f"\nwhat stands in the way makes the cluster {trace.why}"


def _foreign(of: Sequence[Manifest], random: Random) -> dict[Key, Manifest]:
    """What somebody else has made of one of these objects."""
    taken = random.choice(of)
    document = taken.document()
    labels = document["metadata"].pop("labels", {})
    document["metadata"].pop("annotations", None)
    if random.random() < 0.3:
        document["metadata"]["labels"] = dict([_THEIRS])
    elif random.random() < 0.2:
        # Whoever takes off the labels of an installation may leave those that selectors name.
        kept = {key: value for key, value in labels.items() if (key, value) not in OWNER}
        document["metadata"]["labels"] = kept
    spec = document["spec"]
    others: list[dict[str, Any]] = []
    if taken.kind == "GlobalNetworkSet":
        nets = ["10.9.0.0/30", "10.9.0.5/32", "10.244.0.16/28", *spec.get("nets", ())]
        document["spec"] = {"nets": sorted({*random.sample(nets, random.randint(0, 3))})}
    elif taken.kind == "Tier":
        spec["order"] = random.choice((spec["order"], 1, 900))
        spec["defaultAction"] = random.choice(("Deny", "Pass"))
    elif random.random() < 0.8:
        # Another tier than ours, where it decides nothing: its place is what counts.
        document["spec"] = {**spec, "tier": "elsewhere", "ingress": [], "egress": []}
        others.append({**_ELSEWHERE})
    found = [Manifest.of(each) for each in (document, *others)]
    return {(each.kind, each.name): each for each in found}


def _without(manifest: Manifest, label: tuple[str, str]) -> Manifest:
    """The same object without a label: on what is taken over, those of others are kept."""
    document = manifest.document()
    document["metadata"].get("labels", {}).pop(label[0], None)
    return Manifest.of(document)


_THEIRS = ("team", "blue")
_NO_TIER = {("Tier", None)}  # of sets and tiers themselves
_ELSEWHERE = {
    "apiVersion": "projectcalico.org/v3",
    "kind": "Tier",
    "metadata": {"name": "elsewhere"},
    "spec": {"order": 2000, "defaultAction": "Pass"},
}

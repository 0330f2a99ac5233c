"""The proof holds for what is written, and for no mutant of it that decides a flow otherwise.

A mutant is the written documents with one mistake. Whether the mistake matters is asked of the
naive evaluators, which share no code with the proof: a flow that they judge otherwise than before
is a witness, and with a witness the proof must not hold. What the proof names as counterexamples
is asked of them in turn.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_network
from itertools import islice
from random import Random
from re import compile as pattern
from typing import Any, TypeVar

import orjson
import pytest

from sync.verify.compare import Difference
from sync.verify.profiles import DeviceGroup
from sync.verify.proof import Proof, prove
from sync.verify.settings import Settings
from tests.naive.calico_verdict import Calico
from tests.naive.firewall_verdict import Firewall, cluster_verdict
from tests.naive.flows import ICMP, ICMP6, ORACLES, End, Flow, Oracle
from tests.naive.rulebases import Case, derived_for
from tests.property.test_translation_property import Judged, inexact, judged

Document = dict[str, Any]
_Chosen = TypeVar("_Chosen")

SEEDS = range(12)
MUTATED = range(40, 50)
MANY_SEEDS = range(1000, 1200, 20)
# Of each case: mutants of a kind that are made until one has a witness; of all cases: witnesses.
TRIES, ENOUGH = 3, 3
NOBODYS = 0x2001_0DB8_FFFF << 80
LOOKED_AT = 2  # counterexamples of each sort of one mutant


def documents_of(one: Judged) -> list[Document]:
    """The written documents, to be changed at will."""
    written = [manifest.document() for manifest in one.translated.manifests.values()]
    found: list[Document] = orjson.loads(orjson.dumps(written))
    return found


def groups_of(one: Judged) -> list[DeviceGroup]:
    """The device groups of a case, in the order of their tiers."""
    return [
        DeviceGroup(
            "panorama",
            one.case.seen(group.name),
            derived_for(one.case, group),
            group.tier,
        )
        for group in sorted(one.case.groups, key=lambda each: each.order)
    ]


def settings_of(one: Judged) -> Settings:
    made = one.case
    return Settings(made.rules, made.zones, made.pods_in, made.registered_known)


def proof_of(one: Judged, documents: Sequence[Document]) -> Proof:
    return prove(groups_of(one), documents, settings_of(one))


# --- mutants --------------------------------------------------------------------------------------

_RULE = pattern(r"(\S+)\[(ingress|egress) (\d+)\]")
_ENDS = ("source", "destination")
_PLAIN = {"action", "source", "destination", "metadata"}
_DIRECTIONS = ("ingress", "egress")


class NoPlaceError(Exception):
    """Nothing in the documents can be mistaken this way."""


class Mutator:
    """Makes one mistake in documents, by preference in a rule that decides a flow of the case."""

    def __init__(
        self, random: Random, documents: list[Document], deciding: Mapping[str, bool]
    ) -> None:
        self._random = random
        self.documents = documents
        self._deciding = deciding
        self.policies = [each for each in documents if each["kind"].endswith("NetworkPolicy")]
        self.sets = [each for each in documents if each["kind"] == "GlobalNetworkSet"]

    def one_of(self, found: Iterable[_Chosen]) -> _Chosen:
        every = list(found)
        if not every:
            raise NoPlaceError
        return self._random.choice(every)

    def places(self, *, apart: bool = False) -> Iterator[tuple[list[Document], int]]:
        """Lists of rules, each with the place of a rule in it; first those that decide a flow.

        `apart`: only those, and only where the next rule would decide the flow otherwise.
        """
        every = [
            (rules, number, f"{policy['metadata']['name']}[{direction} {number}]")
            for policy in self.policies
            for direction in _DIRECTIONS
            for rules in (policy["spec"].get(direction, []),)
            for number in range(len(rules))
        ]
        self._random.shuffle(every)
        if apart:
            every = [each for each in every if self._deciding.get(each[2])]
        every.sort(key=lambda each: each[2] not in self._deciding)
        for rules, number, _ in every:
            yield rules, number

    def rule(self, fits: Callable[[Document], object]) -> Document:
        for rules, number in self.places():
            if fits(rules[number]):
                return rules[number]
        raise NoPlaceError

    def end(self, *keys: str) -> tuple[Document, str]:
        """An end of a rule that has one of these keys, and the key."""
        for rules, number in self.places():
            found = [
                (rules[number][end], key)
                for end in _ENDS
                for key in keys
                if key in rules[number].get(end, {})
            ]
            if found:
                return self._random.choice(found)
        raise NoPlaceError

    # --- mistakes ---------------------------------------------------------------------------------

    def neighbours_swapped(self) -> None:
        rules, at = self.one_of(self.places(apart=True))
        rules[at], rules[at + 1] = rules[at + 1], rules[at]

    def negation_dropped(self) -> None:
        end, key = self.end("notNets", "notSelector", "notPorts")
        positive = key[3].lower() + key[4:]
        if positive in end:
            raise NoPlaceError
        end[positive] = end.pop(key)

    def negation_added(self) -> None:
        end, key = self.end("nets", "selector", "ports")
        negative = f"not{key.capitalize()}"
        if negative in end:
            raise NoPlaceError
        end[negative] = end.pop(key)
        if key == "selector":
            end.pop("namespaceSelector", None)

    def ports_widened(self) -> None:
        end, _ = self.end("ports")
        at = self._random.randrange(len(end["ports"]))
        first, _, last = str(end["ports"][at]).partition(":")
        end["ports"][at] = self._random.choice((f"1:{last or first}", f"{first}:65535"))

    def ports_dropped(self) -> None:
        end, key = self.end("ports", "notPorts")
        del end[key]

    def selector_term_lost(self) -> None:
        ends = [self.end("selector", "notSelector") for _ in range(2)]
        policy = self.one_of(self.policies)
        holder, key = self.one_of([*ends, (policy["spec"], "selector")])
        holder[key] = self.one_of(_with_a_term_lost(holder[key]))

    def net_grown(self) -> None:
        nets = self._nets()
        at = self._random.randrange(len(nets))
        net = ip_network(nets[at])
        if not net.prefixlen:
            raise NoPlaceError
        nets[at] = str(net.supernet(self._random.randint(1, min(6, net.prefixlen))))

    def net_lost(self) -> None:
        nets = self._nets()
        if len(nets) < 2:
            raise NoPlaceError
        nets.pop(self._random.randrange(len(nets)))

    def _nets(self) -> list[str]:
        if self.sets and self._random.random() < 0.4:
            nets: list[str] = self.one_of(
                each["spec"]["nets"] for each in self.sets if each["spec"].get("nets")
            )
        else:
            end, key = self.end("nets", "notNets")
            nets = end[key]
        return nets

    def action_turned(self) -> None:
        rule = self.rule(lambda _: True)
        rule["action"] = "Pass" if rule["action"] == "Deny" else "Deny"

    def protocol_dropped(self) -> None:
        rule = self.rule(lambda each: "protocol" in each)
        for key in ("protocol", "icmp"):
            rule.pop(key, None)
        for end in _ENDS:
            for key in ("ports", "notPorts"):
                rule.get(end, {}).pop(key, None)

    def family_dropped(self) -> None:
        # Where nets of one family stand, only that family's packets match anyway, so it matters
        # in few rules: they lose it together.
        keys = {"nets", "notNets"}
        found = [
            rules[number]
            for rules, number in self.places()
            if "ipVersion" in rules[number]
            and not any(keys & rules[number].get(end, {}).keys() for end in _ENDS)
        ]
        self.one_of(found)
        for rule in found:
            del rule["ipVersion"]

    def policy_missing(self) -> None:
        self.documents.remove(self.one_of(self.policies))

    def set_missing(self) -> None:
        self.documents.remove(self.one_of(self.sets))

    def parts_exchanged(self) -> None:
        first, second = self.cut()
        one, other = first["spec"], second["spec"]
        one["order"], other["order"] = other["order"], one["order"]

    def direction_lost(self) -> None:
        types = self.one_of(self.policies)["spec"]["types"]
        types.remove(self.one_of(types))

    def pods_of_another_zone(self) -> None:
        spec = self.one_of(self.policies)["spec"]
        spec["selector"] = self.one_of(
            each["spec"]["selector"]
            for each in self.policies
            if each["spec"]["selector"] != spec["selector"] and each["spec"]["tier"] == spec["tier"]
        )

    def action_final(self) -> None:
        # What a tier allows for good no later tier is asked about.
        first, *later = sorted(
            (each for each in self.documents if each["kind"] == "Tier"),
            key=lambda each: each["spec"]["order"],
        )
        policy = self.one_of(
            each
            for each in self.policies
            if later and each["spec"]["tier"] == first["metadata"]["name"]
        )
        for direction in _DIRECTIONS:
            for rule in policy["spec"].get(direction, ()):
                rule["action"] = {"Pass": "Allow"}.get(rule["action"], rule["action"])

    def default_denies(self) -> None:
        # A chain decides everything itself, unless its last rule is left to the default.
        self.last_left_to_the_default()
        for each in self.documents:
            if each["kind"] == "Tier":
                each["spec"]["defaultAction"] = "Deny"

    # --- what is no mistake -----------------------------------------------------------------------

    def cut(self) -> tuple[Document, Document]:
        """Make one policy two that say the same together."""
        policy = self.one_of(
            each
            for each in self.policies
            if any(len(each["spec"].get(direction, ())) > 1 for direction in _DIRECTIONS)
        )
        rest: Document = orjson.loads(orjson.dumps(policy))
        rest["metadata"]["name"] += "-rest"
        rest["spec"]["order"] += 0.5
        for direction in _DIRECTIONS:
            rules = policy["spec"].get(direction, [])
            at = self._random.randint(0, len(rules))
            policy["spec"][direction], rest["spec"][direction] = rules[:at], rules[at:]
        self.documents.append(rest)
        return policy, rest

    def last_left_to_the_default(self) -> None:
        """Take away the last rule of each chain where it passes all that comes there."""
        for policy in self.policies:
            spec = policy["spec"]
            if policy["metadata"]["name"].endswith(".pan-unknown-zone"):
                # It selects by label, and is after all others: now it must not select their pods.
                spec["selector"] += "".join(
                    f" && !({other['spec']['selector']})"
                    for other in self.policies
                    if other is not policy and other["spec"]["tier"] == spec["tier"]
                )
            for direction in _DIRECTIONS:
                *rest, last = spec.get(direction) or [{}]
                if (
                    last.get("action") == "Pass"
                    and last.keys() <= _PLAIN
                    and not any(map(last.get, _ENDS))
                ):
                    spec[direction] = rest


def _with_a_term_lost(selector: str) -> Iterator[str]:
    """The selector without one side of a sign, or without one of listed values."""
    for found in pattern(r" (?:&&|\|\|) ").finditer(selector):
        depth = 0
        for past in range(found.end(), len(selector) + 1):
            rest = selector[past:]
            depth += {"(": 1, ")": -1}.get(rest[:1], 0)
            if not rest or depth < 0 or (not depth and rest.startswith((" && ", " || "))):
                yield selector[: found.start()] + rest
                break
    for found in pattern(r"'[^']*', |, '[^']*'(?=})").finditer(selector):
        yield selector[: found.start()] + selector[found.end() :]


KINDS: dict[str, Callable[[Mutator], None]] = {
    each.__name__: each
    for each in (
        Mutator.neighbours_swapped,
        Mutator.negation_dropped,
        Mutator.negation_added,
        Mutator.ports_widened,
        Mutator.ports_dropped,
        Mutator.selector_term_lost,
        Mutator.net_grown,
        Mutator.net_lost,
        Mutator.action_turned,
        Mutator.action_final,
        Mutator.protocol_dropped,
        Mutator.family_dropped,
        Mutator.policy_missing,
        Mutator.set_missing,
        Mutator.parts_exchanged,
        Mutator.direction_lost,
        Mutator.pods_of_another_zone,
        Mutator.default_denies,
    )
}


@dataclass(frozen=True)
class Mutant:
    """A mutant with a witness: a flow that is judged otherwise than by the written documents."""

    kind: str
    one: Judged
    documents: list[Document]
    witness: Flow
    allowed: Flow | None  # one that the firewall denies, whatever is not known of it
    proof: Proof

    def __str__(self) -> str:
        made = self.one.case
        tame = ", tame" if made.tame else ""
        return f"seed {made.seed}{tame}, {self.kind}: {self.witness}"


def verdicts_of(one: Judged) -> tuple[list[bool], dict[str, bool]]:
    """Whether each flow is allowed as written, and the rules that decide any of them.

    With each rule stands whether the next one would decide one of these flows otherwise.
    """
    verdicts = [one.calico.verdict(flow) for flow in one.case.flows]
    policies = {each.name: each for _, _, some in one.calico._tiers for each in some}
    deciding: dict[str, bool] = {}
    for flow, each in zip(one.case.flows, verdicts, strict=True):
        for found in _RULE.finditer(each.by):
            at = int(found[3])
            this, *after = policies[found[1]].rules[found[2]][at : at + 2]
            apart = any(
                (this.action == "Deny") != (other.action == "Deny") and other.matches(flow)
                for other in after
            )
            deciding[found[0]] = deciding.get(found[0], False) or apart
    return [each.allow for each in verdicts], deciding


@cache
def some_mutants(kind: str) -> list[Mutant]:
    """Mutants of a kind with witnesses, from the first cases that have any."""
    every = (
        mutant
        for seed in MUTATED
        for tame in (True, False)
        for mutant in mutants_of(kind, judged(seed, tame=tame), TRIES)
    )
    return list(islice(every, ENOUGH))


def mutants_of(kind: str, one: Judged, tries: int) -> Iterator[Mutant]:
    """A mutant of a kind with a witness, if one is found in some tries.

    What is essential is outside the proof, and such cases are left out.
    """
    if one.case.zones.essentials:
        return
    random = Random(f"{kind} {one.case.seed} {one.case.tame}")
    before, deciding = verdicts_of(one)
    for _ in range(tries):
        documents = documents_of(one)
        try:
            KINDS[kind](Mutator(random, documents, deciding))
        except NoPlaceError:
            continue
        calico = Calico(documents, one.case.world)
        changed = [
            flow
            for flow, allowed in zip(one.case.flows, before, strict=True)
            if calico.verdict(flow).allow != allowed
        ]
        if changed:
            allowed = (
                flow for flow in changed if calico.verdict(flow).allow and is_denied(one.case, flow)
            )
            proof = proof_of(one, documents)
            yield Mutant(kind, one, documents, changed[0], next(allowed, None), proof)
            return


def is_denied(case: Case, flow: Flow) -> bool:
    return not any(cluster_verdict(case.firewalls, flow, oracle).allow for oracle in ORACLES)


def wrongly_proven(mutant: Mutant) -> Iterator[str]:
    """What the proof says of a mutant and must not."""
    proof = mutant.proof
    if proof.holds:
        yield f"\n{mutant}: proven"
    if mutant.allowed and not (proof.allowed or proof.undecided):
        yield f"\n{mutant}: {mutant.allowed} is denied by the firewall, and allowed unseen"


# --- counterexamples ------------------------------------------------------------------------------


def untrue(mutant: Mutant, counted: Counter[str]) -> Iterator[str]:
    """Counterexamples of the proof that are none; `counted` gets how many of a sort were asked of.

    Left out are those of a zone that has no pod in the case, and those that tell no tier.
    """
    strict = not inexact(mutant.one) and all(
        each.knows_all_networks for each in mutant.one.case.firewalls
    )
    for each, tier, firewall, (local, far) in _to_look_at(mutant):
        its = [
            document
            for document in mutant.documents
            if document["spec"].get("tier", tier) == tier
            and (document["kind"] != "Tier" or document["metadata"]["name"] == tier)
        ]
        # Both ends may be said to have one address. Whose it is in the world is then the far end's:
        # rules ask who is there, and of the pod that they are about they only ask its address.
        taken = (far.family, far.address)
        world = [end for end in mutant.one.case.world if (end.family, end.address) != taken]
        world.append(replace(local, family=6, address=NOBODYS))
        world += [far] if far.pod else []
        # The far end's own policies are another question; whose address it is the world says.
        judged_here = _flow(each, local, replace(far, pod=None))
        if Calico(its, world).verdict(judged_here).allow != (each.calico == "allow"):
            yield f"\n{mutant}: Calico judges otherwise: {each}"
        counted[each.calico] += 1
        verdicts = [
            one_allows(firewall, local, flow, oracle)
            for flow in _with_applications(_flow(each, local, far))
            for oracle in ORACLES
        ]
        if each.firewall == "allow" and not all(verdicts):
            yield f"\n{mutant}: the firewall may deny it: {each}"
        # What is not known of a rule the oracles may all answer in favour of an allow.
        if each.firewall == "deny" and all(verdicts) and strict:
            yield f"\n{mutant}: the firewall allows it: {each}"


def _to_look_at(mutant: Mutant) -> Iterator[tuple[Difference, str, Firewall, tuple[End, End]]]:
    """Some counterexamples of each sort, each with its tier, the firewall and both ends."""
    made = mutant.one.case
    for some in (mutant.proof.allowed, mutant.proof.denied):
        found = [
            (each, group.tier, firewall, ends)
            for each in some
            for group, firewall in zip(made.groups, made.firewalls, strict=True)
            if each.where.startswith(f"{group.tier}.") or len(made.groups) == 1
            for ends in [_ends(made, firewall, each)]
            if ends
        ]
        yield from found[:LOOKED_AT]


def _ends(case: Case, firewall: Firewall, each: Difference) -> tuple[End, End] | None:
    """The two ends of a counterexample, pods of the case moved to its addresses."""
    found = []
    for word, (family, address) in (
        (each.flow.local.removeprefix("a pod of "), each.flow.local_address),
        (each.flow.far, each.flow.far_address),
    ):
        assert family in (4, 6)
        if word == "an address outside pods":
            found.append(End(address, family))
            continue
        pods = [end.pod for end in case.world if end.pod and _is(word, firewall, end)]
        if not pods:
            return None
        # Two pods of a zone may be made of one.
        found.append(End(address, family, replace(pods[0])))
    local, far = found
    return local, far


def _is(word: str, firewall: Firewall, end: End) -> bool:
    assert end.pod is not None
    zone = firewall.zone_of_pod(end)
    if zone is not None:
        return word == f"zone {zone}"
    labelled = firewall.zone_options.label in end.pod.labels
    return word == ("a pod whose label names no zone" if labelled else "a pod without a zone")


def _flow(each: Difference, local: End, far: End) -> Flow:
    ends = (local, far) if each.flow.direction == "egress" else (far, local)
    packet = each.flow.packet
    return Flow(*ends, packet.protocol, packet.source_port, packet.port, packet.icmp)


def _with_applications(flow: Flow) -> list[Flow]:
    if flow.protocol in (ICMP, ICMP6):
        ping = flow.icmp is not None and flow.icmp[0] == {ICMP: 8, ICMP6: 128}[flow.protocol]
        return [replace(flow, application="ping" if ping else None)]
    return [replace(flow, application=name) for name in (None, "ssl", "dns")]


def one_allows(firewall: Firewall, local: End, flow: Flow, oracle: Oracle) -> bool:
    """What a device group decides at one end, as in a cluster."""
    zone = firewall.zone_of_pod(local)
    if zone is None:
        assert local.pod is not None
        return firewall.zone_options.label not in local.pod.labels
    return zone not in firewall.zones or firewall.verdict(flow, oracle).allow


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_written_is_proven(seed: int, tame: bool) -> None:
    one = judged(seed, tame=tame)
    assert proof_of(one, documents_of(one)).holds


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_written_of_templates_is_proven(seed: int) -> None:
    one = judged(seed, routed=True)
    assert proof_of(one, documents_of(one)).holds


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_saying_the_same_otherwise_is_proven_too(seed: int) -> None:
    one = judged(seed)
    documents = documents_of(one)
    mutator = Mutator(Random(seed), documents, {})
    mutator.last_left_to_the_default()
    mutator.cut()
    assert proof_of(one, documents).holds


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutant_that_decides_a_flow_otherwise_is_not_proven(kind: str) -> None:
    found = some_mutants(kind)
    assert found, "no mutant of this kind decides any flow otherwise"
    assert not "".join(wrong for mutant in found for wrong in wrongly_proven(mutant))


def test_counterexamples_are_flows_that_the_two_judge_differently() -> None:
    counted: Counter[str] = Counter()
    for kind in KINDS:
        for mutant in some_mutants(kind):
            assert not "".join(untrue(mutant, counted))
    assert counted["allow"] > 20
    assert counted["deny"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(first: int) -> None:
    counted: Counter[str] = Counter()
    for seed in range(first, first + MANY_SEEDS.step):
        for tame in (True, False):
            one = judged.__wrapped__(seed, tame=tame)
            assert proof_of(one, documents_of(one)).holds, (seed, tame)
            for kind in KINDS:
                for mutant in mutants_of(kind, one, tries=8):
                    counted[kind] += 1
                    wrong = [*wrongly_proven(mutant), *untrue(mutant, counted)]
                    assert not "".join(wrong)
    assert len(counted.keys() & KINDS.keys()) > len(KINDS) - 3

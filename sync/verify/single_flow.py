"""Calico's verdict on single flows between pods that are known, from the written documents.

The source pod's egress and the destination pod's ingress are judged apart, tier by tier; what a
tier passes goes on to the next one, and a tier without a policy that selects the pod is not asked
(`felix/rules/endpoints.go`, `felix/calc/policy_sorter.go`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sync.net.intervals import holds
from sync.options import ZoneOptions
from sync.verify.calico_documents import STAGED
from sync.verify.calico_semantics import Direction, Policies
from sync.verify.packet_space import Entry, of_family
from sync.verify.profiles import Profiles
from sync.verify.selectors import Labels
from sync.verify.traffic_space import Packet, carries


@dataclass(frozen=True, eq=False)
class FlowEnd:
    """One end of a flow: an address as (family, number), and the labels of the pod that has it.

    `labels` are None for anything but a pod, else all that selectors see: the pod's own and those
    that Calico gives it. `name` is for people.
    """

    name: str
    address: tuple[int, int]
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A first packet, and where it goes."""

    source: FlowEnd
    destination: FlowEnd
    packet: Packet


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a flow, and the rule that denies it: `where` as in `policy[egress 3]`, and
    the firewall's `rule` that it names. Both "" where the flow is allowed."""

    allowed: bool
    where: str = ""
    rule: str = ""


ALLOWED: Final = Verdict(allowed=True)


class Flows:
    """The policies of documents, for flows between some ends."""

    def __init__(self, documents: Iterable[Mapping[str, Any]], ends: Sequence[FlowEnd]) -> None:
        """`ends` are all that flows will be asked about. Staged policies decide nothing.

        `UnreadableError` for a document that cannot be judged.
        """
        enforced = [each for each in documents if each["kind"] != STAGED]
        tiers = [each for each in enforced if each["kind"] == "Tier"]
        tiers.sort(key=lambda each: (each["spec"]["order"], each["metadata"]["name"]))
        # Zones do not matter here: all labels of every pod are known.
        pods = {end: end.labels for end in ends if end.labels is not None}
        self._profiles = Profiles((), ZoneOptions(), [*pods.values()])
        self._bits = dict(zip(pods, self._profiles.known, strict=True))
        self._tiers = [
            Policies(each["metadata"]["name"], enforced, self._profiles, last=each is tiers[-1])
            for each in tiers
        ]
        self._lists: dict[tuple[int, Direction, tuple[str, ...], Packet], list[Entry]] = {}

    def verdict(self, flow: Flow) -> Verdict:
        """The verdict of our tiers on a flow; one that all of them pass is allowed here."""
        ways: tuple[tuple[FlowEnd, Direction, FlowEnd], ...] = (
            (flow.source, "egress", flow.destination),
            (flow.destination, "ingress", flow.source),
        )
        for near, direction, far in ways:
            if near.labels is None:
                continue
            for number in range(len(self._tiers)):
                entries = self._said(number, near, direction, flow.packet)
                found = next((each for each in entries if self._joins(each, near, far)), None)
                if found and found.action == "deny":
                    return Verdict(False, found.where, found.rule)  # noqa: FBT003 - a verdict
        return ALLOWED

    def _said(self, number: int, end: FlowEnd, direction: Direction, packet: Packet) -> list[Entry]:
        """The rules of a tier that apply to a packet of a pod; none if no policy selects it."""
        tier, bit = self._tiers[number], self._bits[end]
        # Pods of one zone meet the same rules.
        selecting = tuple(each.name for each in tier.selecting(bit, direction))
        key = (number, direction, selecting, packet)
        if key not in self._lists:
            said = tier.said_to(bit, direction, frozenset()) or ()
            self._lists[key] = [each for each in said if carries(each.traffic, packet)]
        return self._lists[key]

    def _joins(self, entry: Entry, near: FlowEnd, far: FlowEnd) -> bool:
        """Whether a rule is for these two ends."""
        bit = self._bits.get(far, self._profiles.no_pod)
        (family, local), (_, remote) = near.address, far.address
        return (
            family in entry.families
            and holds(of_family(entry.local, family), local)
            and any(
                bits & bit and holds(of_family(held, family), remote) for bits, held in entry.far
            )
        )

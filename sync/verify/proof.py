"""Prove that written policies allow no flow that the firewall denies, over all flows.

rulebase of a device group  ->  what it decides for a zone's pods, in order
policies of its tier        ->  what they decide for these pods, in order
both, beside each other     ->  the flows that they decide differently (`sync.verify.compare`)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE
from sync.verify.calico_semantics import DIRECTIONS, Direction
from sync.verify.compare import Difference, Pods, RuleLists, Witness
from sync.verify.firewall_semantics import Rulebase
from sync.verify.packet_space import Ends, Entry, Place
from sync.verify.profiles import DeviceGroup, UnreadableError
from sync.verify.settings import Settings
from sync.verify.tiers import Tier, Tiers


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of the proof for one cluster.

    `allowed` are flows that the cluster allows and the firewall denies, `denied` those that the
    cluster denies though the firewall's list allows them. `undecided` has a clause for each part
    that was not proven; `lists` counts those that were, `rules` the Calico rules in them. `inexact`
    are the rules that Calico cannot express as the firewall has them, each with clauses that say
    why; `samples` has a flow that
    it decides of each that is an allow, as far as there is one that is found soon.
    """

    allowed: tuple[Difference, ...] = ()
    denied: tuple[Difference, ...] = ()
    undecided: tuple[str, ...] = ()
    lists: int = 0
    rules: int = 0
    inexact: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    samples: Mapping[Place, Witness] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every flow gets the firewall's verdict."""
        return not (self.allowed or self.denied or self.undecided)


def prove(
    groups: Sequence[DeviceGroup],
    documents: Sequence[Mapping[str, Any]],
    settings: Settings,
    *,
    samples: bool = False,
) -> Proof:
    """Compare the written or desired policies with the rulebases of a cluster's device groups.

    `documents` are all sets, tiers and policies of ours in the cluster. `samples` are looked for
    on demand: they prove nothing.
    """
    proofs = []
    for tier in Tiers(groups, documents, settings).each:
        try:
            proofs.append(_TierProof(tier, samples=samples).proof())
        except UnreadableError as error:
            proofs.append(Proof(undecided=(f"tier {tier.group.tier}: {error}",)))
    return merged(proofs)


class _TierProof:
    """Both lists of one tier: what a cluster may allow at most, and what its policies do."""

    def __init__(self, tier: Tier, *, samples: bool) -> None:
        self._tier = tier
        settings = tier.settings
        self._rulebase = Rulebase(
            tier.group,
            tier.networks,
            tier.profiles,
            settings.rules,
            settings.zones,
            registered_known=settings.registered_known,
        )
        self._pods = Pods(tier.profiles, settings.pods)
        self._samples: dict[Place, Witness] | None = {} if samples else None

    def proof(self) -> Proof:
        """Compare the two lists of every profile, in both directions."""
        own, profiles = self._tier.zones, self._tier.profiles
        policies, essentials = self._tier.policies, self._tier.essentials
        proofs = []
        for zone, bit in profiles.zones.items():
            nobodys = zone not in own and zone not in self._tier.elsewhere
            if bit & profiles.impossible or (nobodys and not profiles.by_label(zone)):
                continue  # there is no such pod, or nothing is promised of it
            for direction in DIRECTIONS:
                if zone in own:
                    wanted = [*self._rulebase.decided(zone, direction)]
                elif nobodys:
                    wanted = [self._everything("deny", "a zone that no device group names")]
                else:
                    wanted = [self._everything("allow", "a zone of other device groups")]
                said = policies.said_to(bit, direction, essentials)
                proofs.append(self._compared(f"a pod of zone {zone}", direction, wanted, said))
        others: tuple[tuple[int, Literal["allow", "deny"]], ...] = (
            (profiles.unknown_label, "deny"),
            (profiles.unzoned, "allow"),
        )
        for bit, action in others:
            if bit & profiles.impossible:
                continue
            (who,) = profiles.names(bit)
            for direction in DIRECTIONS:
                said = policies.said_to(bit, direction, frozenset())
                wanted = [self._everything(action, who)]
                proofs.append(self._compared(who, direction, wanted, said))
        inexact = {each.place: each.inexact for each in self._rulebase.meant if each.inexact}
        return merged([*proofs, Proof(inexact=inexact, samples=self._samples or {})])

    def _everything(self, action: Literal["allow", "deny"], why: str) -> Entry:
        everyone: Ends = ((self._tier.profiles.everyone, EVERYWHERE),)
        return Entry(EVERYWHERE, everyone, (Traffic(),), action, why)

    def _compared(
        self, who: str, direction: Direction, wanted: Sequence[Entry], said: Sequence[Entry] | None
    ) -> Proof:
        tier = self._tier.group.tier
        if said is None:
            said = [self._everything("allow", "")._replace(where=f"no policy of tier {tier}")]
        lists = RuleLists(who, direction, wanted, said, self._tier.profiles, self._pods)
        found, because = lists.differences()
        if self._samples is not None:
            self._samples |= lists.samples(self._samples)
        if found and any(each.rough for each in said):
            # What seems to differ need not, and nothing else was found out.
            because, found = "selectors use labels that no zone has", []
        undecided = [f"{direction} of {who}: {because}"] if because else []
        undecided += (f"{each.where} cannot be judged" for each in found if not each.calico)
        return Proof(
            allowed=tuple(each for each in found if each.calico == "allow"),
            denied=tuple(each for each in found if each.calico == "deny"),
            undecided=tuple(f"tier {tier}: {each}" for each in undecided),
            lists=1,
            rules=len(said),
        )


def merged(proofs: Sequence[Proof]) -> Proof:
    """Several proofs as one."""
    return Proof(
        allowed=tuple(each for proof in proofs for each in proof.allowed),
        denied=tuple(each for proof in proofs for each in proof.denied),
        undecided=tuple(each for proof in proofs for each in proof.undecided),
        lists=sum(proof.lists for proof in proofs),
        rules=sum(proof.rules for proof in proofs),
        inexact={place: why for proof in proofs for place, why in proof.inexact.items()},
        samples={place: flow for proof in proofs for place, flow in proof.samples.items()},
    )

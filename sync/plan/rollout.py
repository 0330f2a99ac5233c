"""Decide which generation of each chain is written next, given what the cluster holds.

    chains, other objects, our observed objects  ->  the desired objects of this plan

If one policy of a chain changed, it is replaced in place. If several did, or the selected pods, the
whole chain is written in the other generation, and then the old one is removed. A move that stopped
half-way continues. A move that the configuration has overtaken is first reverted, by a plan that
changes nothing else: neither generation may be rewritten while policies of `b` lead into `a`.
Another plan then has to follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from sync.calico import names
from sync.calico.chains import GAP, LAST_DEFAULT, Generation, ZoneChain
from sync.calico.manifest import Manifest
from sync.calico.references import DIRECTIONS, mapping, rules
from sync.errors import SourceError
from sync.plan.omission import LeftOut, Omission

Key = tuple[str, str]

STAGES: Final = 3
"""Plans that may follow one another in one sync: one reverts, one writes, one is spare."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The objects that a cluster holds after the next plan, by (kind, name).

    `policies` names the policies of each chain in their order, by (tier, zone). If `returning`, an
    overtaken move is reverted: no chain is as translated yet, and `policies` is empty.
    """

    manifests: dict[Key, Manifest]
    policies: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    returning: bool = False

    @property
    def left_out(self) -> list[LeftOut]:
        """The changes that the next plan leaves to the one after it."""
        if not self.returning:
            return []
        return [
            LeftOut(
                "all changes but these",
                "a chain's move was overtaken by a newer change; it is rolled back first, and the "
                "next plan has the rest",
                Omission.LATER,
            )
        ]


def roll_out(
    objects: Iterable[Manifest], chains: Sequence[ZoneChain], standing: Mapping[Key, Manifest]
) -> Rollout:
    """Decide which generation of each chain is written.

    `objects` are those in no chain. `standing` are our objects in the cluster, by (kind, name).
    Raises `SourceError` if two names of the firewall would become one of ours.
    """
    made = [*objects]
    policies: dict[tuple[str, str], Sequence[str]] = {}
    overtaken: set[Key] = set()
    for chain in chains:
        old_a, old_b = _policies_of(chain, "a", standing), _policies_of(chain, "b", standing)
        laid = next_policies(chain, old_a, old_b)
        if laid is None:
            overtaken |= {(each.kind, each.name) for each in old_b}
        else:
            policies[chain.tier, chain.zone] = [each.name for each in laid]
            made += laid
    manifests: dict[Key, Manifest] = {}
    for manifest in made:
        if manifests.setdefault((manifest.kind, manifest.name), manifest) is not manifest:
            raise SourceError(
                f"two things of the firewall would both become {manifest.kind} {manifest.name}; "
                "rename one of them in Panorama"
            )
    if not overtaken:
        return Rollout(manifests, policies)
    # Old rules are not meant for new sets, nor new rules of other zones for old sets.
    kept = {key: manifest for key, manifest in standing.items() if key not in overtaken}
    return Rollout(kept, returning=True)


def next_policies(
    chain: ZoneChain, old_a: Sequence[Manifest], old_b: Sequence[Manifest]
) -> list[Manifest] | None:
    """The policies of a chain in the generation that is written next, given both observed ones.

    None: a move from `a` to `b` was overtaken, so the policies of `b` have to be removed first.
    """
    if old_a and old_b:
        return _halfway(chain, old_a, old_b)
    here: Generation = "b" if old_b else "a"
    old, new = old_b or old_a, chain.laid(here)
    if all(policy in new for policy in old):
        return new
    # A pod that another chain takes over stays in this one until the other is written.
    same_pods = all(policy.contents.selector == chain.selector for policy in old)
    if same_pods and len(old) == len(new) and sum(policy not in old for policy in new) == 1:
        return new
    return chain.laid("a" if here == "b" else "b")


def _halfway(
    chain: ZoneChain, old_a: Sequence[Manifest], old_b: Sequence[Manifest]
) -> list[Manifest] | None:
    """The same if a move from one generation to the other stopped half-way.

    `b` is evaluated before `a`: while `b` is complete, `a` decides nothing.
    """
    new_a, new_b = chain.laid("a"), chain.laid("b")
    if all(policy in old_a for policy in new_a):
        return new_a
    if all(policy in new_b for policy in old_b):
        return new_b
    if _is_whole(old_b):
        return new_a
    # Neither may be rewritten while a policy of `b` leads into `a`.
    return None if _is_whole(old_a) else new_b


def _policies_of(
    chain: ZoneChain, generation: Generation, standing: Mapping[Key, Manifest]
) -> list[Manifest]:
    """The policies of one generation of a chain that the cluster holds."""
    return [
        manifest
        for (kind, name), manifest in standing.items()
        if chain.is_policy(generation, kind, name)
    ]


def _is_whole(policies: Sequence[Manifest]) -> bool:
    """Whether no policy is missing: no gap in the numbers, and a last policy that decides all."""
    orders = sorted(policy.contents.position.order for policy in policies)
    last = max(policies, key=lambda policy: policy.contents.position.order).document()
    ends = [some[-1] for direction in DIRECTIONS if (some := rules(last, direction))]
    return all(second - first == GAP for first, second in pairwise(orders)) and all(
        mapping(end, "metadata", "annotations").get(names.RULE_ANNOTATION) == LAST_DEFAULT
        for end in ends
    )

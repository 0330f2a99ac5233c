"""Prove that the observed state of a cluster gives the firewall's verdicts.

    live objects, as Calico reads them  ->  proof  ->  opened, out of sync, not decided
    desired objects, trail              ->  pending changes, and how far each chain is written

The firewall's side is its current configuration: a flow that it denies since the last sync counts
as opened until the change is written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from sync.calico.references import carried, mapping, named
from sync.clusters.cluster import Key, LiveObject
from sync.plan.differences import differences
from sync.queries.observed import (
    ChainState,
    Document,
    Unlike,
    Unseen,
    by_name,
    chains,
    judged,
    namespaced,
    taken,
)
from sync.reconcile.cluster_identity import foreseen
from sync.reconcile.desired import Cluster, Desired, desired, read_live
from sync.reconcile.device_groups import Read
from sync.reconcile.verification import judged_groups, settings_of, unsaid
from sync.store import HalfWritten, Store
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from sync.verify.calico_documents import STAGED
from sync.verify.compare import Difference
from sync.verify.proof import Proof, prove

_UNJUDGED = "has(zonebridge.io/not-judged)"  # a label of no zone: any pod may be selected


@dataclass(frozen=True, slots=True)
class Verified:
    """The proof of the objects that one cluster holds.

    `opened` are flows that they allow and the firewall denies, `out_of_sync` those that they deny
    though exact rules of the firewall allow them. `undecided` has a clause for each part that was
    not judged, `notes` a sentence for everything else that counts. `policies` are the observed
    ones, by name; `half` says since when a sync has been incomplete.
    """

    cluster: str
    report: Report
    proof: Proof
    opened: tuple[Difference, ...]
    out_of_sync: tuple[Difference, ...]
    undecided: tuple[str, ...]
    notes: tuple[str, ...]
    unlike: Unlike
    chains: tuple[ChainState, ...]
    policies: Mapping[str, Document]
    half: HalfWritten | None

    @property
    def holds(self) -> bool:
        """Whether the observed state is proven to give the firewall's verdicts."""
        return not (self.opened or self.out_of_sync or self.undecided)


def verified(cluster: Cluster, read: Read, store: Store, options: Options) -> Verified:
    """Prove the observed state of a cluster; raises as `desired` does."""
    written = {} if foreseen(cluster, store, {}) else store.written(cluster.name)
    live = read_live(cluster, written, options.owner)
    wanted = desired(cluster, read, live, written, options)
    tiers = [target.tier for target in wanted.targets]
    unseen: list[Unseen] = []
    documents = [*judged(live, tiers, unseen)]
    unseen += namespaced(tiers, wanted.facts, directory=cluster.directory)
    stands = _Stands(wanted, live, written)
    counting = [*stands.counting([*documents, *stands.unjudged(unseen, tiers)])]
    groups, settings = judged_groups(wanted.targets), settings_of(wanted.options)
    proof = prove(groups, counting, settings, samples=True)
    unlike = Unlike.of(differences(wanted.rollout.manifests, written, live))
    report = wanted.report
    return Verified(
        cluster=cluster.name,
        report=report,
        proof=proof,
        opened=proof.allowed,
        out_of_sync=tuple(unsaid(proof, report)),
        undecided=(
            *(each.sentence for each in unseen if stands.decides(each)),
            *stands.without_tier(counting),
            *proof.undecided,
        ),
        notes=tuple(stands.notes(documents, counting)),
        unlike=unlike,
        chains=chains(wanted.rollout.manifests, live, unlike),
        policies=by_name(counting),
        half=store.half_written(cluster.name),
    )


class _Stands:
    """The observed objects that count, by the modes of the tiers."""

    def __init__(
        self, wanted: Desired, live: Mapping[Key, LiveObject], written: Mapping[Key, Any]
    ) -> None:
        self._modes = {target.tier: target.mode for target in wanted.targets}
        self._live = live
        self._taken = taken(wanted.rollout.manifests, live)
        self._written = written

    def counting(self, documents: Sequence[Document]) -> Iterator[Document]:
        """The objects that decide, with our staged policies as if they were enforced.

        Staged policies decide nothing in an enforced tier, or if they are foreign. Otherwise a
        staged policy counts instead of the enforced one of the same name, which it will replace.
        """
        staged = {each["metadata"]["name"] for each in documents if self._previewed(each)}
        for each in documents:
            if each["kind"] == STAGED:
                if self._previewed(each):
                    yield each
            elif each["kind"] != "GlobalNetworkPolicy" or each["metadata"]["name"] not in staged:
                yield each

    def _previewed(self, document: Document) -> bool:
        if document["kind"] != STAGED or self._modes.get(_tier(document)) != "staged":
            return False
        return self._ours(STAGED, document["metadata"]["name"])

    def _ours(self, kind: str, name: str) -> bool:
        """Whether an object is ours, by its labels or by the trail."""
        found = self._live.get((kind, name))
        return bool(found and found.manifest) or (kind, name) in self._written

    def decides(self, unseen: Unseen) -> bool:
        """Whether something unjudged may decide a flow; foreign staged policies do not."""
        if not unseen.staged:
            return True
        return bool(unseen.policy and self._previewed(_readable(unseen.policy)))

    def unjudged(self, unseen: Iterable[Unseen], tiers: Sequence[str]) -> Iterator[Document]:
        """A stand-in for each policy that cannot be judged: its pods and verdicts are unknown.

        Policies before it in its tier are judged as usual.
        """
        for each in unseen:
            if each.policy:
                found = _readable(each.policy)
                for tier in tiers if _tier(found) not in tiers else [_tier(found)]:
                    yield {**found, "spec": {**found["spec"], "tier": tier}}

    def without_tier(self, documents: Sequence[Document]) -> Iterator[str]:
        """The tiers that do not exist although policies name them."""
        for tier in self._modes:
            if ("Tier", tier) not in self._live and any(_tier(each) == tier for each in documents):
                yield (
                    f"tier {tier} does not exist in the cluster, so its policies decide after "
                    "those of every tier that does"
                )

    def notes(self, documents: Sequence[Document], counting: Sequence[Document]) -> Iterator[str]:
        """Notes on foreign objects that count or do not, and on staged tiers."""
        for tier, mode in self._modes.items():
            if mode == "staged":
                yield f"tier {tier} is staged: its policies are judged as if they were enforced"
        for (kind, name), found in self._taken.items():
            yield f"{kind} {name} is in the place of one of ours: it {found.foreign_because}"
        asked = frozenset(label for each in counting for label in named(each))
        for each in documents:
            kind, name = each["kind"], each["metadata"]["name"]
            if self._ours(kind, name) or kind == "Tier" or (kind, name) in self._taken:
                continue
            if kind == "GlobalNetworkPolicy":
                yield f"{kind} {name} of others is in tier {_tier(each)} and counts as it is"
            elif kind == STAGED:
                yield f"{kind} {name} of others is in tier {_tier(each)} and decides nothing"
            elif kind == "GlobalNetworkSet" and not carried(each).isdisjoint(asked):
                yield (
                    f"{kind} {name} of others carries labels that policies in our tiers select by; "
                    "where they select it, its nets count"
                )


def _tier(document: Document) -> str:
    return str(mapping(document, "spec").get("tier") or "default")


def _readable(policy: Document) -> Document:
    """The judged part of a policy: its tier and order, and that it may decide."""
    spec = mapping(policy, "spec")
    order = spec.get("order")
    return {
        "kind": policy.get("kind"),
        "metadata": {"name": str(mapping(policy, "metadata").get("name"))},
        "spec": {
            "tier": _tier(policy),
            # With an unreadable position it may decide before all others.
            "order": order if isinstance(order, int | float) else (inf if order is None else -inf),
            "selector": _UNJUDGED,
            "types": ["Ingress", "Egress"],
        },
    }

"""The observed state of a cluster, as Calico reads it, beside the desired state.

    live objects  ->  all sets, our tiers, every policy in them; and what is not judged
    desired, trail, live  ->  pending changes, and changes by others

Nothing is stored: a half-written state shows as a difference.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

from sync.calico.contents import PolicyPosition
from sync.calico.manifest import Manifest
from sync.calico.names import CHAIN_ANNOTATION
from sync.calico.objects import KINDS, POLICIES
from sync.calico.references import Label, mapping, named, rules
from sync.clusters.cluster import ClusterFacts, Key, LiveObject
from sync.plan.changes import Action, Cause, Change
from sync.plan.differences import Differences
from sync.verify.calico_semantics import as_read
from sync.verify.profiles import UnreadableError

Document = Mapping[str, Any]

_STAGED: Final = "Staged"  # the prefix of kinds that decide nothing yet
_OF_TIER: Final = " of tier "  # in the words of what decides without a rule


class Unseen(NamedTuple):
    """Something else that may decide but is not judged, as a sentence; `staged`: not yet.

    `policy` is its document if it is a readable policy.
    """

    sentence: str
    staged: bool = False
    policy: Document | None = None


def judged(
    found: Mapping[Key, LiveObject], tiers: Collection[str], unseen: list[Unseen]
) -> Iterator[Document]:
    """The sets in a cluster, and our tiers with all policies in them.

    Objects that cannot be judged are added to `unseen`.
    """
    orders = {name: _order(each.document) for (kind, name), each in found.items() if kind == "Tier"}
    last = max(tiers, key=lambda tier: (orders.get(tier, inf), tier), default="")
    for (folder, place), each in found.items():
        # A file may hold another object than its path names, and applying it creates that one.
        said = each.document.get("kind")
        kind = said if isinstance(said, str) else folder
        name = mapping(each.document, "metadata").get("name", place)
        if kind == "Tier" and name not in tiers:
            continue
        tier = _tier(kind, each.document)
        if tier is not None and tier not in tiers:
            continue
        document = {**each.document, "kind": kind}
        try:
            yield _read(document, name, last)
        except UnreadableError as error:
            because = f" (it {each.foreign_because})" if each.foreign_because else ""
            sentence = f"{kind} {name} is not judged: {error}{because}"
            policy = document if kind in POLICIES and "spec" in document else None
            unseen.append(Unseen(sentence, kind.startswith(_STAGED), policy))


def _read(document: Document, name: object, last: str) -> Document:
    if document["kind"] not in KINDS or not isinstance(name, str):
        raise UnreadableError("it is not an object that a cluster holds by itself")
    return as_read(document, last)


def namespaced(tiers: Iterable[str], facts: ClusterFacts, *, directory: bool) -> Iterator[Unseen]:
    """The namespaced policies in our tiers, which Calico evaluates among ours.

    A `directory` has none, nor other facts of a cluster.
    """
    for tier in tiers:
        for each in facts.foreign_policies.get(tier, ()):
            sentence = f"{each} is in tier {tier} too, and is not judged"
            yield Unseen(sentence, staged=each.startswith(_STAGED))
    if facts.foreign_policies_because and not directory:
        yield Unseen(
            "whether our tiers hold namespaced policies is unknown: "
            f"{facts.foreign_policies_because}"
        )


def _order(tier: Document) -> float:
    """The order of a tier, which may be foreign."""
    found = mapping(tier, "spec").get("order")
    return found if isinstance(found, int | float) else inf


def _tier(kind: str, document: Document) -> object:
    """The tier of a policy; None for an object without one."""
    spec = document.get("spec")
    if kind in ("Tier", "GlobalNetworkSet") or not isinstance(spec, Mapping):
        return None
    return spec.get("tier") or "default"


# --- what is not written yet ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unlike:
    """How the observed state differs from the desired one.

    `pending` are changes that a sync has to write, `drift` changes by others since our write.
    """

    pending: tuple[Change, ...]
    drift: tuple[Change, ...]

    @classmethod
    def of(cls, found: Differences) -> "Unlike":
        """Sort changes by their cause."""
        pending = tuple(each for each in found.changes if each.cause is Cause.CONFIGURATION)
        drift = tuple(each for each in found.changes if each.cause is Cause.DRIFT)
        return cls(pending, (*drift, *found.lost))

    def deciding(self, where: str, policies: Mapping[str, Document]) -> tuple[Change, ...]:
        """The pending changes of the objects that decide a flow: `where` as in `policy[egress 3]`.

        These are changes of the policy and its chain, and of sets that the rule selects. For the
        default of a tier, or if no policy decides, they are all changes of the tier. `policies` are
        the observed ones, by name.
        """
        name, _, rule = where.partition("[")
        policy = policies.get(name)
        if policy is None or not rule:
            tier = where.rpartition(_OF_TIER)[2].removesuffix(" selects it")
            return tuple(each for each in self.pending if _in_tier(each, tier))
        direction, _, index = rule.removesuffix("]").partition(" ")
        some = rules(policy, direction)
        one = some[int(index)] if index.isdigit() and int(index) < len(some) else None
        labels = named({"spec": {direction: [one]}})
        chain = mapping(policy, "metadata", "annotations").get(CHAIN_ANNOTATION, "")
        whose = (mapping(policy, "spec").get("tier"), chain)
        return tuple(each for each in self.pending if _decides(each, name, whose, labels))


def _in_tier(change: Change, tier: str) -> bool:
    if change.kind == "Tier":
        return change.name == tier
    return change.kind in POLICIES and change.place.tier == tier


def _decides(
    change: Change, name: str, chain: tuple[object, object], labels: Collection[Label]
) -> bool:
    if change.kind in POLICIES:
        place = change.place
        return change.name == name or bool(place.chain and (place.tier, place.chain) == chain)
    return any(not each.contents.labels.isdisjoint(labels) for each in change.sides)


def by_name(documents: Iterable[Document]) -> dict[str, Document]:
    """The policies among some objects by name."""
    return {each["metadata"]["name"]: each for each in documents if each["kind"] in POLICIES}


def change_document(change: Change) -> dict[str, str]:
    """A change as JSON without the objects themselves."""
    return {"action": change.action.value, "kind": change.kind, "name": change.name}


def clause(change: Change) -> str:
    """A change in words: `update GlobalNetworkPolicy fw.pan-zone-web`."""
    return f"{change.action} {change.kind} {change.name}"


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far one chain of policies is written.

    `new` policies are as desired, `old` ones have yet to be changed or removed, `missing` ones have
    yet to be created, and the `altered` ones were changed by someone else.
    """

    tier: str
    zone: str
    new: int
    old: int
    missing: int
    altered: int

    @property
    def state(self) -> str:
        """`new`, `old`, `missing`, `mixed` where it is of both states, or `altered`."""
        if not (self.old or self.missing):
            return "altered" if self.altered else "new"
        if self.new:
            return "mixed"
        return "old" if self.old else "missing"


def taken(desired: Mapping[Key, Manifest], live: Mapping[Key, LiveObject]) -> dict[Key, LiveObject]:
    """Find the foreign objects in the places of desired ones."""
    return {key: live[key] for key in desired if key in live and live[key].manifest is None}


def chains(
    desired: Mapping[Key, Manifest], live: Mapping[Key, LiveObject], unlike: Unlike
) -> tuple[ChainState, ...]:
    """Every observed or desired chain, by tier and zone, and how far it is written."""
    counts: dict[tuple[str, str], Counter[str]] = {}

    def count(place: PolicyPosition, what: str) -> None:
        if place.chain:
            counts.setdefault((place.tier, place.chain), Counter())[what] += 1

    altered = {(each.kind, each.name) for each in unlike.drift} | taken(desired, live).keys()
    changed = {(each.kind, each.name) for each in unlike.pending}
    for key, manifest in desired.items():
        if manifest.kind in POLICIES and key not in changed:
            count(manifest.contents.position, "altered" if key in altered else "new")
    for change in unlike.pending:
        if change.kind in POLICIES:
            count(change.place, "missing" if change.action is Action.CREATE else "old")
    return tuple(
        ChainState(*place, of["new"], of["old"], of["missing"], of["altered"])
        for place, of in sorted(counts.items())
    )

"""What can stop a plan. Each guard has a name, and its message says what to do.

    foreign-object     an object of somebody else stands where one of ours shall stand    never
    referenced-set     a policy would go on using a set that is removed                   never
    foreign-policy     a policy of somebody else stands in a tier of ours                 approvable
    foreign-set        a selector of ours selects a set of somebody else                  approvable
    live-tier          a tier would end or stand otherwise under policies of others       approvable
    empty-source       what a tier is made from holds nothing any more, or is elsewhere  approvable
    essentials         pods would lose DNS or the API server, as rules first come to them approvable
    verification       what would be written does not give the firewall's verdicts        never
    report-mismatch    it does, but of some rule the report says more than is true       approvable
    undecided          nobody can tell whether it does                                    approvable

What an approval may let through is said once for each plan: `zonebridge approve DIGEST`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from sync.calico.manifest import Manifest
from sync.calico.names import SCOPES_ANNOTATION
from sync.plan.changes import Action, Change
from sync.plan.references import Label, carried, mapping, named

FOREIGN_OBJECT = "foreign-object"

_SHOWN = 5  # names in one message

# The names of policies begin with their tier's, those of sets are the address groups'.
_ELSEWHERE = "the configuration names another tier (device_groups[].tier)"
_RENAMED = "the address group is renamed or left out (address_groups.tags)"


@dataclass(frozen=True, slots=True)
class Blocker:
    """A guard that holds a plan back; `approvable` says whether an approval can let it through.

    `covers` stands for what an approval has seen: of anything else it lets nothing through.
    """

    guard: str
    message: str
    approvable: bool
    covers: str = ""


class ObservedObject(Protocol):
    """An object as a cluster holds it; `foreign_because` is "" where it is ours."""

    @property
    def document(self) -> Mapping[str, Any]: ...

    @property
    def foreign_because(self) -> str: ...


def foreign_object(kind: str, name: str, because: str, *, adoptable: bool = True) -> Blocker:
    """An object of somebody else stands where one of ours shall stand; `because` says why it is.

    What another installation claims, or is no object at all, is not `adoptable`.
    """
    elsewhere = _RENAMED if kind == "GlobalNetworkSet" else _ELSEWHERE
    way_out = (
        f"until it is removed, taken over with `zonebridge adopt {kind} {name}`, which a running "
        f"service follows, or {elsewhere}"
        if adoptable
        else f"until {elsewhere}, or its owner gives it up"
    )
    return Blocker(
        FOREIGN_OBJECT,
        f"{kind} {name} {because}; it is left as it is, and what depends on it is not written "
        f"{way_out}",
        approvable=False,
    )


def foreign_policy(tier: str, policies: Sequence[str], covers: str = "") -> Blocker:
    """Policies of others in a tier of ours, as `kind name`: they can allow before ours deny."""
    return Blocker(
        "foreign-policy",
        f"{_counted(policies, 'policy', 'policies')} of others in the tier {tier} "
        f"({_listed(policies)}) can decide before ours; move them to a tier of their own",
        approvable=True,
        covers=covers,
    )


def foreign_set(sets: Mapping[str, Sequence[str]], covers: str = "") -> Blocker:
    """Sets of others, as `kind name`, by whose labels, as `key: value`, ours select them."""
    named = [f"{name} ({', '.join(labels)})" for name, labels in sets.items()]
    return Blocker(
        "foreign-set",
        f"{_counted(named, 'object of others is', 'objects of others are')} selected by policies "
        f"of ours: {_listed(named)}; the addresses there count as those of an address group or of "
        "pods, so allows hold more and negated denies less than the firewall's; take these labels "
        "off, or remove what has them",
        approvable=True,
        covers=covers,
    )


def live_tier(tier: str, change: str, policies: Sequence[str], covers: str = "") -> Blocker:
    """A tier in which policies of others stand, as `kind name`; `change` is a clause about it."""
    return Blocker(
        "live-tier",
        f"the tier {tier} {change} while {_counted(policies, 'policy', 'policies')} of others "
        f"{'stands' if len(policies) == 1 else 'stand'} in it ({_listed(policies)}): flows "
        "that the tier stops now may pass; name a tier of its own in device_groups[].tier, or "
        "remove them first",
        approvable=True,
        covers=covers,
    )


def empty_source(scope: str, tiers: Sequence[str], *, above: bool) -> Blocker:
    """A scope (a device group, or `shared`) that `tiers` were made from, and are no more.

    `above`: it is still their device group or an ancestor of it, and holds nothing.
    """
    one = len(tiers) == 1
    name = "Shared" if scope == "shared" else f"device group {scope}"
    now = (
        " and holds none any more; see that Panorama shows it whole to whoever reads it"
        if above
        else f", and {'its device group is' if one else 'their device groups are'} no longer in it "
        "or below it; see that it was moved on purpose"
    )
    return Blocker(
        "empty-source",
        f"{name} held rules or addresses for the {'tier' if one else 'tiers'} "
        f"{_listed(tiers)}{now}",
        approvable=True,
        covers=scope,
    )


def essentials(cut_off: Mapping[str, Sequence[str]], unknown: Sequence[str]) -> list[Blocker]:
    """Pods that would be cut off by rules that come to them for the first time.

    `cut_off` has, for each thing that they need, a clause for each pod. `unknown` has a sentence
    for whatever nobody can tell.
    """
    lost = [
        Blocker(
            "essentials",
            f"{_counted(clauses, 'workload', 'workloads')} would lose {name} "
            f"({_listed(clauses)}); add what they need to zones.essentials",
            approvable=True,
            covers=name,
        )
        for name, clauses in sorted(cut_off.items())
    ]
    return lost + [
        Blocker(
            "essentials",
            f"whether zoned pods would keep DNS and the API server is not known: {each}; see that "
            "zones.essentials has what they need",
            approvable=True,
            covers=each,
        )
        for each in unknown
    ]


def verification(disagreement: str) -> Blocker:
    """What would be written allows or denies what it must not; `disagreement` is a clause."""
    return Blocker(
        "verification",
        f"{disagreement}; nothing in this cluster is written, please report this",
        approvable=False,
    )


def report_mismatch(disagreement: str, covers: Sequence[str]) -> Blocker:
    """The report says that rules are exact and the proof does not, though no flow is misjudged.

    `disagreement` is a clause for people, `covers` all that is seen with an approval.
    """
    return Blocker(
        "report-mismatch",
        f"{disagreement}; the proof found no flow that would be judged otherwise than by the "
        "firewall, so nothing is opened, and the report alone is wrong: please report this",
        approvable=True,
        covers=hashlib.sha256(repr(sorted(covers)).encode()).hexdigest(),
    )


def undecided(because: str) -> Blocker:
    """What would be written could not be proven to give the firewall's verdicts."""
    return Blocker(
        "undecided",
        f"it is not proven that the policies give the firewall's verdicts: {because}; "
        "`zonebridge verify` has more",
        approvable=True,
        covers=because,
    )


def referenced_set(
    name: str, label: Label, policies: Sequence[str], *, adopted: bool = False
) -> Blocker:
    """A set to be removed whose `label` no other set carries, and the policies that name it.

    `adopted`: it stays, and loses the label as it is taken over.
    """
    what = "taken over and lose a label from" if adopted else "removed from"
    key, value = label
    said = f"{key} == '{value}'" if value is not None else f"has({key})"
    return Blocker(
        "referenced-set",
        f"GlobalNetworkSet {name} would be {what} under "
        f"{_counted(policies, 'policy', 'policies')} ({_listed(policies)}) that still name {said}, "
        "which no other set has; change those policies first, or keep the address group",
        approvable=False,
    )


def foreign_policies(
    live: Mapping[tuple[str, str], ObservedObject],
    tiers: Iterable[str],
    namespaced: Mapping[str, Sequence[str]],
) -> list[Blocker]:
    """A blocker for each of our `tiers` in which a foreign policy stands.

    `namespaced` are those of namespaces, by tier. One that is only staged decides nothing.
    """
    return [
        foreign_policy(tier, [*policies], _covering(policies))
        for tier, policies in _enforced_in(live, tiers, namespaced).items()
        if policies
    ]


def live_tiers(
    changes: Iterable[Change],
    live: Mapping[tuple[str, str], ObservedObject],
    namespaced: Mapping[str, Sequence[str]],
    unknown_because: str = "",
) -> list[Blocker]:
    """A blocker for each tier that would end or stand otherwise, with policies of others in it.

    What they leave undecided meets the end of their tier: what was denied there would pass. Where
    the tier stands says which other tiers decide before them. `live` and `namespaced` are as for
    `foreign_policies`. Where `unknown_because` says why not all policies are known, some may stand
    in a tier that would no longer deny.
    """
    tiers = [each for each in changes if each.kind == "Tier" and each.before and each.after]
    standing = _enforced_in(live, (change.name for change in tiers), namespaced)
    blockers = []
    for change in tiers:
        said, policies = _moves(change), standing[change.name]
        if said and policies:
            covers = _covering({**policies, "": said})
            blockers.append(live_tier(change.name, said, [*policies], covers))
        elif unknown_because and _opens(change):
            blockers.append(
                Blocker(
                    "live-tier",
                    f"the tier {change.name} {said}, and whether policies of others stand in it "
                    f"is not known: {unknown_because}",
                    approvable=True,
                    covers=f"{change.name} {unknown_because}",
                )
            )
    return blockers


def _moves(tier: Change) -> str:
    """What a change makes of a tier for those who stand in it, as a clause; "" if nothing."""
    old, new = _specs(tier)
    found = []
    if _opens(tier):
        found.append("end with Pass instead of Deny")
    if old.get("order") != new.get("order"):
        found.append(f"move from order {old.get('order')} to {new.get('order')}")
    return f"would {' and '.join(found)}" if found else ""


def _opens(tier: Change) -> bool:
    """Whether what its policies leave undecided is no longer denied."""
    return [*map(_end, _specs(tier))] == ["Deny", "Pass"]


def _specs(tier: Change) -> list[Mapping[str, Any]]:
    """What a tier is before and after."""
    return [mapping(side.document(), "spec") for side in (tier.before, tier.after) if side]


def _end(tier: Mapping[str, Any]) -> str:
    """What a tier does with what its policies leave undecided; Calico's default is to deny."""
    return str(tier.get("defaultAction") or "Deny")


def _enforced_in(
    live: Mapping[tuple[str, str], ObservedObject],
    tiers: Iterable[str],
    namespaced: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, str]]:
    """The policies of others in each tier, as `kind name`, with what is known of what they say."""
    found = {
        tier: {each: "" for each in namespaced.get(tier, ()) if not each.startswith("Staged")}
        for tier in sorted(set(tiers))
    }
    for (kind, name), held in sorted(live.items()):
        if kind == "GlobalNetworkPolicy" and held.foreign_because:
            spec = mapping(held.document, "spec")
            tier = spec.get("tier")
            if isinstance(tier, str) and tier in found:
                found[tier][f"{kind} {name}"] = repr(sorted(spec.items(), key=str))
    return found


def _covering(policies: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(policies.items())).encode()).hexdigest()


def empty_sources(
    standing: Mapping[tuple[str, str], Manifest],
    desired: Mapping[tuple[str, str], Manifest],
    lineages: Mapping[str, Sequence[str]],
) -> list[Blocker]:
    """A blocker for each scope that a standing tier was made from and a desired one is not.

    `lineages` has, by tier, its device group and the scopes above that. A tier that goes was given
    up by the configuration of zonebridge, and nothing that a firewall says.
    """
    lost: dict[tuple[str, bool], list[str]] = {}
    for tier, lineage in sorted(lineages.items()):
        stood, shall = standing.get(("Tier", tier)), desired.get(("Tier", tier))
        if stood and shall:
            for scope in _scopes(stood) - _scopes(shall):
                lost.setdefault((scope, scope in lineage), []).append(tier)
    return [
        empty_source(scope, tiers, above=above) for (scope, above), tiers in sorted(lost.items())
    ]


def _scopes(tier: Manifest) -> frozenset[str]:
    """What a tier says it is made from; nothing where another hand or an older version wrote it."""
    try:
        said = orjson.loads(mapping(tier.document(), "metadata", "annotations")[SCOPES_ANNOTATION])
    except (KeyError, TypeError, ValueError):
        return frozenset()
    named = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return frozenset(said) if named else frozenset()


def referenced_sets(
    changes: Sequence[Change], live: Mapping[tuple[str, str], ObservedObject]
) -> list[Blocker]:
    """A blocker for each set that would be removed from under a policy, ours or anyone's.

    One that is taken over from somebody else is removed as what it was: it may lose labels.

    `live` is the whole cluster before the changes. A label counts as named wherever a policy's
    rules compare it, and as carried still where any other set, foreign ones included, has it.
    """
    removed = {
        (change.kind, change.name): carried(change.before.document())
        for change in changes
        if change.kind == "GlobalNetworkSet"
        and change.before
        and (change.action is Action.DELETE or _adopted(change, live))
    }
    if not removed:
        return []
    documents = {key: held.document for key, held in live.items()}
    for change in changes:
        key = (change.kind, change.name)
        if change.after:
            documents[key] = change.after.document()
        else:
            documents.pop(key, None)
    missing = frozenset().union(*removed.values())
    missing -= frozenset().union(
        *(carried(each) for (kind, _), each in documents.items() if kind == "GlobalNetworkSet")
    )
    users: dict[Label, list[str]] = {}
    for (kind, name), document in sorted(documents.items()):
        if kind.endswith("Policy"):
            for label in missing & named(document):
                users.setdefault(label, []).append(f"{kind} {name}")
    return [
        referenced_set(key[1], label, users[label], adopted=key in documents)
        for key, labels in sorted(removed.items())
        for label in sorted(labels & users.keys(), key=lambda each: (each[0], each[1] or ""))
    ]


def _adopted(change: Change, live: Mapping[tuple[str, str], ObservedObject]) -> bool:
    """Whether a change takes over what somebody else wrote."""
    held = live.get((change.kind, change.name))
    return held is not None and bool(held.foreign_because)


def _counted(names: Sequence[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

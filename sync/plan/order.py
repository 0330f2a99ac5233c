"""In which order a plan is written, and what is left where something could not be.

    tiers ─> sets grow ─> policies ─> policies go ─> sets shrink ─> sets go ─> tiers go

    policies: before the chains ─> chains ─> behind them; and back again when they go

A step begins when the one before has ended. It is made of chains, which may be written side by
side; the changes of a chain are written one after the other. Policies that carry one value of
`names.CHAIN_ANNOTATION` are a chain: created and updated front to back, removed back to front.
Those around the chains of a tier
are one too. Everything else is a chain of its own.

A set that gains addresses and loses others is written once where nobody can tell the difference.
Where a policy changes too, or where another set gains what this one loses (the parts of one group
among them), it is written twice, first with both: so no address is missing from every set in
between, and none is gone before the policies that it was meant for.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from sync.calico import limits
from sync.calico.manifest import Manifest
from sync.calico.names import STORE
from sync.calico.objects import POLICIES
from sync.net.addresses import AddressSet, network
from sync.plan.changes import Action, Cause, Change, nets
from sync.plan.references import Label, carried, mapping, named_by

Chain = tuple[Change, ...]
Step = tuple[Chain, ...]

# An etcd that takes requests of 1.5 MiB takes two sets' worth of nets in one.
_BOTH_BYTES = 2 * limits.SET_BYTES


def steps(changes: Sequence[Change]) -> list[Step]:
    """The steps of a plan, none of them empty."""
    stay = [change for change in changes if change.action is not Action.DELETE]
    go = [change for change in changes if change.action is Action.DELETE]
    grow, shrink = _grow_and_shrink(
        _others(stay), policies_move=any(change.kind in POLICIES for change in changes)
    )
    made = (
        _alone(change for change in stay if change.kind == "Tier"),
        _alone(grow),
        *(_chains(each) for each in _around_chains(stay)),
        *(_chains(each, back_to_front=True) for each in _around_chains(go)[::-1]),
        _alone(shrink),
        _alone(_others(go)),
        _alone(change for change in go if change.kind == "Tier"),
    )
    return [step for step in made if step]


def chain_of(change: Change) -> tuple[str, ...]:
    """What a change is in a chain with: equal for changes that are, also of different steps."""
    if change.kind in POLICIES:
        # Those around the chains of a tier are one, too: what is behind decides what they let by.
        return change.kind, change.place.tier, change.place.chain
    return change.kind, change.name


class Unwritten:
    """What of a plan was not written, whether it failed or was left, and what waits for it."""

    def __init__(self) -> None:
        self._chains: set[tuple[str, ...]] = set()
        self._chain_values: set[str] = set()
        self._broken_tiers: set[str] = set()
        self._missing_tiers: set[str] = set()
        self._occupied_tiers: set[str] = set()
        self._missing_labels: set[Label] = set()
        self._named_labels: set[Label] = set()
        self._missing_addresses = AddressSet()

    def __bool__(self) -> bool:
        return bool(self._chains)

    def add(self, change: Change) -> None:
        self._chains.add(chain_of(change))
        if change.kind in POLICIES:
            self._named_labels |= named_by(change.before)
            if change.after:
                self._chain_values |= {change.place.chain} - {""}
                self._broken_tiers.add(change.place.tier)
            else:
                self._occupied_tiers.add(change.place.tier)
        elif change.after and change.kind == "Tier":
            self._missing_tiers.add(change.name)
        elif change.after:
            self._missing_labels |= carried(change.after.document())
            gained = _addresses(change.after) - _addresses(change.before)
            self._missing_addresses |= gained

    def stops(self, change: Change) -> str:
        """Why a change has to be left; "" if it may be written."""
        if not self:
            return ""
        if chain_of(change) in self._chains:
            return "what comes before it was not written"
        if change.kind in POLICIES:
            return self._stops_policy(change)
        if change.kind == "Tier":
            stays = change.after is None and change.name in self._occupied_tiers
            return "a policy in it was not removed" if stays else ""
        return self._stops_loss(change)

    def _stops_policy(self, change: Change) -> str:
        if change.after is None:
            # Its successor may stand in another tier, or be of the other kind; and its pods may
            # have moved to another zone.
            replaced = change.place.chain in self._chain_values
            if replaced or change.place.tier in self._broken_tiers:
                return "what replaces it was not written"
            return ""
        if change.place.tier in self._missing_tiers:
            return "its tier was not written"
        if (
            change.before is None
            and not change.place.chain
            and change.place.tier in self._broken_tiers
        ):
            # Behind a chain with a gap it would decide what the gap should have.
            return "a policy before it was not written"
        if not self._missing_labels.isdisjoint(named_by(change.after)):
            return "a set that it selects was not written"
        return ""

    def _stops_loss(self, change: Change) -> str:
        """Why a set has to keep what it would lose."""
        if change.before is None:
            return ""
        if not self._named_labels.isdisjoint(carried(change.before.document())):
            return "a policy that selects it was not changed"
        if self._missing_addresses:
            lost = _addresses(change.before) - _addresses(change.after)
            if lost & self._missing_addresses:
                return "a set that takes over addresses of it was not written"
        return ""


def _others(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.kind not in (*POLICIES, "Tier")]


def _alone(changes: Iterable[Change]) -> Step:
    return tuple((change,) for change in changes)


def _around_chains(changes: Sequence[Change]) -> list[list[Change]]:
    """The policies that stand before all chains, those of chains, and those behind."""
    found: list[list[Change]] = [[], [], []]
    for change in changes:
        if change.kind in POLICIES:
            if change.place.chain:
                found[1].append(change)
            else:
                found[0 if change.place.order < 0 else 2].append(change)
    return found


def _chains(policies: Sequence[Change], *, back_to_front: bool = False) -> Step:
    found: defaultdict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in policies:
        found[chain_of(change)].append(change)
    return tuple(
        tuple(sorted(chain, key=_from_the_front, reverse=back_to_front))
        for _, chain in sorted(found.items())
    )


def _from_the_front(change: Change) -> tuple[float, str]:
    return change.place.order, change.name


def _grow_and_shrink(
    sets: Sequence[Change], *, policies_move: bool
) -> tuple[list[Change], list[Change]]:
    """The writes of sets that stay: those before the policies, and those after."""
    grow: list[Change] = []
    shrink: list[Change] = []
    mixed: list[tuple[Change, AddressSet]] = []
    for change in sets:
        # What another hand did is undone first, whichever way it went.
        if change.action is Action.CREATE or change.cause is Cause.DRIFT or _adopted(change):
            grow.append(change)
            continue
        before, after = set(nets(change.before)), set(nets(change.after))
        if before <= after:
            grow.append(change)
        elif after < before:
            shrink.append(change)
        elif not (lost := _addresses(change.before) - _addresses(change.after)):
            grow.append(change)
        elif not _addresses(change.after) - _addresses(change.before):
            shrink.append(change)
        else:
            mixed.append((change, lost))
    # Nothing that a set loses is among what it gains itself.
    gained = _gained(sets) if mixed and not policies_move else AddressSet()
    for change, lost in mixed:
        both = _both(change)
        if both is not None and (policies_move or lost & gained):
            grow.append(replace(change, after=both))
            shrink.append(replace(change, before=both))
        else:
            grow.append(change)
    grow.sort(key=lambda change: (change.cause is not Cause.DRIFT, change.kind, change.name))
    shrink.sort(key=lambda change: (change.kind, change.name))
    return grow, shrink


def _adopted(change: Change) -> bool:
    """Whether the change takes over what somebody else wrote."""
    before, after = (
        mapping(side.document(), "metadata", "labels") if side else {}
        for side in (change.before, change.after)
    )
    return before.get(STORE) != after.get(STORE)


def _gained(sets: Iterable[Change]) -> AddressSet:
    return AddressSet.union(_addresses(change.after) - _addresses(change.before) for change in sets)


def _both(change: Change) -> Manifest | None:
    """The set as it shall be with all that it was beside; None if no cluster could hold that."""
    assert change.after is not None
    document = change.after.document()
    document["spec"]["nets"] = (_addresses(change.before) | _addresses(change.after)).cidrs()
    both = Manifest.of(document)
    return both if len(both.body) <= _BOTH_BYTES else None


def _addresses(manifest: Manifest | None) -> AddressSet:
    """The addresses of a set; what another hand wrote there and is none does not count."""
    found = []
    for net in nets(manifest):
        with suppress(ValueError):
            found.append(network(net))
    return AddressSet.union(found)

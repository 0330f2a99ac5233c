"""In which order a plan is written, and what is left where something could not be.

    tiers ─> lists, new sets ─> sets lose ─> policies ─> policies go ─> sets gain ─> sets, tiers go

    a tier that denies at its end and is to pass: after its policies, which say all that is denied

    policies: before the chains ─> chains ─> behind them; and back again when they go

At every state between, no flow is allowed that is denied before and after. Policies select sets
only where a larger one allows more; so what sets keep (`sync.plan.growth`) is safe for the old
policies and for the new ones.

A step begins when the one before has ended. It is made of chains, which may be written side by
side; the changes of a chain are written one after the other. Policies that carry one value of
`names.CHAIN_ANNOTATION` are a chain: created and updated front to back, removed back to front.
Those around the chains of a tier are one too. Everything else is a chain of its own. Chains of
several tiers may have to wait for one another (`sync.plan.precedence`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sync.calico.names import LIST_LABEL
from sync.calico.objects import POLICIES
from sync.calico.references import Label
from sync.plan.changes import Action, Cause, Change
from sync.plan.growth import only_loses, set_writes
from sync.plan.precedence import Event, Precedence, arranged
from sync.plan.selections import ChainKey, Selections

Chain = tuple[Change, ...]
Step = tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The steps of a plan, none of them empty, and which chains could not be put in an order."""

    steps: tuple[Step, ...]
    unordered: tuple[Precedence, ...]


def order(
    changes: Sequence[Change], selections: Selections, precedence: Sequence[Precedence] = ()
) -> Order:
    """Put the changes of a plan in the order in which they are to be written."""
    stay = [change for change in changes if change.action is not Action.DELETE]
    go = [change for change in changes if change.action is Action.DELETE]
    sets = set_writes(changes, selections)
    front, chains, behind = _around_chains(stay)
    # What denies behind all chains, and someone else removed, denies again before chains change;
    # also where the configuration changed it meanwhile, for what is missing denies nothing.
    chained = {(kind, tier) for kind, tier, zone in selections.before if zone}
    repaired = [
        each
        for each in behind
        if not _passes(each)
        and (
            each.cause is Cause.DRIFT
            or (each.before is None and (each.kind, each.place.tier) in chained)
        )
    ]
    behind = [each for each in behind if each not in repaired]
    gone_front, gone_chains, gone_behind = _around_chains(go)
    written, removed = _by_chain(chains), _by_chain(gone_chains)
    writing, removing, unordered = arranged(written, removed, precedence)

    def step(events: Iterable[Event]) -> Step:
        return tuple(
            _in_order(removed[key], back_to_front=True) if removes else _in_order(written[key])
            for key, removes in sorted(events)
        )

    tiers = [change for change in stay if change.kind == "Tier"]
    made = (
        _alone(change for change in tiers if not _opens(change)),
        _alone(sets.ahead),
        _alone(sets.losing),
        _chains(repaired),
        _chains(front),
        *map(step, writing),
        _chains(behind),
        _chains(gone_behind, back_to_front=True),
        *map(step, removing),
        _chains(gone_front, back_to_front=True),
        _alone(filter(_opens, tiers)),
        *map(_alone, sets.gaining),
        _alone(sets.going),
        _alone(change for change in go if change.kind == "Tier"),
    )
    return Order(tuple(each for each in made if each), unordered)


def chain_of(change: Change) -> ChainKey:
    """What a change is in a chain with: equal for changes that are, also of different steps."""
    if change.kind in POLICIES:
        # Those around the chains of a tier are one, too: what is behind decides what they let by.
        return change.kind, change.place.tier, change.place.chain
    return change.kind, change.name, ""


def rounds(steps: Iterable[Step]) -> Iterator[list[Change]]:
    """What may be written side by side: the changes at one place in the chains of one step."""
    for step in steps:
        for place in range(max(map(len, step))):
            yield [chain[place] for chain in step if place < len(chain)]


class Unwritten:
    """What of a plan was not written, whether it failed or was left, and what waits for it."""

    def __init__(self, selections: Selections, precedence: Sequence[Precedence] = ()) -> None:
        self._selections = selections
        self._first: defaultdict[ChainKey, set[ChainKey]] = defaultdict(set)
        for each in precedence:
            self._first[each.then].add(each.first)
        self._left: set[ChainKey] = set()
        self._chains: set[ChainKey] = set()
        self._late: set[ChainKey] = set()
        self._tiers_kept: set[str] = set()
        self._zones: set[str] = set()
        self._broken_tiers: set[str] = set()
        self._missing_tiers: set[str] = set()
        self._occupied_tiers: set[str] = set()
        self._open_tiers: set[str] = set()
        self._missing_labels: set[Label] = set()
        self._kept_labels: set[Label] = set()

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, change: Change) -> None:
        """Count a change as not written: what waits for it is stopped from now on."""
        self._left.add(chain_of(change))
        self.foresee(change)

    def foresee(self, change: Change) -> None:
        """Stop what waits for a change that will be left; what its chain has before it may come."""
        chains = {chain_of(change)}
        if change.kind in POLICIES:
            self._chains.add(chain_of(change))
            self._keep(chain_of(change))
            if change.after:
                self._zones |= {change.place.chain} - {""}
                self._broken_tiers.add(change.place.tier)
            else:
                self._occupied_tiers.add(change.place.tier)
        elif change.kind == "Tier":
            self._missing_tiers |= {change.name} if change.after else set()
        else:
            # Until it is as desired, nothing changes that selects it, or is used beside it.
            labels = _labels(change)
            self._missing_labels |= labels
            chains = self._selections.chains(labels)
            # A list that is missing is a gap in a chain, though none of its policies changes.
            self._chains |= chains
            for key in chains - self._late:
                self._keep(key)
        if change.cause is Cause.DRIFT and change.kind != "Tier":
            self.open_up(chains)

    def open_up(self, chains: Iterable[ChainKey]) -> None:
        """Someone else has what chains depend on: they deny neither the old flows nor the desired.

        The policies around the chains of a tier deny at the other end what these begin to pass.
        """
        for _, tier, chain in chains:
            if not chain:
                self._open_tiers.add(tier)
                # Those of every tier.
                self._kept_labels |= self._selections.of_other_tiers("")

    def _keep(self, chain: ChainKey) -> None:
        """Stop gains of what is used with a chain that may not deny yet all that it has to.

        In other tiers too: this tier may have to deny what they newly pass.
        """
        self._late.add(chain)
        self._kept_labels |= self._selections.of_chain(chain)
        _, tier, _ = chain
        if tier not in self._tiers_kept:
            self._tiers_kept.add(tier)
            self._kept_labels |= self._selections.of_other_tiers(tier)

    def stopped(self, changes: Sequence[Change]) -> list[tuple[Change, str]]:
        """Those of the changes of one round that have to be left, and why; they count as such."""
        if not self:
            return []
        found = [(change, why) for change in changes if (why := self.stops(change))]
        for change, _ in found:
            self.add(change)
        return found

    def stops(self, change: Change) -> str:
        """Why a change has to be left; "" if it may be written."""
        if not self:
            return ""
        if chain_of(change) in self._left:
            return "what comes before it was not written"
        if change.kind in POLICIES:
            return self._stops_policy(change)
        if change.kind == "Tier":
            return self._stops_tier(change)
        return self.stops_set(change)

    def _stops_tier(self, change: Change) -> str:
        if change.after is None and change.name in self._occupied_tiers:
            return "a policy in it was not removed"
        if _opens(change) and change.name in self._tiers_kept:
            return "a policy in it, or a set that one selects, was not written"
        return ""

    def _stops_policy(self, change: Change) -> str:
        key = chain_of(change)
        if not self._missing_labels.isdisjoint(self._selections.of_chain(key)):
            return "a set that its chain selects was not written"
        if change.place.tier in self._open_tiers:
            return "a policy around the chains of its tier is not ours or was not written"
        # The policies around the chains of a tier decide for zones that have no chain there.
        around = ((kind, tier, "") for kind, tier, _ in self._first[key])
        if not self._late.isdisjoint((*self._first[key], *around)):
            return "what denies in another tier what this one passes was not written"
        if change.after is None:
            # Its successor may stand in another tier, or be of the other kind; and its pods may
            # have moved to another zone. Around the chains any policy may be the successor.
            unchained = not change.place.chain and (self._broken_tiers or self._missing_tiers)
            replaced = change.place.chain in self._zones
            if unchained or replaced or change.place.tier in self._broken_tiers:
                return "what replaces it was not written"
            return ""
        if change.place.tier in self._missing_tiers:
            return "its tier was not written"
        if not change.place.chain and change.place.order > 0 and self._chains:
            broken = change.before is None and change.place.tier in self._broken_tiers
            if broken or _passes(change):
                # Behind a chain with a gap it would decide what the gap should have.
                return "a policy before it was not written"
        return ""

    def stops_set(self, change: Change) -> str:
        """Why a set has to stay as it is. What it only loses, no policy can allow by it."""
        if self._kept_labels.isdisjoint(_labels(change)) or only_loses(change):
            return ""
        if change.after and not any(self._selections.stands(each) for each in change.sides):
            # It is written before policies, and until one is written that selects it it is nothing.
            return ""
        labels = _labels(change)
        by_content = any(key == LIST_LABEL for key, _ in labels)
        if by_content and change.after and not self._selections.allows(labels):
            # What a list by content gains was taken from it by someone else; it is only denied by.
            return ""
        return "a policy or a set that is used with it was not written"


def _opens(change: Change) -> bool:
    """Whether a tier that stands passes at its end what it denied: its policies have to say that.

    Calico takes a tier that says nothing for one that denies.
    """
    if not (change.kind == "Tier" and change.before and change.after):
        return False
    before, after = (side.contents.default_action for side in change.sides)
    return before != "Pass" and after == "Pass"


def _labels(change: Change) -> frozenset[Label]:
    return frozenset().union(*(side.contents.labels for side in change.sides))


def _passes(policy: Change) -> bool:
    assert policy.after is not None
    return policy.after.contents.passes


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


def _by_chain(policies: Iterable[Change]) -> Mapping[ChainKey, list[Change]]:
    found: defaultdict[ChainKey, list[Change]] = defaultdict(list)
    for change in policies:
        found[chain_of(change)].append(change)
    return found


def _chains(policies: Iterable[Change], *, back_to_front: bool = False) -> Step:
    return tuple(
        _in_order(chain, back_to_front=back_to_front)
        for _, chain in sorted(_by_chain(policies).items())
    )


def _in_order(policies: Sequence[Change], *, back_to_front: bool = False) -> Chain:
    return tuple(sorted(policies, key=_from_the_front, reverse=back_to_front))


def _from_the_front(change: Change) -> tuple[float, str]:
    return change.place.order, change.name

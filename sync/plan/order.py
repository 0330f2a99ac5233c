"""The order in which a plan is written, and what is left when a write fails.

    tiers ─> lists, new sets ─> sets lose ─> policies ─> policies go ─> sets gain ─> sets, tiers go

    a tier whose default action changes from Deny to Pass: after its policies, which then deny

    policies: before the chains ─> chains ─> behind them; removed in the opposite order

No intermediate state allows a flow that is denied both before and after. Policies select sets only
where a larger set allows more, so what sets keep (`sync.plan.growth`) is safe under the old
policies and the new ones.

A step begins when the previous one has ended. It consists of chains, which may be written
concurrently; the changes of one chain are written one after the other. Policies with the same
value of `names.CHAIN_ANNOTATION` are a chain: created and updated front to back, removed back to
front. The policies around the chains of a tier are one chain too. Any other object is a chain of
its own. Chains of several tiers may have to wait for one another (`sync.plan.precedence`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sync.calico.names import LIST_LABEL, MANAGED_BY, MANAGED_BY_VALUE
from sync.calico.objects import POLICIES
from sync.calico.references import Label
from sync.plan.changes import Action, Cause, Change
from sync.plan.growth import only_loses, set_writes
from sync.plan.precedence import Event, Precedence, arranged
from sync.plan.selections import ChainKey, Selections, chain_key

Chain = tuple[Change, ...]
Step = tuple[Chain, ...]


_MANAGED: Label = (MANAGED_BY, MANAGED_BY_VALUE)
# A reason in the JSON of plans.
_AROUND = "objects around the chains of its tier are foreign or were not written"  # words kept


@dataclass(frozen=True, slots=True)
class Order:
    """The steps of a plan, none of them empty, and the chains that have no safe order."""

    steps: tuple[Step, ...]
    unordered: tuple[Precedence, ...]


def order(
    changes: Sequence[Change],
    selections: Selections,
    precedence: Sequence[Precedence] = (),
    *,
    closed: Collection[str] = (),
    directory: bool = False,
) -> Order:
    """Order the changes of a plan as they are written, to a cluster or a `directory`.

    `closed` are tiers that end with Deny, which may decide flows of others' policies there.
    """
    # over 50 lines: it has each step of the drawing above, once.
    stay = [change for change in changes if change.action is not Action.DELETE]
    go = [change for change in changes if change.action is Action.DELETE]
    sets = set_writes(changes, selections, directory=directory)
    front, chains, behind = _around_chains(stay)
    repaired = _repaired(behind, stay, selections, closed)
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


def _repaired(
    behind: Sequence[Change],
    stay: Sequence[Change],
    selections: Selections,
    closed: Collection[str],
) -> list[Change]:
    """The policies behind all chains that are written before chains change.

    That is where someone else removed them, even if the configuration changed them too: a missing
    policy denies nothing. And where policies of others are taken over, or stay in a `closed` tier:
    these come before what the end of the tier denied begins to pass.
    """
    chained = {(kind, tier) for kind, tier, zone in selections.before if zone}
    chained |= _decided_before(stay, closed)
    return [
        each
        for each in behind
        if not _passes(each)
        and (
            each.cause is Cause.DRIFT
            or (each.before is None and (each.kind, each.place.tier) in chained)
        )
    ]


def _decided_before(changes: Iterable[Change], closed: Collection[str]) -> set[tuple[str, str]]:
    """Kind and tier of policies of others that are taken over, or that are in `closed` tiers."""
    taken = {
        (each.kind, each.place.tier)
        for each in changes
        if each.kind in POLICIES
        and each.before
        and each.after
        and _MANAGED not in each.before.contents.labels
    }
    if not taken and not closed:
        return taken
    # Another tier of ours may be the one that denies what ours in theirs pass.
    return taken | {(each.kind, each.place.tier) for each in changes if each.kind in POLICIES}


def chain_of(change: Change) -> ChainKey:
    """The chain of a change: equal for changes of one chain, also in different steps."""
    if change.kind in POLICIES:
        # The policies around the chains of a tier are one, too: those behind decide what passes.
        return change.kind, change.place.tier, change.place.chain
    return change.kind, change.name, ""


def rounds(steps: Iterable[Step]) -> Iterator[list[Change]]:
    """Yield what may be written concurrently: the n-th change of each chain of one step."""
    for step in steps:
        for place in range(max(map(len, step))):
            yield [chain[place] for chain in step if place < len(chain)]


class Unwritten:
    """The changes of a plan that failed or were left, and those that wait for them."""

    def __init__(
        self,
        selections: Selections,
        precedence: Sequence[Precedence] = (),
        closed: Collection[str] = (),
    ) -> None:
        self._selections = selections
        self._decided = _decided_before(selections.changes, closed)
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
        """Note a change as not written: changes that wait for it are stopped from now on."""
        self._left.add(chain_of(change))
        self.foresee(change)

    def foresee(self, change: Change) -> None:
        """Stop what waits for a change that will be left; earlier changes of its chain may come."""
        chains = {chain_of(change)}
        if change.kind in POLICIES:
            self._chains.add(chain_of(change))
            # A policy of others that stays selects what it did, in a chain or not.
            for side in change.sides:
                self._keep(chain_key(side))
            if change.after:
                self._zones |= {change.place.chain} - {""}
                self._broken_tiers.add(change.place.tier)
            else:
                self._occupied_tiers.add(change.place.tier)
        elif change.kind == "Tier":
            self._missing_tiers |= {change.name} if change.after else set()
        else:
            # Until the set is as desired, nothing changes that selects it or is used with it.
            labels = _labels(change)
            self._missing_labels |= labels
            chains = self._selections.chains(labels)
            # A missing list is a gap in a chain, even if none of its policies changes.
            self._chains |= chains
            for key in chains - self._late:
                self._keep(key)
        # What others left has no policies around chains: ours begin to pass what its tier denied.
        around = change.before is None and not change.place.chain
        decided = (change.kind, change.place.tier) in self._decided
        if (around and decided) or (change.cause is Cause.DRIFT and change.kind != "Tier"):
            self.open_up(chains)

    def open_up(self, chains: Iterable[ChainKey]) -> None:
        """Note chains whose dependencies are foreign: they deny neither the old nor the new flows.

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
        """Find the changes of one round that have to be left, with reasons, and note them."""
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
            return _AROUND
        # The policies around the chains of a tier decide for zones that have no chain there.
        around = ((kind, tier, "") for kind, tier, _ in self._first[key])
        if not self._late.isdisjoint((*self._first[key], *around)):
            return "what denies in another tier what this one passes was not written"
        if change.after is None:
            # Its successor may be in another tier, or of the other kind; and its pods may
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
                # Behind a chain with a gap it would decide the flows of the gap.
                return "a policy before it was not written"
        return ""

    def stops_set(self, change: Change) -> str:
        """Why a set has to stay as it is. No policy allows more by a set that only loses."""
        if self._kept_labels.isdisjoint(_labels(change)) or only_loses(change):
            return ""
        if change.after and not any(self._selections.stands(each) for each in change.sides):
            # It is written before policies, and has no effect until a policy selects it.
            return ""
        labels = _labels(change)
        by_content = any(key == LIST_LABEL for key, _ in labels)
        if by_content and change.after and not self._selections.allows(labels):
            # A list by content only gains what someone else removed; policies only deny by it.
            return ""
        return "a policy or a set that is used with it was not written"


def _opens(change: Change) -> bool:
    """Whether an existing tier changes its default action from Deny to Pass.

    Its policies then have to deny instead. Calico's own default is Deny.
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
    """The policies before all chains, those of chains, and those behind."""
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

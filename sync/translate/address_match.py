"""A rule's list of addresses, as far as Calico can express it.

    list            allow                       deny
    exact           as listed                   as listed
    open, plain     what is sayable             what it may hold, or any address
    open, negated   nothing                     all but what is sayable

A list is open if something in it, at any depth, cannot be said in addresses. By this table no allow
grows and no deny shrinks, whatever the unsayable part holds. The answers of DNS for an FQDN count
only in a plain allow, since a firewall may receive other answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sync.firewall.addressing import literal
from sync.firewall.estimate import Estimate
from sync.firewall.groups import WildcardObjects
from sync.firewall.objects import Address, AddressGroup, ExternalList, Objects
from sync.firewall.reasons import Reason
from sync.firewall.regions import is_list
from sync.net.addresses import NOWHERE, AddressSet
from sync.translate.fidelity import Loss, Status, loss
from sync.translate.network_sets import GroupSet, external_name, without_mapped

_PREDEFINED: Final = "predefined-ip"  # the type of an external list of Palo Alto's


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """The addresses at one end of a rule: those listed, or with `negated` all but those.

    Listed are `rest` and the address groups with the identities `groups`, whose addresses are in
    `held`. Any address is expressed as all but none. `left_over`: the match is the remainder of
    another one without some addresses, and no list of a rule.
    """

    rest: AddressSet
    negated: bool = False
    groups: tuple[str, ...] = ()
    held: tuple[AddressSet, ...] = field(default=(), hash=False)  # `groups` has it, and is shorter
    left_over: bool = False

    @property
    def lists_its_own(self) -> bool:
        """Whether the rule itself lists these addresses, so that trust in it applies to them."""
        return not (self.negated or self.left_over)

    @property
    def is_empty(self) -> bool:
        """Whether no address is listed."""
        return not self.rest and not any(self.held)

    @property
    def listed(self) -> AddressSet:
        """Every address that is listed."""
        return AddressSet.union((self.rest, *self.held))

    def among(self, networks: AddressSet) -> AddressSet:
        """The part of these networks that matches."""
        # Usually far less than everything listed, so intersected before the union.
        listed = AddressSet.union(each & networks for each in (self.rest, *self.held))
        return networks - listed if self.negated else listed

    def referenced(self, *, allow: bool) -> "AddressMatch":
        """The same match, with only those groups that a rule may select by their sets.

        Sets and policies change independently. So a rule selects a set only where a larger set
        allows more: in a plain allow and in a negated deny. Elsewhere addresses are written by
        content, so that what a rule denies changes only with its policy. Nets of one selector have
        to be disjoint for kernel sets of nftables: overlapping groups are written by content too.
        """
        if not self.groups:
            return self
        if allow == self.negated:
            return AddressMatch(self.listed, self.negated)
        # Negated, everything listed may have to fit one selector.
        once, twice = self.rest if self.negated else NOWHERE, NOWHERE
        for held in self.held:
            twice |= once & held
            once |= held
        if not twice:
            return self
        apart = [each for each in zip(self.groups, self.held, strict=True) if not each[1] & twice]
        overlapping = (held for held in self.held if held & twice)
        return AddressMatch(
            AddressSet.union((self.rest, *overlapping)),
            self.negated,
            tuple(group for group, _ in apart),
            tuple(held for _, held in apart),
        )


ANY = AddressMatch(NOWHERE, negated=True)
NOTHING = AddressMatch(NOWHERE)


@dataclass(frozen=True, slots=True)
class MemberList:
    """The content of a list, and `sayable`, the match of what surely is in it.

    `because` has the reasons that keep it open. `registered`: it holds dynamic groups, whose
    registered addresses are assumed to be none.
    """

    members: tuple[Estimate, ...]
    because: tuple[str, ...]
    sayable: AddressMatch
    registered: bool = False

    @property
    def answers(self) -> AddressSet:
        """What DNS answers for FQDNs in it."""
        return AddressSet.union(each.answers for each in self.members)

    @property
    def kinds(self) -> frozenset[Reason]:
        """The kinds of the reasons that keep it open."""
        return frozenset(kind for each in self.members for kind in each.kinds)

    @property
    def holds(self) -> Estimate:
        """The union of its members; few rules need more of it than its reasons."""
        return Estimate.union(self.members)


def match(
    end: str, listed: MemberList | None, *, negated: bool, allow: bool, accepted: bool
) -> tuple[AddressMatch, tuple[Loss, ...]]:
    """The match of a list (None: any), and its losses.

    `end` is `source` or `destination`, for the reasons. `accepted`: the configuration accepts that
    the open list of a deny shrinks to what can be said.
    """
    if listed is None:
        return (NOTHING if negated else ANY), ()
    said = replace(listed.sayable, negated=True) if negated else listed.sayable
    if not listed.because:
        if listed.registered and allow == negated:
            reason = f"its {end} holds dynamic groups without what is registered at run time"
            reason += " (registered_ips: optional)"
            return said, (loss(Status.MORE_PERMISSIVE, reason, Reason.REGISTERED_OPTIONAL),)
        return said, ()
    because, kinds = "; ".join(listed.because), listed.kinds
    if accepted and not allow:
        reason = (
            f"its {end} is only what is known and Calico can match (rules.accept_dropped_members)"
        )
        return said, (loss(Status.MORE_PERMISSIVE, f"{reason}: {because}", Reason.ACCEPTED),)
    if allow and negated:
        reason = f"what is outside of its {end} is not known, so nothing is allowed: {because}"
        return NOTHING, (loss(Status.LEFT_OUT, reason, *kinds),)
    if allow:
        answers = listed.answers
        if answers:
            # Not as a set: sets are written before the policies that no longer spare them.
            said = replace(said, rest=said.rest | without_mapped(answers))
        if said.is_empty:
            reason = f"nothing is known of its {end} that Calico can match: {because}"
            return NOTHING, (loss(Status.LEFT_OUT, reason, *kinds),)
        said_only = f"its {end} is only what is known and Calico can match: {because}"
        narrowed = loss(Status.NARROWED, said_only, *kinds)
        if answers:
            reason = f"FQDNs in its {end} are the addresses that DNS answers here (fqdn: resolve)"
            return said, (loss(Status.MORE_PERMISSIVE, reason, Reason.ACCEPTED), narrowed)
        return said, (narrowed,)
    if negated:
        reason = f"its negated {end} spares only what is known and Calico can match: {because}"
        return said, (loss(Status.WIDENED, reason, *kinds),)
    at_most = listed.holds.at_most
    what = "any address" if at_most is None else "every address that may be in it"
    widened = loss(Status.WIDENED, f"its {end} is {what}: {because}", *kinds)
    widened = replace(widened, no_rest=said.is_empty and not said.groups)
    return (ANY if at_most is None else AddressMatch(at_most)), (widened,)


class MemberLists:
    """Reads the lists of rules as one device group sees them."""

    def __init__(
        self, objects: Objects, sets: Mapping[str, GroupSet], *, registered_accepted: bool = False
    ) -> None:
        """`sets` are the group sets of the device group by the group's own name.

        `registered_accepted`: registered addresses of dynamic groups are assumed to be none.
        """
        self._registered_accepted = registered_accepted
        self._objects = objects
        self._sets = sets
        self._wildcards = WildcardObjects(objects.addresses)
        self._known: dict[tuple[str, ...], MemberList | None] = {}

    def listed(self, members: tuple[str, ...]) -> MemberList | None:
        """The content of a list; None for any."""
        if members not in self._known:
            self._known[members] = None if "any" in members else self._read(members)
        return self._known[members]

    def wildcards(self, members: tuple[str, ...]) -> tuple[Address, ...]:
        """The wildcard objects in a list, also in its groups."""
        return self._wildcards.reached(members)

    def _read(self, members: Sequence[str]) -> MemberList:
        groups: dict[str, GroupSet] = {}
        of_groups: list[Estimate] = []
        singles: list[Estimate] = []
        for member in members:
            group = self._group(member)
            if group is None:
                singles.append(self._single(member))
            elif group.identity not in groups:
                groups[group.identity] = group
                reasons = tuple(reason_of_group(member, reason) for reason in group.holds.because)
                holds = replace(group.holds, because=reasons) if reasons else group.holds
                of_groups.append(holds)
        others = Estimate.union(singles)
        rest = without_mapped(others.surely)
        if rest != others.surely:
            reason = "it holds addresses of ::ffff:0:0/96, which Calico reads as IPv4"
            others = Estimate(
                rest,
                None,
                others.answers,
                (*others.because, reason),
                others.kinds | {Reason.MAPPED},
            )
        identities = tuple(sorted(groups))
        held = tuple(groups[identity].holds.surely for identity in identities)
        parts = (others, *of_groups)
        return MemberList(
            parts,
            tuple(sorted({clause for each in parts for clause in each.because})),
            AddressMatch(rest, groups=identities, held=held),
            registered=self._registered_accepted and any(each.dynamic for each in groups.values()),
        )

    def _group(self, member: str) -> GroupSet | None:
        """The set of an address group, or of an external list whose content is known."""
        found = self._objects.addresses.get(member)
        if isinstance(found, AddressGroup):
            return self._sets[member]
        return None if found else self._sets.get(external_name(member))

    def _single(self, member: str) -> Estimate:
        """The content of a literal, or of an object that has no set."""
        found = self._objects.addresses.get(member)
        if isinstance(found, Address):
            if found.addresses is not None:
                return Estimate.exactly(found.addresses)
            because = found.problem or f"is the FQDN {found.value}"
            return Estimate.unknown(f"{member!r} {because}", found.answers, kind=found.unsaid)
        if member in self._objects.external_lists:
            external = self._objects.external_lists[member]
            unknown = f" that {external.problem}" if external.problem else ""
            if external.type and external.type not in ("ip", _PREDEFINED):
                unknown = f" of type {external.type}{unknown}"
            what = "a predefined" if external.type == _PREDEFINED else "an"
            said = f"{member!r} is {what} external dynamic list{unknown}"
            return Estimate.unknown(said, kind=_unfetched(external))
        if (addresses := literal(member)) is not None:
            return Estimate.exactly(addresses)
        if is_list(member):
            said = f"{member!r} is a predefined external dynamic list"
            return Estimate.unknown(said, kind=Reason.PREDEFINED_LIST)
        return Estimate.unknown(
            f"{member!r} is not an address object, group or address that is known here",
            kind=Reason.MISSING,
        )


def _unfetched(external: ExternalList) -> Reason:
    """The kind of reason why the content of a list is unknown."""
    if external.type == _PREDEFINED:
        return Reason.PREDEFINED_LIST
    if external.type and external.type != "ip":
        return Reason.EXTERNAL_LIST_TYPE
    return Reason.EXTERNAL_LIST_PROBLEM if external.problem else Reason.EXTERNAL_LIST


def reason_of_group(name: str, reason: str) -> str:
    """A reason of a group as one of a list that it is in."""
    own = reason.removeprefix("it ")
    return f"in {name!r}, {reason}" if own == reason else f"group {name!r} {own}"

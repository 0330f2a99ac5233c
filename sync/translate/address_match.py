"""A rule's list of addresses, as far as Calico can say it.

    list            allow                       deny
    exact           as it stands                as it stands
    open, plain     what is sayable             what it may hold, or any address
    open, negated   nothing                     all but what is sayable

A list is open if something in it, at any depth, cannot be said in addresses. The table keeps an
allow from growing and a deny from shrinking, whatever the unsayable part holds. What DNS says here
of FQDNs is sayable in a plain allow alone, for a firewall may be told something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sync.firewall.addressing import literal
from sync.firewall.groups import WildcardObjects
from sync.firewall.objects import Address, AddressGroup, Objects
from sync.net.addresses import NOWHERE, AddressSet
from sync.translate.fidelity import Loss, Status
from sync.translate.network_sets import GroupSet, external_name, without_mapped


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """The addresses at one end of a rule: those listed, or with `negated` all but those.

    Listed are `rest` and what the address groups hold whose identities are `groups`, each of which
    has its addresses in `held`. Any address is all but none. `left_over`: it is what was left of
    such a match without some addresses, and nothing that a rule lists.
    """

    rest: AddressSet
    negated: bool = False
    groups: tuple[str, ...] = ()
    held: tuple[AddressSet, ...] = field(default=(), hash=False)  # `groups` say it, and shorter
    left_over: bool = False

    @property
    def lists_its_own(self) -> bool:
        """Whether the rule itself lists the addresses, for which it may be trusted."""
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
        """What of these networks matches."""
        # Far less than all that is listed, as a rule, so cut before they are united.
        listed = AddressSet.union(each & networks for each in (self.rest, *self.held))
        return networks - listed if self.negated else listed

    def referenced(self, *, allow: bool) -> "AddressMatch":
        """The same match, with the groups alone that a rule may select by their sets.

        Sets change on their own, policies on theirs. So a rule selects a set only where a larger
        one allows more: in a plain allow and in a negated deny. Elsewhere its addresses stand by
        content, and what a rule denies changes with its policy alone. One selector covers disjoint
        nets, since kernel sets of nftables refuse others: groups that overlap stand by content too.
        """
        if not self.groups:
            return self
        if allow == self.negated:
            return AddressMatch(self.listed, self.negated)
        # Negated, all that is listed may have to stand in one selector.
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
    """What a list says in addresses, and one clause for each thing that keeps it open.

    `rest`, `groups` and `held` are as in `AddressMatch`. `registered`: it holds dynamic groups,
    whose registered addresses are taken for none. `with_answers` is the list with what DNS says
    here, None where that adds nothing. `at_most` is all that an open list may hold, None where
    nobody knows that.
    """

    rest: AddressSet
    groups: tuple[str, ...]
    held: tuple[AddressSet, ...]
    open_because: tuple[str, ...]
    registered: bool = False
    with_answers: AddressMatch | None = None
    at_most: AddressSet | None = None


def match(
    end: str, listed: MemberList | None, *, negated: bool, allow: bool, accepted: bool
) -> tuple[AddressMatch, tuple[Loss, ...]]:
    """The match of a list (None: any), and what is lost.

    `end` is `source` or `destination`, for the reasons. `accepted`: the configuration takes the
    open list of a deny for what of it can be said.
    """
    if listed is None:
        return (NOTHING if negated else ANY), ()
    said = AddressMatch(listed.rest, negated, listed.groups, listed.held)
    if not listed.open_because:
        if listed.registered and allow == negated:
            reason = f"its {end} holds dynamic groups without what is registered at run time"
            return said, (Loss(Status.MORE_PERMISSIVE, f"{reason} (registered_ips: optional)"),)
        return said, ()
    because = "; ".join(listed.open_because)
    if accepted and not allow:
        reason = f"its {end} is taken without what cannot be said (rules.accept_dropped_members)"
        return said, (Loss(Status.MORE_PERMISSIVE, f"{reason}: {because}"),)
    if allow and negated:
        return NOTHING, (
            Loss(Status.LEFT_OUT, f"all but an open {end} cannot be allowed: {because}"),
        )
    if allow:
        said = listed.with_answers or said
        if said.is_empty:
            reason = f"nothing of its {end} can be said: {because}"
            return NOTHING, (Loss(Status.LEFT_OUT, reason),)
        narrowed = Loss(Status.NARROWED, f"its {end} holds only what can be said: {because}")
        if listed.with_answers:
            reason = f"its {end} has FQDNs for what DNS says of them here (fqdn: resolve)"
            return said, (Loss(Status.MORE_PERMISSIVE, reason), narrowed)
        return said, (narrowed,)
    if negated:
        return said, (
            Loss(Status.WIDENED, f"its negated {end} spares only what can be said: {because}"),
        )
    if listed.at_most is not None:
        reason = f"its {end} is all that may be in it: {because}"
        return AddressMatch(listed.at_most), (Loss(Status.WIDENED, reason),)
    return ANY, (Loss(Status.WIDENED, f"its {end} is any address: {because}"),)


class MemberLists:
    """Reads the lists of rules as one device group sees them."""

    def __init__(
        self, objects: Objects, sets: Mapping[str, GroupSet], *, registered_accepted: bool = False
    ) -> None:
        """`sets` are the group sets of the device group by the group's own name.

        `registered_accepted`: what is registered with dynamic groups is taken for none.
        """
        self._registered_accepted = registered_accepted
        self._objects = objects
        self._sets = sets
        self._wildcards = WildcardObjects(objects.addresses)
        self._known: dict[tuple[str, ...], MemberList | None] = {}

    def listed(self, members: tuple[str, ...]) -> MemberList | None:
        """What a list says; None if it says any."""
        if members not in self._known:
            self._known[members] = None if "any" in members else self._read(members)
        return self._known[members]

    def wildcards(self, members: tuple[str, ...]) -> tuple[Address, ...]:
        """The wildcard objects in a list, also in its groups."""
        return self._wildcards.reached(members)

    def _read(self, members: Sequence[str]) -> MemberList:
        groups: dict[str, GroupSet] = {}
        rest: list[AddressSet] = []
        answers: list[AddressSet] = []
        because: list[str] = []
        bounded = True
        for member in members:
            found = self._objects.addresses.get(member)
            if isinstance(found, AddressGroup):
                group = self._sets[member]
            elif found is None and external_name(member) in self._sets:
                group = self._sets[external_name(member)]
            else:
                addresses, reason = self._single(member, found)
                rest.append(addresses)
                answers += [found.answers] if found else []
                because += [reason] if reason else []
                bounded = bounded and not reason
                continue
            groups[group.identity] = group
            because += (f"in {member!r}, {reason}" for reason in group.open_because)
        others = AddressSet.union(rest)
        kept = without_mapped(others)
        if kept != others:
            because.append("it holds addresses of ::ffff:0:0/96, which Calico reads as IPv4")
            bounded = False
        every = [groups[identity] for identity in sorted(groups)]
        identities = tuple(each.identity for each in every)
        held = tuple(each.addresses for each in every)
        # In no set: sets are written ahead of the policies that stop to spare what they hold.
        answered = AddressSet.union((*answers, *(each.answers for each in every)))
        with_answers = None
        if answered:
            sayable = kept | without_mapped(answered)
            with_answers = AddressMatch(sayable, groups=identities, held=held)
        return MemberList(
            kept,
            identities,
            held,
            tuple(sorted(set(because))),
            registered=self._registered_accepted and any(group.dynamic for group in every),
            with_answers=with_answers,
            at_most=_at_most(kept, every) if bounded else None,
        )

    def _single(self, member: str, found: Address | None) -> tuple[AddressSet, str]:
        if found is not None:
            if found.addresses is not None:
                return found.addresses, ""
            if found.problem:
                return NOWHERE, f"{member!r} {found.problem}"
            return NOWHERE, f"{member!r} is the FQDN {found.value}"
        if member in self._objects.external_lists:
            problem = self._objects.external_lists[member].problem
            unknown = f" that {problem}" if problem else ""
            return NOWHERE, f"{member!r} is an external dynamic list{unknown}"
        if (addresses := literal(member)) is not None:
            return addresses, ""
        return NOWHERE, f"{member!r} is no address object, group or address that is known here"


def _at_most(rest: AddressSet, groups: Sequence[GroupSet]) -> AddressSet | None:
    """All that a list of groups and other addresses may hold."""
    bounds = [each.at_most if each.open_because else each.addresses for each in groups]
    if None in bounds:
        return None
    return AddressSet.union((rest, *(each for each in bounds if each)))

"""Find out who may reach whom: for each pair of zones, on the firewall and by the policies.

both lists of a zone, as the proof reads them  ->  what each allows to and from every other zone

A flow of a cell has a pod at one end or at both: policies see no other. The essentials are in
no cell, since they come before all rules. A staged policy counts as if it were enforced.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sync.firewall.services import Traffic
from sync.net.addresses import EVERYWHERE, written
from sync.net.intervals import Bounds
from sync.verify.as_on_firewall import key_of, of_unknown_action
from sync.verify.calico_semantics import DIRECTIONS, Direction
from sync.verify.compare import Pods
from sync.verify.examples import usual_address
from sync.verify.packet_space import FAMILIES, ON_THE_WIRE, Entry, Family, Place, of_family
from sync.verify.profiles import UnreadableError
from sync.verify.reach import (
    Degrees,
    Part,
    Regions,
    Row,
    TooManyError,
    beyond,
    clipped,
    deciding,
    degrees,
    permitted,
    turned,
)
from sync.verify.tiers import Tier, Tiers
from sync.verify.traffic_space import TrafficSpace

MOST_ZONES: Final = 100  # a side of a matrix; a larger one says nothing

BEYOND_TABLE: Final = "other default ports of App-IDs"
"""What may go besides by rules of App-IDs whose ports only the bundled table has."""

_EVERY: Final = -1  # all bits

State = Literal["all", "some", "none", "no flows", "unknown"]
Unlike = Literal["", "less", "more", "less and more", "unknown"]


@dataclass(frozen=True, slots=True)
class DecidingRule:
    """A rule that decides some flows of a cell: `places` are Calico's, as in `policy[egress 3]`.

    `place` is the firewall's; None for a default.
    """

    rule: str
    action: str
    place: Place | None
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """What may go from one zone to another by one list of rules.

    `services` are those between all addresses of both, `partly` those between some of them, and
    `perhaps` those that depend on what Calico cannot see (users, App-IDs, …), `BEYOND_TABLE` last.
    `rules` decide.
    `because` says why the state is `unknown`.
    """

    state: State
    services: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    rules: tuple[DecidingRule, ...] = ()
    because: str = ""

    @property
    def sign(self) -> str:
        """The state in a word; `perhaps` where all that may go is in `perhaps`."""
        sure = self.services or self.partly
        return "perhaps" if self.state == "some" and not sure else self.state


@dataclass(frozen=True, slots=True)
class Cell:
    """What may go from zone `source` to zone `destination`, on the firewall and in the cluster.

    `unlike`: the cluster allows `less` than the firewall may allow, or `more` than it surely does.
    `lost` is a flow that it does not allow, `gained` one that it does; "" where there is none.
    """

    source: str
    destination: str
    firewall: Reach
    calico: Reach
    unlike: Unlike
    lost: str = ""
    gained: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of the zones of one device group, row by row; none with `because`, which says why.

    Of the zones in `pods_only` the addresses outside pods are not known, so only pods are judged.
    """

    source: str
    device_group: str
    tier: str
    zones: tuple[str, ...]
    pods_only: tuple[str, ...]
    cells: tuple[Cell, ...]
    because: str = ""


def matrices(tiers: Tiers) -> list[Matrix]:
    """The matrix of each device group of a cluster."""
    found = []
    for tier in tiers.each:
        zones, group = tuple(sorted(tier.zones)), tier.group
        empty = Matrix(group.source, group.seen.name, group.tier, zones, (), ())
        if len(zones) > MOST_ZONES:
            found.append(replace(empty, because=f"it has more than {MOST_ZONES} zones"))
            continue
        try:
            lists = _Lists(tier)
            cells = tuple(lists.cell(source, to) for source in zones for to in zones)
            found.append(replace(empty, pods_only=lists.pods_only, cells=cells))
        except UnreadableError as error:
            found.append(replace(empty, because=str(error)))
    return found


class _Lists:
    """The lists of one tier, and of its device group's firewalls."""

    def __init__(self, tier: Tier) -> None:
        self._profiles = profiles = tier.profiles
        self._pods = Pods(profiles, tier.settings.pods)
        self._networks = tier.networks
        zones = sorted(tier.zones)
        self.pods_only = tuple(each for each in zones if each not in self._networks.of)
        policies, essentials = tier.policies, tier.essentials
        nobody = f"no policy of tier {tier.group.tier} selects it"
        whole = Entry(
            EVERYWHERE, ((profiles.everyone, EVERYWHERE),), (Traffic(),), "allow", "", nobody
        )
        unreadable = of_unknown_action(tier.perhaps)
        lists: dict[tuple[str, str, Direction], list[Entry]] = {}
        for zone in zones:
            for direction in DIRECTIONS:
                for bound, entries in _on_firewall(tier, unreadable, zone, direction):
                    lists[bound, zone, direction] = entries
                bit = profiles.zones.get(zone, 0)
                said = policies.said_to(bit, direction, essentials) if bit else []
                lists["calico", zone, direction] = [whole] if said is None else said
        every = [entry for entries in lists.values() for entry in entries]
        spoken = {each for entry in every for each in entry.traffic}
        by_table = {each for entry in every if entry.by_table for each in entry.by_table.traffic}
        self._by_table = bool(by_table)
        self._space = TrafficSpace(spoken | by_table)
        self._rows = {key: self._row(entries) for key, entries in lists.items()}
        self._outside: dict[tuple[str, Family], Bounds] = {}

    def cell(self, source: str, destination: str) -> Cell:
        """What may go from one zone to another."""
        parts = [*self._parts(source, destination)]
        if not parts:
            nothing = Reach("no flows")
            return Cell(source, destination, nothing, nothing, "")
        budget = Regions()
        try:
            surely = [(part, permitted(self._between("surely", part), budget)) for part in parts]
            perhaps = [(part, permitted(self._between("perhaps", part), budget)) for part in parts]
            rules = self._deciding("every", parts, budget)
            firewall = self._reach(surely, perhaps, rules, budget, self._known(parts))
        except TooManyError as error:
            firewall = Reach("unknown", because=str(error))
        try:
            calico = [(part, self._calico(part, budget)) for part in parts]
            rules = self._deciding("calico", parts, budget)
            become = self._reach(calico, calico, rules, budget)
            if firewall.state == "unknown":
                return Cell(source, destination, firewall, become, "unknown")
            lost = self._such(
                (part, beyond(may, some, budget))
                for (part, may), (_, some) in zip(perhaps, calico, strict=True)
            )
            gained = self._such(
                (part, beyond(some, sure, budget))
                for (part, some), (_, sure) in zip(calico, surely, strict=True)
            )
        except TooManyError as error:
            unknown = Reach("unknown", because=str(error))
            return Cell(source, destination, firewall, unknown, "unknown")
        unlike: Unlike = "less and more" if lost and gained else "less" if lost else ""
        unlike = unlike or ("more" if gained else "")
        return Cell(source, destination, firewall, become, unlike, lost, gained)

    def _such(self, found: Iterable[tuple[Part, Row | None]]) -> str:
        """One of these flows: `pod 10.1.0.10 -> 10.2.0.7, tcp/443 from port 50000`."""
        for part, row in found:
            if row is not None:
                near = usual_address(row.local, part.family, pod=True)
                far = usual_address(row.there, part.family, pod=bool(part.peer), but=near)
                one, other = (written((part.family, each)) for each in (near, far))
                ends = [f"pod {one}", f"pod {other}" if part.peer else other]
                source, to = ends if part.direction == "egress" else reversed(ends)
                return f"{source} -> {to}, {self._space.packet(row.traffic).said()}"
        return ""

    # --- parts ------------------------------------------------------------------------------------

    def _parts(self, source: str, destination: str) -> Iterator[Part]:
        """The flows of a cell by who is at each end, and by family; no part is empty."""
        near, far = (self._profiles.zones.get(each, 0) for each in (source, destination))
        near, far = (bit & ~self._profiles.impossible for bit in (near, far))
        outside = self._profiles.no_pod
        for family in FAMILIES:
            pods = self._pods.local(EVERYWHERE, family)
            if pods and near and far:
                yield Part(family, source, "egress", pods, far, pods, destination)
            there = self._outside_of(destination, family)
            if pods and near and there:
                yield Part(family, source, "egress", pods, outside, there)
            there = self._outside_of(source, family)
            if pods and far and there:
                yield Part(family, destination, "ingress", pods, outside, there)

    def _outside_of(self, zone: str, family: Family) -> Bounds:
        """The addresses outside pods that surely are in a zone."""
        key = (zone, family)
        if key not in self._outside:
            found = self._networks.surely([zone]) & ON_THE_WIRE
            self._outside[key] = of_family(found, family)
        return self._outside[key]

    # --- lists ------------------------------------------------------------------------------------

    def _row(self, entries: Sequence[Entry]) -> dict[Family, list[Row]]:
        """The entries of a list by family, with what is the same for all far ends."""
        rows: dict[Family, list[Row]] = {4: [], 6: []}
        for entry in entries:
            bits = self._space.bits(entry.traffic)
            for family in entry.families:
                traffic = bits & self._space.everything[family]
                local = self._pods.local(entry.local, family)
                far = self._pods.far(entry.far, family)
                if traffic and local and far:
                    rows[family].append(Row(entry, local, far, traffic))
        return rows

    def _between(self, kind: str, part: Part) -> list[Row]:
        rows = self._rows[kind, part.zone, part.direction][part.family]
        return clipped(rows, part, self._space.everything[part.family])

    def _calico(self, part: Part, budget: Regions) -> list[Row]:
        """What the policies allow: of a flow between pods both ends have to allow it."""
        found = permitted(self._between("calico", part), budget)
        if not part.peer:
            return found
        back = self._reverse(part)
        return turned(found, permitted(self._between("calico", back), budget), budget)

    def _reverse(self, part: Part) -> Part:
        bit = self._profiles.zones[part.zone]
        return part._replace(zone=part.peer, direction="ingress", bit=bit, peer=part.zone)

    def _deciding(
        self, kind: str, parts: Sequence[Part], budget: Regions
    ) -> tuple[DecidingRule, ...]:
        """The rules that decide some flow of these, in their order."""
        found: dict[tuple[str, str, Place | None], dict[str, None]] = {}
        for part in parts:
            asked = [part, self._reverse(part)] if kind == "calico" and part.peer else [part]
            for each in asked:
                for entry in deciding(self._between(kind, each), budget):
                    where = found.setdefault((entry.rule, entry.action, entry.place), {})
                    where.setdefault(entry.where)
        return tuple(
            DecidingRule(rule, action, place, tuple(each for each in where if each))
            for (rule, action, place), where in found.items()
        )

    def _known(self, parts: Sequence[Part]) -> int:
        """What the firewall may allow by rules and App-IDs alone, without what no table knows."""
        if not self._by_table:
            return _EVERY
        found = 0
        for part in parts:
            for row in self._between("perhaps", part):
                table = row.entry.by_table
                if row.entry.action == "allow":
                    found |= self._space.bits(table.traffic) if table else row.traffic
        return found

    def _reach(
        self,
        surely: Sequence[tuple[Part, list[Row]]],
        perhaps: Sequence[tuple[Part, list[Row]]],
        rules: tuple[DecidingRule, ...],
        budget: Regions,
        known: int = _EVERY,
    ) -> Reach:
        everything = {part.family: self._space.everything[part.family] for part, _ in surely}
        sure = Degrees(everything)
        for part, rows in surely:
            sure.add(part.family, degrees(rows, part, budget))
        may = 0
        for _, rows in perhaps:
            for row in rows:
                may |= row.traffic
        may &= ~(sure.wholly | sure.partly)
        state: State = "some" if sure.wholly or sure.partly or may else "none"
        if sure.all:
            state = "all"
        more = (BEYOND_TABLE,) if may & ~known else ()
        return Reach(
            state,
            self._space.said(sure.wholly),
            self._said_besides(sure.partly, sure.wholly, everything),
            (*self._said_besides(may & known, sure.wholly | sure.partly, everything), *more),
            rules,
        )

    def _said_besides(
        self, may: int, sure: int, everything: Mapping[Family, int]
    ) -> tuple[str, ...]:
        """What may go besides what surely does."""
        left = [every & ~(may | sure) for every in everything.values()]
        if sure and may and not any(left):
            return ("all other traffic",)
        return self._space.said(may)


def _on_firewall(
    tier: Tier, unreadable: Collection[Place], zone: str, direction: Direction
) -> Iterator[tuple[str, list[Entry]]]:
    """What the firewall surely allows, what it may allow, and both readings of each rule.

    `unreadable` are the rules whose action cannot be read.
    """
    sure_of = {key_of(each): each for each in tier.surely.decided(zone, direction)}
    surely: list[Entry] = []
    perhaps: list[Entry] = []
    every: list[Entry] = []
    for entry in tier.perhaps.decided(zone, direction):
        if entry.place in unreadable:
            surely.append(entry._replace(action="deny"))
            perhaps.append(entry._replace(action="allow"))
            every.append(entry._replace(action="", rough=True))
            continue
        sure = sure_of.get(key_of(entry))
        surely += [entry] if entry.action == "deny" else [sure] if sure else []
        perhaps += [entry] if entry.action == "allow" else [sure] if sure else []
        every.append(entry._replace(rough=True))
        every += [sure] if sure else []
    yield "surely", surely
    yield "perhaps", perhaps
    yield "every", every

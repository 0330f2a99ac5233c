"""What a list of entries decides, as binary decision diagrams: every flow at once, without boxes.

A flow is a row of numbers in binary: its family, the pod's address, who is at the far end, the
address there, protocol, ports, and the type and code of ICMP. Protocols and ports are themselves.
Of an address only the stretch counts that it lies in, between two neighbours of all the boundaries
of all sets; stretches are numbered.

Of `sync.verify` this knows what an entry is, and nothing of how two lists are compared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from oxidd.bdd import BDDFunction, BDDManager

from sync.firewall.services import Traffic
from sync.net.addresses import AddressSet
from sync.verify.compare import Witness
from sync.verify.packet_space import Ends, Entry
from sync.verify.profiles import Profiles
from tests.naive.flows import ICMP, ICMP6, LAST, written

Diagram = BDDFunction
Assigned = list[tuple[int, bool]]

_NODES = 1 << 21
_CACHED = 1 << 18
_MAPPED_V4 = AddressSet((), (0xFFFF << 32, 0x1_0000 << 32))


class _Number:
    """A number in some bits, the highest first."""

    def __init__(self, manager: BDDManager, past: int) -> None:
        """`past` is one more than the last number."""
        self._manager = manager
        self._bits = manager.add_vars(max(1, (past - 1).bit_length()))
        self._known: dict[int, Diagram] = {1 << len(self._bits): manager.false()}

    def at_least(self, number: int) -> Diagram:
        if number not in self._known:
            found = self._manager.true()
            for place, bit in enumerate(reversed(self._bits)):
                var = self._manager.var(bit)
                found = var & found if number >> place & 1 else var | found
            self._known[number] = found
        return self._known[number]

    def within(self, bounds: Iterable[int]) -> Diagram:
        """Whether it is past an odd number of boundaries."""
        found = self._manager.false()
        for bound in bounds:
            found ^= self.at_least(bound)
        return found

    def same(self, other: _Number, numbers: Iterable[int]) -> Diagram:
        """Whether both are the same one of these numbers."""
        both = (self.is_(number) & other.is_(number) for number in numbers)
        return reduce(or_, both, self._manager.false())

    def is_(self, number: int) -> Diagram:
        return self.within((number, number + 1))

    def assigned(self, number: int) -> Assigned:
        last = len(self._bits) - 1
        return [(bit, bool(number >> last - at & 1)) for at, bit in enumerate(self._bits)]

    def read(self, cube: Sequence[bool | None]) -> int:
        return reduce(lambda number, bit: number << 1 | bool(cube[bit]), self._bits, 0)


@dataclass(frozen=True)
class Decided:
    """Flows by the entry that decides them, and by what it decides."""

    taken: Sequence[tuple[Entry, Diagram]]
    verdicts: Mapping[str, Diagram]

    def by(self, flow: Assigned) -> Entry:
        """The entry that decides one flow; `LookupError` for one that is not considered."""
        for entry, diagram in self.taken:
            if diagram.eval(flow):
                return entry
        raise LookupError(flow)

    def rules(self) -> set[str]:
        """The rules that decide any flow."""
        return {entry.rule for entry, diagram in self.taken if diagram.satisfiable()}


class Space:
    """All flows of one profile's pods in one direction, as far as some entries tell them apart."""

    def __init__(
        self, entries: Iterable[Entry], profiles: Profiles, pods: AddressSet | None
    ) -> None:
        """`pods` hold every pod of the cluster, None: that is not known."""
        self._manager = manager = BDDManager(_NODES, _CACHED, 1)
        self._true, self._false = manager.true(), manager.false()
        self._profiles = profiles
        sets = {_MAPPED_V4} if pods is None else {_MAPPED_V4, pods}
        for entry in entries:
            sets |= {entry.local, *(addresses for _, addresses in entry.far)}
        v4 = {0, *(bound for each in sets for bound in each.v4)}
        v6 = {0, *(bound for each in sets for bound in each.v6)}
        self._begin = {4: sorted(v4 - {LAST[4] + 1}), 6: sorted(v6 - {LAST[6] + 1})}
        places = max(map(len, self._begin.values()))
        self._is_six = _Number(manager, 2)
        self._far_profile = _Number(manager, profiles.everyone.bit_length())
        self._protocol = _Number(manager, 256)
        self._port, self._source_port = _Number(manager, 1 << 16), _Number(manager, 1 << 16)
        self._type, self._code = _Number(manager, 256), _Number(manager, 256)
        self._far, self._local = _Number(manager, places), _Number(manager, places)
        self._known_traffic: dict[tuple[Traffic, ...], Diagram] = {}
        self._known_ends: dict[Ends, Diagram] = {}
        self._known_local: dict[AddressSet, Diagram] = {}
        self.considered = self._considered(pods)

    # --- entries ----------------------------------------------------------------------------------

    def matches(self, entry: Entry) -> Diagram:
        """The flows that an entry speaks of."""
        six = self._is_six.at_least(1)
        found = self._union(six if family == 6 else ~six for family in entry.families)
        traffic, ends, local = self._known_traffic, self._known_ends, self._known_local
        if entry.traffic not in traffic:
            traffic[entry.traffic] = self._union(map(self._one_traffic, entry.traffic))
        if entry.far not in ends:
            far = (self._who(bits) & self._at(self._far, where) for bits, where in entry.far)
            ends[entry.far] = self._union(far)
        if entry.local not in local:
            local[entry.local] = self._at(self._local, entry.local)
        return found & traffic[entry.traffic] & ends[entry.far] & local[entry.local]

    def decided(self, entries: Iterable[Entry]) -> Decided:
        """What each entry decides of the considered flows: those that none before it matches."""
        taken: list[tuple[Entry, Diagram]] = []
        verdicts = dict.fromkeys(("allow", "deny", ""), self._false)
        left = self.considered
        for entry in entries:
            matched = self.matches(entry)
            taken.append((entry, left & matched))
            verdicts[entry.action] |= taken[-1][1]
            left &= ~matched
        if left.satisfiable():
            raise ValueError(f"nothing decides {self.shown(left)}")
        return Decided(taken, verdicts)

    def _one_traffic(self, traffic: Traffic) -> Diagram:
        found = self._true
        if traffic.protocol is not None:
            found &= self._protocol.is_(traffic.protocol)
        if traffic.ports is not None:
            found &= self._port.within(traffic.ports.bounds)
        if traffic.source_ports is not None:
            found &= self._source_port.within(traffic.source_ports.bounds)
        if traffic.icmp is not None:
            kind, code = traffic.icmp
            found &= self._type.is_(kind)
            if code is not None:
                found &= self._code.is_(code)
        return found

    def _who(self, bits: int) -> Diagram:
        numbers = range(self._profiles.everyone.bit_length())
        return self._union(self._far_profile.is_(each) for each in numbers if bits >> each & 1)

    def _at(self, number: _Number, addresses: AddressSet) -> Diagram:
        four, six = (
            number.within(bisect_left(self._begin[family], bound) for bound in bounds)
            for family, bounds in ((4, addresses.v4), (6, addresses.v6))
        )
        return self._is_six.at_least(1).ite(six, four)

    def _union(self, some: Iterable[Diagram]) -> Diagram:
        return reduce(or_, some, self._false)

    # --- which flows there are --------------------------------------------------------------------

    def _considered(self, pods: AddressSet | None) -> Diagram:
        six = self._is_six.at_least(1)
        found = ~(six & self._protocol.is_(ICMP)) & ~(~six & self._protocol.is_(ICMP6))
        for number in (self._local, self._far):
            past_v4, past_v6 = (number.at_least(len(self._begin[family])) for family in (4, 6))
            found &= ~six.ite(past_v6, past_v4) & ~self._at(number, _MAPPED_V4)
        profiles = self._profiles
        found &= self._who(profiles.everyone & ~profiles.impossible)
        if pods is not None:
            found &= self._at(self._local, pods)
            found &= ~self._who(profiles.pods) | self._at(self._far, pods)
        # Nothing stands between an address and itself. Two of a stretch can be two addresses.
        for family, begins in self._begin.items():
            alone = [
                number
                for number, (first, past) in enumerate(
                    zip(begins, [*begins[1:], LAST[family] + 1], strict=True)
                )
                if past == first + 1
            ]
            here = six if family == 6 else ~six
            found &= ~(here & self._local.same(self._far, alone))
        return found

    # --- single flows -----------------------------------------------------------------------------

    def assigned(self, flow: Witness) -> Assigned:
        """One flow, to be looked up."""
        family, local = flow.local_address
        _, far = flow.far_address
        assert family in (4, 6)
        numbers = range(self._profiles.everyone.bit_length())
        names = [self._profiles.names(1 << number) for number in numbers]
        packet = flow.packet
        kind, code = packet.icmp or (0, 0)
        return [
            *self._is_six.assigned(family == 6),
            *self._far_profile.assigned(names.index([flow.far])),
            *self._protocol.assigned(packet.protocol),
            *self._port.assigned(packet.port),
            *self._source_port.assigned(packet.source_port),
            *self._type.assigned(kind),
            *self._code.assigned(code),
            *self._far.assigned(bisect_right(self._begin[family], far) - 1),
            *self._local.assigned(bisect_right(self._begin[family], local) - 1),
        ]

    def shown(self, diagram: Diagram) -> str:
        """One flow of a diagram, for people."""
        cube = diagram.pick_cube()
        if cube is None:
            return "no flow"
        family = 6 if self._is_six.read(cube) else 4
        begins = self._begin[family]
        first, other = begins[self._local.read(cube)], begins[self._far.read(cube)]
        # In one stretch the next address is as good.
        local, far = (written((family, each)) for each in (first, other + (first == other)))
        (who,) = self._profiles.names(1 << self._far_profile.read(cube))
        return (
            f"{local} and {far} of {who}, protocol {self._protocol.read(cube)}, "
            f"{self._source_port.read(cube)}->{self._port.read(cube)}, "
            f"icmp {self._type.read(cube)}/{self._code.read(cube)}"
        )

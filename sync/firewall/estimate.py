"""A set of addresses whose members may be partly unknown: two bounds, and reasons.

    surely  ⊆  the set  ⊆  at_most

An allow may rest on `surely` and a deny on `at_most`; the promise that no cluster allows more than
the firewall does rests on keeping the two apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sync.firewall.reasons import Reason
from sync.net.addresses import NOWHERE, AddressSet


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bounds of a set of addresses: what surely is in it, and all that may be.

    It is *open* while `because` has clauses, one for each thing that is unknown; `at_most` is then
    an upper bound, or None where no bound is known. Without clauses the set is exactly `surely`,
    and `at_most` is the same. `answers` is what DNS answers here for its FQDNs. The firewall may
    receive other answers, so they are in neither bound. `kinds` are those of the clauses.
    `ValueError` if a set without clauses has another upper bound.
    """

    surely: AddressSet
    at_most: AddressSet | None
    answers: AddressSet = NOWHERE
    because: tuple[str, ...] = ()
    kinds: frozenset[Reason] = frozenset()

    def __post_init__(self) -> None:
        if self.because or self.at_most is self.surely:
            return
        if self.at_most != self.surely:
            raise ValueError("an estimate whose bounds differ gives a reason")

    @property
    def open(self) -> bool:
        """Whether something in the set is unknown."""
        return bool(self.because)

    @property
    def says_nothing(self) -> bool:
        """Whether nothing is known: no address is sure, and there is no upper bound."""
        return not self.surely and self.at_most is None

    @classmethod
    def exactly(cls, addresses: AddressSet) -> "Estimate":
        """A set that is known."""
        return cls(addresses, addresses)

    @classmethod
    def unknown(
        cls, because: str, answers: AddressSet = NOWHERE, *, kind: Reason | None = None
    ) -> "Estimate":
        """A set of which nothing is known, for one reason."""
        return cls(NOWHERE, None, answers, (because,), frozenset({kind} if kind else ()))

    @classmethod
    def union(cls, parts: Iterable["Estimate"]) -> "Estimate":
        """The union of sets, as far as they are known: one without a bound leaves it without one.

        The reasons of all of them are its reasons, each once, sorted.
        """
        every = [part for part in parts if part.surely or part.because]
        # Most lists have one member: its set is the union already.
        surely = every[0].surely if len(every) == 1 else AddressSet.union(p.surely for p in every)
        because = tuple(sorted({clause for part in every for clause in part.because}))
        if not because:
            return cls(surely, surely)
        bounds = [part.at_most for part in every]
        return cls(
            surely,
            None if None in bounds else AddressSet.union(bound for bound in bounds if bound),
            AddressSet.union(part.answers for part in every),
            because,
            frozenset(kind for part in every for kind in part.kinds),
        )

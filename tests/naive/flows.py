"""Flows worth judging: ends near every boundary that a configuration knows, and what is unknown.

A flow is what a firewall and Calico both see. What only the firewall could know (what an FQDN
resolves to, which user it is, what an element means that we cannot read) is asked of an `Oracle`,
so that every flow has a definite verdict, and several oracles try several truths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address, ip_interface, ip_network
from random import Random
from typing import Literal, TypeVar

Family = Literal[4, 6]
Place = tuple[int, int]
"""A family and an address as a number."""

TCP, UDP, ICMP, GRE, ICMP6 = 6, 17, 1, 47, 58
LAST = {4: 2**32 - 1, 6: 2**128 - 1}
# Calico reads these as IPv4, and no packet carries them.
_MAPPED_V4 = (0xFFFF << 32, (0xFFFF << 32) + 2**32 - 1)

_Choice = TypeVar("_Choice")


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod, as Calico's selectors see it. Two pods are the same only if they are one object."""

    labels: Mapping[str, str]
    namespace: str = "default"
    namespace_labels: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        inner = dict(self.namespace_labels or {})
        return f"Pod({dict(self.labels)}, {self.namespace!r} {inner})"


@dataclass(frozen=True)
class End:
    """One end of a flow: an address, and the pod that has it, if one does."""

    address: int
    family: int
    pod: Pod | None = None

    def __str__(self) -> str:
        name = written((self.family, self.address))
        return f"{name} of {self.pod}" if self.pod else name


@dataclass(frozen=True)
class Flow:
    """The first packet of a connection; `application` is the App-ID that the firewall finds.

    TCP and UDP have ports, ICMP and ICMPv6 a type and a code; other protocols have neither.
    """

    source: End
    destination: End
    protocol: int
    source_port: int = 0
    port: int = 0
    icmp: tuple[int, int] | None = None
    application: str | None = None

    def __str__(self) -> str:
        ports = f" {self.source_port}->{self.port}" if self.protocol in (TCP, UDP) else ""
        icmp = f" icmp {self.icmp}" if self.icmp else ""
        return (
            f"{self.source} -> {self.destination}, protocol {self.protocol}{ports}{icmp}, "
            f"App-ID {self.application}"
        )


@dataclass(frozen=True)
class Oracle:
    """Answers what nobody here can know: the same question always gets the same answer.

    `bias` `yes` and `no` answer every question alike; else the seed decides.
    """

    seed: int
    bias: Literal["", "yes", "no"] = ""

    def says(self, *question: object) -> bool:
        """Whether it is so."""
        return self.bias == "yes" if self.bias else bool(self._number(question) & 1)

    def picks(self, options: Sequence[_Choice], *question: object) -> _Choice:
        """Which of them it is; the first if the bias is `no`, the last if it is `yes`."""
        if self.bias:
            return options[-1 if self.bias == "yes" else 0]
        return options[self._number(question) % len(options)]

    def _number(self, question: tuple[object, ...]) -> int:
        text = f"{self.seed}|{question!r}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest())


ORACLES = (Oracle(0, "no"), Oracle(0, "yes"), *(Oracle(seed) for seed in range(4)))


# --- addresses ------------------------------------------------------------------------------------


def written(place: Place) -> str:
    family, number = place
    return str(ip_address(number.to_bytes(4 if family == 4 else 16)))


@lru_cache(maxsize=65536)
def span(text: str) -> tuple[int, int, int]:
    """What an address, a network or a range says: its family, first and last address.

    Host bits do not count. `ValueError` if it is none of these, or a range that falls.
    """
    if "-" in text:
        first, last = (ip_address(part.strip()) for part in text.split("-"))
        if first.version != last.version or int(last) < int(first):
            raise ValueError(text)
        return first.version, int(first), int(last)
    network = ip_interface(text).network
    return network.version, int(network.network_address), int(network.broadcast_address)


def edges(text: str) -> list[Place]:
    """The first and the last address of a span and their neighbours outside it."""
    family, first, last = span(text)
    return [
        (family, number)
        for number in (first - 1, first, last, last + 1)
        if 0 <= number <= LAST[family]
        and not (family == 6 and _MAPPED_V4[0] <= number <= _MAPPED_V4[1])
    ]


# Types and codes, of errors and questions, that applications are told by.
_ICMP_KINDS = (
    *((0, 0), (1, 0), (3, 0), (3, 1), (3, 3), (4, 0)),
    *((13, 0), (13, 14), (14, 0), (134, 0), (134, 3), (250, 1), (255, 0)),
)


# --- flows ----------------------------------------------------------------------------------------


def pods_at(
    random: Random,
    places: Iterable[Place],
    kinds: Sequence[Pod],
    within: Sequence[str] | None,
    number: int,
) -> list[End]:
    """Up to `number` pods of these kinds, each at an address of its own.

    `within` are the networks that hold every pod; None: pods are anywhere.
    """
    multicast = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"))
    allowed = None if within is None else [ip_network(net) for net in within]
    free = [
        place
        for place in dict.fromkeys(places)
        if place[1] != 0
        and not any(ip_address(written(place)) in net for net in multicast)
        and (allowed is None or any(ip_address(written(place)) in net for net in allowed))
    ]
    random.shuffle(free)
    turns = list(kinds)
    random.shuffle(turns)
    return [
        End(address, family, turns[index % len(turns)])
        for index, (family, address) in enumerate(free[:number])
    ]


@dataclass(frozen=True)
class Contents:
    """What flows may carry: ports, and App-IDs with the protocol they need (None: TCP or UDP)."""

    ports: Sequence[int]
    applications: Sequence[tuple[str, int | None]]


def draw_flows(
    random: Random,
    sources: Sequence[End],
    destinations: Sequence[End],
    contents: Contents,
    number: int,
) -> list[Flow]:
    """Flows from some ends to others, as many as can be found in a few tries each.

    Flows without any pod are not judged by Calico, and are not drawn.
    """
    flows: list[Flow] = []
    if not sources or not destinations:
        return flows
    for _ in range(8 * number):
        source, destination = random.choice(sources), random.choice(destinations)
        if (
            source.family == destination.family
            and source != destination
            and (source.pod or destination.pod)
        ):
            flows.append(_flow(random, source, destination, contents))
            if len(flows) == number:
                break
    return flows


def outside(world: Sequence[End], places: Iterable[Place]) -> list[End]:
    """The places that are no pod's address, as ends."""
    taken = {(pod.family, pod.address) for pod in world}
    return [End(number, family) for family, number in places if (family, number) not in taken]


def _flow(random: Random, source: End, destination: End, contents: Contents) -> Flow:
    icmp = ICMP if source.family == 4 else ICMP6
    protocol = random.choice((TCP,) * 6 + (UDP,) * 3 + (icmp, GRE, 132))
    fitting = [
        name
        for name, needed in contents.applications
        if needed == protocol or (needed is None and protocol in (TCP, UDP))
    ]
    application = random.choice([*fitting, *fitting, None])
    if protocol in (TCP, UDP):
        source_port = random.choice([*contents.ports, 40000])
        port = random.choice(contents.ports)
        return Flow(source, destination, protocol, source_port, port, None, application)
    if protocol == icmp:
        # An echo request is what App-ID calls ping, and nothing else is.
        echo = 8 if protocol == ICMP else 128
        kind = random.choice(((echo, 0), (echo, 0), *_ICMP_KINDS))
        if kind[0] == echo:
            application = "ping"
        elif application == "ping":
            application = None
        return Flow(source, destination, protocol, icmp=kind, application=application)
    return Flow(source, destination, protocol, application=application)

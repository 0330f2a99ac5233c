"""Find the rules that decide a flow in a cluster, by its desired or observed objects.

two ends in words  ->  pods of the cluster, zones  ->  sync.verify.explain  ->  the rules
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sync.clusters.cluster import Key, LiveObject, Workload
from sync.errors import ClusterError, UsageError
from sync.firewall.services import ICMP, ICMPV6
from sync.net.addresses import EVERYWHERE, AddressSet, address, network, written
from sync.plan.changes import Change
from sync.plan.differences import differences
from sync.queries.observed import Unlike, Unseen, by_name, clause, judged, namespaced
from sync.reconcile.cluster_identity import foreseen
from sync.reconcile.desired import Cluster, Desired, desired, read_live
from sync.reconcile.device_groups import Read
from sync.reconcile.verification import judged_groups, settings_of
from sync.store import HalfWritten, Store
from sync.text import counted, shortened
from sync.translate.compiler import Options
from sync.translate.fidelity import Report
from sync.verify.calico_documents import PROTOCOLS
from sync.verify.examples import EPHEMERAL
from sync.verify.explain import Party, Side, explain, verdict_of
from sync.verify.judgement import NoAnswerError, Verdict
from sync.verify.packet_space import of_family
from sync.verify.profiles import UnreadableError, zones_named
from sync.verify.traffic_space import PORTED, Packet

_PORT: Final = re.compile(
    r"(?P<port>[0-9]{1,5})/(?P<name>tcp|udp|sctp)"
    r"|((?P<type>[0-9]{1,3})(:(?P<code>[0-9]{1,3}))?/)?(?P<icmp>icmp|icmp6|icmpv6)"
    r"|ip/(?P<ip>[0-9]{1,3})"
)
_LIKE_AN_ADDRESS: Final = re.compile(r"[0-9]+(\.[0-9]+){2,}|[0-9a-fA-F.]*:[0-9a-fA-F:.]*")
_BY_NAME: Final = {name.lower(): number for name, number in PROTOCOLS.items()} | {"icmp6": ICMPV6}
_ECHO: Final = {ICMP: 8, ICMPV6: 128}
_OF: Final = {ICMP: ", of IPv4", ICMPV6: ", of IPv6"}
_LAST: Final = 255  # IP protocol, ICMP type and code
_LAST_PORT: Final = 65535


class AskedEnd(NamedTuple):
    """One end of a requested flow: a `zone`, an `address` as (family, number), or both."""

    zone: str
    address: tuple[int, int] | None
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The requested flow."""

    source: AskedEnd
    destination: AskedEnd
    packet: Packet


@dataclass(frozen=True, slots=True)
class Explained:
    """The rules that decide the flow in one cluster.

    `source` and `destination` describe the ends there; `parties` has all of their possible
    addresses. `live`: the objects are the observed ones. `notes` are sentences; `unseen` is
    what counts too and is not judged here. `pending` are the changes of what decides that are not
    written yet. `inputs` are those of the desired state, and `packet` is what was asked about.
    `others` are the policies and sets of others that are judged, with `live` alone. `lacking`: the
    device groups of the cluster name none of the requested zones, which are only configured.
    """

    cluster: str
    source: str
    destination: str
    parties: tuple[Party, Party]
    live: bool
    sides: tuple[Side, ...]
    notes: tuple[str, ...]
    unseen: tuple[Unseen, ...]
    report: Report
    pending: tuple[Change, ...] = ()
    inputs: Desired | None = None
    packet: Packet | None = None
    others: tuple[Mapping[str, Any], ...] = ()
    lacking: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict of our tiers."""
        return "unknown" if self.unseen else verdict_of(self.sides)

    @property
    def now(self) -> Verdict:
        """The verdict of the enforced policies alone."""
        if any(not each.staged for each in self.unseen):
            return "unknown"
        return verdict_of(self.sides, enforced=True)


class NoSuchZoneError(UsageError):
    """A cluster has no such zone; another one may."""


def end_of(text: str) -> AskedEnd:
    """An end from `web`, `10.1.2.3` or `web@10.1.2.3`; `UsageError` if it is none."""
    zone, at, place = text.rpartition("@")
    try:
        found = address(place)
    except ValueError:
        if at or not text or "/" in text or _LIKE_AN_ADDRESS.fullmatch(text):
            raise UsageError(
                f"{text!r} is not an end of a flow; write a zone (web), an address (10.1.2.3, "
                "2001:db8::1), or both for a pod that no cluster reports (web@10.1.2.3)"
            ) from None
        return AskedEnd(text, None, text)
    if at and not zone:
        raise UsageError(f"{text!r} names no zone before the @; omit it, or name one")
    return AskedEnd(zone, found, text)


def packet_of(port: str, source_port: int | None) -> Packet:
    """A packet from `443/tcp`, `8/icmp`, `3:1/icmp`, `icmp` or `ip/47`; `UsageError` otherwise.

    ICMP alone is an echo request.
    """
    said = _PORT.fullmatch(port.lower())
    found = _packet(said, EPHEMERAL if source_port is None else source_port) if said else None
    if found is None:
        raise UsageError(
            f"{port!r} is not valid traffic; write 443/tcp, 53/udp, 5000/sctp, icmp (an echo "
            "request), 3:1/icmp (type and code), 128/icmp6, or ip/47 for another IP protocol"
        )
    if source_port is not None and found.protocol not in PORTED:
        raise UsageError(f"{found.said()} has no source port; omit --source-port")
    return found


def _packet(said: re.Match[str], source_port: int) -> Packet | None:
    if said["ip"]:
        protocol = int(said["ip"])
        known = protocol > _LAST or protocol in (*PORTED, *_ECHO)
        return None if known else Packet(protocol, 0, 0, None)
    protocol = _BY_NAME[said["name"] or said["icmp"]]
    if said["name"]:
        port = int(said["port"])
        return None if port > _LAST_PORT else Packet(protocol, source_port, port, None)
    icmp = int(said["type"] or _ECHO[protocol]), int(said["code"] or 0)
    return None if max(icmp) > _LAST else Packet(protocol, 0, 0, icmp)


def asked_of(source: str, destination: str, port: str, source_port: int | None) -> Asked:
    """Parse the requested flow; `UsageError` if there can be none like it."""
    asked = Asked(end_of(source), end_of(destination), packet_of(port, source_port))
    one, other = asked.source.address, asked.destination.address
    if one and other and one[0] != other[0]:
        raise UsageError(
            f"{source!r} and {destination!r} are of two IP versions, and a flow has one"
        )
    if one and one == other:
        raise UsageError(f"{source!r} is at both ends; no policy applies between a pod and itself")
    family = {ICMP: 4, ICMPV6: 6}.get(asked.packet.protocol)
    for end in (asked.source, asked.destination):
        if family and end.address and end.address[0] != family:
            raise UsageError(f"{end.text!r} has no {asked.packet.said()}; that is of IPv{family}")
    return asked


def explained(
    cluster: Cluster,
    read: Read,
    store: Store,
    options: Options,
    asked: Asked,
    *,
    live: bool,
    verbose: bool,
) -> Explained:
    """Explain the flow in one cluster; `live` by its observed objects.

    Raises as `desired`, `UsageError` if the cluster does not have these ends, and `ClusterError` if
    the observed objects cannot be judged.
    """
    # over 50 lines: every step from two ends to an answer, a line or two each.
    written = {} if foreseen(cluster, store, {}) else store.written(cluster.name)
    found = read_live(cluster, written, options.owner)
    wanted = desired(cluster, read, found, written, options)
    groups = judged_groups(wanted.targets)
    ends = (asked.source, asked.destination)
    pods = _pods(cluster, ends)
    named = frozenset[str]().union(*map(zones_named, groups))
    _require_zones(cluster.name, ends, named | wanted.options.zones.definitions.keys())
    cidrs = wanted.options.pod_cidrs
    parties = (_party(asked.source, pods, cidrs), _party(asked.destination, pods, cidrs))
    _require_a_flow(cluster.name, parties, asked.packet)
    unseen = [Unseen(each) for each in _ambiguous(pods)]
    notes = [*_notes(ends, parties, cidrs)]
    documents: Sequence[Mapping[str, Any]]
    if live:
        documents = _observed(cluster, wanted, found, unseen, notes)
    else:
        documents = [each.document() for each in wanted.rollout.manifests.values()]
    with _failures_of(cluster.name):
        sides = explain(
            groups, documents, settings_of(wanted.options), parties, asked.packet, verbose=verbose
        )
    pending: tuple[Change, ...] = ()
    if live:
        unlike = Unlike.of(differences(wanted.rollout.manifests, written, found))
        pending = _deciding(unlike, sides, documents)
        notes += _half_written(pending, unlike, store.half_written(cluster.name))
    return Explained(
        cluster=cluster.name,
        source=_named(asked.source, pods),
        destination=_named(asked.destination, pods),
        parties=parties,
        live=live,
        sides=tuple(sides),
        notes=tuple(notes),
        unseen=tuple(unseen),
        report=wanted.report,
        pending=pending,
        inputs=wanted,
        packet=asked.packet,
        others=tuple(_others(documents, wanted, written)) if live else (),
        lacking=_lacking(ends, named),
    )


def _others(
    documents: Sequence[Mapping[str, Any]], wanted: Desired, written: Collection[Key]
) -> Iterator[Mapping[str, Any]]:
    """The objects that neither are nor were ours."""
    ours = {*written, *wanted.standing, *wanted.rollout.manifests}
    for each in documents:
        if (each["kind"], each["metadata"]["name"]) not in ours:
            yield each


def _observed(
    cluster: Cluster,
    wanted: Desired,
    live: Mapping[Key, LiveObject],
    unseen: list[Unseen],
    notes: list[str],
) -> list[Mapping[str, Any]]:
    """The objects of a cluster that decide; adds what is missing to `unseen` and `notes`."""
    tiers = [target.tier for target in wanted.targets]
    documents = [*judged(live, tiers, unseen)]
    unseen += namespaced(tiers, wanted.facts, directory=cluster.directory)
    notes += (
        f"tier {tier} does not exist in cluster {cluster.name}; a sync has to write it"
        for tier in tiers
        if ("Tier", tier) not in live
    )
    return documents


def _require_zones(cluster: str, ends: Sequence[AskedEnd], known: Collection[str]) -> None:
    """Raise `NoSuchZoneError` if the cluster does not have the zone of an end."""
    for end in ends:
        if end.zone and end.zone not in known:
            raise NoSuchZoneError(
                f"cluster {cluster} has no zone {end.zone!r}; `zonebridge zones` lists those "
                "there are"
            )


def _lacking(ends: Sequence[AskedEnd], named: Collection[str]) -> bool:
    zones = {end.zone for end in ends if end.zone}
    return bool(zones) and zones.isdisjoint(named)


@contextmanager
def _failures_of(cluster: str) -> Iterator[None]:
    """Turn errors about a cluster's objects into errors of commands."""
    try:
        yield
    except NoAnswerError as error:
        raise UsageError(f"cluster {cluster} has no answer: {error}") from error
    except UnreadableError as error:
        raise ClusterError(f"cluster {cluster} cannot be judged: {error}") from error


def _deciding(
    unlike: Unlike, sides: Sequence[Side], documents: Sequence[Mapping[str, Any]]
) -> tuple[Change, ...]:
    """The pending changes of the policies and sets that decide, or may."""
    policies = by_name(documents)
    deciders = {
        decider.where
        for side in sides
        for case in side.cases
        for judgement in (case.calico, case.enforced)
        for decider in (*judgement.perhaps, judgement.decider)
    }
    found = {each for where in deciders for each in unlike.deciding(where, policies)}
    return tuple(each for each in unlike.pending if each in found)


def _half_written(
    pending: Sequence[Change], unlike: Unlike, half: HalfWritten | None
) -> Iterator[str]:
    """Notes on deciding objects that are not written yet, and on an interrupted sync."""
    if pending:
        since = f"half-written since {half.since}" if half else "not written yet"
        yield (
            f"{since}: {counted(len(unlike.pending), 'change')} pending, and of what decides here: "
            f"{shortened([clause(each) for each in pending])}"
        )


def _require_a_flow(cluster: str, parties: tuple[Party, Party], packet: Packet) -> None:
    """Require addresses of both ends in one IP version, that of the packet."""
    one, other = (each.addresses for each in parties)
    if packet.protocol != ICMPV6 and one.v4 and other.v4:
        return
    if packet.protocol != ICMP and one.v6 and other.v6:
        return
    said = [
        " and ".join(f"IPv{version}" for version in (4, 6) if of_family(each.addresses, version))
        for each in parties
    ]
    raise UsageError(
        f"cluster {cluster} has no such flow: one end has addresses of {said[0]}, the other one of "
        f"{said[1]}, and the packet is {packet.said()}{_OF.get(packet.protocol, '')}"
    )


def _pods(
    cluster: Cluster, ends: Sequence[AskedEnd]
) -> Mapping[tuple[int, int], Sequence[Workload]]:
    """The cluster's pods at the addresses of these ends, except ends whose zone is given."""
    wanted = {end.address for end in ends if end.address and not end.zone}
    found = cluster.reader.pods_at(wanted) if wanted else ()
    return {
        place: tuple(sorted((pod for pod in found if place in pod.addresses), key=_name))
        for place in wanted
    }


def _ambiguous(pods: Mapping[tuple[int, int], Sequence[Workload]]) -> Iterator[str]:
    """Addresses that several pods have, for example while one pod replaces another."""
    for place, some in pods.items():
        if any(pod.labels != some[0].labels for pod in some):
            names = " and ".join(pod.name for pod in some)
            yield (
                f"pods {names} both have {written(place)}: {some[0].name} is judged; write "
                f"ZONE@{written(place)} for a pod of a zone"
            )


def _name(pod: Workload) -> str:
    return pod.name


def _party(
    end: AskedEnd, pods: Mapping[tuple[int, int], Sequence[Workload]], cidrs: AddressSet | None
) -> Party:
    if end.address is None:
        return Party(EVERYWHERE if cidrs is None else cidrs, end.zone)
    where = network(written(end.address))
    pod, *_ = pods.get(end.address) or (None,)
    return Party(where, end.zone, pod.labels if pod else None)


def _named(end: AskedEnd, pods: Mapping[tuple[int, int], Sequence[Workload]]) -> str:
    if end.address is None:
        return f"a pod of zone {end.zone}"
    place = written(end.address)
    if end.zone:
        return f"a pod of zone {end.zone} at {place}"
    named = " or ".join(pod.name for pod in pods.get(end.address, ()))
    return f"pod {named} ({place})" if named else place


def _notes(
    ends: Sequence[AskedEnd], parties: Sequence[Party], cidrs: AddressSet | None
) -> Iterator[str]:
    for end, party in zip(ends, parties, strict=True):
        if cidrs and not party.is_pod and party.addresses & cidrs:
            yield (
                f"{end.text} is in the networks of pods, but no known pod has it, so it "
                f"counts as outside pods; write ZONE@{end.text} for a pod of a zone"
            )
        if cidrs and end.zone and end.address and not party.addresses & cidrs:
            yield f"{end.text} is in none of the networks of pods"
    if not any(party.is_pod for party in parties):
        yield (
            "neither end is a pod of this cluster, so none of its policies decides the flow; write "
            "ZONE@ADDRESS for a pod of a zone"
        )

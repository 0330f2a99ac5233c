"""The world of a soak: a firewall that changes, two clusters, and replicas that things befall."""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.e2e.installation import (
    COMMAND,
    Installation,
    environment,
    kubernetes,
    panorama_source,
    until,
)
from tests.e2e.test_e2e_rights import ADMISSION, GROUP_LABEL, POLICIES, Guarded, labelled, stored
from tests.fault_proxy import (
    Body,
    EndsAtOnce,
    Fault,
    FaultProxy,
    Matching,
    Reset,
    Silence,
    Status,
    Trickle,
    everything,
    fault_proxy,
    watches,
)
from tests.fault_proxy import writes as writing
from tests.kubernetes_cluster import ApiError, ControlPlane, free_ports, install
from tests.kubernetes_cluster import started as started_plane
from tests.kubernetes_words import SETS, edit, nets, remove
from tests.postgresql import Database, Server
from tests.soak.schedule import CLUSTERS, SLOTS, Event
from tests.tcp_proxy import DatabaseProxy, database_proxy
from tests.words import Word, address, document, entry, group, members, rule, tag
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import Drip, HttpStatus, NotXml, Truncated
from zonebridge_simulator.faults import Fault as SourceFault
from zonebridge_simulator.faults import Reset as SourceReset
from zonebridge_simulator.faults import Silence as SourceSilence
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import every

GROUPS = 40
OPTIONAL = 8
"""Groups that come and go; so few that no guard asks for an approval, however long one is out."""
RULES = 16
ZONES = ("web", "app", "db", "mail")
LEASE_SECONDS = 10
SAMPLE_SECONDS = 2.0
MARK = "mark"
"""The group that tells by its one address which commit a cluster has."""

_CLUSTER_FAULTS: dict[str, tuple[Matching, Fault]] = {
    "refused": (everything, Reset()),
    "trickle": (everything, Trickle(0.01, size=256)),
    "500": (everything, Status(500)),
    "503": (everything, Status(503)),
    "429": (everything, Status(429, headers=(("Retry-After", "1"),))),
    "silent": (everything, Silence(head=False)),
    "silent after the head": (everything, Silence()),
    "no JSON": (everything, Body(b"<html>a proxy's page</html>")),
    "answer lost": (writing, Reset(after=True)),
    "watch cut": (watches, EndsAtOnce()),
    "watch refused": (watches, Status(403)),
}
_SOURCE_FAULTS: dict[str, SourceFault] = {
    "500": HttpStatus(500),
    "503": HttpStatus(503, retry_after=2),
    "429": HttpStatus(429),
    "reset": SourceReset(),
    "truncated": Truncated(),
    "drip": Drip(0.02, size=64),
    "silent": SourceSilence(20),
    "login page": NotXml(),
}


class Firewall:
    """What the firewall is told by commits that chance makes."""

    def __init__(self) -> None:
        self.commits = 0
        chance = random.Random(0)
        self.groups = {f"g{number:02}": _addresses(chance) for number in range(GROUPS)}
        self.optional = {f"g{number:02}" for number in range(OPTIONAL)}
        self.rules = [_rule(number, chance) for number in range(RULES)]

    def change(self, chance: random.Random) -> None:
        """One commit more: some groups, the rules or their order, a group that comes or goes."""
        self.commits += 1
        for name in chance.sample(sorted(self.groups), chance.randrange(1, 6)):
            self.groups[name] = _addresses(chance)
        if chance.random() < 0.4:
            number = chance.randrange(RULES)
            self.rules[number] = _rule(number, chance)
        if chance.random() < 0.1:
            chance.shuffle(self.rules)
        if chance.random() < 0.3:
            # Its rules, were there any, would be left without what they name.
            self.optional ^= {f"g{chance.randrange(OPTIONAL):02}"}

    def wanted(self) -> dict[str, list[str]]:
        """The networks of each group."""
        first = {f"g{number:02}" for number in range(OPTIONAL)} - self.optional
        held = {name: nets for name, nets in self.groups.items() if name not in first}
        return held | {MARK: [_mark(self.commits)]}

    def document(self) -> bytes:
        wanted = self.wanted()
        networks = sorted({net for nets in wanted.values() for net in nets})
        words: list[Word] = [
            *(address(net, net) for net in networks),
            *(group(name, *held) for name, held in wanted.items()),
            *self.rules,
        ]
        return document(shared=words, groups={f"dg-{name}": () for name in CLUSTERS})


def _addresses(chance: random.Random) -> list[str]:
    # Fewer than a set needs to be judged by how it shrinks.
    last = chance.sample(range(1, 250), chance.randrange(1, 9))
    return [f"10.{chance.randrange(1, 200)}.{chance.randrange(250)}.{each}/32" for each in last]


def _rule(number: int, chance: random.Random) -> Word:
    return rule(
        f"r{number:02}",
        from_=[chance.choice(ZONES)],
        to=[chance.choice(ZONES)],
        source=[f"g{chance.randrange(OPTIONAL, GROUPS):02}"],
        destination=[chance.choice(("any", f"g{chance.randrange(OPTIONAL, GROUPS):02}"))],
        application=["any"],
        service=["any"],
        action=chance.choice(("allow", "deny")),
    )


def _mark(number: int) -> str:
    return f"172.16.{number // 256}.{number % 256}/32"


def _marked(found: dict[str, list[str]]) -> int:
    """Which commit the sets of a cluster are of."""
    [net] = found.get(f"pan.{MARK}") or ["172.16.0.0/32"]
    third, fourth = net.removesuffix("/32").split(".")[2:]
    return int(third) * 256 + int(fourth)


@dataclass
class Slot:
    """One replica after the other, by one way to the database."""

    number: int
    place: Installation
    database: DatabaseProxy
    variables: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None
    logs: list[Path] = field(default_factory=list)
    memory: dict[int, list[int]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def start(self) -> None:
        [port] = free_ports(1)
        log = self.place.directory / f"replica-{self.number}-{len(self.logs)}.log"
        self.logs.append(log)
        bound = {"ZONEBRIDGE_HEALTH__BIND": f"127.0.0.1:{port}"}
        with log.open("wb") as opened:
            self.process = subprocess.Popen(
                [COMMAND, "run"],
                cwd=self.place.directory,
                # As the image sets it.
                env=environment(**self.variables, **bound, MALLOC_ARENA_MAX="2"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=opened,
            )

    def signal(self, number: int) -> None:
        if self.process:
            self.process.send_signal(number)

    def end(self, number: int) -> None:
        """End it, and see to it that it has ended as it should."""
        if self.process is None:
            return
        self.process.send_signal(number)
        code = self.process.wait(60)
        # 143: something hung for longer than it waits for. Before it has said a word it has begun
        # nothing, and ends as any process does.
        fine = {0, 128 + signal.SIGTERM}
        if not self.logs[-1].stat().st_size:
            fine.add(-signal.SIGTERM)
        if number == signal.SIGTERM and code not in fine:
            self.wrong.append(f"replica {self.number} ended with {code}: {self.logs[-1]}")
        self.ends[f"{signal.Signals(number).name}, exit code {code}"] += 1
        self.process = None

    def look(self) -> None:
        """Sample its memory; one that has ended by itself is wrong, and is started again."""
        if self.process is None:
            return
        if (code := self.process.poll()) is not None:
            self.wrong.append(f"replica {self.number} ended by itself, {code}: {self.logs[-1]}")
            self.start()
            return
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            size = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
            self.memory.setdefault(len(self.logs) - 1, []).append(int(size))


@dataclass
class World:
    """Everything of a soak; one thread calls its methods, another one looks at the clusters."""

    place: Installation
    panorama: Panorama
    planes: dict[str, ControlPlane]
    proxies: dict[str, FaultProxy]
    slots: list[Slot]
    store: dict[str, str]
    firewall: Firewall = field(default_factory=Firewall)
    faults: Counter[str] = field(default_factory=Counter)
    removed: dict[str, Counter[str]] = field(
        default_factory=lambda: {c: Counter() for c in CLUSTERS}
    )
    committed: dict[int, float] = field(default_factory=dict)
    arrived: dict[str, dict[int, float]] = field(default_factory=lambda: {c: {} for c in CLUSTERS})
    unhealthy: list[tuple[float, float]] = field(default_factory=list)
    """When something was out of order, from and until, in seconds of the monotonic clock."""
    _ending: list[tuple[float, float, Callable[[], object]]] = field(default_factory=list)

    def begin(self, event: Event) -> None:
        """Let it happen; what lasts ends by `end_due`."""
        kind, _, which = event.what.partition(" ")
        if event.what == "commit":
            self.commit(random.Random(event.chance))
            return
        if event.what == "drift":
            self.drift(event.where, random.Random(event.chance))
            return
        self.faults[event.what] += 1
        began = time.monotonic()
        if kind == "source":
            self.panorama.fail(every, _SOURCE_FAULTS[which], times=None)
            end: Callable[[], object] = self.panorama.recover
        elif event.where in self.proxies:
            end = self._fail_cluster(self.proxies[event.where], event.what)
        else:
            end = self._fail_replica(self.slots[int(event.where)], event.what)
        self._ending.append((began, began + event.lasts, end))

    def _fail_cluster(self, proxy: FaultProxy, what: str) -> Callable[[], object]:
        """Begin it; gives what ends it."""
        if what != "cut":
            proxy.fail(*_CLUSTER_FAULTS[what])
        # What was begun before is hit too: watches live for minutes.
        proxy.cut()
        return proxy.heal

    def _fail_replica(self, slot: Slot, what: str) -> Callable[[], object]:
        """Begin it; gives what ends it."""
        match what:
            case "kill" | "terminate":
                slot.end(signal.SIGKILL if what == "kill" else signal.SIGTERM)
                return slot.start
            case "pause":
                slot.signal(signal.SIGSTOP)
                return lambda: slot.signal(signal.SIGCONT)
            case "database silent":
                slot.database.silence()
            case "database refuses":
                slot.database.refuse()
            case _:
                raise ValueError(what)
        return slot.database.heal

    def end_due(self, now: float | None = None) -> None:
        """End what has lasted long enough; everything where `now` is infinite."""
        until_now = time.monotonic() if now is None else now
        due = [each for each in self._ending if each[1] <= until_now]
        self._ending = [each for each in self._ending if each[1] > until_now]
        for began, _, end in due:
            end()
            self.unhealthy.append((began, time.monotonic()))

    def commit(self, chance: random.Random) -> None:
        self.firewall.change(chance)
        self.committed[self.firewall.commits] = time.monotonic()
        self.panorama.commit(self.firewall.document(), administrator=chance.choice(("ada", "bob")))

    def drift(self, cluster: str, chance: random.Random) -> None:
        """Another hand: it changes a set of ours, deletes one, or makes one of its own."""
        plane = self.planes[cluster]
        name = f"pan.g{chance.randrange(GROUPS):02}"
        how = chance.choice(("edit", "edit", "delete", "label", "policy"))
        try:
            match how:
                case "edit":
                    edit(plane, name, {"spec": {"nets": ["203.0.113.0/24"]}})
                case "label":
                    edit(plane, name, {"metadata": {"labels": {"other": "hand"}}})
                case "delete":
                    remove(plane, name)
                    self.removed[cluster][name] += 1
                case "policy":
                    path = SETS.replace("globalnetworksets", "globalnetworkpolicies")
                    found = plane.request("GET", path)["items"]
                    chains = sorted(each["metadata"]["name"] for each in found)
                    if chains:
                        order = {"spec": {"order": 7}}
                        plane.request("PATCH", f"{path}/{chance.choice(chains)}", order)
            self.faults[f"drift: {how}"] += 1
        except ApiError as error:
            # This group is not there now, or somebody else was faster.
            if error.status not in (404, 409):
                raise

    def watch_arrivals(self, stopping: threading.Event) -> None:
        """Note when each cluster has which commit; in a thread of its own, past all proxies."""
        while not stopping.wait(0.25):
            for name, plane in self.planes.items():
                with suppress(OSError, ApiError):
                    found = plane.request("GET", f"{SETS}/pan.{MARK}")["spec"].get("nets", [])
                    now, number = time.monotonic(), _marked({f"pan.{MARK}": found})
                    for each in range(number, 0, -1):
                        if each in self.arrived[name]:
                            break
                        self.arrived[name][each] = now

    def delays(self) -> list[float]:
        """Seconds from commit to cluster, of commits during which nothing was out of order."""
        return [
            arrived - self.committed[number]
            for found in self.arrived.values()
            for number, arrived in dict(found).items()
            if not any(
                begin < arrived and end > self.committed[number] - LEASE_SECONDS
                for begin, end in self.unhealthy
            )
        ]

    def heal(self) -> None:
        """End every fault, for good; every replica runs."""
        self.end_due(float("inf"))
        self.panorama.recover()
        for proxy in self.proxies.values():
            proxy.heal()
        for slot in self.slots:
            slot.database.heal()
            slot.look()

    def differing(self) -> dict[str, list[str]]:
        """The sets of each cluster that are not what the firewall says, by our own reading."""
        wanted = {f"pan.{name}": _plain(held) for name, held in self.firewall.wanted().items()}
        found = {}
        for name, plane in self.planes.items():
            held = {each: _plain(value) for each, value in nets(plane).items()}
            found[name] = [
                each for each in sorted({*wanted, *held}) if wanted.get(each) != held.get(each)
            ]
        return found

    def trail(self) -> list[dict[str, Any]]:
        exported = self.place.done("audit", "export", "--format", "jsonl", **self.store)
        return [orjson.loads(line) for line in exported.out.splitlines()]

    def logged(self) -> Iterator[dict[str, Any]]:
        """Every line of every replica; the last one of one that was killed may be half a line."""
        for slot in self.slots:
            for log in slot.logs:
                for line in log.read_bytes().split(b"\n")[:-1]:
                    try:
                        yield orjson.loads(line)
                    except orjson.JSONDecodeError:
                        yield {"event": "no JSON", "exception": f"{log}: {line!r}"}


def _plain(held: list[str]) -> list[str]:
    return [str(each) for each in collapse_addresses(map(IPv4Network, held))]


@contextmanager
def worlds(
    place: Installation, authority: Authority, server: Server, database: Database, seconds: float
) -> Iterator[World]:
    """A world that is in order: every replica has begun, and both clusters have all."""
    firewall = Firewall()
    with ExitStack() as kept:
        planes = {name: kept.enter_context(started_plane()) for name in CLUSTERS}
        for plane in planes.values():
            install(plane)
            stored(plane, "/api/v1/namespaces", {"metadata": {"name": "zonebridge"}})
        place.configure(*(kubernetes(name, "kubeconfig") for name in CLUSTERS))
        proxies, described = {}, []
        for name, plane in planes.items():
            _grant(Guarded(place, plane), name)
            proxies[name] = kept.enter_context(fault_proxy(plane, authority))
            described.append(kubernetes(name, _of_account(proxies[name], plane, seconds)))
        panorama = kept.enter_context(Panorama(firewall.document(), authority))
        panorama.predefined = tag(
            "predefined",
            tag("application", entry("chat-base")),
            tag("application-container", entry("chat", members("functions", ["chat-base"]))),
        ).encode()
        place.configure(
            *described,
            sources=[panorama_source(place, panorama, authority)],
            store={"url": database.url},
            lease_ttl=f"{LEASE_SECONDS}s",
            poll_interval="1s",
            zones={"definitions": {name: {"networks": []} for name in ZONES}},
        )
        store = {"ZONEBRIDGE_STORE__PASSWORD": database.password}
        place.done("db", "upgrade", **store)
        name = database.url.split("@/")[1].split("?")[0]
        slots = []
        for number in range(SLOTS):
            proxy = kept.enter_context(database_proxy(server))
            slot = Slot(number, place, proxy, store | {"ZONEBRIDGE_STORE__URL": proxy.url(name)})
            slots.append(slot)
            kept.callback(_kill, slot)
            slot.start()
        made = World(place, panorama, planes, proxies, slots, store, firewall)
        until(lambda: not any(made.differing().values()), "both clusters have all")
        yield made


def _grant(guarded: Guarded, cluster: str) -> None:
    """Apply what `zonebridge rbac` prints, but for the policy that keeps other hands away."""
    guarded.apply(cluster=cluster)
    for plural in POLICIES:
        for each in guarded.plane.request("GET", f"{ADMISSION}/{plural}")["items"]:
            if each["metadata"]["name"].endswith("-labels"):
                path = f"{ADMISSION}/{plural}/{each['metadata']['name']}"
                guarded.plane.request("DELETE", path)
    forged = labelled("forged", **{GROUP_LABEL: "p"})
    until(lambda: not guarded.refusal("POST", SETS, forged), "other hands may do harm")


def _kill(slot: Slot) -> None:
    if slot.process:
        slot.process.kill()
        slot.process.wait()


def _of_account(proxy: FaultProxy, plane: ControlPlane, seconds: float) -> Path:
    """A kubeconfig of zonebridge's own account through a proxy, good for longer than the soak."""
    path = proxy.kubeconfig()
    asked = {"spec": {"expirationSeconds": int(seconds) + 7200}}
    account = "/api/v1/namespaces/zonebridge/serviceaccounts/zonebridge/token"
    read = yaml.safe_load(path.read_text())
    read["users"][0]["user"]["token"] = plane.request("POST", account, asked)["status"]["token"]
    path.write_text(yaml.safe_dump(read))
    return path

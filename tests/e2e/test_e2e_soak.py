"""A soak: for half an hour everything goes wrong at random, and nothing is lost or done twice.

    make soak                       # thirty minutes; MINUTES=, SEED=

A Panorama that is committed to, two real API servers behind proxies that misbehave, three replicas
on one PostgreSQL that are killed, paused and ended, and a hand that changes what stands. One seed
decides what happens, and the machine when. At the end all is healed, and both clusters have to
become what the firewall says; the trail has to verify and to agree with the audit logs that the API
servers themselves keep: each write of ours is in the trail, none is in it that was not done.
"""

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.installation import Installation, Running, kubernetes, until
from tests.e2e.test_e2e_explain_kubernetes import RULES, ZONES
from tests.e2e.test_e2e_rights import Guarded, stored
from tests.fault_proxy import (
    EndsAtOnce,
    FaultProxy,
    Reset,
    Silence,
    Status,
    Trickle,
    everything,
    fault_proxy,
    lists,
    watches,
    writes,
)
from tests.kubernetes_cluster import ApiError, ControlPlane
from tests.kubernetes_words import edit, nets
from tests.postgresql import Database, Server
from tests.tcp_proxy import DatabaseProxy, database_proxy
from tests.words import Word, address, document, group
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import Drip, HttpStatus, Truncated
from zonebridge_simulator.faults import Reset as ResetPanorama
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import every

MINUTES = float(os.environ.get("MINUTES", "30"))
SEED = int(os.environ.get("SEED", "1"))
CLUSTERS = ("eu", "us")
REPLICAS = 3
GROUPS = 12
CONVERGED_SECONDS = 300.0
GROWTH = 1.15
"""How much larger a process's memory may be in its last quarter than in its second one."""
LIVED_SECONDS = 480.0
"""A process that lived for less is too young to be compared with itself."""

MATCHING = {"all": everything, "watches": watches, "lists": lists, "writes": writes}
FAULTS = {
    "500": Status(500),
    "503": Status(503),
    "429": Status(429, headers=(("Retry-After", "1"),)),
    "403": Status(403),
    "page": Status(502, page=b"<html>Bad gateway</html>"),
    "reset": Reset(),
    "reset after": Reset(after=True),
    "silence": Silence(),
    "no head": Silence(head=False),
    "trickle": Trickle(0.2),
    "ends": EndsAtOnce(),
}
OF_PANORAMA = (
    HttpStatus(503),
    HttpStatus(429, retry_after=1),
    ResetPanorama(),
    Truncated(),
    Drip(0.2),
)

WRITES = {"create", "update", "delete"}

Groups = dict[str, list[str]]


@dataclass
class Lived:
    """A replica, and what memory it had: seconds of its life, MiB."""

    running: Running
    kept: ExitStack
    database: DatabaseProxy
    began: float = field(default_factory=time.monotonic)
    memory: list[tuple[float, float]] = field(default_factory=list)
    led: int = 0  # times that it was looked at and held a lease
    paused: bool = False

    def sample(self) -> None:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{self.running.process.pid}/status").read_text().splitlines()
            kib = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
            self.memory.append((time.monotonic() - self.began, kib / 1024))
            if not self.paused:
                self.led += self.running.metric("lease_held") > 0

    def signal(self, number: int) -> None:
        self.running.process.send_signal(number)


@dataclass
class Soak:
    """All that runs, and what was done to it."""

    place: Installation
    panorama: Panorama
    planes: dict[str, ControlPlane]
    proxies: dict[str, FaultProxy]
    server: Server
    database: Database
    chance: random.Random
    replicas: list[Lived] = field(default_factory=list)
    gone: list[Lived] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    wanted: Groups = field(default_factory=dict)

    @property
    def password(self) -> dict[str, str]:
        return {"ZONEBRIDGE_STORE__PASSWORD": self.database.password}

    def start(self) -> None:
        kept = ExitStack()
        proxy = kept.enter_context(database_proxy(self.server))
        name = self.database.url.split("@/")[1].split("?")[0]
        given = {"ZONEBRIDGE_STORE__URL": proxy.url(name), **self.password}
        self.replicas.append(Lived(kept.enter_context(self.place.running(**given)), kept, proxy))

    def leave(self, replica: Lived) -> None:
        self.replicas.remove(replica)
        self.gone.append(replica)
        replica.kept.close()

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        self.undo.append((time.monotonic() + seconds, undo))

    def turn(self) -> None:
        """Undo what is due, look at everything, and do something."""
        now = time.monotonic()
        due = [each for each in self.undo if each[0] <= now]
        self.undo = [each for each in self.undo if each[0] > now]
        for _, undo in due:
            undo()
        for replica in self.replicas:
            assert replica.running.process.poll() is None, replica.running.log.read_text()[-3_000:]
            replica.sample()
        acts = [self.commit, self.commit, self.commit, self.api, self.api, self.firewall]
        acts += [self.drift, self.replica, self.store]
        self.chance.choice(acts)()

    def commit(self) -> None:
        """Another configuration: some groups change, come or go, and rules turn round."""
        for _ in range(self.chance.randint(1, 4)):
            name = f"g{self.chance.randrange(GROUPS)}"
            if name in self.wanted and self.chance.random() < 0.3:
                del self.wanted[name]
            else:
                picked = self.chance.sample(range(2_048), self.chance.randint(1, 30))
                self.wanted[name] = sorted(f"10.{each >> 8}.{each & 255}.7/32" for each in picked)
        self.panorama.commit(self.document(), administrator=self.chance.choice(["alice", "bob"]))
        self.done["commits"] += 1

    def document(self) -> bytes:
        rules = RULES
        if self.chance.random() < 0.5:
            rules = [Word(each.place, each.xml.replace("allow</", "deny</")) for each in RULES]
        every_net = sorted({net for listed in self.wanted.values() for net in listed})
        words = [address(net, net) for net in every_net]
        words += [group(name, *listed) for name, listed in sorted(self.wanted.items())]
        return document(groups={"dg-eu": [*rules, *words]})

    def api(self) -> None:
        """A proxy before an API server misbehaves for some seconds."""
        proxy = self.proxies[self.chance.choice(CLUSTERS)]
        if self.chance.random() < 0.2:
            proxy.cut()
            self.done["API server: cut"] += 1
            return
        name = self.chance.choice(sorted(FAULTS))
        proxy.fail(MATCHING[self.chance.choice(sorted(MATCHING))], FAULTS[name])
        self.done[f"API server: {name}"] += 1
        self.later(self.chance.uniform(1, 12), proxy.heal)

    def firewall(self) -> None:
        """Panorama answers wrongly a few times."""
        fault = self.chance.choice(OF_PANORAMA)
        self.panorama.fail(every, fault, times=self.chance.randint(1, 6))
        self.done[f"Panorama: {type(fault).__name__}"] += 1
        self.later(self.chance.uniform(1, 12), self.panorama.recover)

    def drift(self) -> None:
        """Another hand changes a set that stands."""
        plane = self.planes[self.chance.choice(CLUSTERS)]
        if standing := sorted(nets(plane)):
            name = self.chance.choice(standing)
            # It may be gone or another one by now.
            with suppress(ApiError):
                edit(plane, name, {"spec": {"nets": ["203.0.113.0/24"]}})
                self.done["drift"] += 1

    def replica(self) -> None:
        """One of them dies, is ended or stands still; the first one is only ever paused."""
        hit = self.chance.choice(self.replicas)
        what = self.chance.choice(["kill", "pause", "end"])
        if hit.paused:
            return
        if what == "pause" or hit is self.replicas[0]:
            hit.paused = True
            hit.signal(signal.SIGSTOP)

            def goes_on() -> None:
                hit.paused = False
                hit.signal(signal.SIGCONT)

            self.later(self.chance.uniform(1, 15), goes_on)
            self.done["replica paused"] += 1
            return
        if what == "kill":
            hit.signal(signal.SIGKILL)
            hit.running.process.wait()
        else:
            assert hit.running.stop() == 0, hit.running.log.read_text()[-3_000:]
        self.done[f"replica {what}ed"] += 1
        self.leave(hit)
        self.start()

    def store(self) -> None:
        """The database falls silent for one of them, or refuses it."""
        hit = self.chance.choice(self.replicas)
        what = self.chance.choice(["silence", "refuse"])
        getattr(hit.database, what)()
        self.later(self.chance.uniform(1, 12), hit.database.heal)
        self.done[f"database: {what}"] += 1

    def heal(self) -> None:
        """Everything works again."""
        for _, undo in self.undo:
            undo()
        self.undo.clear()
        for proxy in self.proxies.values():
            proxy.heal()
        self.panorama.recover()


@pytest.fixture
def soak(
    place: Installation,
    calico: ControlPlane,
    second_calico: ControlPlane,
    authority: Authority,
    postgresql_server: Server,
    postgresql_database: Database,
) -> Iterator[Soak]:
    planes = dict(zip(CLUSTERS, (calico, second_calico), strict=True))
    with ExitStack() as kept:
        panorama = kept.enter_context(Panorama(document(groups={"dg-eu": RULES}), authority))
        proxies = {
            name: kept.enter_context(fault_proxy(plane, authority))
            for name, plane in planes.items()
        }
        key = place.directory / "api-key"
        key.touch(mode=0o600)
        key.write_text(panorama.api_key)

        def configure(kubeconfigs: dict[str, Path]) -> None:
            clusters = [
                kubernetes(name, path, device_groups=[{"name": "dg-eu", "mode": "staged"}])
                for name, path in kubeconfigs.items()
            ]
            place.configure(
                *clusters,
                sources=[
                    {
                        "name": "main",
                        "kind": "panorama",
                        "hosts": [panorama.host],
                        "port": panorama.port,
                        "api_key_file": "api-key",
                        "ca_file": str(authority.ca_file),
                    }
                ],
                zones=ZONES,
                store={"url": postgresql_database.url},
                poll_interval="1s",
                lease_ttl="6s",
            )

        configure({name: plane.kubeconfig() for name, plane in planes.items()})
        found: dict[str, Path] = {}
        for name, plane in planes.items():
            stored(plane, "/api/v1/namespaces", {"metadata": {"name": "zonebridge"}})
            guarded = Guarded(place, plane)
            guarded.apply("--no-admission-policies", cluster=name)
            found[name] = proxies[name].kubeconfig()
            written = yaml.safe_load(found[name].read_text())
            written["users"][0]["user"]["token"] = guarded.token()
            found[name].write_text(yaml.safe_dump(written))
        configure(found)
        made = Soak(
            place,
            panorama,
            planes,
            proxies,
            postgresql_server,
            postgresql_database,
            random.Random(SEED),
        )
        made.place.done("db", "upgrade", **made.password)
        try:
            yield made
        finally:
            made.heal()
            for replica in [*made.replicas]:
                made.leave(replica)


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 1_800)
def test_whatever_happens_nothing_is_lost_and_nothing_done_twice(soak: Soak) -> None:
    print(f"seed {SEED}, {MINUTES:g} minutes")
    before = {name: len(plane.asked_by_accounts()) for name, plane in soak.planes.items()}
    for _ in range(REPLICAS):
        soak.start()
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end:
        soak.turn()
        time.sleep(soak.chance.uniform(0.2, 4))
    soak.heal()
    soak.commit()
    wanted = {f"pan.{name}": listed for name, listed in soak.wanted.items()}
    began = time.monotonic()

    def stands() -> bool:
        assert time.monotonic() - began < CONVERGED_SECONDS, [*map(nets, soak.planes.values())]
        time.sleep(0.5)
        return all(
            {name: sorted(held) for name, held in nets(plane).items()} == wanted
            for plane in soak.planes.values()
        )

    while not stands():
        pass
    converged = time.monotonic() - began
    until(
        lambda: soak.place.run("plan", "--detailed-exitcode", **soak.password).code == 0,
        "nothing is left to do",
    )
    for replica in [*soak.replicas]:
        replica.sample()
        assert replica.running.stop() == 0, replica.running.log.read_text()[-3_000:]
    soak.place.done("audit", "verify", **soak.password)
    records = soak.place.records(**soak.password)
    written = sum(agree(soak, name, records, before[name]) for name in CLUSTERS)
    flat = [ratio for each in (*soak.gone, *soak.replicas) if (ratio := grown(each))]
    leases = sum(
        each.running.log.read_bytes().count(b'"event": "lease taken"')
        for each in (*soak.gone, *soak.replicas)
    )
    every_mib = [mib for each in (*soak.gone, *soak.replicas) for _, mib in each.memory]
    print(f"| {written} writes, {len(records)} records, {leases} leases taken")
    print(*(f"| {what}: {times}" for what, times in sorted(soak.done.items())), sep="\n")
    print(f"| both clusters as the firewall says {converged:.0f} s after the last commit")
    print(f"| memory: median {statistics.median(every_mib):.0f} MiB, most {max(every_mib):.0f} MiB")
    held = [f"{each.led / max(len(each.memory), 1):.0%}" for each in soak.replicas]
    print(f"| those that ran at the end held a lease in so much of their life: {held}")
    print(f"| last quarter / second quarter of long lives: {[round(each, 2) for each in flat]}")
    assert MINUTES * 60 < 2 * LIVED_SECONDS or flat, "no process lived long enough"
    assert MINUTES < 30 or {"drift", "commits", "replica killed"} <= soak.done.keys()
    assert all(ratio < GROWTH for ratio in flat)


def agree(soak: Soak, cluster: str, records: list[dict[str, Any]], before: int) -> int:
    """Hold the trail of a cluster to the audit log of its API server; the writes that it has.

    Each intent is closed once. What was applied was written once; what a recovery found otherwise
    than it was intended may have been, for a hand may have been there since.
    """
    sent: Counter[tuple[str, str]] = Counter()
    for each in soak.planes[cluster].asked_by_accounts()[before:]:
        of = each.get("objectRef", {})
        written = each["verb"] in WRITES and of.get("apiGroup") == "projectcalico.org"
        tried = "dryRun" in each["requestURI"]
        if written and not tried and each["responseStatus"]["code"] < 300:
            sent[each["verb"], of["name"]] += 1
    intents = {
        each["sequence"]: each
        for each in records
        if each["chain"] == cluster and each["kind"] == "intent"
    }
    closed: Counter[int] = Counter()
    surely: Counter[tuple[str, str]] = Counter()
    perhaps: Counter[tuple[str, str]] = Counter()
    for each in records:
        recovered = each["kind"] == "recovered"
        if each["chain"] != cluster or not each.get("intent"):
            continue
        if not recovered and each["outcome"] == "unknown":
            continue
        closed[each["intent"]] += 1
        intent = intents[each["intent"]]
        what = (intent["action"], intent["object_name"])
        if each["outcome"] == "applied" or (recovered and each["found"] == intent["after"]):
            surely[what] += 1
        elif recovered:
            perhaps[what] += 1
    assert surely, "nothing was written"
    assert closed == Counter(dict.fromkeys(intents, 1)), "intents without one outcome"
    assert sent - surely - perhaps == Counter(), "writes that the trail does not have"
    assert surely - sent == Counter(), "records of writes that were never done"
    return sent.total()


def grown(replica: Lived) -> float | None:
    """The memory of a process's last quarter by that of its second; None for a short life."""
    if not replica.memory or (whole := replica.memory[-1][0]) < LIVED_SECONDS:
        return None
    second = [mib for at, mib in replica.memory if whole / 4 <= at < whole / 2]
    last = [mib for at, mib in replica.memory if at >= whole * 3 / 4]
    return statistics.median(last) / statistics.median(second)

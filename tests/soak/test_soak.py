"""The soak: everything that may go wrong does, at random, for half an hour, and nothing is lost.

`make soak MINUTES=30 SEED=1`. A simulated Panorama commits; two kube-apiservers behind proxies,
the Panorama and the way to PostgreSQL misbehave; three replicas under the account of
`zonebridge rbac` are killed, paused and terminated; another hand changes what is ours. One seed
decides what befalls and when; how it falls together is up to the machine.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median

import orjson
import pytest

from tests.e2e.installation import Installation
from tests.postgresql import Database, Server
from tests.soak.judgement import Write, disagreements, grows, quarters, writes
from tests.soak.schedule import CLUSTERS, SLOTS, Event, schedule
from tests.soak.world import SAMPLE_SECONDS, World, worlds
from zonebridge_simulator.authority import Authority

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
CONVERGES = 240
"""Seconds after the last fault: a try a minute, a source that is answered late, a slow machine."""
LONG = min(300.0, 24 * MINUTES)
"""Seconds that a process lives for its memory to be judged."""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation.in_directory(tmp_path_factory.mktemp("soak") / "place")


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 1800)
def test_whatever_befalls_no_write_is_lost_or_doubled_and_all_is_well_in_the_end(
    place: Installation,
    authority: Authority,
    postgresql_server: Server,
    postgresql_database: Database,
) -> None:
    seconds = MINUTES * 60
    print(f"\nsoak of {MINUTES:g} minutes, seed {SEED}, in {place.directory}", flush=True)
    with worlds(place, authority, postgresql_server, postgresql_database, seconds) as world:
        stopping = threading.Event()
        looking = threading.Thread(target=world.watch_arrivals, args=(stopping,))
        looking.start()
        try:
            befall(world, schedule(SEED, seconds), seconds)
            wrong = settle(world)
        finally:
            stopping.set()
            looking.join()
        for slot in world.slots:
            slot.end(signal.SIGTERM)
        wrong += judge(world)
    assert not wrong, "\n".join(wrong)


def befall(world: World, events: list[Event], seconds: float) -> None:
    """Let everything happen in its time, and sample memory meanwhile."""
    began = sampled = time.monotonic()
    due = events[::-1]
    while (now := time.monotonic()) - began < seconds:
        world.end_due()
        if due and due[-1].at <= now - began:
            event = due.pop()
            if event.what != "commit":
                print(f"{now - began:7.1f} s  {event.where:9}{event.what}", flush=True)
            world.begin(event)
        if now - sampled >= SAMPLE_SECONDS:
            sampled = now
            for slot in world.slots:
                slot.look()
        time.sleep(0.05)


def settle(world: World) -> list[str]:
    """With every fault over both clusters come to what the firewall says; what did not."""
    world.heal()
    deadline = time.monotonic() + CONVERGES
    while time.monotonic() < deadline:
        if not any(world.differing().values()):
            # Policies too, by the program's own word.
            planned = world.place.run("plan", "--detailed-exitcode", **world.store)
            if planned.code == 0:
                return []
        time.sleep(1)
    planned = world.place.run("plan", "--detailed-exitcode", **world.store)
    return [f"not converged: {world.differing()}, plan says {planned.code}:\n{planned.out}"]


def judge(world: World) -> list[str]:
    """What is wrong, once everything has ended; the figures are printed."""
    wrong = [each for slot in world.slots for each in slot.wrong]
    verified = world.place.run("audit", "verify", **world.store)
    if verified.code:
        wrong.append(f"audit verify says {verified.code}: {verified.err}")
    trail = world.trail()
    written: dict[str, list[Write]] = {}
    # What it is judged by outlives the servers, for whoever has to find out why.
    evidence = world.place.directory
    (evidence / "trail.jsonl").write_bytes(b"\n".join(map(orjson.dumps, trail)))
    for name, plane in world.planes.items():
        asked = plane.asked_by_accounts()
        (evidence / f"audit-{name}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, asked)))
        written[name] = writes(asked)
        wrong += disagreements(name, written[name], trail, world.removed[name])
    bugs = [each for each in world.logged() if "exception" in each]
    wrong += [f"a bug: {each['event']}: {each['exception']}" for each in bugs]
    sampled = [
        (f"replica {slot.number}, process {life}", samples)
        for slot in world.slots
        for life, samples in slot.memory.items()
        if len(samples) * SAMPLE_SECONDS >= LONG
    ]
    if not sampled:
        wrong.append("no process lived long enough for its memory to be judged")
    wrong += [f"memory of {name} grows: {quarters(each)}" for name, each in sampled if grows(each)]
    taken = Counter(
        (each["cluster"], each["epoch"])
        for each in world.logged()
        if each["event"] == "lease taken"
    )
    wrong += [f"{key} was taken {times} times" for key, times in taken.items() if times > 1]
    if not all(written.values()) or len(taken) <= len(CLUSTERS):
        wrong.append("nothing was written, or nothing taken over: this has shown nothing")
    print(
        "\n".join(figures(world, written, trail, len(taken) - len(CLUSTERS), sampled)), flush=True
    )
    return wrong


def figures(
    world: World,
    written: dict[str, list[Write]],
    trail: list[dict[str, object]],
    taken_over: int,
    sampled: list[tuple[str, list[int]]],
) -> Iterator[str]:
    """The table of the soak."""
    ends = sum((slot.ends for slot in world.slots), Counter[str]())
    kinds = Counter(str(each["kind"]) for each in trail)
    outcomes = Counter(str(each["outcome"]) for each in trail if each["kind"] == "outcome")
    delays = sorted(world.delays())
    yield "\n| | |\n|---|---|"
    yield f"| minutes, seed, replicas | {MINUTES:g}, {SEED}, {SLOTS} |"
    yield f"| commits | {world.firewall.commits} |"
    for name, found in written.items():
        verbs = Counter(each.verb if each.done else f"{each.verb}, answered 5xx" for each in found)
        yield f"| writes in {name} | {len(found)}: {_counted(verbs)} |"
    yield f"| what befell | {_counted(world.faults)} |"
    yield f"| ends of processes | {_counted(ends)} |"
    yield f"| take-overs | {taken_over} |"
    if delays:
        said = f"median {median(delays):.1f} s, most {delays[-1]:.1f} s, of {len(delays)}"
        yield f"| commit to cluster, nothing out of order | {said} |"
    for name, samples in sampled:
        second, last = quarters(samples)
        said = (
            f"start {samples[0] / 1024:.0f}, median {median(samples) / 1024:.0f}, "
            f"most {max(samples) / 1024:.0f}; quarters: second {second / 1024:.0f}, "
            f"last {last / 1024:.0f}; {len(samples) * SAMPLE_SECONDS:.0f} s"
        )
        yield f"| memory of {name}, MiB | {said} |"
    yield f"| trail | {len(trail)}: {_counted(kinds)} |"
    yield f"| outcomes | {_counted(outcomes)} |"


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(found.items()))

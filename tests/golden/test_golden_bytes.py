"""Short hashes of every byte that is a contract: objects, plans, records and reports.

The snapshots beside this show what a configuration becomes; here is what they leave out: chains of
the whole demo, changes from one configuration to the next, moves of chains that were overtaken, the
order of writes, and what the trail keeps. Sentences for people are left out: they may be reworded.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from syrupy.assertion import SnapshotAssertion

from sync import assembly
from sync.calico.manifest import Manifest
from sync.clusters.in_memory import GivenReader
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.plan.plan import Plan
from sync.reconcile.cycle import compare_cycle, plan_cycle, run_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.reconcile.result import Result
from sync.render.report import document as report_document
from sync.settings import load
from sync.store import Lease, Store, open_store
from sync.store.audit import Filter, records
from sync.store.records import values
from tests import firms
from tests.conftest import samples
from tests.golden.test_golden_manifests import DEMO, OPTIONS, OWNER, SAMPLES, Text
from tests.memory import MemoryCluster
from tests.transitions import Objects, Trace, small_parts, synced
from tests.unit.store.words import ticking

DIGITS = 16
SEEDS = {False: (0, 1, 8, 12, 17, 31), True: (3, 6, 10, 13, 21, 27, 33)}
"""Seeds of short and of long configurations, most of them with moves of chains overtaken."""

SENTENCES = frozenset({"message", "reason", "reasons", "flow", "error", "detail", "warnings"})
"""Fields for people: only whether they say anything counts."""

OF_ONE_RUN = frozenset({"time", "run", "hash", "previous_hash"})
"""Fields of a record that are others in each run."""


def contract(found: Any) -> Any:
    """A document without what is a sentence for people or other in each run."""
    if isinstance(found, dict):
        return {
            key: bool(each) if key in SENTENCES else contract(each)
            for key, each in found.items()
            if key not in OF_ONE_RUN
        }
    return [contract(each) for each in found] if isinstance(found, list | tuple) else found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def short(found: Any) -> str:
    return sha256(orjson.dumps(contract(found), option=orjson.OPT_SORT_KEYS))[:DIGITS]


def digest(side: Manifest | None) -> str:
    return side.digest if side else ""


def of_plan(plan: Plan | None) -> Any:
    """A plan as JSON has it, the digests of its objects, and the order of its writes."""
    assert plan is not None
    assert not re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", str(plan.origins))
    return {
        **plan.document(),
        "steps": [
            [
                [(each.kind, each.name, *map(digest, (each.before, each.after))) for each in chain]
                for chain in step
            ]
            for step in plan.steps()
        ],
    }


def of_result(result: Result) -> Any:
    assert result.report is not None
    return {
        "state": result.state,
        "plan": of_plan(result.plan),
        "report": report_document([result.report]),
        "applied": [(each.action, each.kind, each.name) for each in result.applied],
    }


# --- the demo, from an empty cluster to the next configuration ------------------------------------


class Demo:
    """The demo's configuration, what it is changed into, and its clusters in memory."""

    def __init__(self, store: Store, folder: Path, *, enforced: bool) -> None:
        variables = {"ZONEBRIDGE_STORE__URL": f"sqlite:///{folder}/none.db"}
        settings = load(DEMO.with_name("zonebridge.yaml"), variables)
        self._store = store
        self._options = assembly.translation_options(settings, OWNER)
        self._clusters = []
        for each in settings.clusters:
            cluster = assembly.unreached_cluster(settings, each)
            memory = MemoryCluster(cluster.owner.required if cluster.owner else OWNER)
            cluster = replace(cluster, reader=memory, writer=memory.writer)
            if enforced:
                here = [replace(each, mode="enforced") for each in cluster.device_groups]
                cluster = replace(cluster, device_groups=tuple(here))
            self._clusters.append(cluster)

    def planned(self, data: bytes) -> list[Any]:
        dry = [replace(each, writer=None) for each in self._clusters]
        results = plan_cycle([Said(data)], dry, self._store, self._options)
        return [of_plan(each.plan) for each in results]

    def synced(self, data: bytes) -> list[Any]:
        run = self._store.run("test")
        run.begin()
        results = run_cycle(
            [Said(data)],
            self._clusters,
            self._store,
            self._options,
            run,
            self._lease,
            lambda: False,
        )
        run.finish("done", {})
        assert [each.error for each in results] == [None] * len(results)
        return [of_result(each) for each in results]

    @contextmanager
    def _lease(self, cluster: str) -> Iterator[Lease]:
        with self._store.lease(cluster, "test", timedelta(minutes=10)) as lease:
            yield lease


class Said:
    """A source that says this."""

    name = "main"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._snapshot = Snapshot(
            read_configuration(parse(data, "export.xml")), Provenance("main", "a test", "1")
        )

    def revision(self) -> str:
        raise NotImplementedError

    def read(self) -> Snapshot:
        return self._snapshot


def changed_demo() -> bytes:
    """The demo with other addresses, and without a third of its rules."""
    text = DEMO.read_text().replace("<ip-netmask>10.6", "<ip-netmask>10.9")
    numbers = iter(range(10**6))
    return re.sub(
        r"<action>allow</action>",
        lambda found: "<action>deny</action>" if next(numbers) % 3 == 0 else found[0],
        text,
    ).encode()


def of_demo(folder: Path, *, enforced: bool) -> Iterator[tuple[str, str]]:
    with open_store(f"sqlite:///{folder}/store.db", clock=ticking()) as store:
        demo = Demo(store, folder, enforced=enforced)
        for name, data in (("first", DEMO.read_bytes()), ("changed", changed_demo())):
            yield f"plan of the {name}", short(demo.planned(data))
            yield f"sync of the {name}", short(demo.synced(data))
        # Records of several clusters are committed side by side: each hash chain has its order.
        for chain in ("_service", "prod-eu", "prod-us"):
            trail = [values(each) for each in records(store, Filter(cluster=chain))]
            trail = [{**each, "plan": bool(each["plan"])} for each in trail]
            yield f"records of {chain}", short(trail)


@pytest.mark.parametrize("mode", ["staged", "enforced"])
def test_plans_records_and_reports_of_the_demo(
    mode: str, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    lines = [f"{what}: {found}" for what, found in of_demo(tmp_path, enforced=mode == "enforced")]
    assert "\n".join(lines) == snapshot(extension_class=Text)


# --- samples --------------------------------------------------------------------------------------


def of_sample(path: Path) -> str:
    """For every device group what its rules change, as a comparison plans it."""
    source = Said(path.read_bytes())
    clusters = [
        Cluster(
            name,
            (TierBinding("main", name, "firewallpolicy", 101, mode="enforced"),),
            GivenReader({}),
            None,
            None,
            repair_drift=True,
        )
        for name in source.read().configuration.device_groups
    ]
    data = re.sub(rb"<(pre|post)-rulebase>.*?</\1-rulebase>", b"", source.data, flags=re.DOTALL)
    results = compare_cycle([Said(data)], [source], clusters, OPTIONS)
    return short([type(each.error).__name__ if each.error else of_result(each) for each in results])


@pytest.mark.parametrize("name", SAMPLES)
def test_plans_and_reports_of_a_sample(name: str, snapshot: SnapshotAssertion) -> None:
    path = next((path for path in samples() if path.name == name), None)
    if path is None or not sha256(path.read_bytes()).startswith(SAMPLES[name]):
        pytest.skip(f"PANORAMA_SAMPLES has no {name}, or another one than the snapshot is of")
    assert of_sample(path) == snapshot(extension_class=Text)


# --- small configurations, and every kind of change between them ----------------------------------


def of_firms(seed: int, *, long: bool) -> str:
    """A change of a configuration, left alone and overtaken by another one in the middle."""
    random = Random(f"bytes {seed}")
    old = firms.drawn(random, long=long)
    new = firms.changed(old, random)
    newest = firms.changed(new, random)
    with small_parts(random.choice((1, 2, 3, 20))):
        first = synced(old, {}, proven=False)
        way = synced(new, first.end, proven=False)
        between: list[Objects] = [stands for _, stands in way.states(random, 0)]
        overtaken = [
            synced(newest, stands, proven=False)
            for stands in random.sample(between, min(3, len(between)))
        ]
    return short([of_trace(each) for each in (first, way, *overtaken)])


def of_trace(trace: Trace) -> Any:
    return {
        "plan": of_plan(trace.result.plan),
        "writes": [
            (str(each), each.change.cause, digest(each.change.after)) for each in trace.writes
        ],
        "end": sorted((*key, each.digest) for key, each in trace.end.items()),
        "report": report_document([trace.result.report] if trace.result.report else []),
    }


def test_plans_and_the_order_of_writes_between_small_configurations(
    snapshot: SnapshotAssertion,
) -> None:
    lines = [
        f"seed {seed}, {'long' if long else 'short'}: {of_firms(seed, long=long)}"
        for long in (False, True)
        for seed in SEEDS[long]
    ]
    assert "\n".join(lines) == snapshot(extension_class=Text)

"""A process that has seen much gives the bytes that a fresh one gives: plans, reports and proofs.

Configurations, settings and what is known of pods change together, back and forth, in one process
(`tests.firms`). After each change the same sync is made with nothing remembered, and nothing may
differ. So that this would tell, keys that leave a part out are tried too.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

import sync.memo
from sync.calico.manifest import Manifest
from sync.calico.ownership import owner_labels
from sync.calico.validator import validate
from sync.cli.report import report as _report  # noqa: F401 - every module that remembers is loaded
from sync.clusters.cluster import LiveObject
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.writer import KubernetesWriter
from tests.firms import changed, drawn
from tests.kubernetes_stand_in import StandIn
from tests.transitions import Firm, Objects, Trace, synced

SEEDS = range(6)
CHANGES = 8
OWNER = owner_labels("test", "00000000-0000-0000-0000-000000000000")


def _remembering() -> Iterator[tuple[Any, str, Any]]:
    """Every function of ours that remembers, with the module and the name it goes by there."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("sync."):
            for attribute, found in sorted(vars(module).items()):
                code = getattr(found, "__code__", None)
                if code and code.co_filename == sync.memo.__file__ and code.co_name == "called":
                    yield module, attribute, found


@contextmanager
def fresh() -> Iterator[None]:
    """Nothing is remembered of what came before."""
    with pytest.MonkeyPatch.context() as patch:
        for module, attribute, found in _remembering():
            patch.setattr(module, attribute, found.__wrapped__)
        for name, module in sorted(sys.modules.items()):
            if name.startswith("sync."):
                for found in vars(module).values():
                    if hasattr(found, "cache_clear"):
                        found.cache_clear()
        yield


def said(trace: Trace) -> tuple[object, ...]:
    """All that a sync says, and what it leaves behind."""
    result = trace.result
    plan = result.plan and orjson.dumps(result.plan.document())
    end = sorted((key, each.body) for key, each in trace.end.items())
    return plan, result.report, result.proof, result.state, result.detail, end


def firms(seed: int) -> Iterator[Firm]:
    """Configurations with their settings, each a few changes from one before it."""
    random = Random(seed)
    seen = [drawn(random)]
    yield seen[0]
    for _ in range(CHANGES):
        # Back to an older one, too: what is remembered then is of another time.
        seen.append(changed(random.choice(seen), random))
        yield seen[-1]


def complaint(seed: int) -> str:
    """Where a process that goes on says something else than a fresh one; "" if nowhere."""
    stands: Objects = {}
    for number, firm in enumerate(firms(seed)):
        found = synced(firm, stands)
        with fresh():
            again = synced(firm, stands)
        if said(found) != said(again):
            return f"seed {seed}, change {number}\n{firm}"
        stands = found.end
    return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_goes_on_says_what_a_fresh_one_says(seed: int) -> None:
    assert not complaint(seed)


def test_what_remembers_is_what_is_held_to_that() -> None:
    assert {found.__qualname__ for _, _, found in _remembering()} == {
        "_ours_in",
        "_union",
        "_violations",
    }


def _forgetful_key(part: Any) -> Any:
    return SimpleNamespace(sha256=lambda of: hashlib.sha256(part(of)))


FORGETFUL = {
    "the end": lambda of: of[:-6],
    "the numbers": lambda of: bytes(each for each in of if not 48 <= each <= 57),
    "the order": lambda of: bytes(sorted(of)),
    "all but the length": lambda of: str(len(of)).encode(),
}


@pytest.mark.parametrize("part", FORGETFUL)
def test_a_key_that_leaves_a_part_out_is_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The key of all of them is made in one place.
    monkeypatch.setattr(sync.memo, "hashlib", _forgetful_key(FORGETFUL[part]))

    def told() -> bool:
        try:
            return any(complaint(seed) for seed in SEEDS)
        except (AssertionError, ValueError):
            return True  # it went wrong before anybody could compare

    assert told()


# --- what a cluster holds -------------------------------------------------------------------------


def _set(name: str, net: str, **labels: str) -> Manifest:
    return Manifest.of(
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkSet",
            "metadata": {"name": name, "labels": {**dict(OWNER), **labels}},
            "spec": {"nets": [net]},
        }
    )


def _held(reader: KubernetesReader) -> Mapping[tuple[str, str], LiveObject]:
    found = reader.read()
    with fresh():
        assert reader.read() == found
    return found


def test_what_another_hand_changes_is_seen_whatever_version_the_server_says() -> None:
    api = StandIn("eu")
    reader = KubernetesReader(api, OWNER)
    KubernetesWriter(api, OWNER, remaining=lambda: 60.0, seconds=1).create(_set("s", "10.0.0.1/32"))
    key = ("GlobalNetworkSet", "s")
    ((path, objects),) = api.kept.items()
    manifest = _held(reader)[key].manifest
    assert manifest is not None
    assert manifest.digest == _set("s", "10.0.0.1/32").digest
    # The UID, the version and the managed fields stay: the server lies.
    objects["s"] = objects["s"].replace(b"10.0.0.1/32", b"10.0.0.2/32")
    manifest = _held(reader)[key].manifest
    assert manifest is not None
    assert manifest.digest == _set("s", "10.0.0.2/32").digest
    objects["s"] = objects["s"].replace(dict(OWNER).popitem()[1].encode(), b"another")
    assert _held(reader)[key].manifest is None
    assert path.endswith("globalnetworksets")


def test_what_is_not_ours_may_be_nested_deeper_than_is_ever_written() -> None:
    api = StandIn("eu")
    sent = _set("s", "10.0.0.1/32")
    KubernetesWriter(api, OWNER, remaining=lambda: 60.0, seconds=1).create(sent)
    ((_, objects),) = api.kept.items()
    deep = b'{"status":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b","
    objects["s"] = objects["s"].replace(b"{", deep, 1)
    found = _held(KubernetesReader(api, OWNER))
    assert found["GlobalNetworkSet", "s"].manifest == sent


def test_an_object_that_turns_bad_is_refused_however_often_it_was_good() -> None:
    good = _set("s", "10.0.0.1/32", **{"firewall.tigera.io/addressGroup": "s"})
    first = validate(good)
    bad = Manifest.of(orjson.loads(good.body.replace(b"10.0.0.1/32", b"10.0.0.1/08")))
    assert len(bad.body) == len(good.body)
    assert len(validate(bad)) > len(first)
    assert validate(good) == first

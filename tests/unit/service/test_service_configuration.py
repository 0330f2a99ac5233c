"""When a configuration file is read anew, by an injected clock and one look after another."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from sync.errors import UsageError
from sync.service.configuration import ConfigurationFile, digest
from sync.service.metrics import Metrics
from sync.service.service import Service

ANOTHER = cast("Service", object())


@dataclass
class World:
    """A file, what reading it comes to, and how often it was read."""

    path: Path
    now: float = 0.0
    reads: int = 0
    result: Service | Exception | None = None
    metrics: Metrics = field(default_factory=Metrics)
    log: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        held = digest(self.path)
        self.file = ConfigurationFile(self.path, self._read, self.metrics, held, lambda: self.now)

    def _read(self) -> Service | None:
        self.reads += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def look(self, times: int = 1, *, asked: bool = False) -> list[Service | None]:
        found = []
        with capture_logs() as log:
            for _ in range(times):
                self.now += 2
                found.append(self.file.look(asked=asked))
        self.log += log
        return found

    def told(self) -> list[str]:
        return [each["event"] for each in self.log]

    def successful(self) -> float | None:
        return self.metrics.registry.get_sample_value("zonebridge_config_last_reload_successful")


@pytest.fixture
def world(tmp_path: Path) -> World:
    path = tmp_path / "zonebridge.yaml"
    path.write_text("one")
    return World(path)


def replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("two")
    new.replace(path)


def written_in_place(path: Path) -> None:
    path.write_text("two")


@pytest.mark.parametrize("change", [replaced, written_in_place])
def test_a_changed_file_is_read_once_when_it_was_seen_twice(
    world: World, change: Callable[[Path], None]
) -> None:
    assert world.look(3) == [None] * 3
    change(world.path)
    world.result = ANOTHER
    assert world.look(4) == [None, ANOTHER, None, None]
    assert (world.reads, world.successful()) == (1, 1)


def test_a_config_map_that_the_kubelet_swaps_is_followed(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "zonebridge.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "zonebridge.yaml").symlink_to("..data/zonebridge.yaml")
    world = World(tmp_path / "zonebridge.yaml", result=ANOTHER)
    world.look(2)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert world.look(3) == [None, ANOTHER, None]


def test_a_file_that_is_still_written_is_waited_for(world: World) -> None:
    for text in ("tw", "two", "two th"):
        world.path.write_text(text)
        world.look()
    assert world.reads == 0
    world.look(2)
    assert world.reads == 1


def test_a_file_that_is_gone_for_a_moment_or_touched_is_no_news(world: World) -> None:
    world.path.unlink()
    world.look()
    world.path.write_text("one")
    world.look(5)
    os.utime(world.path, (0, 0))
    world.look(5)
    assert (world.reads, world.log) == (0, [])


def test_what_is_refused_stays_out_and_is_told_once(world: World) -> None:
    world.path.write_text("bad")
    world.result = UsageError("zonebridge.yaml has 2 problems:\n  a\n  b")
    world.look(60)
    assert world.told() == ["configuration rejected; the previous one stays in use"]
    assert world.log[0]["error"] == "zonebridge.yaml has 2 problems:\n  a\n  b"
    assert world.successful() == 0
    check = world.file.check
    assert check.holds
    assert check.says.endswith("stays: zonebridge.yaml has 2 problems: a b")
    # Another reason is news, and so is the same one for somebody who asks.
    world.result = UsageError("another")
    world.look(20)
    world.look(asked=True)
    assert world.told() == ["configuration rejected; the previous one stays in use"] * 3
    # As it was before.
    world.path.write_text("one")
    world.result = None
    world.look(2)
    assert (world.told()[-1], world.successful()) == ("configuration unchanged", 1)
    assert world.file.check.says == "loaded 0 s ago"


def test_what_is_refused_for_a_file_that_comes_later_is_taken_up_then(world: World) -> None:
    world.path.write_text("two")
    world.result = UsageError("the secret file is not there")
    world.look(4)
    world.result = ANOTHER
    assert ANOTHER in world.look(20)
    assert world.successful() == 1


def test_what_changed_while_the_service_started_is_read(world: World) -> None:
    world.path.write_text("two")
    held = digest(world.path)
    world.path.write_text("three")
    world.file = ConfigurationFile(world.path, world._read, world.metrics, held, lambda: world.now)
    world.look(3)
    assert world.reads == 1


def test_whoever_asks_is_answered_at_once_though_nothing_changed(world: World) -> None:
    world.look(asked=True)
    assert (world.reads, world.told()) == (1, ["configuration unchanged"])


def test_a_bug_in_reading_ends_nothing(world: World) -> None:
    world.result = RuntimeError("a bug with password=hunter2")
    world.look(asked=True)
    assert "RuntimeError: a bug" in world.log[0]["error"]
    assert "hunter2" not in world.file.check.says
    assert world.successful() == 0

"""A scripted API server for the tests of what is asked of one, and what is concluded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sync.clusters.kubernetes.auth.kubeconfig import Access, Connection, connect
from sync.clusters.kubernetes.client import Api
from tests.scripted_api import Script, access_to, serving
from zonebridge_simulator.authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@dataclass
class Scripted:
    """A script, and clients of the server that plays it, which note instead of sleeping."""

    script: Script
    access: Access
    slept: list[float] = field(default_factory=list)
    connected: int = 0
    opened: list[Api] = field(default_factory=list)

    def api(self, **options: Any) -> Api:
        sleep: Callable[[float], object] = self.slept.append
        self.opened.append(Api("prod", self._connect, **{"sleep": sleep, **options}))
        return self.opened[-1]

    def _connect(self) -> Connection:
        self.connected += 1
        return connect(self.access)


@pytest.fixture
def scripted(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scripted]:
    monkeypatch.setenv("no_proxy", "*")
    script = Script()
    with serving(script.respond, authority) as url:
        made = Scripted(script, access_to(url, authority, tmp_path))
        yield made
        for each in made.opened:
            each.close()
    script.finish()

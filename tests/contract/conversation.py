"""Whom the contract's tests talk to: a cassette, the simulator, or a real Panorama."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final
from urllib.parse import urlsplit

from sync.sources import NoMemory
from sync.sources.panorama.client import ApiKey, PanoramaHost
from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection, tls_context
from sync.sources.panorama.registered_ips import RegistrationCache
from sync.sources.panorama.source import PanoramaSource
from tests.contract.hiding import HIDDEN, HOST
from tests.contract.simulated import PASSWORD, THE_SIMULATOR, USER, simulated
from tests.contract.tape import played, recorded
from zonebridge_simulator.authority import Authority

SYSTEM: Final = "<show><system><info></info></system></show>"


@dataclass(frozen=True)
class Conversation:
    """A Panorama as it is reached; `login` gives a user and a password, where there is one."""

    host: str
    port: int
    context: ssl.SSLContext
    key: Callable[[], ApiKey]
    login: Callable[[], ApiKey] | None
    recorded_with: str

    @property
    def is_simulated(self) -> bool:
        return self.recorded_with == THE_SIMULATOR

    def member(self, credentials: Callable[[], ApiKey] | None = None) -> PanoramaHost:
        line = PanoramaConnection(
            "main", self.host, self.port, self.context, BoundedSemaphore(AT_ONCE)
        )
        return PanoramaHost(line, credentials or self.key)

    def source(self) -> PanoramaSource:
        return PanoramaSource(
            "main",
            [self.member()],
            timedelta(minutes=15),
            timedelta(seconds=30),
            # Of a real one nobody knows their names before.
            device_groups=("berlin",) if self.is_simulated else (),
            devices=(),
            last_told=RegistrationCache("main", NoMemory(), 1800),
            now=lambda: 0.0,
        )


@contextmanager
def with_a_cassette(path: Path) -> Iterator[Conversation]:
    with played(path) as recorded_with:
        yield Conversation(
            HOST,
            443,
            ssl.create_default_context(),
            lambda: ApiKey(HIDDEN),
            lambda: ApiKey(None, HIDDEN, HIDDEN),
            recorded_with,
        )


@contextmanager
def with_the_simulator(path: Path, authority: Authority) -> Iterator[Conversation]:
    with simulated(authority) as there, recorded(path, THE_SIMULATOR):
        yield Conversation(
            there.host,
            there.port,
            tls_context("main", authority.ca_file.read_bytes(), verify=True),
            lambda: ApiKey(there.api_key),
            lambda: ApiKey(None, USER, PASSWORD),
            THE_SIMULATOR,
        )


@contextmanager
def with_a_real_one(path: Path, given: Mapping[str, str]) -> Iterator[Conversation]:
    """The Panorama that the variables of `make record` name: see cassettes/README.md."""
    address = urlsplit(f"//{given['PANORAMA']}")
    authority = Path(given["CA_FILE"]).read_bytes() if given.get("CA_FILE") else None
    key = Path(given["API_KEY_FILE"]).read_text().strip()
    login = None
    if user := given.get("PANORAMA_USER"):
        password = Path(given["PASSWORD_FILE"]).read_text().strip()
        login = ApiKey(None, user, password)
    there = Conversation(
        address.hostname or "",
        address.port or 443,
        tls_context("main", authority, verify=True),
        lambda: ApiKey(key),
        None if login is None else lambda: login,
        "",
    )
    release = there.member().op(SYSTEM).findtext("system/sw-version")
    there = replace(there, recorded_with=f"a Panorama, PAN-OS {release}")
    with recorded(path, there.recorded_with):
        yield there

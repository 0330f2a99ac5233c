"""The words that tests of a source over a simulated Panorama share."""

from collections.abc import Callable
from datetime import timedelta
from threading import BoundedSemaphore

import pytest

from sync.errors import SourceError
from sync.sources import Memory
from sync.sources.panorama.client import ApiKey, PanoramaHost
from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection, tls_context
from sync.sources.panorama.registered_ips import RegistrationCache
from sync.sources.panorama.source import PanoramaSource, View
from tests.memory import HeldMemory
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import (
    ApiError,
    Body,
    Compressed,
    Drip,
    Empty,
    Fault,
    HttpStatus,
    NotXml,
    Redirect,
    Reset,
    Silence,
    Truncated,
)
from zonebridge_simulator.panorama import Panorama

FIFTEEN_MINUTES = timedelta(minutes=15)
THIRTY_SECONDS = timedelta(seconds=30)
HALF_AN_HOUR = 1800.0

FAULTS: list[Fault] = [
    HttpStatus(404),
    HttpStatus(500),
    HttpStatus(503, retry_after=30),
    HttpStatus(429),
    ApiError("Internal error", 11),
    ApiError("not authorized", 16),
    ApiError("Session timed out", 22, "unauth"),
    Body(b"<config/>"),
    NotXml(),
    Empty(),
    Compressed(),
    Truncated(),
    Reset(),
    Reset(after=10),
    Redirect("https://panorama.invalid/api/"),
    Silence(600),
    Drip(0.05),
    Drip(0.05, headers=True),
]


class Clock:
    """A time that goes on when it is told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 10_000_000.0

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def source_of(
    authority: Authority,
    *panoramas: Panorama,
    clock: Clock | None = None,
    login: bool = False,
    whole_seconds: float = 60,
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
    device_groups: tuple[str, ...] = (),
    devices: tuple[str, ...] = (),
    memory: Memory | None = None,
    view: View = "running",
) -> PanoramaSource:
    """A source over these; the second of a pair is called localhost, to tell it from the first."""
    context = tls_context("main", authority.ca_file.read_bytes(), verify=True)
    slots = BoundedSemaphore(AT_ONCE)
    clock = clock or Clock()
    members = [
        PanoramaHost(
            PanoramaConnection(
                "main", host, panorama.port, context, slots, whole_seconds=whole_seconds
            ),
            lambda panorama=panorama: (  # type: ignore[misc]
                ApiKey(None, "reader", "secret") if login else ApiKey(panorama.api_key)
            ),
            clock.sleep,
        )
        for host, panorama in zip(hosts, panoramas, strict=False)
    ]
    return PanoramaSource(
        "main",
        members,
        FIFTEEN_MINUTES,
        THIRTY_SECONDS,
        device_groups,
        devices,
        RegistrationCache("main", HeldMemory() if memory is None else memory, HALF_AN_HOUR, clock),
        view,
        clock,
        spread=lambda seconds: seconds,
    )


def failure_of(call: Callable[[], object]) -> str:
    """What a call raises: one sentence that names the source."""
    with pytest.raises(SourceError) as raised:
        call()
    said = str(raised.value)
    assert said.startswith("source main: ")
    assert "\n" not in said
    return said

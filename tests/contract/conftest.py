"""The contract is played from cassettes, without a network; `make record` records them."""

import os
import socket
from collections.abc import Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.contract.conversation import (
    Conversation,
    with_a_cassette,
    with_a_real_one,
    with_the_simulator,
)

CASSETTES: Final = Path(__file__).parents[2] / "cassettes"


@pytest.fixture
def panorama(request: pytest.FixtureRequest) -> AbstractContextManager[Conversation]:
    """The other side of the test's own cassette; the test itself is given what it enters."""
    path = CASSETTES / f"{request.node.name.removeprefix('test_')}.yaml"
    if "RECORD_CASSETTES" not in os.environ:
        request.getfixturevalue("no_network")
        return with_a_cassette(path)
    if os.environ.get("PANORAMA"):
        return with_a_real_one(path, os.environ)
    request.getfixturevalue("no_proxy")
    return with_the_simulator(path, request.getfixturevalue("authority"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A conversation lasts as long as its test, and hears that it fails, as no fixture would."""
    panorama = pyfuncitem.funcargs.get("panorama")
    if panorama is None:
        return (yield)
    assert isinstance(panorama, AbstractContextManager)
    with panorama as pyfuncitem.funcargs["panorama"]:
        return (yield)


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the developer's stands in between."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an address or connects fails the test."""

    def refused(*arguments: object, **given: object) -> NoReturn:
        raise AssertionError("a cassette is played, nothing may be connected to")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)

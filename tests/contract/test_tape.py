"""Cassettes themselves: what is recorded and what not, and that playing one connects to nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException

from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.errors import PanoramaError
from tests.contract.conversation import (
    SYSTEM,
    Conversation,
    with_a_cassette,
    with_a_real_one,
    with_the_simulator,
)
from tests.contract.simulated import DOCUMENT, PASSWORD, USER, simulated
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import LOGIN_PAGE, Body
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import every

STATE = "<show><high-availability><state></state></high-availability></show>"


@pytest.fixture
def path(tmp_path: Path, no_proxy: None) -> Path:
    """Where a cassette is to be."""
    return tmp_path / "cassette.yaml"


@pytest.fixture
def cassette(path: Path, authority: Authority) -> Path:
    """One call to the simulator."""
    with with_the_simulator(path, authority) as panorama:
        panorama.member().op(SYSTEM)
    return path


@pytest.fixture(params=["", "http://127.0.0.1:9"], ids=["direct", "proxy"])
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", request.param)


def real(there: Panorama, authority: Authority, folder: Path) -> dict[str, str]:
    """What `make record` is given for a Panorama."""
    (folder / "key").write_text(f"{there.api_key}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    return {
        "PANORAMA": f"{there.host}:{there.port}",
        "API_KEY_FILE": str(folder / "key"),
        "CA_FILE": str(authority.ca_file),
        "PANORAMA_USER": USER,
        "PASSWORD_FILE": str(folder / "password"),
    }


# --- playing --------------------------------------------------------------------------------------


def test_a_cassette_is_played_without_a_connection(
    cassette: Path, proxy: None, no_network: None
) -> None:
    with with_a_cassette(cassette) as panorama:
        assert panorama.member().op(SYSTEM).findtext("system/sw-version") == "11.1.6"
        assert panorama.is_simulated


def test_a_client_that_no_cassette_reaches_fails(
    cassette: Path, proxy: None, no_network: None
) -> None:
    with with_a_cassette(cassette) as panorama:
        panorama.member().op(SYSTEM)
    with pytest.raises(AssertionError, match="nothing may be connected to"):
        panorama.member().op(SYSTEM)


@pytest.mark.parametrize(
    "call", [lambda member: member.op(STATE), lambda member: member.show("/config/shared")]
)
def test_a_call_that_a_cassette_does_not_hold_fails(
    cassette: Path, no_network: None, call: Callable[[PanoramaHost], object]
) -> None:
    with (
        pytest.raises(CannotOverwriteExistingCassetteException) as raised,
        with_a_cassette(cassette) as panorama,
    ):
        call(panorama.member())
    assert "make record" in raised.value.__notes__[0]


def test_a_call_that_is_no_longer_made_fails(cassette: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"cassette\.yaml holds what nobody asks for"),
        with_a_cassette(cassette),
    ):
        pass


# --- recording ------------------------------------------------------------------------------------


def test_two_recordings_are_the_same(path: Path, authority: Authority) -> None:
    """They have another port, another key, and threads in another order."""
    written = []
    for _ in range(2):
        with with_the_simulator(path, authority) as panorama:
            panorama.source().read()
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_what_fails_leaves_the_cassette_as_it_was(cassette: Path, authority: Authority) -> None:
    before = cassette.read_bytes()
    with pytest.raises(PanoramaError), with_the_simulator(cassette, authority) as panorama:
        panorama.member().op("<show><nothing></nothing></show>")
    assert cassette.read_bytes() == before
    assert list(cassette.parent.iterdir()) == [cassette]


def test_nothing_is_recorded_that_the_scan_would_find(path: Path, authority: Authority) -> None:
    """Names stay as they are, since others refer to them."""
    named = DOCUMENT.replace(b'name="shop"', b'name="$1$abc$def"')
    with (
        Panorama(named, authority) as there,
        pytest.raises(AssertionError, match="not recorded, it would hold a password's hash"),
        with_a_real_one(path, real(there, authority, path.parent)) as panorama,
    ):
        panorama.source().read()
    assert not path.exists()


def test_of_a_real_panorama_neither_secrets_nor_its_name_are_kept(
    path: Path, authority: Authority
) -> None:
    with (
        simulated(authority) as there,
        with_a_real_one(path, real(there, authority, path.parent)) as panorama,
    ):
        read = panorama.source().read()
        panorama.member(panorama.login).op(STATE)
    written = path.read_text()
    assert yaml.safe_load(written)["metadata"] == {"recorded_with": "a Panorama, PAN-OS 11.1.6"}
    for secret in (
        there.api_key, PASSWORD, "s3cret", f"user={USER}", there.host, str(there.port),
        there.system["serial"], "-AQ==", "$5$", "PRIVATE KEY", "public-no-more", "Content-Length",
        "Date:",
    ):  # fmt: skip
        assert secret not in written
    with with_a_cassette(path) as played:
        assert not played.is_simulated
        assert played.source().read().configuration == read.configuration
        played.member(played.login).op(STATE)


def test_a_page_for_people_is_not_kept(path: Path, authority: Authority) -> None:
    with (
        simulated(authority) as there,
        with_a_real_one(path, real(there, authority, path.parent)) as panorama,
    ):
        there.fail(every, Body(LOGIN_PAGE, 404, "text/html"))
        said = failure_of(panorama)
    assert "passwd" not in path.read_text()
    with with_a_cassette(path) as panorama:
        assert failure_of(panorama) == said


def failure_of(panorama: Conversation) -> str:
    with pytest.raises(PanoramaError) as raised:
        panorama.member().op(SYSTEM)
    return str(raised.value).partition(" answers ")[2]

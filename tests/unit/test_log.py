"""What the log shows of what servers, libraries and names say."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from sync.cli.context import Context

SECRET = "hunter2"
TRAPS = "\x1b[31m\x07\x9b1m\u202e\u2066\r"
"""Colours, a bell, the same as C1, directions, and the beginning of a line."""

Log = Callable[[], Any]


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """Logs as a configuration says; to be called where what it writes is captured."""
    document = {
        "sources": [{"name": "main", "kind": "file", "path": "export.xml"}],
        "clusters": [
            {"name": "prod", "kind": "manifests", "path": "manifests", "device_groups": []}
        ],
        "log": {"format": request.param},
    }
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.safe_dump(document))

    def begin() -> Any:
        Context(file, debug=False).settings()
        return structlog.get_logger()

    yield begin
    structlog.reset_defaults()


def fail(message: str) -> None:
    """Log a failure as a bug looks."""

    def raises() -> None:
        raise ValueError(message)

    try:
        raises()
    except ValueError:
        structlog.get_logger().exception("worker ended by a bug")


def test_a_terminal_obeys_nothing_of_what_is_logged(
    log: Log, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    told = log().bind(cluster=f"prod{TRAPS}")
    event = f"told{TRAPS}"
    told.warning(event, error=f"said{TRAPS}", because=[f"one{TRAPS}"])
    fail(f"raised{TRAPS}")
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("prod", "told", "said", "one", "raised"))
    # Nor does one on which what reads the JSON shows it.
    if shown.startswith("{"):
        lines = [json.loads(each) for each in shown.splitlines()]
        shown = "\n".join(str(each) for line in lines for each in line.values())
    assert {each for each in shown if not each.isprintable()} == {"\n"}


def test_a_log_in_words_has_no_colours_in_a_file_and_one_line_an_event(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log().warning("told", error="one\n::error::two")
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "said",
    [
        f"GET /api/?type=op&key={SECRET}&cmd=x",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"{'x' * 40_000} https://me:{SECRET}@proxy:3128/ {'y ' * 10}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    ],
)
def test_no_failure_shows_what_was_sent(
    log: Log, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    log().error("poll failed", error=f"ConnectError: {said}")
    fail(said)
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert shown.count("[hidden]") >= 2
    assert "poll failed" in shown
    assert len(shown) < 40_000

"""Every command has examples in its help, which it accepts, in 80 columns."""

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import click
import pytest
from click.testing import CliRunner

from sync.cli.audit import OUTCOMES
from sync.cli.context import fitted
from sync.cli.main import COMMANDS, zonebridge
from sync.cli.times import Time
from sync.reconcile.result import ClusterState


def commands() -> Iterator[tuple[str, ...]]:
    root = click.Context(zonebridge)
    yield ()
    for name in COMMANDS:
        command = zonebridge.get_command(root, name)
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, each) for each in command.commands)


@pytest.mark.parametrize("path", [*commands()], ids=" ".join)
def test_the_help_of_every_command_has_examples_that_it_accepts(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(zonebridge, [*path, "--help"], env={"COLUMNS": "200"}).output
    assert max(map(len, shown.splitlines())) <= 80
    assert not any(line.endswith("...") for line in shown.splitlines()[1:]), shown
    assert "TEXT" not in shown
    options, _, examples = shown.partition("Examples:\n")
    assert "--config" in options
    assert "--debug" in options
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
        assert words[0] == "zonebridge"
        # Options that a command lacks are refused before its help is shown.
        done = CliRunner().invoke(zonebridge, [*words[1:], "--help"])
        assert done.exit_code == 0, done.output


def test_a_filter_takes_every_outcome_that_a_run_can_have() -> None:
    assert {each.value for each in ClusterState} - {ClusterState.IN_SYNC} <= {*OUTCOMES}
    assert {"done", "exit 3", "applied", "not-applied"} <= {*OUTCOMES}
    assert len({*OUTCOMES}) == len(OUTCOMES)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_break_between_words_on_a_terminal_and_names_are_never_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "firewallpolicy.pan-part-" + "a-long-name-" * 4 + "b1"
    text = f"Changes\n  + GlobalNetworkPolicy {name} (2 ingress, 3 egress rules), and more\nend\n"
    shown = fitted(text, Terminal())
    assert shown.split() == text.split()
    assert shown.endswith("\nend\n")
    assert [line for line in shown.splitlines() if len(line) > 40] == [f"      {name}"]
    assert shown.splitlines()[1:3] == ["  + GlobalNetworkPolicy", f"      {name}"]
    assert fitted(text, StringIO()) == text


NOW = datetime(2026, 3, 3, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", "2026-03-03T13:58:30"),
        ("30m", "2026-03-03T13:30:00"),
        ("1h", "2026-03-03T13:00:00"),
        ("7d", "2026-02-24T14:00:00"),
        ("2w", "2026-02-17T14:00:00"),
        ("2026-03-01", "2026-03-01T00:00:00"),
        ("2026-03-01T01:00:00+02:00", "2026-02-28T23:00:00"),
    ],
)
def test_a_time_is_a_date_or_says_how_long_ago(written: str, meant: str) -> None:
    found = Time(lambda: NOW).convert(written, None, None)
    assert found.isoformat() == f"{meant}+00:00"


@pytest.mark.parametrize(
    "written", ["", "1", "h", "-1h", "1.5h", "1h30m", "1 h", "９h", "9" * 10 + "s"]
)
def test_what_is_no_time_is_refused_with_what_to_write(written: str) -> None:
    with pytest.raises(click.BadParameter, match="or how long ago: 30m, 1h, 7d"):
        Time(lambda: NOW).convert(written, None, None)

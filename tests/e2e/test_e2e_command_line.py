"""What every command has in common: shared options, errors as JSON, help, completion."""

import json
import shlex

import pytest

from tests.e2e.installation import Done, Installation


def completions(place: Installation, *words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    done = place.run(
        _ZONEBRIDGE_COMPLETE="bash_complete",
        COMP_WORDS=shlex.join(words[:-1]) + f" {words[-1]}",
        COMP_CWORD=str(len(words) - 1),
    )
    assert (done.code, done.err) == (0, "")
    return [line.removeprefix("plain,") for line in done.out.splitlines() if line]


def error(done: Done) -> dict[str, object]:
    """The document of an error, whose message is on stderr too."""
    found: dict[str, object] = json.loads(done.out)["error"]
    assert f"error: {str(found['message']).splitlines()[0]}" in done.err
    assert found["exit_code"] == done.code
    return found


def test_the_shared_options_are_accepted_before_a_command_and_after_it(
    place: Installation,
) -> None:
    moved = place.directory / "moved.yaml"
    (place.directory / "zonebridge.yaml").rename(moved)
    for line in (
        "--config moved.yaml config check",
        "config --config moved.yaml check",
        "config check --config moved.yaml",
        "--config moved.yaml config check --config moved.yaml",
    ):
        assert place.done(*line.split()).out.startswith("moved.yaml is valid"), line
    done = place.run("--config", "moved.yaml", "plan", "--config", "other.yaml")
    assert done.code == 64
    assert "--config names two files, moved.yaml and other.yaml; name one" in done.err
    done = place.run("plan", "--config", "a.yaml", "--config", "b.yaml")
    assert (done.code, "names two files, a.yaml and b.yaml" in done.err) == (64, True)
    for line in ("--debug plan --config none.yaml", "plan --config none.yaml --debug"):
        said = place.run(*line.split()).err
        # And the line is none that is refused for the option.
        assert "Traceback" in said
        assert "no configuration file none.yaml" in said


@pytest.mark.parametrize(
    ("line", "code", "kind", "message"),
    [
        ("plan --output json --config none.yaml", 64, "usage", "no configuration file none.yaml"),
        (
            "plan --output=json --cluster ue",
            64,
            "usage",
            "there is no cluster 'ue'; known here: eu",
        ),
        ("plan --outptu json --output json", 64, "usage", "Did you mean '--output'?"),
        ("audit list --output json", 1, "error", "there is no store at"),
    ],
)
def test_an_error_is_json_where_json_was_asked_for(
    place: Installation, line: str, code: int, kind: str, message: str
) -> None:
    done = place.run(*line.split())
    assert done.code == code
    found = error(done)
    assert found["kind"] == kind
    assert message in str(found["message"])
    assert found.keys() == {"kind", "message", "exit_code"}


def test_a_result_is_the_only_document_where_some_cluster_failed(place: Installation) -> None:
    done = place.run("plan", "--output", "json", ZONEBRIDGE_SOURCES__0__PATH="none.xml")
    assert done.code == 4
    assert json.loads(done.out).keys() == {"clusters"}
    assert place.run("plan", ZONEBRIDGE_SOURCES__0__PATH="none.xml").out == ""


def test_times_may_say_how_long_ago_and_values_that_do_not_exist_are_refused(
    place: Installation,
) -> None:
    place.done("sync")
    everything = place.done("audit", "list").out
    assert place.done("audit", "list", "--since", "1h").out == everything
    assert place.done("audit", "list", "--until", "1h").out == ""
    assert place.done("audit", "show", "--at", "30m").json == {"eu": [], "us": []}
    for line, message in (
        ("--since 1y", "'1y' is not a time; write 2026-03-03 or 2026-03-03T14:00:00Z, or how long"),
        ("--since 999999999w", "'999999999w' is not a time"),
        ("--outcome aplied", "'aplied' is unknown; did you mean applied?"),
        ("--kind intend", "'intend' is unknown; did you mean intent?"),
        ("--cluster ue", "no record names a cluster 'ue'; known here: eu, us"),
    ):
        done = place.run("audit", "list", *line.split())
        assert (done.code, done.out) == (64, "")
        assert message in done.err


def test_names_are_completed_from_the_configuration_and_its_files(place: Installation) -> None:
    assert completions(place, "zonebridge", "plan", "--cluster", "") == ["eu", "us"]
    assert completions(place, "zonebridge", "audit", "list", "--group", "w") == ["web"]
    assert completions(place, "zonebridge", "audit", "list", "--outcome", "f") == ["failed"]
    place.configure(zones={"definitions": {"dmz": {"networks": ["10.9.0.0/16"]}}})
    assert completions(place, "zonebridge", "explain", "--from", "d") == ["dmz"]
    (place.directory / "zonebridge.yaml").rename(place.directory / "moved.yaml")
    assert completions(place, "zonebridge", "plan", "--cluster", "") == []
    asked = ("zonebridge", "plan", "--config", "moved.yaml", "--cluster", "e")
    assert completions(place, *asked) == ["eu"]

"""What every command has in common: shared options, errors as JSON, help, completion."""

import json
import shlex

import pytest

from sync.cli.main import COMMANDS
from tests.e2e.installation import Done, Installation
from tests.words import document, group, rule

EVIL = "\x9b31m\u202e"
"""What colours a terminal's text, and turns it around."""


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
        (
            "report --diff A --output json",
            64,
            "usage",
            "--diff takes 2 values, FROM TO; --output is an option: give the value before it",
        ),
        ("report --diff --output json", 64, "usage", "--output is an option"),
        ("plan --cluster --output json", 64, "usage", "--cluster takes a value; --output is"),
        ("plan --from --output --output json", 64, "usage", "--from takes a value, [NAME=]FILE;"),
        ("plan --output text --output json --output", 64, "usage", "requires an argument; see"),
        ("plan --output json --config none.yaml", 64, "usage", "with `zonebridge config init`"),
    ],
)
def test_an_error_is_json_where_json_was_asked_for(
    place: Installation, line: str, code: int, kind: str, message: str
) -> None:
    done = place.run(*line.split())
    assert done.code == code, done
    found = error(done)
    assert found["kind"] == kind
    assert message in str(found["message"])
    assert found.keys() == {"kind", "message", "exit_code"}


@pytest.mark.parametrize("wrong", ["--nope", "one too many words"])
def test_every_command_says_how_it_is_used(place: Installation, wrong: str) -> None:
    (place.directory / "zonebridge.yaml").unlink()
    for command in (*COMMANDS, "audit list", "audit show", "audit verify", "audit export"):
        done = place.run(*command.split(), *wrong.split(), "--output", "json")
        message = str(error(done)["message"])
        assert done.code == 64
        assert "; see `zonebridge" in message or "Did you mean" in message, message
    assert "error" not in place.run("plan", "--output", "json", "--output", "text").out


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


def accepted(place: Installation, *words: str) -> list[str]:
    """The words that bash makes of each completion of the last of `words`, typed as given here."""
    script = f"""
        eval "$(_ZONEBRIDGE_COMPLETE=bash_source zonebridge)"
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        _zonebridge_completion zonebridge
        opened=${{COMP_WORDS[COMP_CWORD]%%[!\\"\\']*}}
        for each in "${{COMPREPLY[@]}}"; do eval "printf '%s\\n' $opened$each$opened"; done
    """
    done = place.shell(script)
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_an_accepted_name_is_that_name_and_no_other_is_offered(place: Installation) -> None:
    names = (
        "web to db",
        "web.2",
        "bücher",
        f"web{EVIL}",
        "web$(touch hit)",
        "web*",
        "'",
        "-",
        "a,",
    )
    nameless = rule("").xml.replace(' name=""', "")
    held = [*(rule(each, from_=["lan"], to=["wan"]) for each in names), group("web a", "db")]
    other = [rule("web elsewhere", from_=["far"]), group("web b")]
    place.configure("eu")
    written = document(groups={"dg-eu": held, "dg-us": other}).replace(
        b"</rules>", f"{nameless}</rules>".encode(), 1
    )
    place.export(written)
    offered = ["bücher", "web to db", "web.2"]
    assert accepted(place, "zonebridge", "report", "--rule", "") == offered
    assert accepted(place, "zonebridge", "report", "--rule", "web\\ ") == ["web to db"]
    for quote in "'\"":
        assert accepted(place, "zonebridge", "report", "--rule", f"{quote}web t") == ["web to db"]
    assert accepted(place, "zonebridge", "audit", "list", "--group", "w") == ["web a"]
    assert accepted(place, "zonebridge", "explain", "--from", "") == ["lan", "wan"]
    assert not (place.directory / "hit").exists()
    # What bash hands on is understood.
    assert place.shell("zonebridge report --rule web\\ to\\ db").code == 0

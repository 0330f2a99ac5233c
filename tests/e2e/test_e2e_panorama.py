"""A Panorama as the source of the installed command: what its export gives, and its failures."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import (
    Done,
    Installation,
    everything,
    panorama_source,
    sentences,
    until,
    without_rights,
)
from tests.words import entry, members, tag
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import HttpStatus, Truncated
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import every, reads

PASSWORD = "s3cret-of-the-reader"


@pytest.fixture
def panorama(place: Installation, authority: Authority) -> Iterator[Panorama]:
    """A Panorama that holds what the installation's document does, which is taken away."""
    export = place.directory / "panorama.xml"
    with Panorama(export.read_bytes(), authority, users={"reader": PASSWORD}) as panorama:
        # No App-ID of the rules, so that they mean what they do in a file.
        panorama.predefined = tag(
            "predefined",
            tag("application", entry("chat-base")),
            tag("application-container", entry("chat", members("functions", ["chat-base"]))),
        ).encode()
        export.unlink()
        ask(place, panorama, authority)
        yield panorama


def ask(place: Installation, panorama: Panorama, authority: Authority, **keys: object) -> None:
    """Let the source be the Panorama; `keys` of None are left out."""
    source = panorama_source(place, panorama, authority, **keys)
    place.configure(sources=[source], poll_interval="1s")


def grown(place: Installation) -> bytes:
    """The document with one address more, that is nowhere in the directory."""
    place.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"], "db": []})
    file = place.directory / "panorama.xml"
    data = file.read_bytes()
    file.unlink()
    return data


def manifests(place: Installation) -> dict[str, bytes]:
    """Every manifest, but for the store that it belongs to and the record that it names."""
    own = rb"\"?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\"?|zonebridge.io/(record|writer): .*"
    return {
        str(file.relative_to(place.directory)): re.sub(own, b"OWN", file.read_bytes())
        for name in ("eu", "us")
        for file in sorted((place.directory / name).rglob("*.yaml"))
    }


def failed(done: Done) -> str:
    """The one sentence of a command that could not read its source."""
    assert done.code == 4, done.err
    found = {sentence.partition("source main: ")[2] for sentence in sentences(done)}
    [sentence] = found
    assert sentence
    return sentence


def require_no_secret(place: Installation, panorama: Panorama, *texts: str) -> None:
    """No file but the key's own, and no text, holds the key or the password."""
    files = [file for file in place.directory.rglob("*") if file.is_file() and file.name != "key"]
    assert any(file.suffix == ".db" for file in files)
    for secret in (panorama.api_key, PASSWORD):
        assert not [file for file in files if secret.encode() in file.read_bytes()]
        assert not [text for text in texts if secret in text]


def test_a_panorama_gives_what_its_export_gives(
    place: Installation, panorama: Panorama, tmp_path: Path
) -> None:
    exported = Installation.in_directory(tmp_path / "exported")
    exported.done("sync")
    done = place.done("sync")
    assert manifests(place) == manifests(exported)
    assert len(manifests(place)) == 8
    assert "From source main, version 52, committed by admin." in done.out
    again = place.run("plan", "--detailed-exitcode")
    assert again.code == 0
    # The export and the Panorama can take each other's place.
    place.export((exported.directory / "panorama.xml").read_bytes())
    before = everything(place.directory / "eu")
    place.configure()
    assert place.done("sync").out.count("no changes") == 2
    assert everything(place.directory / "eu") == before
    assert {each.key_in for each in panorama.requests} == {"header"}
    require_no_secret(place, panorama, done.out, done.err, again.out, again.err)


@pytest.mark.parametrize("command", ["report", "which 10.1.0.1"])
def test_every_command_that_looks_reads_it(
    place: Installation, panorama: Panorama, command: str
) -> None:
    done = place.done(*command.split())
    assert done.err == ""
    assert any(reads()(each) for each in panorama.requests)


def test_a_commit_is_planned_with_whose_it_was(place: Installation, panorama: Panorama) -> None:
    place.done("sync")
    panorama.commit(grown(place), administrator="alice", description="web grows")
    planned = place.run("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert "~ GlobalNetworkSet pan.web (nets: +10.1.0.5/32; group 'web')" in planned.out
    assert "From source main, version 53, committed by alice." in planned.out
    [origin] = place.done("plan", "--output", "json").json["clusters"][0]["plan"]["origins"]
    assert origin == {
        "source": "main",
        "version": "53",
        "administrators": ["alice"],
        "description": "web grows",
        "pending": False,
    }
    place.done("sync")
    record = place.records("--kind", "intent")[-1]
    assert "alice" in str(record)
    assert place.written("eu")["pan.web.yaml"][-1] == "10.1.0.5/32"


# --- what is pending ------------------------------------------------------------------------------


def asked_for_the_candidate(panorama: Panorama) -> bool:
    return any((each.type, each.action) == ("config", "get") for each in panorama.requests)


def test_a_candidate_is_planned_with_whose_it_is(place: Installation, panorama: Panorama) -> None:
    place.done("sync")
    panorama.candidate = grown(place)
    before = everything(place.directory)
    planned = place.run("plan", "--candidate", "--detailed-exitcode")
    assert planned.code == 2
    assert planned.err == ""
    lines = planned.out.splitlines()
    assert lines[:2] == ["Candidate of source main: changes by admin are pending.", ""]
    assert "  ~ GlobalNetworkSet pan.web (nets: +10.1.0.5/32; group 'web')" in lines
    assert everything(place.directory) == before
    found = place.done("plan", "--candidate", "--output", "json").json
    assert (set(found), found["candidate"]) == ({"candidate", "clusters"}, True)
    for each in found["clusters"]:
        [origin] = each["plan"]["origins"]
        assert (origin["pending"], origin["administrators"]) == (True, ["admin"])
    marked = place.done("plan", "--candidate", "--output", "markdown", "--cluster", "eu").out
    assert marked.splitlines()[:3] == [
        r"Candidate of source main: changes by admin are pending\.",
        "",
        r"## eu \(ENFORCED\)",
    ]
    # What was pending is committed, and then it is the plan.
    panorama.commit()
    assert place.done("plan", "--output", "json").json["clusters"] != found["clusters"]
    committed = place.done("plan", "--candidate")
    assert committed.out.splitlines()[0] == "Candidate of source main: nothing is pending."
    assert "~ GlobalNetworkSet pan.web (nets: +10.1.0.5/32; group 'web')" in committed.out


def test_nothing_pending_changes_nothing(place: Installation, panorama: Panorama) -> None:
    place.done("sync")
    done = place.run("plan", "--candidate", "--detailed-exitcode")
    assert done.code == 0
    assert done.out.splitlines()[0] == "Candidate of source main: nothing is pending."
    assert done.out.count("no changes") == 2


def test_nothing_but_its_plan_ever_reads_a_candidate(
    place: Installation, panorama: Panorama
) -> None:
    panorama.candidate = grown(place)
    for command in ("sync", "plan", "report"):
        place.done(command)
    assert not asked_for_the_candidate(panorama)
    assert "10.1.0.5/32" not in place.written("eu")["pan.web.yaml"]
    place.done("plan", "--candidate")
    assert asked_for_the_candidate(panorama)


def test_a_candidate_is_asked_of_a_panorama_by_a_plan(
    place: Installation, panorama: Panorama
) -> None:
    def refused(*arguments: str) -> str:
        done = place.run(*arguments)
        assert (done.code, done.out) == (64, "")
        [sentence] = sentences(done)
        return sentence

    sides = ("--from", "a.xml", "--to", "b.xml")
    assert "use one or the other" in refused("plan", "--candidate", *sides)
    assert "No such option '--candidate'" in refused("sync", "--candidate")
    assert "No such option '--candidate'" in refused("sync", "--dry-run", "--candidate")
    assert panorama.requests == []
    place.configure()
    said = refused("plan", "--candidate")
    assert said.startswith("--candidate needs a source of kind panorama")
    assert "--from FILE --to FILE" in said


def test_a_candidate_that_cannot_be_read_is_4(place: Installation, panorama: Panorama) -> None:
    panorama.fail(every, HttpStatus(404), times=None)
    done = place.run("plan", "--candidate")
    assert "answers with HTTP 404" in failed(done)
    assert done.out == ""


# --- keys and failures ----------------------------------------------------------------------------


def test_a_key_is_made_for_a_user(
    place: Installation, panorama: Panorama, authority: Authority
) -> None:
    ask(place, panorama, authority, api_key_file=None, username="reader", password_file="key")
    (place.directory / "key").write_text(f"{PASSWORD}\n")
    done = place.done("sync")
    assert sum(each.type == "keygen" for each in panorama.requests) == 1
    require_no_secret(place, panorama, done.out, done.err)
    (place.directory / "key").write_text("wrong\n")
    panorama.requests.clear()
    assert "Invalid Credential" in failed(place.run("sync"))
    # Two clusters are no reason to try a password twice.
    assert len(panorama.requests) == 1


def test_a_key_from_the_environment_goes_before_its_file(
    place: Installation, panorama: Panorama
) -> None:
    (place.directory / "key").write_text("old\n")
    place.done("sync", ZONEBRIDGE_SOURCES__0__API_KEY=panorama.api_key)


def test_what_cannot_be_read_changes_nothing(
    place: Installation, panorama: Panorama, authority: Authority, tmp_path: Path
) -> None:
    place.done("sync")
    panorama.commit(grown(place))
    before = everything(place.directory / "eu"), everything(place.directory / "us")
    told: list[str] = []
    where = f"Panorama 127.0.0.1:{panorama.port}"
    panorama.fail(reads("/config/shared"), HttpStatus(404))
    done = place.run("sync")
    assert failed(done).startswith(f"{where} answers with HTTP 404")
    told += [done.out, done.err]
    panorama.fail(reads("/config/shared"), Truncated(), times=3)
    done = place.run("sync")
    assert failed(done).startswith(f"{where} does not answer (")
    told += [done.out, done.err]
    key = (place.directory / "key").read_bytes()
    (place.directory / "key").write_text("wrong\n")
    assert "renew the API key" in failed(place.run("sync"))
    (place.directory / "key").unlink()
    done = place.run("sync")
    assert f"The secret file {place.directory}/key does not exist" in failed(done)
    (place.directory / "key").write_bytes(key)
    ask(place, panorama, authority, ca_file=str(Authority.make(tmp_path).ca_file))
    panorama.requests.clear()
    assert "a certificate that is refused" in failed(place.run("sync"))
    assert panorama.requests == []
    assert (everything(place.directory / "eu"), everything(place.directory / "us")) == before
    ask(place, panorama, authority)
    place.done("sync")
    assert "10.1.0.5/32" in place.written("eu")["pan.web.yaml"]
    require_no_secret(place, panorama, *told)


def test_one_that_is_down_is_one_sentence(place: Installation, authority: Authority) -> None:
    panorama = Panorama((place.directory / "panorama.xml").read_bytes(), authority)
    with panorama:
        ask(place, panorama, authority)
        place.done("sync")
    before = everything(place.directory / "eu")
    said = failed(place.run("sync"))
    assert said == (
        f"Panorama 127.0.0.1:{panorama.port} does not answer (Connection refused); check that it "
        "is up and can be reached from here"
    )
    assert everything(place.directory / "eu") == before


def test_the_service_takes_up_a_commit_and_outlives_an_outage(
    place: Installation, panorama: Panorama
) -> None:
    document = grown(place)
    with place.running() as service:
        until(lambda: place.files("us") == ["pan.db.yaml", "pan.web.yaml"], "all sets are there")
        panorama.fail(every, HttpStatus(500), times=None)
        until(lambda: "answers with HTTP 500" in service.log.read_text(), "the outage is told")
        panorama.commit(document, administrator="alice", description="web grows")
        panorama.recover()
        until(
            lambda: "10.1.0.5/32" in place.written("us")["pan.web.yaml"], "the commit is taken up"
        )
        (place.directory / "key").unlink()
        panorama.expire_keys()
        until(lambda: "key does not exist" in service.log.read_text(), "it is told")
        (place.directory / "key").write_text(panorama.api_key)
        until(lambda: service.log.read_text().count("answers again") == 2, "it is read again")
        assert service.get("/livez")[0] == 200
        assert service.stop() == 0
        polls = [each["event"] for each in service.logged() if each.get("source")]
        assert polls.count("source failed") == 2
    assert "alice" in str(place.records("--kind", "intent")[-1])
    require_no_secret(place, panorama, service.log.read_text())
    place.done("audit", "verify")


def test_authorities_that_are_renewed_under_the_service_count(
    place: Installation, panorama: Panorama, authority: Authority, tmp_path: Path
) -> None:
    file = place.directory / "ca.pem"

    def trust(authority: Authority) -> None:
        file.with_name("new").write_bytes(authority.ca_file.read_bytes())
        file.with_name("new").replace(file)

    trust(authority)
    ask(place, panorama, authority, ca_file="ca.pem")
    with place.running() as service:
        until(lambda: place.files("us") == ["pan.db.yaml", "pan.web.yaml"], "all sets are there")
        other = tmp_path / "other authority"
        other.mkdir()
        trust(Authority.make(other))
        until(lambda: "certificate that is refused" in service.log.read_text(), "it is refused")
        trust(authority)
        until(lambda: "source answers again" in service.log.read_text(), "it is read again")
        assert service.stop() == 0


# --- config check ---------------------------------------------------------------------------------


def test_check_says_where_it_is_and_warns_of_what_is_unsafe(
    place: Installation, panorama: Panorama, authority: Authority
) -> None:
    assert place.done("config", "check").out.splitlines()[2] == "source main: panorama 127.0.0.1"
    ask(place, panorama, authority, ca_file=None, verify_tls=False)
    (place.directory / "key").chmod(0o644)
    done = place.done("config", "check", "--output", "json")
    [source] = done.json["sources"]
    assert source == {"name": "main", "kind": "panorama", "path": None, "hosts": ["127.0.0.1"]}
    verify, rights = done.json["warnings"]
    assert verify.startswith("sources[0].verify_tls: anyone on the way to Panorama")
    assert rights.startswith("sources[0].api_key_file: every user of this machine can read")
    assert "InsecureRequestWarning" not in done.err
    synced = place.done("sync")
    assert "InsecureRequestWarning" not in synced.err
    assert synced.err.count("TLS is unverified") == 1


def test_check_looks_at_the_files_of_a_panorama(
    place: Installation, panorama: Panorama, authority: Authority
) -> None:
    ask(place, panorama, authority, ca_file="none.pem")
    (place.directory / "key").chmod(0)
    done = place.run("config", "check", under=without_rights())
    assert (done.code, done.out) == (64, "")
    assert "  sources[0].ca_file: The file " in done.err
    assert "none.pem (ca_file of source main) cannot be read: No such file" in done.err
    assert "  sources[0].api_key_file: The secret file " in done.err
    assert panorama.requests == []


def test_a_ca_file_without_certificates_is_a_mistake(
    place: Installation, panorama: Panorama, authority: Authority
) -> None:
    ask(place, panorama, authority, ca_file="key")
    for command in ("config check", "sync"):
        done = place.run(*command.split())
        assert (done.code, done.out) == (64, "")
        [sentence] = sentences(done)
        assert "The ca_file of source main holds no certificate in PEM" in sentence


def test_check_fails_where_it_is_down(place: Installation, authority: Authority) -> None:
    panorama = Panorama((place.directory / "panorama.xml").read_bytes(), authority)
    with panorama:
        ask(place, panorama, authority)
    done = place.run("config", "check")
    assert done.code == 4
    assert "is valid" not in done.out
    assert "error: sources[0]: source main: Panorama 127.0.0.1:" in done.err

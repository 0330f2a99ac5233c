"""`zonebridge-simulator`, the Panorama for people without one, as the installed command."""

import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

from tests.e2e.installation import SECONDS, Installation, environment, until
from tests.e2e.simulation import SIMULATOR, Simulator, simulator

GROWN = {"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"], "db": ["10.2.0.0/24"]}


def refused(place: Installation, *arguments: str) -> str:
    """What it says when it does not even start."""
    done = subprocess.run(
        [SIMULATOR, "panorama.xml", *arguments],
        cwd=place.directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_zonebridge_reads_it_with_the_yaml_that_it_prints(place: Installation) -> None:
    with simulator(place) as panorama:
        place.configure(**panorama.source)
        synced = place.done("sync")
        assert "From source main, version 52, committed by admin." in synced.out
        assert len(place.files("eu")) == 2
        place.panorama(eu=GROWN)
        until(lambda: "Version 53, committed by" in panorama.said, "the change is a commit")
        planned = place.done("plan", "--output", "json")
        [origin] = planned.json["clusters"][0]["plan"]["origins"]
        assert origin == {
            "source": "main",
            "version": "53",
            "administrators": [pwd.getpwuid(os.getuid()).pw_name],
            "description": "panorama.xml was changed",
            "pending": False,
        }
        place.done("sync")
        assert place.written("eu")["pan.web.yaml"] == GROWN["web"]
        assert panorama.complained == ""


def look(panorama: Simulator) -> None:
    """Wait until it has looked at its document again, which it does before the candidate."""
    before = panorama.said.count("The candidate is")
    candidate = panorama.place.directory / "panorama.xml.candidate"
    if candidate.exists():
        candidate.unlink()
    else:
        candidate.write_text("<config/>")
    until(lambda: panorama.said.count("The candidate is") > before, "it has looked")


def test_half_a_file_is_told_once_and_changes_nothing(place: Installation) -> None:
    whole = (place.directory / "panorama.xml").read_bytes()
    with simulator(place) as panorama:
        for half in (whole[:200], whole[:300], b"", b"<response><result/></response>"):
            place.export(half)
            look(panorama)
        [told] = panorama.complained.splitlines()
        assert told.startswith("panorama.xml changes nothing until it is whole: no whole XML: ")
        # The same file again is no commit either.
        place.export(whole)
        look(panorama)
        assert "Version" not in panorama.said
        place.panorama(eu=GROWN)
        until(lambda: "Version 53" in panorama.said, "another whole file is a commit")
        (place.directory / "panorama.xml").unlink()
        look(panorama)
        assert panorama.complained.splitlines()[1:] == [
            "panorama.xml changes nothing until it is whole: it is gone"
        ]


def test_a_candidate_is_there_as_long_as_its_file(place: Installation) -> None:
    document = place.directory / "panorama.xml"
    proposed = document.with_name("panorama.xml.candidate")
    with simulator(place) as panorama:
        assert "10.1.0.2" in panorama.candidate()
        changed = document.read_bytes().replace(b"10.1.0.2", b"10.1.0.9")
        proposed.write_bytes(changed.replace(b"<shared>", b"<shared><!-- why --><?so what?>"))
        until(lambda: "10.1.0.9" in panorama.candidate(), "the candidate is another")
        place.configure(**panorama.source)
        assert "committed" in place.done("sync").out
        assert place.written("eu")["pan.web.yaml"] == ["10.1.0.1/32", "10.1.0.2/32"]
        proposed.unlink()
        until(lambda: "10.1.0.9" not in panorama.candidate(), "it is as committed again")
        assert "Version" not in panorama.said


def test_files_are_external_lists_to_whoever_asks(place: Installation) -> None:
    with simulator(place) as panorama:
        assert panorama.get("/edl/bad")[0] == 404
        listed = panorama.directory / "edl" / "bad"
        listed.write_text("192.0.2.0/24\n")
        until(lambda: panorama.get("/edl/bad")[0] == 200, "the list is there")
        _, text, tag = panorama.get("/edl/bad")
        assert text == "192.0.2.0/24\n"
        assert tag
        assert panorama.get("/edl/bad", **{"If-None-Match": tag}) == (304, "", tag)
        listed.write_text("192.0.2.7\n")
        until(lambda: panorama.get("/edl/bad")[1] == "192.0.2.7\n", "the list is another")
        assert panorama.get("/edl/bad", **{"If-None-Match": tag})[0] == 200
        listed.unlink()
        until(lambda: panorama.get("/edl/bad")[0] == 404, "the list is gone")
        panorama.process.send_signal(signal.SIGINT)
        assert panorama.process.wait(SECONDS) == 0
        assert panorama.complained == ""


def test_one_that_was_ended_goes_on_as_the_same(place: Installation) -> None:
    with simulator(place) as panorama:
        place.configure(**panorama.source)
        place.done("sync")
        source = panorama.source["sources"][0]
        for secret in ("api-key", "ca.key"):
            assert stat.S_IMODE((panorama.directory / secret).stat().st_mode) == 0o600
        assert (panorama.directory / "api-key").read_text().strip() not in panorama.said
        panorama.process.terminate()
        assert panorama.process.wait(SECONDS) == 0
        assert panorama.complained == ""
    place.panorama(eu=GROWN)
    # The same key, port and authority; never two configurations under one version.
    with simulator(place, "--bind", f"127.0.0.1:{source['port']}") as panorama:
        assert panorama.source["sources"] == [source]
        assert "From source main, version 53" in place.done("sync").out
    assert place.written("eu")["pan.web.yaml"] == GROWN["web"]


def test_what_it_cannot_serve_is_one_sentence(place: Installation) -> None:
    for bind in ("0.0.0.0:8443", "192.0.2.1:8443", "127.0.0.1:99999", "127.0.0.1", "[::1]:8443"):
        assert "must be 127.0.0.1:PORT" in refused(place, "--bind", bind)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused(place, "--bind", bind)
        assert said.startswith(f"Error: cannot listen on {bind}: Address already in use; ")
    kept = place.directory / "zonebridge-simulator"
    for name, why in (
        ("api-key", "api-key is empty; remove it, and a new key is made"),
        ("version", "version holds no number; remove it"),
        ("ca.key", "are no certificate and its key; remove both, and new ones are made"),
    ):
        before = (kept / name).read_bytes()
        (kept / name).write_bytes(b"")
        assert why in refused(place)
        (kept / name).write_bytes(before)
    place.export(b"<config>")
    assert refused(place).startswith(f"Error: {place.directory}/panorama.xml: no whole XML: ")
    place.export(b"<policy/>")
    assert refused(place).endswith("a document with <policy> and no configuration\n")
    (place.directory / "panorama.xml").unlink()
    assert refused(place) == f"Error: {place.directory}/panorama.xml: No such file or directory\n"


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; sys.modules['trustme'] = None; import zonebridge_simulator.command",
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: trustme is not installed; install zonebridge[simulator]\n"

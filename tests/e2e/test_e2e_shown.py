"""A plan is shown before it is written: to who sits at a terminal, and to who reviewed it."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.e2e.installation import (
    COMMAND,
    SECONDS,
    Installation,
    environment,
    everything,
    objects,
    sentences,
)

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
QUESTION = f"Write {2 * objects(2)} changes to 2 clusters? [y/N]: "


@dataclass
class Terminal:
    """A command at a terminal: what it has shown so far, and what is typed."""

    process: "subprocess.Popen[bytes]"
    descriptor: int
    shown: str = ""

    def until(self, text: str) -> str:
        """Wait until this text is shown; all that was shown up to its end."""
        self._read(lambda: text in self.shown)
        before, found, self.shown = self.shown.partition(text)
        assert found, f"not shown: {text!r}, but {before!r}"
        return before + found

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def ended(self) -> tuple[int, str]:
        """Wait for the end: the exit code, and what was shown since."""
        self._read(lambda: False)
        return self.process.wait(SECONDS), self.shown

    def _read(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not enough():
            ready, _, _ = select.select([self.descriptor], [], [], deadline - time.monotonic())
            assert ready, f"nothing is shown any more: {self.shown!r}"
            try:
                read = os.read(self.descriptor, 65536)
            except OSError:  # how Linux says that the other end is closed
                return
            self.shown += read.decode().replace("\r\n", "\n")


@contextmanager
def terminal(
    place: Installation,
    *arguments: str,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Terminal]:
    """Begin a command at a terminal, with all streams there but those that are given."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=place.directory,
        env=environment(TERM="xterm", NO_COLOR="1", COLUMNS="100", LINES="50"),
        start_new_session=True,
        stdin=theirs if stdin is None else stdin,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs if stderr is None else stderr,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def grow(place: Installation) -> None:
    place.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.5/32"]})


def written(place: Installation) -> bool:
    return any((place.directory / name).exists() for name in ("eu", "us"))


# --- at a terminal --------------------------------------------------------------------------------


def test_the_plan_is_shown_then_asked_for_and_then_written(place: Installation) -> None:
    with terminal(place, "sync") as at:
        shown = at.until(QUESTION)
        assert shown.index("Cluster eu (ENFORCED): ") < shown.index("Cluster us (ENFORCED): ")
        assert "+ GlobalNetworkSet pan.web (2 nets)" in shown
        assert not written(place)
        at.type("y\n")
        code, rest = at.ended()
    assert code == 0
    for name in ("eu", "us"):
        assert f"Written to {name}: {objects(2)}; failed: 0.\n" in rest
        assert place.files(name) == ["pan.db.yaml", "pan.web.yaml"]
    # Each plan is shown once.
    assert "Changes" not in rest


@pytest.mark.parametrize(
    ("answer", "code"),
    [("n\n", 1), ("\n", 1), ("\x04", 130), ("\x03", 130)],
    ids=["no", "nothing", "end of input", "Ctrl-C"],
)
def test_without_a_yes_nothing_is_written(place: Installation, answer: str, code: int) -> None:
    with terminal(place, "sync") as at:
        at.until(QUESTION)
        if answer == "\x03":
            # A signal just before the process begins to wait for a line is seen with the next one.
            while at.process.poll() is None:
                at.process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    at.process.wait(5)
        else:
            at.type(answer)
        ended, rest = at.ended()
    assert ended == code
    assert "error: " in rest
    assert not written(place)
    assert place.records() == []


def test_yes_is_no_question_and_neither_is_a_plan_without_changes(place: Installation) -> None:
    with terminal(place, "sync", "--yes") as at:
        code, shown = at.ended()
    assert (code, "?" in shown) == (0, False)
    for name in ("eu", "us"):
        # What is written was shown before: the outcomes come last.
        assert shown.index(f"Cluster {name} (ENFORCED): ") < shown.index(f"Written to {name}: ")
    with terminal(place, "sync") as at:
        code, shown = at.ended()
    assert (code, "?" in shown, "Written" in shown) == (0, False, False)


def test_markdown_is_one_document_with_what_was_written(place: Installation) -> None:
    """A comment has room for each plan once."""
    shown = place.done("sync", "--output", "markdown").out
    for name in ("eu", "us"):
        _, head, block = shown.partition(rf"## {name} \(ENFORCED\)")
        assert head
        assert f"\nWritten: {objects(2)}; failed: 0\\.\n" in block.partition("\n## ")[0]
    assert shown.count("### Changes") == 2


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_who_cannot_see_or_answer_is_not_asked(place: Installation, stream: str) -> None:
    with terminal(place, "sync", **{stream: subprocess.DEVNULL}) as at:
        assert at.ended()[0] == 0
    assert written(place)


def test_nobody_holds_the_lease_while_somebody_thinks(place: Installation) -> None:
    with terminal(place, "sync") as at:
        at.until(QUESTION)
        place.done("sync", "--cluster", "eu")
        grow(place)
        assert [
            each["holder"]
            for each in place.done("status", "--output", "json").json["clusters"]
            if each.get("holder")
        ] == []
        at.type("y\n")
        # Both are other plans now: the cluster changed, and what is wanted there.
        shown = at.until("changes to 2 clusters? [y/N]: ")
        said = " ".join(shown.split())  # lines break where the terminal ends
        for name in ("eu", "us"):
            assert (
                f"error: cluster {name} or its sources changed since the plan was shown; nothing "
                "of it was written: "
            ) in said
        assert "it would otherwise delete GlobalNetworkSet pan.db" in said
        assert "it would no longer create GlobalNetworkSet pan.db" in said
        assert "~ GlobalNetworkSet pan.web (nets: +10.1.0.5/32; group 'web')" in shown
        assert place.files("us") == []
        at.type("yes\n")
        code, rest = at.ended()
    assert code == 0
    assert "Written to eu: 2; failed: 0.\n" in rest
    assert place.files("eu") == place.files("us") == ["pan.web.yaml"]
    place.done("audit", "verify")


def test_an_approval_in_the_meantime_is_another_plan(place: Installation) -> None:
    """What was shown as blocked is not written because somebody approved it since."""
    place.done("sync")
    theirs = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "firewallpolicy.theirs"},
        "spec": {"tier": "firewallpolicy", "selector": "all()"},
    }
    place.put("eu", theirs)
    grow(place)
    assert place.run("sync", "--cluster", "eu").code == 3
    digest = digests(place)["eu"]
    with terminal(place, "sync") as at:
        shown = at.until("Write 2 changes to cluster us? [y/N]: ")
        assert "BLOCKED by 1" in shown
        place.done("approve", digest[:8])
        at.type("y\n")
        shown = at.until("Write 2 changes to cluster eu? [y/N]: ")
        assert "its plan is let through by an approval since it was shown" in shown
        assert "Let through by an approval\n  ! foreign-policy: " in shown
        assert place.files("us") == ["pan.web.yaml"]
        at.type("n\n")
        code, rest = at.ended()
    assert code == 1
    assert "Written to us: 2; failed: 0.\n" in rest
    assert rest.endswith("error: the plan was not confirmed, so nothing of it was written\n")
    assert place.files("eu") == ["pan.db.yaml", "pan.web.yaml"]


# --- progress -------------------------------------------------------------------------------------


def test_a_terminal_sees_what_is_under_way(place: Installation) -> None:
    place.configure("eu")
    with terminal(place, "sync", stdin=subprocess.DEVNULL) as at:
        code, shown = at.ended()
    assert code == 0
    for word in ("main: reading", "eu: reading", "eu: translating", "eu: proving"):
        assert f"\r\x1b[K{word}" in shown
    assert f"\r\x1b[Keu: writing 0 of {objects(2)}" in shown
    assert f"\r\x1b[Keu: writing {objects(2)} of {objects(2)}" in shown
    # Nothing of it is left: what else is printed begins on a line of its own.
    screen = [re.sub(r".*\r\x1b\[K", "", line) for line in shown.split("\n")]
    assert f"Written: {objects(2)}; failed: 0." in screen
    assert not any(CONTROL.search(line) for line in screen)


def test_files_and_pipes_get_no_progress(place: Installation, tmp_path: Path) -> None:
    err = tmp_path / "err"
    with (
        err.open("wb") as file,
        terminal(place, "sync", stdin=subprocess.DEVNULL, stderr=file.fileno()) as at,
    ):
        code, shown = at.ended()
    assert (code, CONTROL.search(shown)) == (0, None)
    assert not CONTROL.search(err.read_text())
    done = place.done("plan")
    assert not CONTROL.search(done.out + done.err)


# --- what was reviewed ----------------------------------------------------------------------------


def digests(place: Installation) -> dict[str, str]:
    planned = place.run("plan", "--output", "json").json["clusters"]
    return {each["cluster"]: each["plan"]["digest"] for each in planned}


def ready(place: Installation) -> dict[str, str]:
    """The plans of a change, in a place with a store."""
    place.done("sync")
    grow(place)
    return digests(place)


@pytest.mark.parametrize("named", [False, True])
def test_what_was_reviewed_is_written(place: Installation, named: bool) -> None:
    found = ready(place)
    text = place.done("sync", "--dry-run").out
    assert all(f"Plan digest {each}: " in text for each in found.values())
    options = [
        f"--plan={name}={each}" if named else f"--plan={each}" for name, each in found.items()
    ]
    done = place.done("sync", *options)
    assert done.out.count("failed: 0.") == 2
    assert place.files("eu") == place.files("us") == ["pan.web.yaml"]


def test_what_was_not_reviewed_is_not_written(place: Installation) -> None:
    found = ready(place)
    place.panorama(eu={"web": ["10.1.0.1/32"], "db": ["10.2.0.0/24"], "late": []}, us={"web": []})
    before = everything(place.directory / "eu")
    done = place.run("sync", "--plan", found["eu"], "--cluster", "eu")
    assert done.code == 3
    [sentence] = sentences(done)
    assert sentence.startswith("cluster eu: its plan is ")
    assert "nothing of it was written" in sentence
    # It shows the plan that there is, with the digest to review.
    assert "+ GlobalNetworkSet pan.late (0 nets)" in done.out
    assert f"Plan digest {digests(place)['eu']}: " in done.out
    assert everything(place.directory / "eu") == before
    # Nothing became of it, and the trail has the try.
    [eu, _] = place.done("status", "--output", "json").json["clusters"]
    assert eu["state"] == "in sync"
    assert "exit 3" in str(place.records("--kind", "run")[-1])


def test_each_cluster_is_on_its_own(place: Installation) -> None:
    found = ready(place)
    done = place.run("sync", "--plan", f"us={found['us']}")
    assert done.code == 3
    assert place.files("us") == ["pan.web.yaml"]
    assert place.files("eu") == ["pan.db.yaml", "pan.web.yaml"]
    [sentence] = sentences(done)
    assert "which --plan does not name" in sentence
    # Tried again, it is there already, until something else is written.
    for given in (f"us={found['us']}", found["us"]):
        again = place.done("sync", "--plan", given, "--cluster", "us", "--detailed-exitcode")
        assert f"cluster us: nothing to do: it is as plan {found['us']} left it" in again.err
        assert "Cluster us (ENFORCED): no changes" in again.out
    place.panorama(eu={"web": []}, us={"web": ["10.1.0.9/32"]})
    place.done("sync", "--cluster", "us")
    for given in (f"us={found['us']}", found["us"]):
        late = place.run("sync", "--plan", given, "--cluster", "us")
        assert late.code == 3
        [sentence] = sentences(late)
        assert f"plan {found['us']} was written at " in sentence
        assert "and cluster us was changed again since" in sentence
    bare = place.run("sync", "--plan", "a" * 64, "--cluster", "us")
    assert bare.code == 3
    assert f"no cluster has the plan {'a' * 64}" in bare.err


def test_a_reviewed_file_tells_what_is_different(place: Installation) -> None:
    ready(place)
    place.shell("zonebridge plan --output json > reviewed.json")
    place.panorama(eu={"web": ["10.1.0.1/32", "10.1.0.9/32"], "db": ["10.2.0.0/24"], "late": []})
    done = place.run("sync", "--plan", "reviewed.json", "--cluster", "eu")
    assert done.code == 3
    [sentence] = sentences(done)
    assert "it would also create GlobalNetworkSet pan.late" in sentence
    assert "it would no longer delete GlobalNetworkSet pan.db" in sentence
    assert "it would otherwise update GlobalNetworkSet pan.web" in sentence
    grow(place)
    assert place.run("sync", "--plan", "reviewed.json").code == 0
    assert place.files("eu") == ["pan.web.yaml"]


def test_the_order_of_keys_and_the_time_are_no_other_plan(place: Installation) -> None:
    found = ready(place)
    for seed in ("1", "2"):
        assert (
            orjson.loads(place.run("plan", "--output", "json", PYTHONHASHSEED=seed).out)[
                "clusters"
            ][0]["plan"]["digest"]
            == found["eu"]
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plan", "abc"], "is neither the 64 digits"),
        (["--plan", f"europe={'a' * 64}"], "no cluster 'europe' is synced"),
        (["--plan", f"eu={'a' * 64}", "--plan", f"eu={'b' * 64}"], "names two plans of cluster eu"),
        (["--plan", "a" * 64, "--dry-run"], "--dry-run writes nothing"),
    ],
)
def test_what_names_no_plan_is_a_usage_error(
    place: Installation, options: Sequence[str], says: str
) -> None:
    done = place.run("sync", *options)
    assert done.code == 64
    assert says in done.err
    assert not written(place)


def test_a_file_and_a_digest_that_name_two_plans_of_a_cluster_are_refused(
    place: Installation,
) -> None:
    (place.directory / "plan.json").write_text(place.done("plan", "--output", "json").out)
    for options in (
        (["--plan", f"eu={'a' * 64}"], ["--plan", "plan.json"]),
        (
            ["--plan", "plan.json"],
            ["--plan", f"eu={'a' * 64}"],
        ),
    ):
        done = place.run("sync", *options[0], *options[1])
        assert done.code == 64
        assert "names two plans of cluster eu" in done.err
    assert not written(place)

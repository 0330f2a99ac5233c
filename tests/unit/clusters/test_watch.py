"""The watch over a scripted API and clock: how it rests, lists and tells."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest
import urllib3
from structlog.testing import capture_logs

from sync.calico.manifest import Manifest
from sync.calico.objects import API_VERSION, GlobalNetworkSet
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import Key, WatchNotice
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import TooLargeError, UnansweredError, error_of
from sync.clusters.kubernetes.kind_watch import Pace
from sync.clusters.kubernetes.watcher import KubernetesWatcher
from sync.errors import ClusterError

OWNER = owner_labels("test", "6d8cb53a-9f5f-4b4a-8c47-7d4c6a4d6f0e")
PACE = Pace(longest_event=1_000)
SETS_ALONE = {"GlobalNetworkSet": "globalnetworksets"}
HOUR = 3600.0
MOST_REQUESTS = HOUR / (PACE.longest_pause / 2) + 20
"""In an hour, with the shortest of the longest pauses in between, and those that are shorter."""

_Part = bytes | float | Exception
_List = dict[str, Any] | Exception
_Watch = Sequence[_Part] | Exception
"""What a watch gives: bytes, a time that passes, or how it breaks."""


class Clock:
    """Time that passes only where something waits, and the end once `until` is reached."""

    def __init__(self, until: float) -> None:
        self.now = 1_000.0
        self.end = self.now + until
        self.pauses: list[float] = []
        self.stopping = _Stopping(self)

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.end:
            self.stopping.set()


class _Stopping(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None:
            return super().wait()
        assert timeout > 0
        self._clock.pauses.append(timeout)
        self._clock.passes(timeout)
        return self.is_set()


def an_object(name: str, version: int, *nets: str) -> dict[str, Any]:
    document = GlobalNetworkSet(name=name, labels=OWNER, annotations=(), nets=nets).manifest()
    found = document.document()
    found["metadata"]["resourceVersion"] = str(version)
    return found


def listing(*items: dict[str, Any], version: int = 7, more: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return {
        "apiVersion": API_VERSION,
        "kind": "GlobalNetworkSetList",
        "metadata": metadata,
        "items": list(items),
    }


def event(kind: str, document: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": document}) + b"\n"


def bookmark(version: int = 7, kind: str = "GlobalNetworkSet") -> bytes:
    return event("BOOKMARK", {"kind": kind, "metadata": {"resourceVersion": str(version)}})


@dataclass
class Scripted:
    """An API server that lists and watches as it is told, and how a watcher took it.

    `lists` and `watches` are asked anew each time; an error is raised, from a watch at its opening.
    """

    clock: Clock
    lists: Callable[[], _List] = listing
    watches: Callable[[], _Watch] = lambda: ()
    name: str = "prod"
    listed_at: list[float] = field(default_factory=list)
    queries: list[Mapping[str, str | int]] = field(default_factory=list)
    opened: list[Mapping[str, str | int]] = field(default_factory=list)
    changes: list[tuple[Key, Manifest | None]] = field(default_factory=list)
    notices: list[WatchNotice] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    missed: int = 0
    pace: Pace = PACE
    uids: Iterator[str | ClusterError] = field(default_factory=lambda: itertools.repeat("one"))

    def patiently(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "/api/v1/namespaces/kube-system")
        uid = next(self.uids)
        if isinstance(uid, ClusterError):
            raise uid
        return {"metadata": {"uid": uid}}

    @property
    def ages(self) -> "Scripted":
        return self

    def seen(self, path: str, metadata: Mapping[str, Any]) -> None:
        self.versions.append(metadata["resourceVersion"])

    def request(self, method: str, path: str, *, query: Mapping[str, str | int]) -> dict[str, Any]:
        assert (method, path) == ("GET", "/apis/projectcalico.org/v3/globalnetworksets")
        self.listed_at.append(self.clock.now)
        self.queries.append(query)
        found = self.lists()
        if isinstance(found, Exception):
            raise found
        return found

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, str | int], silence: float, longest: float
    ) -> Iterator["_Answer"]:
        assert longest > int(query["timeoutSeconds"])
        self.opened.append(query)
        found = self.watches()
        if isinstance(found, Exception):
            raise found
        yield _Answer(self.clock, iter(found), silence)

    def watched(self) -> "Scripted":
        """Watch until the clock's end."""
        watcher = KubernetesWatcher(
            cast("Api", self), OWNER, self.pace, self.clock, ours=SETS_ALONE, others={}
        )
        watcher.watch(
            lambda key, manifest: self.changes.append((key, manifest)),
            lambda key, found: None,
            self._miss,
            self.clock.stopping,
            lambda kind, notice: self.notices.append(notice),
        )
        for each in threading.enumerate():
            if each.name == f"watch {self.name}":
                each.join()
        return self

    def _miss(self) -> None:
        self.missed += 1


@dataclass
class _Answer:
    clock: Clock
    parts: Iterator[_Part]
    silence: float

    def read1(self, amount: int) -> bytes:
        assert amount > 0
        waited = 0.0
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            if isinstance(part, bytes):
                return part
            waited += part
            if waited >= self.silence:
                self.clock.passes(self.silence)
                raise urllib3.exceptions.ReadTimeoutError(cast("Any", None), "", "silent")
            self.clock.passes(part)
            if self.clock.stopping.is_set():
                return b""
        return b""

    def shutdown(self) -> None:
        pass


GONE = {"code": 410, "message": "too old resource version"}
SICK: dict[str, Callable[[], _Watch]] = {
    "it ends at once": lambda: (),
    "it ends in a moment": lambda: (5.0,),
    "it ends after an event": lambda: (event("ADDED", an_object("pan.a", 8)),),
    "it is refused": lambda: error_of(403, "refused"),
    "it is unauthenticated": lambda: error_of(401, "refused"),
    "it is not there": lambda: error_of(404, "not found"),
    "it is broken": lambda: error_of(502, "bad gateway"),
    "nobody answers": lambda: UnansweredError("no route"),
    "there are no credentials": lambda: ClusterError("the plugin failed"),
    "its version is forgotten": lambda: error_of(410, "too old"),
    "its version is forgotten at once": lambda: (event("ERROR", GONE),),
    "it fails inside": lambda: (event("ERROR", {"message": "etcd is slow"}),),
    "it breaks off": lambda: (urllib3.exceptions.ProtocolError("reset"),),
    "it says no event": lambda: (b"<html>\n",),
    "it is silent": lambda: (1_000.0,),
    "it sends blank lines": lambda: tuple(itertools.chain.from_iterable([(10.0, b"\n")] * 20)),
    "it sends no end of a line": lambda: (b"x" * 2_000,),
    "its objects are none": lambda: (event("ADDED", {"metadata": {"resourceVersion": "8"}}),),
    "its versions went back": lambda: (bookmark(3),),
    "its objects went back": lambda: (event("MODIFIED", an_object("pan.a", 3)),),
    "its bookmarks are of another kind": lambda: (bookmark(8, "Tier"),),
}


QUIET = ("it is silent", "it sends blank lines")


@pytest.mark.parametrize("how", SICK)
def test_whatever_a_watch_does_it_is_asked_for_ever_less_often_and_told_once(how: str) -> None:
    with capture_logs() as log:
        api = Scripted(Clock(HOUR), watches=SICK[how]).watched()
    assert len(api.opened) <= MOST_REQUESTS
    assert api.missed == 1
    # Where nothing happens silence is no news.
    assert [each["log_level"] for each in log] == ([] if how in QUIET else ["warning"])
    if how == "it ends after an event":
        return
    between = [later - earlier for earlier, later in itertools.pairwise(api.listed_at)]
    assert min(between) >= PACE.between_lists
    # What happens meanwhile is seen within the time of silence and a pause.
    assert max(between) <= PACE.silence + PACE.longest_pause + 5


def test_pauses_grow_and_no_two_are_alike() -> None:
    api = Scripted(Clock(120), watches=lambda: error_of(502, "bad gateway")).watched()
    pauses = api.clock.pauses
    longest = [min(PACE.first_pause * 2**number, PACE.longest_pause) for number in range(60)]
    assert all(most / 2 <= paused <= most for paused, most in zip(pauses, longest, strict=False))
    assert len(set(pauses)) == len(pauses)


def test_a_server_that_asks_to_be_left_alone_is() -> None:
    busy = error_of(429, "busy", 9)
    api = Scripted(Clock(60), watches=lambda: busy).watched()
    assert min(api.clock.pauses) >= 9


@pytest.mark.parametrize("status", [0, 403, 429, 502])
def test_lists_that_fail_are_tried_ever_less_often(status: int) -> None:
    api = Scripted(Clock(HOUR), lists=lambda: error_of(status, "no list")).watched()
    assert len(api.listed_at) <= MOST_REQUESTS
    assert (api.opened, api.missed) == ([], 0)


def test_a_healthy_watch_is_followed_by_the_next_at_once_and_nothing_is_listed() -> None:
    def lasts() -> Sequence[_Part]:
        return tuple(itertools.chain.from_iterable([(60.0, bookmark())] * 4))

    with capture_logs() as log:
        api = Scripted(Clock(HOUR), watches=lasts).watched()
    assert len(api.listed_at) == 1
    assert api.clock.pauses == []
    assert log == []
    assert len(api.opened) == HOUR / 240
    assert {each["allowWatchBookmarks"] for each in api.opened} == {"true"}
    asked = {int(each["timeoutSeconds"]) for each in api.opened}
    assert all(PACE.lasts[0] <= each <= PACE.lasts[1] for each in asked)
    assert len(asked) > 1


def test_what_a_watch_told_makes_older_lists_stale() -> None:
    api = Scripted(Clock(100), watches=lambda: (event("ADDED", an_object("pan.a", 8)), bookmark(9)))
    assert api.watched().versions[:2] == ["8", "9"]


def test_a_proxy_that_ends_each_watch_before_a_bookmark_comes_has_the_kind_listed() -> None:
    api = Scripted(Clock(HOUR), watches=lambda: (50.0,)).watched()
    assert len(api.listed_at) >= HOUR / (PACE.silence + PACE.longest_pause)
    assert api.clock.pauses == []


def test_a_watch_that_lives_again_is_told_and_its_pauses_begin_anew() -> None:
    sick = [()] * 6
    script: list[Sequence[_Part]] = [*sick, (31.0, bookmark(), 200.0), (), (1_000.0,)]
    left = iter(script)
    with capture_logs() as log:
        api = Scripted(Clock(300), watches=lambda: next(left, ())).watched()
    assert [each["event"] for each in log][:2] == [
        "cluster not watched; changes made outside zonebridge are seen late",
        "cluster watched again",
    ]
    # It fell silent in the end, and that counts as well.
    assert api.clock.pauses[6] <= PACE.first_pause


def test_what_happened_in_silence_is_told_by_a_list_and_nothing_else() -> None:
    lists = iter(
        [
            listing(an_object("pan.a", 1, "10.0.0.1/32"), an_object("pan.b", 2), version=5),
            listing(
                an_object("pan.a", 6, "0.0.0.0/0"),
                an_object("pan.b", 2),
                an_object("pan.d", 8),
                version=9,
            ),
        ]
    )
    watches = iter([(event("ADDED", an_object("pan.c", 6)), 1_000.0)])
    with capture_logs() as log:
        api = Scripted(Clock(100), lambda: next(lists), lambda: next(watches, (50.0,))).watched()
    [warned] = log
    assert warned["error"] == "the watch does not report changes"
    told = dict(api.changes[1:])
    assert {name: manifest is not None for (_, name), manifest in told.items()} == {
        "pan.a": True,
        "pan.c": False,
        "pan.d": True,
    }
    widened = told["GlobalNetworkSet", "pan.a"]
    assert widened is not None
    assert widened.document()["spec"]["nets"] == ["0.0.0.0/0"]
    assert [each["resourceVersion"] for each in api.opened] == ["5", "9"]
    assert api.missed == 1
    assert WatchNotice.SILENT in api.notices
    assert api.notices.count(WatchNotice.LISTED) == 2


def test_lists_come_in_pages_and_are_believed_whole() -> None:
    pages: Iterator[_List] = iter(
        [
            listing(an_object("pan.a", 1), more="next"),
            listing(an_object("pan.b", 2), version=7),
            listing(an_object("pan.a", 1), more="again", version=9),
            error_of(410, "too old"),
            listing(an_object("pan.b", 2), more="once more", version=11),
            listing(an_object("pan.c", 10), version=11),
        ]
    )
    watches: Iterator[_Watch] = iter([error_of(410, "too old")])
    api = Scripted(Clock(150), lambda: next(pages), lambda: next(watches, (90.0,))).watched()
    assert [each.get("continue") for each in api.queries] == [
        None,
        "next",
        None,
        "again",
        None,
        "once more",
    ]
    assert all(int(each["limit"]) >= 100 for each in api.queries)
    assert {name: bool(manifest) for (_, name), manifest in api.changes} == {
        "pan.a": False,
        "pan.c": True,
    }


def test_an_object_that_nobody_understands_is_told_as_missed_and_does_not_end_the_list() -> None:
    strange = an_object("pan.a", 8)
    strange["metadata"]["managedFields"] = "none"
    lists = iter([listing(), listing(strange, an_object("pan.b", 9), version=9)])
    watches: Iterator[_Watch] = iter([error_of(410, "too old")])
    api = Scripted(Clock(80), lambda: next(lists), lambda: next(watches, (90.0,))).watched()
    assert [name for (_, name), _ in api.changes] == ["pan.b"]
    assert api.missed == 2


@pytest.mark.parametrize("status", [0, 502])
def test_a_server_that_answers_again_is_told_once(status: int) -> None:
    away = [error_of(status, "away")] * 5
    left: Iterator[_Watch] = iter([*away, (90.0,)])
    api = Scripted(Clock(60), watches=lambda: next(left, ())).watched()
    assert api.notices.count(WatchNotice.BACK) == 1
    refused = Scripted(Clock(HOUR), watches=lambda: error_of(403, "refused")).watched()
    assert WatchNotice.BACK not in refused.notices


def test_a_server_whose_lists_answer_again_is_told_where_watches_are_refused() -> None:
    lists: Iterator[_List] = iter([UnansweredError("away"), error_of(502, "away"), listing()])
    api = Scripted(Clock(20), lambda: next(lists), lambda: error_of(403, "refused")).watched()
    assert api.notices.count(WatchNotice.BACK) == 1


def test_a_line_without_an_end_is_read_no_further_than_an_event_is_long() -> None:
    given = itertools.count()
    endless = (b"x" * 100 for _ in given)
    watches = iter([cast("Sequence[_Part]", endless)])
    api = Scripted(Clock(30), watches=lambda: next(watches, (50.0,))).watched()
    assert next(given) <= 12
    assert WatchNotice.BROKEN in api.notices
    assert min(api.clock.pauses) >= PACE.first_pause / 2


def test_events_are_told_however_they_are_cut_into_parts() -> None:
    whole = event("ADDED", an_object("pan.a", 8)) + b"\n" + event("ADDED", an_object("pan.b", 9))
    for size in (1, 7, len(whole)):
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        watches: Iterator[_Watch] = iter([(*parts, 50.0)])
        api = Scripted(Clock(60), watches=lambda: next(watches, (90.0,))).watched()  # noqa: B023
        assert [name for (_, name), _ in api.changes] == ["pan.a", "pan.b"]
        assert [each["resourceVersion"] for each in api.opened] == ["7", "9"]


def changed(**changes: Any) -> dict[str, Any]:
    """An object of version 8 with something changed."""
    return an_object("pan.a", 8) | changes


def versioned(version: Any) -> bytes:
    return event("MODIFIED", changed(metadata={"name": "pan.a", "resourceVersion": version}))


def failed(**status: Any) -> bytes:
    return event("ERROR", {"kind": "Status", **status})


WRONG: dict[str, tuple[bytes, WatchNotice]] = {
    "no JSON": (b'{"type": "ADDED", "obj\n', WatchNotice.BROKEN),
    "no object": (b"[]\n", WatchNotice.BROKEN),
    "depths of JSON": (b"[" * 900 + b"\n", WatchNotice.BROKEN),
    "no type": (orjson.dumps({"object": changed()}) + b"\n", WatchNotice.BROKEN),
    "another type": (event("REMOVED", changed()), WatchNotice.BROKEN),
    "a type that is none": (
        orjson.dumps({"type": ["ADDED"], "object": changed()}) + b"\n",
        WatchNotice.BROKEN,
    ),
    "another kind": (event("MODIFIED", changed(kind="Tier")), WatchNotice.BROKEN),
    "another kind that is gone": (event("DELETED", changed(kind="Tier")), WatchNotice.BROKEN),
    "another group": (event("DELETED", changed(apiVersion="v1")), WatchNotice.BROKEN),
    "no metadata": (event("DELETED", changed(metadata=None)), WatchNotice.BROKEN),
    "no name": (event("DELETED", {"metadata": {"resourceVersion": "8"}}), WatchNotice.BROKEN),
    "a name that is none": (
        event("DELETED", {"metadata": {"name": ["pan.a"], "resourceVersion": "8"}}),
        WatchNotice.BROKEN,
    ),
    "a list for an object": (event("MODIFIED", {"object": []}), WatchNotice.BROKEN),
    "no version": (versioned(None), WatchNotice.BROKEN),
    "an empty version": (versioned(""), WatchNotice.BROKEN),
    "a version that is a number": (versioned(8), WatchNotice.BROKEN),
    "a version of too many digits": (versioned("8" * 5_000), WatchNotice.BROKEN),
    "a version that goes back": (versioned("3"), WatchNotice.GONE),
    "a bookmark of another kind": (bookmark(8, "Tier"), WatchNotice.BROKEN),
    "a bookmark that goes back": (bookmark(3), WatchNotice.GONE),
    "a bookmark of no version": (event("BOOKMARK", {"metadata": {}}), WatchNotice.BROKEN),
    "a version that is gone": (failed(code=410, message="too old"), WatchNotice.GONE),
    "a refusal": (failed(code=403, message="no"), WatchNotice.REFUSED),
    "a failure": (failed(code=500, message="etcd"), WatchNotice.BROKEN),
    "an error that says nothing": (failed(), WatchNotice.BROKEN),
    "an error of no code": (failed(code="gone"), WatchNotice.BROKEN),
    "an error that is none": (event("ERROR", cast("Any", None)), WatchNotice.BROKEN),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_was_not_asked_for_ends_the_watch_and_moves_nothing(how: str) -> None:
    line, ends = WRONG[how]
    watches = iter([(line, event("ADDED", an_object("pan.b", 9)), 1_000.0)])
    api = Scripted(Clock(30), watches=lambda: next(watches, (50.0,)), pace=Pace()).watched()
    assert api.changes == []
    assert api.notices[:2] == [WatchNotice.LISTED, ends]
    assert {each["resourceVersion"] for each in api.opened} == {"7"}
    assert min(api.clock.pauses) >= PACE.first_pause / 2


def test_what_is_gone_may_be_told_of_as_it_was_and_the_version_does_not_go_back() -> None:
    told = (event("ADDED", an_object("pan.a", 9)), event("DELETED", an_object("pan.b", 3)), 50.0)
    watches = iter([told])
    api = Scripted(Clock(60), watches=lambda: next(watches, (90.0,))).watched()
    assert [(name, bool(found)) for (_, name), found in api.changes] == [
        ("pan.a", True),
        ("pan.b", False),
    ]
    assert [each["resourceVersion"] for each in api.opened] == ["7", "9"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "TierList"},
        {"apiVersion": "v1"},
        {"items": [{"kind": "Tier", "metadata": {"name": "a", "resourceVersion": "8"}}]},
        {"items": {}},
        {"metadata": {}},
        {"metadata": {"resourceVersion": "9", "remainingItemCount": 3}},
        {"metadata": {"resourceVersion": "9", "continue": ["next"]}},
        {"metadata": {"resourceVersion": "9", "continue": "again"}},
    ],
)
def test_a_list_of_something_else_or_without_an_end_tells_nothing(wrong: dict[str, Any]) -> None:
    lists = iter([listing(an_object("pan.a", 1))])
    watches: Iterator[_Watch] = iter([error_of(410, "too old")])
    broken = listing(version=9) | wrong
    api = Scripted(Clock(HOUR), lambda: next(lists, broken), lambda: next(watches, ())).watched()
    assert api.changes == []
    assert [each["resourceVersion"] for each in api.opened] == ["7"]
    assert len(api.listed_at) <= 2 * MOST_REQUESTS


def test_pages_that_are_too_large_are_asked_for_in_smaller_ones() -> None:
    pages: Iterator[_List] = iter(
        [
            listing(an_object("pan.a", 1), more="next"),
            TooLargeError("too large", 0),
            TooLargeError("too large", 0),
            listing(an_object("pan.b", 2), version=8),
        ]
    )
    api = Scripted(Clock(10), lambda: next(pages), lambda: (50.0,)).watched()
    assert [(each.get("continue"), each["limit"]) for each in api.queries] == [
        (None, 500),
        ("next", 500),
        ("next", 62),
        ("next", 7),
    ]
    # What happened between two pages is told by the watch.
    assert [each["resourceVersion"] for each in api.opened] == ["7"]


def test_another_cluster_at_the_address_is_noticed_as_the_watch_is_opened_again() -> None:
    uids = itertools.chain(["one", "one"], itertools.repeat("two"))
    lists = iter([listing(an_object("pan.a", 1)), listing(version=3)])
    healthy = (50.0, bookmark())
    theirs = (event("DELETED", an_object("pan.a", 8)), 50.0)
    watches: Iterator[_Watch] = iter([healthy, healthy, theirs])
    clock = Clock(150)
    api = Scripted(clock, lambda: next(lists), lambda: next(watches, (50.0,)), uids=uids).watched()
    # Once at the beginning, once when it was noticed, once when the other one was listed.
    assert api.missed == 3
    assert api.changes == []
    assert [each["resourceVersion"] for each in api.opened] == ["7", "7", "7", "3"]


def test_clusters_that_take_turns_at_an_address_are_asked_ever_less_often() -> None:
    api = Scripted(Clock(HOUR), uids=itertools.cycle(["one", "two"])).watched()
    assert len(api.opened) <= MOST_REQUESTS
    between = [later - earlier for earlier, later in itertools.pairwise(api.listed_at)]
    assert min(between) >= PACE.between_lists


@pytest.mark.parametrize("error", [error_of(403, "refused"), ClusterError("no kube-system")])
def test_what_a_cluster_tells_that_does_not_say_which_one_it_is_counts_for_nothing(
    error: ClusterError,
) -> None:
    tells = (event("ADDED", an_object("pan.a", 8)),)
    api = Scripted(Clock(HOUR), watches=lambda: tells, uids=itertools.repeat(error)).watched()
    assert api.changes == []
    assert len(api.opened) <= MOST_REQUESTS

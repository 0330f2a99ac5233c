"""The reader, the client below it and the watch over a scripted API server."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sync.calico.objects import API_VERSION, KINDS
from sync.clusters.cluster import Key, WatchNotice
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import (
    ApiError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from sync.clusters.kubernetes.kind_watch import Pace
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.clusters.kubernetes.watcher import KubernetesWatcher
from sync.errors import ClusterError
from tests.kubernetes_words import OWNER, SETS, made
from tests.scripted_api import TOKEN, UID, Given, cut, events, given, status
from tests.unit.clusters.conftest import Scripted

GROUP = f"/apis/{API_VERSION}"
GROUPS = {"kind": "APIGroupList", "groups": [{"name": "projectcalico.org"}]}
RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": API_VERSION,
    "resources": [{"name": name} for name in KINDS.values()],
}
SERVED = (given(GROUPS), given(RESOURCES))
NAMES = f"GET {SETS}"


def an_object(name: str, version: str = "1", **options: Any) -> dict[str, Any]:
    document = made(name, "10.0.0.1/32", **options).document()
    document["metadata"] |= {"resourceVersion": version, "uid": f"uid of {name}"}
    return document


def listing(*items: Any, kind: str = "GlobalNetworkSet", more: str = "", version: str = "7") -> Any:
    metadata = {"resourceVersion": version} | ({"continue": more} if more else {})
    document = {"apiVersion": API_VERSION, "kind": f"{kind}List", "metadata": metadata}
    return given({**document, "items": list(items)})


def empty() -> list[Given]:
    """A list of nothing of every kind but sets, which come where they do."""
    return [listing(kind=kind) for kind in KINDS if kind != "GlobalNetworkSet"]


def names(api: Api) -> Sequence[str]:
    """The names that a list of sets holds."""
    return api.collected(SETS, "GlobalNetworkSet", lambda each: [each["metadata"]["name"]], page=2)


# --- reading --------------------------------------------------------------------------------------


def test_a_cluster_is_read_kind_by_kind_and_nothing_is_written(scripted: Scripted) -> None:
    kinds = [
        listing(an_object("pan.web"), an_object("theirs", owner=()))
        if kind == "GlobalNetworkSet"
        else listing(kind=kind)
        for kind in KINDS
    ]
    scripted.script.plays(*SERVED, *kinds)
    found = KubernetesReader(scripted.api(), OWNER).read()
    assert {name: each.manifest is not None for (_, name), each in found.items()} == {
        "pan.web": True,
        "theirs": False,
    }
    paths = ["/apis", GROUP, *(f"{GROUP}/{each}" for each in KINDS.values())]
    assert scripted.script.asked == [f"GET {path}" for path in paths]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([given({"kind": "APIGroupList", "groups": []})], "does not serve projectcalico.org/v3"),
        (
            [given({"kind": "APIGroupList", "groups": [{"name": "crd.projectcalico.org"}]})],
            "only as crd.projectcalico.org/v1",
        ),
        ([given({"kind": "Status"})], "something that is no APIGroupList"),
        ([given(GROUPS), given({**RESOURCES, "groupVersion": "v1"})], "no APIResourceList"),
        ([given(GROUPS), given({**RESOURCES, "resources": []})], "does not serve Tier"),
        ([given({"kind": "APIGroupList", "groups": [{}]})], "no list of Kubernetes objects"),
    ],
)
def test_a_cluster_that_serves_something_else_is_not_taken_for_an_empty_one(
    scripted: Scripted, answers: list[Given], words: str
) -> None:
    scripted.script.plays(*answers)
    with pytest.raises(ClusterError, match=words):
        KubernetesReader(scripted.api(), OWNER).read()


MIGRATION = "migration.projectcalico.org"
MIGRATES = given(
    {
        "kind": "APIGroupList",
        "groups": [
            {"name": "projectcalico.org"},
            {"name": MIGRATION, "preferredVersion": {"groupVersion": f"{MIGRATION}/v1"}},
        ],
    }
)


def migrations(phase: str) -> Given:
    item = {"metadata": {"name": "move"}, "status": {"phase": phase}}
    kind = {"apiVersion": f"{MIGRATION}/v1", "kind": "DatastoreMigrationList"}
    return given({**kind, "metadata": {"resourceVersion": "7"}, "items": [item]})


@pytest.mark.parametrize(
    ("answer", "words"),
    [(migrations("Migrating"), "Migrating"), (status(403, "no"), "nothing is written")],
)
def test_a_cluster_whose_objects_move_or_may_move_is_not_read(
    scripted: Scripted, answer: Given, words: str
) -> None:
    scripted.script.plays(MIGRATES, answer)
    with pytest.raises(ClusterError, match=words):
        KubernetesReader(scripted.api(), OWNER).read()


@pytest.mark.parametrize("phase", ["Pending", "Complete", "Failed"])
def test_a_move_that_is_not_under_way_is_no_obstacle(scripted: Scripted, phase: str) -> None:
    sets_first = [listing(kind=kind) for kind in KINDS]
    scripted.script.plays(MIGRATES, migrations(phase), given(RESOURCES), *sets_first)
    assert KubernetesReader(scripted.api(), OWNER).read() == {}


def test_a_cluster_is_known_by_the_uid_of_kube_system(scripted: Scripted) -> None:
    scripted.script.uid = UID
    reader = KubernetesReader(scripted.api(), OWNER)
    assert reader.identity() == reader.uid == UID


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(404, "not found"), "has no namespace kube-system"),
        (given({"metadata": {}}), "no list of Kubernetes objects"),
        (given({"metadata": {"uid": "a b"}}), "the uid of kube-system"),
        (status(403, "no"), "get on namespaces kube-system"),
    ],
)
def test_a_cluster_that_does_not_say_which_one_it_is_is_an_error(
    scripted: Scripted, answer: Given, words: str
) -> None:
    scripted.script.plays(answer)
    with pytest.raises(ClusterError, match=words):
        KubernetesReader(scripted.api(), OWNER).identity()


# --- lists ----------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page(scripted: Scripted) -> None:
    scripted.script.plays(
        listing(an_object("a"), an_object("b"), more="next"), listing(an_object("c"))
    )
    assert names(scripted.api()) == ["a", "b", "c"]
    asked = [(each.query["limit"], each.query.get("continue")) for each in scripted.script.requests]
    assert asked == [("2", None), ("2", "next")]


def test_a_list_whose_moment_is_forgotten_begins_again_and_keeps_nothing(
    scripted: Scripted,
) -> None:
    scripted.script.plays(
        listing(an_object("gone"), more="next"),
        status(410, "the provided continue parameter is too old"),
        listing(an_object("a"), version="9"),
    )
    assert names(scripted.api()) == ["a"]
    assert scripted.script.last.query.get("continue") is None


def test_a_list_whose_moment_is_forgotten_each_time_ends(scripted: Scripted) -> None:
    scripted.script.plays(*[listing(an_object("a"), more="next"), status(410, "too old")] * 6)
    with pytest.raises(ApiError, match="with 410"):
        names(scripted.api())


@pytest.mark.parametrize(
    "broken", [None, cut(listing(an_object("b")), 30), status(503, "starting")]
)
def test_a_page_that_breaks_off_is_asked_for_again_alone(
    scripted: Scripted, broken: Given | None
) -> None:
    scripted.script.plays(listing(an_object("a"), more="next"), broken, listing(an_object("b")))
    assert names(scripted.api()) == ["a", "b"]
    assert [each.query.get("continue") for each in scripted.script.requests] == [
        None,
        "next",
        "next",
    ]
    assert len(scripted.slept) == 1


def test_a_list_that_may_not_be_read_names_the_missing_right_at_once(scripted: Scripted) -> None:
    scripted.script.plays(status(403, "forbidden"))
    with pytest.raises(ApiError, match=r"list on globalnetworksets\.projectcalico\.org"):
        names(scripted.api())
    assert scripted.slept == []


def test_a_list_from_before_what_was_seen_is_not_believed(scripted: Scripted) -> None:
    api = scripted.api()
    scripted.script.plays(listing(version="9"), listing(version="5"), listing(version="9"))
    names(api)
    assert names(api) == []
    assert len(scripted.slept) == 1


# --- requests -------------------------------------------------------------------------------------


def test_a_request_that_may_be_repeated_is_tried_four_times(scripted: Scripted) -> None:
    scripted.script.plays(*[status(500, "etcd")] * 4)
    with pytest.raises(ApiError, match="with 500: etcd"):
        scripted.api().patiently("GET", "/apis")
    assert len(scripted.slept) == 3


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (301, RefusedError),
        (400, RefusedError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, RefusedError),
    ],
)
def test_an_answer_that_stays_is_not_asked_for_again(
    scripted: Scripted, code: int, error: type[ApiError]
) -> None:
    scripted.script.plays(status(code, "no"))
    with pytest.raises(error, match=f"with {code}") as raised:
        scripted.api().patiently("GET", "/apis")
    assert type(raised.value) is error


def test_a_retry_waits_as_long_as_the_server_asks(scripted: Scripted) -> None:
    scripted.script.plays(status(429, "busy", Retry_After="7"), given({}))
    scripted.api().patiently("GET", "/apis")
    assert scripted.slept == [7]


def test_credentials_that_are_refused_are_made_again_once(scripted: Scripted) -> None:
    scripted.script.plays(status(401, "expired"), given({}))
    scripted.api().request("GET", "/apis")
    assert scripted.connected == 2
    scripted.script.plays(status(401, f"{TOKEN} expired"), status(401, f"{TOKEN} expired"))
    with pytest.raises(UnauthenticatedError, match="renew the credentials") as raised:
        scripted.api().request("GET", "/apis")
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"null"])
def test_an_answer_that_is_no_object_is_an_error(scripted: Scripted, body: bytes) -> None:
    scripted.script.plays(Given(200, body))
    with pytest.raises(ApiError, match="something that is not a JSON object"):
        scripted.api().request("GET", "/apis")


# --- watching -------------------------------------------------------------------------------------

QUICK = Pace(first_pause=0.01, longest_pause=0.02, between_lists=0.01)


def event(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": document}


class Watched:
    """One kind that is watched until the script is over, and what was told of it."""

    def __init__(self, scripted: Scripted) -> None:
        self.changes: list[tuple[Key, bool]] = []
        self.notices: list[WatchNotice] = []
        self.missed = 0
        self.script = scripted.script
        self._stopping = threading.Event()
        watcher = KubernetesWatcher(
            scripted.api(), OWNER, QUICK, ours={"GlobalNetworkSet": "globalnetworksets"}, others={}
        )
        watcher.watch(
            lambda key, manifest: self.changes.append((key, manifest is not None)),
            lambda key, found: None,
            self._miss,
            self._stopping,
            self._notice,
        )
        for each in threading.enumerate():
            if each.name == "watch prod":
                each.join(30)
                assert not each.is_alive()

    def _miss(self) -> None:
        self.missed += 1

    def _notice(self, kind: str, notice: WatchNotice) -> None:
        self.notices.append(notice)
        if self.script.left == 0:
            self._stopping.set()

    @property
    def resumed_at(self) -> list[str]:
        """The versions from which watches were asked for."""
        return [
            each.query["resourceVersion"]
            for each in self.script.requests
            if each.query.get("watch")
        ]


def test_a_watch_goes_on_from_the_bookmark_that_came_last(scripted: Scripted) -> None:
    scripted.script.uid = UID
    bookmark = event("BOOKMARK", {"kind": "GlobalNetworkSet", "metadata": {"resourceVersion": "9"}})
    scripted.script.plays(
        listing(),
        events(event("ADDED", an_object("pan.a", "8")), bookmark),
        events(event("DELETED", an_object("pan.a", "10"))),
    )
    watched = Watched(scripted)
    assert watched.resumed_at == ["7", "9"]
    key = ("GlobalNetworkSet", "pan.a")
    assert watched.changes == [(key, True), (key, False)]
    assert watched.missed == 1


def test_a_watch_whose_version_is_forgotten_is_followed_by_a_list(scripted: Scripted) -> None:
    scripted.script.uid = UID
    gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
    scripted.script.plays(
        listing(an_object("pan.a"), an_object("pan.b", "2")),
        events(event("ERROR", gone)),
        listing(an_object("pan.b", "12"), version="13"),
        events(event("ADDED", an_object("pan.c", "14"))),
    )
    watched = Watched(scripted)
    assert watched.resumed_at == ["7", "13"]
    told = {name: there for (_, name), there in watched.changes}
    assert told == {"pan.a": False, "pan.b": True, "pan.c": True}
    # The list said all that the watch had not: the cluster is not read for it.
    assert watched.missed == 1


def test_an_event_that_breaks_off_is_not_told_and_comes_again(scripted: Scripted) -> None:
    scripted.script.uid = UID
    whole = events(event("ADDED", an_object("pan.a", "8")))
    scripted.script.plays(listing(), cut(whole, 60), whole)
    watched = Watched(scripted)
    assert watched.resumed_at == ["7", "7"]
    assert watched.changes == [(("GlobalNetworkSet", "pan.a"), True)]


def test_another_cluster_behind_the_address_is_read_from_the_beginning(scripted: Scripted) -> None:
    scripted.script.uids = iter([UID, "another", "another"])
    scripted.script.plays(
        listing(an_object("pan.a")),
        events(event("ADDED", an_object("pan.b", "8"))),
        events(event("DELETED", an_object("pan.a", "9"))),
        listing(version="30"),
        events(event("ADDED", an_object("pan.d", "31"))),
    )
    watched = Watched(scripted)
    # What the other one said on the open watch counts for nothing, and it is read as a whole.
    assert [name for (_, name), _ in watched.changes] == ["pan.b", "pan.d"]
    assert watched.resumed_at == ["7", "8", "30"]
    assert watched.missed == 3

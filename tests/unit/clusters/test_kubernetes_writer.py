"""The writer over a scripted API server: what it sends, and what it concludes from the answers."""

from collections.abc import Callable
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.calico.names import RECORD_ANNOTATION
from sync.calico.objects import Tier
from sync.clusters.cluster import LiveObject, NotWrittenError, OutOfReachError
from sync.clusters.kubernetes.objects import live_object
from sync.clusters.kubernetes.writer import KubernetesWriter
from sync.errors import ClusterError
from tests.kubernetes_words import OWNER, SETS, made
from tests.scripted_api import UID, cut, given, status
from tests.unit.clusters.conftest import Scripted

WEB = made("pan.web", "10.0.0.1/32")
MORE = made("pan.web", "10.0.0.1/32", "10.0.0.2/32")
CREATE, READ = f"POST {SETS}", f"GET {SETS}/pan.web"
REPLACE, DELETE = f"PUT {SETS}/pan.web", f"DELETE {SETS}/pan.web"
SECONDS = 10.0


def held(manifest: Manifest, version: str = "7", uid: str = "u1", **metadata: Any) -> Any:
    """An object as the API server answers with it."""
    document = manifest.document()
    document["metadata"] |= {"resourceVersion": version, "uid": uid, **metadata}
    return document


def live(manifest: Manifest, **options: Any) -> LiveObject:
    return live_object(manifest.kind, held(manifest, **options), OWNER)


def writer(scripted: Scripted, **options: Any) -> KubernetesWriter:
    options = {"remaining": lambda: 60.0, "seconds": SECONDS, **options}
    return KubernetesWriter(scripted.api(), OWNER, **options)


def unsure(raised: "pytest.ExceptionInfo[ClusterError]") -> bool:
    """Whether it is left open what the cluster holds."""
    return not isinstance(raised.value, NotWrittenError)


# --- one write, one success -----------------------------------------------------------------------


def test_an_object_is_created_strictly_in_our_name_and_with_its_stamp(scripted: Scripted) -> None:
    scripted.script.plays(given(held(WEB), 201))
    writer(scripted).create(WEB, ((RECORD_ANNOTATION, "12"),))
    [request] = scripted.script.requests
    assert request.line == CREATE
    assert request.query == {
        "fieldManager": "zonebridge",
        "fieldValidation": "Strict",
        "timeout": "10s",
    }
    assert request.body["metadata"]["annotations"][RECORD_ANNOTATION] == "12"
    assert request.body["spec"] == WEB.document()["spec"]


def test_a_replacement_names_the_version_it_replaces_and_keeps_what_is_foreign(
    scripted: Scripted,
) -> None:
    before = live(WEB, finalizers=["theirs"], annotations={"team": "blue"})
    scripted.script.plays(given(held(MORE, "8")))
    writer(scripted).replace(MORE, before)
    assert scripted.script.asked == [REPLACE]
    metadata = scripted.script.last.body["metadata"]
    assert metadata["resourceVersion"] == "7"
    assert metadata["finalizers"] == ["theirs"]
    assert metadata["annotations"]["team"] == "blue"


def test_a_deletion_is_of_the_object_that_was_seen_and_of_no_other(scripted: Scripted) -> None:
    scripted.script.plays(given({"kind": "Status", "status": "Success", "details": {"uid": "u1"}}))
    writer(scripted).delete(live(WEB))
    assert scripted.script.asked == [DELETE]
    assert scripted.script.last.body == {"preconditions": {"uid": "u1", "resourceVersion": "7"}}


# --- conflicts ------------------------------------------------------------------------------------


def test_what_was_created_by_an_earlier_try_is_written(scripted: Scripted) -> None:
    scripted.script.plays(status(409, "already exists"), given(held(WEB)))
    writer(scripted).create(WEB)
    assert scripted.script.asked == [CREATE, READ]


@pytest.mark.parametrize("there", [held(MORE), held(made("pan.web", owner=()))])
def test_what_someone_else_created_is_left_to_the_next_plan(scripted: Scripted, there: Any) -> None:
    scripted.script.plays(status(409, "already exists"), given(there))
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(scripted).create(WEB)
    assert scripted.script.asked == [CREATE, READ]


def test_a_conflict_about_foreign_parts_is_settled_over_the_newer_version(
    scripted: Scripted,
) -> None:
    newer = held(WEB, "9", annotations={"team": "red"})
    scripted.script.plays(status(409, "modified"), given(newer), given(held(MORE, "10")))
    writer(scripted).replace(MORE, live(WEB))
    assert scripted.script.asked == [REPLACE, READ, REPLACE]
    assert scripted.script.last.body["metadata"]["resourceVersion"] == "9"
    assert scripted.script.last.body["metadata"]["annotations"]["team"] == "red"


@pytest.mark.parametrize(
    "there", [given(held(made("pan.web", "10.0.0.9/32"), "9")), status(404, "gone")]
)
def test_a_conflict_about_our_parts_is_left_to_the_next_plan(
    scripted: Scripted, there: Any
) -> None:
    scripted.script.plays(status(409, "modified"), there)
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(scripted).replace(MORE, live(WEB))
    assert scripted.script.asked == [REPLACE, READ]


def test_an_object_that_is_gone_already_is_deleted(scripted: Scripted) -> None:
    scripted.script.plays(status(404, "not found"), status(404, "not found"))
    writer(scripted).delete(live(WEB))
    assert scripted.script.asked == [DELETE, READ]


def test_a_deletion_that_waits_for_a_finalizer_names_it(scripted: Scripted) -> None:
    left = held(WEB, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["theirs/hook"])
    scripted.script.plays(given(left))
    with pytest.raises(NotWrittenError, match="theirs/hook"):
        writer(scripted).delete(live(WEB))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 403, 405, 413, 415, 422])
def test_what_will_be_refused_again_is_sent_once(scripted: Scripted, code: int) -> None:
    scripted.script.plays(status(code, "no"))
    with pytest.raises(NotWrittenError, match=f"with {code}: no"):
        writer(scripted).create(WEB)
    assert (scripted.script.asked, scripted.slept) == ([CREATE], [])


@pytest.mark.parametrize("code", [409, 422, 500])
def test_a_tier_with_policies_is_not_asked_for_again(scripted: Scripted, code: int) -> None:
    tier = Tier(name="firewallpolicy", labels=OWNER, annotations=(), order=101).manifest()
    scripted.script.plays(status(code, "Cannot delete a non-empty tier"))
    with pytest.raises(NotWrittenError, match="non-empty"):
        writer(scripted).delete(live(tier))


def test_an_admission_policy_is_named_with_its_own_words(scripted: Scripted) -> None:
    words = "ValidatingAdmissionPolicy 'frozen' with binding 'b' denied request: no changes today"
    scripted.script.plays(status(422, words))
    with pytest.raises(NotWrittenError, match="admission policy frozen: no changes today"):
        writer(scripted).create(WEB)


def test_an_admission_policy_that_the_server_has_not_loaded_yet_is_waited_for(
    scripted: Scripted,
) -> None:
    scripted.script.plays(
        status(403, "failed to configure policy: failed to find resource"),
        status(404, "not found"),
        given(held(WEB), 201),
    )
    writer(scripted).create(WEB)
    assert len(scripted.slept) == 1


def test_a_server_that_asks_for_time_gets_it_within_reason(scripted: Scripted) -> None:
    scripted.script.plays(
        status(429, "busy", Retry_After="3"),
        status(404, "not found"),
        status(429, "busy", Retry_After="86400"),
        status(404, "not found"),
        given(held(WEB), 201),
    )
    writer(scripted).create(WEB)
    assert scripted.slept == [3, 10]


def test_a_server_that_only_ever_asks_for_time_has_written_nothing(scripted: Scripted) -> None:
    scripted.script.plays(*[status(429, "busy"), status(404, "not found")] * 6)
    with pytest.raises(NotWrittenError, match="with 429"):
        writer(scripted).create(WEB)
    assert len(scripted.slept) == 5
    assert scripted.slept == pytest.approx([0.15, 0.3, 0.6, 1.2, 2.4], rel=1 / 3 + 1e-9)


# --- what may have arrived ------------------------------------------------------------------------

LOST: dict[str, Any] = {
    "an error of the server": status(500, "etcd"),
    "no answer": None,
    "an answer that breaks off": cut(given(held(WEB), 201), 40),
    "an answer that is no object": given(["created"], 201),
    "an answer without metadata": given({**held(WEB), "metadata": None}, 201),
}


@pytest.mark.parametrize("how", LOST)
def test_what_arrived_though_the_answer_was_lost_is_written_once(
    scripted: Scripted, how: str
) -> None:
    scripted.script.plays(LOST[how], given(held(WEB)))
    writer(scripted).create(WEB)
    assert scripted.script.asked == [CREATE, READ]


@pytest.mark.parametrize("how", LOST)
def test_what_did_not_arrive_is_sent_again(scripted: Scripted, how: str) -> None:
    scripted.script.plays(LOST[how], status(404, "not found"), given(held(WEB), 201))
    writer(scripted).create(WEB)
    assert scripted.script.asked == [CREATE, READ, CREATE]


def test_what_may_have_arrived_and_was_changed_since_is_left_open(scripted: Scripted) -> None:
    scripted.script.plays(None, given(held(MORE)))
    with pytest.raises(ClusterError, match="may have arrived") as raised:
        writer(scripted).create(WEB)
    assert unsure(raised)


def test_a_refusal_does_not_close_what_an_earlier_try_left_open(scripted: Scripted) -> None:
    scripted.script.plays(None, status(404, "not found"), status(422, "no"))
    with pytest.raises(ClusterError, match="with 422: no; what was sent may have arrived") as error:
        writer(scripted).create(WEB)
    assert unsure(error)


def test_errors_that_stay_leave_it_open_after_six_tries(scripted: Scripted) -> None:
    scripted.script.plays(*[status(500, "etcd"), status(404, "not found")] * 6)
    with pytest.raises(ClusterError, match="may have arrived") as raised:
        writer(scripted).create(WEB)
    assert unsure(raised)
    assert len(scripted.slept) == 5


def test_a_server_that_holds_something_else_than_was_sent_is_not_asked_again(
    scripted: Scripted,
) -> None:
    scripted.script.plays(given(held(MORE), 201))
    with pytest.raises(ClusterError, match="holds something other than was sent") as raised:
        writer(scripted).create(WEB)
    assert unsure(raised)


def test_a_deletion_of_another_object_is_not_believed(scripted: Scripted) -> None:
    other = given({"kind": "Status", "status": "Success", "details": {"uid": "u2"}})
    scripted.script.plays(other, status(404, "not found"))
    writer(scripted).delete(live(WEB))
    assert scripted.script.asked == [DELETE, READ]


# --- a server that is away ------------------------------------------------------------------------


def test_a_server_that_went_away_is_not_tried_with_the_next_object(scripted: Scripted) -> None:
    ours = writer(scripted)
    scripted.script.plays(*[None] * 12)
    with pytest.raises(ClusterError, match="may have arrived") as raised:
        ours.create(WEB)
    assert unsure(raised)
    asked = len(scripted.script.asked)
    with pytest.raises(OutOfReachError, match=r"pan\.db was not tried"):
        ours.create(made("pan.db"))
    assert len(scripted.script.asked) == asked


def test_a_read_back_that_is_refused_leaves_the_object_to_the_next_plan(
    scripted: Scripted,
) -> None:
    scripted.script.plays(status(409, "already exists"), status(403, "no get"))
    with pytest.raises(OutOfReachError, match="already exists"):
        writer(scripted).create(WEB)


def test_where_the_read_back_fails_the_write_is_sent_again_and_read_back(
    scripted: Scripted,
) -> None:
    scripted.script.plays(None, status(503, "starting"), status(409, "exists"), given(held(WEB)))
    writer(scripted).create(WEB)
    assert scripted.script.asked == [CREATE, READ, CREATE, READ]


# --- the lease, the end, the cluster's identity ---------------------------------------------------


def test_with_less_of_the_lease_than_a_request_may_take_nothing_is_sent(
    scripted: Scripted,
) -> None:
    with pytest.raises(OutOfReachError, match="lease of cluster prod was not renewed"):
        writer(scripted, remaining=lambda: SECONDS).create(WEB)
    assert scripted.script.asked == []


def test_the_lease_is_asked_for_before_each_try(scripted: Scripted) -> None:
    left = iter([60.0, SECONDS])
    scripted.script.plays(status(429, "busy"), status(404, "not found"))
    with pytest.raises(OutOfReachError, match="lease"):
        writer(scripted, remaining=lambda: next(left)).create(WEB)
    assert scripted.script.asked == [CREATE, READ]


def test_a_process_that_is_to_end_neither_waits_nor_tries_again(scripted: Scripted) -> None:
    ours = writer(scripted, stopping=lambda: True)
    scripted.script.plays(status(500, "etcd"))
    with pytest.raises(ClusterError, match="may have arrived"):
        ours.create(WEB)
    with pytest.raises(OutOfReachError, match="was not tried"):
        ours.create(made("pan.db"))
    assert (scripted.script.asked, scripted.slept) == ([CREATE], [])


def test_a_connection_is_asked_once_which_cluster_it_reaches(scripted: Scripted) -> None:
    scripted.script.uid = UID
    scripted.script.plays(given(held(WEB), 201), given(held(MORE, "8")))
    ours = writer(scripted, uid=UID)
    ours.create(WEB)
    ours.replace(MORE, live(WEB))
    assert scripted.script.met == 1


def test_nothing_is_sent_to_another_cluster_at_the_address(scripted: Scripted) -> None:
    scripted.script.uid = UID.replace("1", "9")
    with pytest.raises(OutOfReachError, match="reaches another cluster"):
        writer(scripted, uid=UID).create(WEB)
    assert scripted.script.asked == []


def test_a_cluster_that_changes_behind_the_address_gets_no_second_try(scripted: Scripted) -> None:
    """The connection was cut, and the next one leads elsewhere."""
    scripted.script.uid = UID
    script, plays = scripted.script, scripted.script.plays
    plays(None, status(404, "not found"))
    sleep: Callable[[float], object] = lambda seconds: setattr(script, "uid", "another")  # noqa: E731
    api = scripted.api(sleep=sleep)
    ours = KubernetesWriter(api, OWNER, remaining=lambda: 60.0, seconds=SECONDS, uid=UID)
    with pytest.raises(ClusterError, match="reaches another cluster") as raised:
        ours.create(WEB)
    assert unsure(raised)
    assert script.asked == [CREATE, READ]

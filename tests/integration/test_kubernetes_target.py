"""The Kubernetes target on a real API server: what is written, kept and refused."""

import io
import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import urllib3

from sync.calico.manifest import Manifest
from sync.calico.names import INSTANCE
from sync.calico.objects import KINDS
from sync.clusters.cluster import Key, LiveObject, NotWrittenError, OutOfReachError
from sync.clusters.kubernetes import reader as kubernetes_reader
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError
from sync.clusters.kubernetes.writer import KubernetesWriter
from sync.errors import ClusterError
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import OWNER, SETS, access, api, made, reader, writer

KEY = ("GlobalNetworkSet", "pan.web")
WEB = made("pan.web", "10.0.0.1/32", "2001:db8::/32")
WIDER = made("pan.web", "10.0.0.1/32", "10.0.0.3/32", "2001:db8::/32")


@pytest.fixture
def prod(calico: ControlPlane) -> Iterator[Api]:
    found = api(calico, sleep=lambda seconds: None)
    yield found
    found.close()


def edit(plane: ControlPlane, name: str, patch: dict[str, Any], manager: str = "kubectl") -> None:
    plane.request("PATCH", f"{SETS}/{name}?fieldManager={manager}", patch)


def stored(plane: ControlPlane, name: str) -> dict[str, Any]:
    found: dict[str, Any] = plane.request("GET", f"{SETS}/{name}")
    return found


def live(prod: Api, key: Key = KEY) -> LiveObject:
    return reader(prod).read()[key]


# --- what is written ------------------------------------------------------------------------------


def test_what_is_created_reads_back_as_it_was_sent(prod: Api) -> None:
    writer(prod).create(WEB)
    found = live(prod)
    assert found.manifest == WEB
    assert found.changed_by == ""


def test_an_object_too_many_for_one_page_is_read_too(prod: Api) -> None:
    sets = [made(f"pan.g{number}", f"10.0.0.{number}/32") for number in range(10)]
    for each in sets:
        writer(prod).create(each)
    found = reader(prod, page=3).read()
    assert [found["GlobalNetworkSet", each.name].manifest for each in sets] == sets


def test_a_replacement_keeps_what_others_put_on_it(prod: Api, calico: ControlPlane) -> None:
    writer(prod).create(WEB)
    foreign = {
        "labels": {"team": "blue"},
        "annotations": {"note": "keep"},
        "finalizers": ["example.com/wait"],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1-2-3"}
        ],
    }
    edit(calico, "pan.web", {"metadata": foreign})
    assert live(prod).manifest == WEB

    writer(prod).replace(WIDER, live(prod))
    assert live(prod).manifest == WIDER
    metadata = stored(calico, "pan.web")["metadata"]
    assert metadata["labels"]["team"] == "blue"
    assert {key: metadata[key] for key in ("finalizers", "ownerReferences")} == {
        key: foreign[key] for key in ("finalizers", "ownerReferences")
    }
    edit(calico, "pan.web", {"metadata": {"finalizers": None}})


def test_a_label_that_others_change_meanwhile_is_no_obstacle(
    prod: Api, calico: ControlPlane
) -> None:
    writer(prod).create(WEB)
    seen = live(prod)
    edit(calico, "pan.web", {"metadata": {"labels": {"team": "blue"}}})
    writer(prod).replace(WIDER, seen)
    assert live(prod).manifest == WIDER
    assert stored(calico, "pan.web")["metadata"]["labels"]["team"] == "blue"


def test_what_others_change_meanwhile_is_not_written_over(prod: Api, calico: ControlPlane) -> None:
    writer(prod).create(WEB)
    seen = live(prod)
    edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}})
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(prod).replace(WIDER, seen)
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(prod).delete(seen)
    assert stored(calico, "pan.web")["spec"]["nets"] == ["192.0.2.0/24"]


def test_who_changed_an_object_is_told(prod: Api, calico: ControlPlane) -> None:
    writer(prod).create(WEB)
    edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}}, manager="kubectl-edit")
    assert live(prod).changed_by.startswith("kubectl-edit at 20")


def test_an_object_of_others_in_our_place_is_left_alone(prod: Api, calico: ControlPlane) -> None:
    body = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {"name": "pan.web"},
        "spec": {"nets": ["192.0.2.0/24"]},
    }
    calico.request("POST", SETS, body)
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(prod).create(WEB)
    assert live(prod).manifest is None
    assert live(prod).foreign_because
    assert stored(calico, "pan.web")["spec"]["nets"] == ["192.0.2.0/24"]


def test_a_deleted_object_is_gone_and_deleting_it_again_is_done(prod: Api) -> None:
    writer(prod).create(WEB)
    seen = live(prod)
    writer(prod).delete(seen)
    assert KEY not in reader(prod).read()
    writer(prod).delete(seen)


def test_a_deletion_does_not_hit_what_was_made_anew_under_the_name(
    prod: Api, calico: ControlPlane
) -> None:
    writer(prod).create(WEB)
    seen = live(prod)
    calico.request("DELETE", f"{SETS}/pan.web")
    writer(prod).create(WIDER)
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(prod).delete(seen)
    assert live(prod).manifest == WIDER


def test_a_deletion_that_waits_for_a_finalizer_is_not_called_done(
    prod: Api, calico: ControlPlane
) -> None:
    writer(prod).create(WEB)
    edit(calico, "pan.web", {"metadata": {"finalizers": ["example.com/wait"]}})
    for _ in range(2):
        with pytest.raises(NotWrittenError, match=r"example\.com/wait"):
            writer(prod).delete(live(prod))
    edit(calico, "pan.web", {"metadata": {"finalizers": None}})
    assert KEY not in reader(prod).read()


AGREED = b"keys are agreed on"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes out over TLS, piece by piece; `AGREED` where a connection begins to stand."""
    pieces: list[bytes] = []
    agree, send = ssl.SSLSocket.do_handshake, ssl.SSLSocket.sendall

    def do_handshake(line: ssl.SSLSocket) -> None:
        agree(line)
        pieces.append(AGREED)

    def sendall(line: ssl.SSLSocket, data: bytes) -> None:
        pieces.append(bytes(data))
        send(line, data)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", do_handshake)
    monkeypatch.setattr(ssl.SSLSocket, "sendall", sendall)
    return pieces


def test_a_write_goes_out_in_one_piece(prod: Api, wire: list[bytes]) -> None:
    writer(prod).create(WEB)
    [agreed, request] = wire
    assert agreed == AGREED
    assert request.startswith(b"POST /")
    assert request.endswith(b"\r\n\r\n" + WEB.body)


def test_without_enough_of_a_lease_nothing_is_sent(prod: Api, wire: list[bytes]) -> None:
    with pytest.raises(OutOfReachError, match="lease"):
        writer(prod, remaining=9, seconds=10).create(WEB)
    assert wire == [AGREED]
    assert KEY not in reader(prod).read()


# --- what is refused ------------------------------------------------------------------------------


def test_a_user_without_rights_is_refused_at_once_and_the_message_names_the_remedy(
    calico: ControlPlane,
) -> None:
    waits: list[float] = []
    token = calico.guest_token
    guest = api(calico, waits.append, kubeconfig=calico.kubeconfig(token))
    with pytest.raises(NotWrittenError, match=r"403: .*forbidden.*grant the user this"):
        writer(guest).create(WEB)
    with pytest.raises(ClusterError, match="403"):
        reader(guest).read()
    assert waits == []


def test_unknown_credentials_are_refused_and_asked_for_anew(calico: ControlPlane) -> None:
    wrong = api(calico, kubeconfig=calico.kubeconfig("no-such-token"))
    with pytest.raises(ClusterError, match=r"401: .*renew the credentials"):
        reader(wrong).read()


def test_credentials_that_were_replaced_are_taken_up(calico: ControlPlane) -> None:
    found = access(calico)
    assert found.kubeconfig is not None
    kubeconfig = found.kubeconfig.read_text()
    found.kubeconfig.write_text(kubeconfig.replace(calico.admin_token, "outdated"))
    changing = api(calico, kubeconfig=found.kubeconfig)
    with pytest.raises(ClusterError):
        reader(changing).read()
    found.kubeconfig.write_text(kubeconfig)
    assert reader(changing).read()


def test_a_cluster_with_only_the_old_definitions_is_refused_with_what_to_do(
    old_calico: ControlPlane,
) -> None:
    with pytest.raises(ClusterError, match=r"crd\.projectcalico\.org/v1.*install Calico's API"):
        reader(api(old_calico)).read()


MIGRATION = "migration.projectcalico.org/v1"
"""What is served is asked for, and not the version that was known when this was written."""


@pytest.mark.parametrize("phase", ["Migrating", "WaitingForConflictResolution", "Converged"])
def test_a_cluster_whose_objects_are_being_moved_is_refused(
    prod: Api, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    moving(prod, monkeypatch, phase)
    with pytest.raises(ClusterError, match=f"v1-to-v3, {phase}.*nothing is written"):
        reader(prod).read()


@pytest.mark.parametrize("phase", ["Pending", "Complete", "Failed"])
def test_a_cluster_whose_objects_are_not_moved_now_is_read(
    prod: Api, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    writer(prod).create(WEB)
    moving(prod, monkeypatch, phase)
    assert live(prod).manifest == WEB


def moving(prod: Api, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    """Let the cluster tell of a migration, of which no definition is at hand."""
    real = prod.request

    def request(method: str, path: str, **options: Any) -> dict[str, Any]:
        if path == f"/apis/{MIGRATION}/datastoremigrations":
            return {
                "apiVersion": MIGRATION,
                "kind": "DatastoreMigrationList",
                "metadata": {},
                "items": [{"metadata": {"name": "v1-to-v3"}, "status": {"phase": phase}}],
            }
        found = real(method, path, **options)
        if path == "/apis":
            found["groups"].append(
                {
                    "name": MIGRATION.partition("/")[0],
                    "preferredVersion": {"groupVersion": MIGRATION},
                }
            )
        return found

    monkeypatch.setattr(prod, "request", request)


# --- outages and faults ---------------------------------------------------------------------------


def test_a_cluster_that_is_down_is_said_to_be_and_works_again(calico: ControlPlane) -> None:
    prod = api(calico, sleep=lambda seconds: None)
    writer(prod).create(WEB)
    calico.stop()
    with pytest.raises(ClusterError, match=r"does not answer.*check that it is up"):
        reader(prod).read()
    during = writer(prod)
    # Nobody took the connection, so nothing can have arrived.
    with pytest.raises(OutOfReachError, match="does not answer"):
        during.create(made("pan.db", "10.0.0.5/32"))
    with pytest.raises(OutOfReachError, match="was not tried"):
        during.create(made("pan.app", "10.0.0.6/32"))
    calico.start()
    assert live(prod).manifest == WEB
    writer(prod).replace(WIDER, live(prod))


Send = Callable[..., urllib3.BaseHTTPResponse]


def answered(
    body: bytes, status: int, headers: dict[str, str] | None = None
) -> urllib3.BaseHTTPResponse:
    return urllib3.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)


@contextmanager
def faults(prod: Api, fault: Callable[[str], str]) -> Iterator[None]:
    """Let requests meet faults: `fault` is asked for each method.

    `before`: the connection breaks and nothing arrives. `after`: it arrives and the answer is
    lost. `other`: the server tells that it holds something other than was sent; `disowned`: that
    it is not ours. A number: it answers with that and does nothing. `nonsense`: it answers 200
    and does nothing. "": all is well.
    """
    prod.request("GET", "/version")
    assert prod._line is not None
    pool = prod._line.pool
    real: Send = pool.urlopen

    def request(method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        happens = fault(method)
        if happens == "before":
            raise urllib3.exceptions.ProtocolError("Connection aborted.")
        if happens.isdigit():
            asked = {"Retry-After": "1" if happens == "429" else "nan"}
            return answered(b'{"message": "a fault"}', int(happens), asked)
        if happens == "nonsense":
            return answered(b'{"ok": true}', 200)
        answer = real(method, url, **options)
        if happens == "other":
            body = answer.data.replace(b"10.0.0.1/32", b"0.0.0.0/0")
            return answered(body, answer.status)
        if happens == "disowned":
            body = answer.data.replace(INSTANCE.encode(), b"example.com/instance")
            return answered(body, answer.status)
        if happens == "after":
            answer.drain_conn()
            raise urllib3.exceptions.ReadTimeoutError(pool, url, "Read timed out.")
        return answer

    with patch.object(pool, "urlopen", request):
        yield


@pytest.mark.parametrize("fault", ["before", "after", "429", "500", "503", "504"])
def test_a_write_that_meets_one_fault_is_written_once(prod: Api, fault: str) -> None:
    left = {"POST": 1, "PUT": 1, "DELETE": 1}

    def once(method: str) -> str:
        left[method] = left.get(method, 0) - 1
        return fault if left[method] >= 0 else ""

    with faults(prod, once):
        writer(prod).create(WEB)
        first = live(prod)
        writer(prod).replace(WIDER, first)
        second = live(prod)
        writer(prod).delete(second)
    assert first.manifest == WEB
    assert second.manifest == WIDER
    assert KEY not in reader(prod).read()
    assert left["POST"] < 0 or fault == "after"


@pytest.mark.parametrize(
    ("fault", "surely"), [("429", True), ("before", False), ("500", False), ("503", False)]
)
def test_a_fault_that_stays_is_told_and_the_cluster_is_as_it_was(
    prod: Api, fault: str, surely: bool
) -> None:
    with (
        faults(prod, lambda method: fault if method == "POST" else ""),
        pytest.raises(ClusterError) as raised,
    ):
        writer(prod).create(WEB)
    assert isinstance(raised.value, NotWrittenError) is surely
    assert KEY not in reader(prod).read()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_success_that_says_nothing_is_not_believed(prod: Api, method: str) -> None:
    if method != "POST":
        writer(prod).create(WEB)
    before = reader(prod).read().get(KEY)

    def write() -> None:
        if before is None:
            writer(prod).create(WEB)
        elif method == "PUT":
            writer(prod).replace(WIDER, before)
        else:
            writer(prod).delete(before)

    with (
        faults(prod, lambda asked: "nonsense" if asked == method else ""),
        pytest.raises(ClusterError) as raised,
    ):
        write()
    assert not isinstance(raised.value, NotWrittenError)
    assert reader(prod).read().get(KEY) == before


def test_a_read_back_that_says_nothing_is_asked_for_again(prod: Api) -> None:
    answers = {"POST": ["after"], "GET": ["nonsense", "nonsense"]}
    with faults(prod, lambda asked: answers[asked].pop() if answers.get(asked) else ""):
        writer(prod).create(WEB)
    assert live(prod).manifest == WEB


def test_what_arrived_and_was_changed_before_it_could_be_read_back_is_not_called_unwritten(
    prod: Api, calico: ControlPlane
) -> None:
    writer(prod).create(WEB)
    seen = live(prod)

    def meanwhile(method: str) -> str:
        if method == "GET":
            edit(calico, "pan.web", {"spec": {"nets": ["192.0.2.0/24"]}})
        return "after" if method == "PUT" else ""

    with faults(prod, meanwhile), pytest.raises(ClusterError, match="may have arrived") as raised:
        writer(prod).replace(WIDER, seen)
    assert not isinstance(raised.value, NotWrittenError)


def test_a_refusal_says_nothing_of_what_was_sent_before_it(prod: Api) -> None:
    writer(prod).create(WEB)
    answers = ["403", "504"]
    with (
        faults(prod, lambda method: answers.pop() if method == "PUT" else ""),
        pytest.raises(ClusterError, match="may have arrived") as raised,
    ):
        writer(prod).replace(WIDER, live(prod))
    assert not isinstance(raised.value, NotWrittenError)


def test_the_lease_is_asked_for_when_the_connection_stands(prod: Api, wire: list[bytes]) -> None:
    def remaining() -> float:
        wire.append(b"asked")
        return 60

    KubernetesWriter(prod, OWNER, remaining=remaining, seconds=10).create(WEB)
    [*before, request] = wire
    assert before == [AGREED, b"asked"]
    assert request.startswith(b"POST /")


def test_a_writer_that_is_to_stop_tries_nothing_again(prod: Api) -> None:
    stopping = KubernetesWriter(
        prod, OWNER, remaining=lambda: 60, seconds=10, stopping=lambda: True
    )
    sent: list[str] = []

    def fault(method: str) -> str:
        sent.append(method)
        return "500"

    with faults(prod, fault):
        with pytest.raises(ClusterError, match="may have arrived"):
            stopping.create(WEB)
        with pytest.raises(OutOfReachError):
            stopping.create(made("pan.db", "10.0.0.5/32"))
    assert sent == ["GET", "POST"] or sent == ["POST"]


def test_a_cluster_that_lacks_a_kind_is_not_taken_for_one_without_objects(
    prod: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_reader, "KINDS", {**KINDS, "NoSuchKind": "nosuchkinds"})
    with pytest.raises(ClusterError, match="does not serve NoSuchKind"):
        reader(prod).read()


@pytest.mark.parametrize("fault", ["other", "disowned"])
def test_a_cluster_that_holds_something_else_than_was_sent_is_not_believed(
    prod: Api, fault: str
) -> None:
    with faults(prod, lambda method: fault if method in ("POST", "PUT") else ""):
        with pytest.raises(ClusterError, match="holds something other than was sent") as raised:
            writer(prod).create(WEB)
        assert not isinstance(raised.value, NotWrittenError)
        with pytest.raises(ClusterError, match="holds something other than was sent"):
            writer(prod).replace(WIDER, live(prod))


def test_the_server_is_left_alone_for_as_long_as_it_asks(calico: ControlPlane) -> None:
    waits: list[float] = []
    prod = api(calico, waits.append)
    answers = iter(["429", "429", ""])
    with faults(prod, lambda method: next(answers) if method == "POST" else ""):
        writer(prod).create(WEB)
    assert len(waits) == 2
    assert min(waits) >= 1


def test_an_answer_that_is_no_json_is_an_error(prod: Api) -> None:
    with pytest.raises(ApiError, match="no JSON object"):
        prod.request("GET", "/healthz")


@pytest.mark.parametrize("seed", range(3))
def test_under_random_faults_what_is_said_of_a_write_is_true(prod: Api, seed: int) -> None:
    chance = random.Random(seed)
    kinds = ["before", "after", "429", "500", "503", *[""] * 4]
    held: Manifest | None = None
    for number in range(60):
        found = reader(prod).read().get(KEY)
        wanted = chance.choice([None, made("pan.web", f"10.0.{number}.0/24")])
        if wanted is None and found is None:
            continue
        outcome = "written"
        with faults(prod, lambda method: chance.choice(kinds)):
            try:
                if wanted is None:
                    assert found is not None
                    writer(prod).delete(found)
                elif found is None:
                    writer(prod).create(wanted)
                else:
                    writer(prod).replace(wanted, found)
            except NotWrittenError:
                outcome = "not written"
            except ClusterError:
                outcome = "unknown"
        now = reader(prod).read().get(KEY)
        holds = now.manifest if now else None
        if outcome == "written":
            assert holds == wanted
        elif outcome == "not written":
            assert holds == held
        else:
            assert holds in (held, wanted)
        held = holds
    assert OWNER

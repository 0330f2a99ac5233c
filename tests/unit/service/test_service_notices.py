"""What is news in a sync or a poll, and what becomes of it as Kubernetes Events."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from structlog.testing import capture_logs

from sync.calico.objects import GlobalNetworkSet
from sync.clusters.cluster import EventText
from sync.errors import ClusterError, LeaseError, SourceError
from sync.plan.changes import Cause, Change
from sync.plan.guards import Blocker
from sync.plan.plan import LeftOut, Plan
from sync.reconcile.result import Result
from sync.service.events import Events, on_pod, on_tiers
from sync.service.metrics import Metrics
from sync.service.notices import Announcer, Notice, NoticeKind
from sync.service.sources import PolledSource
from tests.memory import HeldMemory
from tests.unit.service.words import SaidSource, until

PLAN = Plan("prod", (), (), (), (), (), (), 3)
IN_SYNC = Result("prod", PLAN)
FAILED = Result("prod", error=ClusterError("no answer"))
HELD = Result("prod", error=LeaseError("somebody else"))
BLOCKED = Result("prod", replace(PLAN, blockers=(Blocker("mass-delete", "9 of 10", True),)))


def change(name: str, changed_by: str = "") -> Change:
    after = GlobalNetworkSet(name=name, labels=(), annotations=(), nets=("10.0.0.1/32",))
    return Change(None, after.manifest(), Cause.DRIFT, changed_by=changed_by)


@dataclass
class Heard:
    """A channel that keeps what it is told."""

    notices: list[Notice] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)

    def close(self, seconds: float) -> None:
        self.closed.append(seconds)

    def kinds(self) -> list[str]:
        return [str(each.kind) for each in self.notices]


def told(*results: Result) -> Heard:
    heard = Heard()
    announcer = Announcer([heard], 1800)
    for result in results:
        announcer.synced(result)
    return heard


# --- what is news ---------------------------------------------------------------------------------


def test_a_state_is_told_when_it_changes_and_never_again() -> None:
    heard = told(IN_SYNC, IN_SYNC, FAILED, FAILED, BLOCKED, BLOCKED, IN_SYNC, IN_SYNC)
    assert heard.kinds() == ["recovered", "failed", "blocked", "recovered"]
    assert [each.first for each in heard.notices] == [True, False, False, False]


def test_another_plan_that_is_blocked_is_news() -> None:
    other = replace(BLOCKED, plan=replace(PLAN, blockers=(Blocker("set-grow", "x", True),)))
    assert told(BLOCKED, other, other).kinds() == ["blocked", "blocked"]
    notice = told(BLOCKED).notices[0]
    assert BLOCKED.plan is not None
    assert (notice.guards, notice.digest) == (("mass-delete",), BLOCKED.plan.digest)
    assert notice.approvable


def test_what_cannot_be_approved_is_one_block_whatever_else_is_written() -> None:
    def blocked(message: str, unchanged: int) -> Result:
        blocker = Blocker("foreign-object", message, approvable=False)
        plan = replace(PLAN, blockers=(blocker,), changes=(change(f"pan.{unchanged}"),))
        return Result("prod", plan)

    heard = told(blocked("pan.web", 1), blocked("pan.web", 2), blocked("pan.db", 2))
    assert heard.kinds() == ["blocked", "blocked"]
    assert not heard.notices[0].approvable


def test_a_cluster_that_another_process_leads_is_for_that_one_to_tell_of() -> None:
    assert told(FAILED, HELD, FAILED).kinds() == ["failed"]


def test_who_leads_again_looks_at_what_was_told_meanwhile() -> None:
    heard = Heard()
    announcer = Announcer([heard], 1800)
    announcer.synced(FAILED)
    announcer.left("prod")
    announcer.synced(FAILED)
    assert [each.first for each in heard.notices] == [True, True]


def test_drift_that_was_put_back_is_told_each_time_in_the_same_words() -> None:
    first = replace(IN_SYNC, written=(change("pan.a", "kubectl at 2026-01-01T00:00:00Z"),))
    again = replace(IN_SYNC, written=(change("pan.a", "kubectl at 2026-01-01T00:00:09Z"),))
    heard = told(IN_SYNC, first, again)
    assert heard.kinds() == ["recovered", "drift repaired", "drift repaired"]
    assert heard.notices[1].detail == heard.notices[2].detail
    assert "GlobalNetworkSet pan.a (kubectl)" in heard.notices[1].detail
    many = replace(IN_SYNC, written=tuple(change(f"pan.{number}") for number in range(900)))
    assert told(many).notices[-1].detail.endswith("pan.2 and 897 more")


def test_labels_that_name_no_zone_are_told_when_they_are_new() -> None:
    def with_labels(*values: str) -> Result:
        found = tuple(LeftOut(f"pods labelled zone: {value!r}", "correct it") for value in values)
        return Result("prod", replace(PLAN, left_out=(LeftOut("rules", "2 open"), *found)))

    heard = told(
        with_labels(),
        with_labels("a"),
        with_labels("a"),
        with_labels("a", "b"),
        with_labels(),
        with_labels("b"),
    )
    zones = [each.detail for each in heard.notices if each.kind is NoticeKind.UNKNOWN_ZONES]
    assert zones == [f"pods labelled zone: '{value}': correct it" for value in ("a", "b", "b")]


def test_what_is_told_is_one_bounded_line_without_credentials() -> None:
    said = "refused: Authorization: Bearer abcdef\nbecause \x1b[31m" + "x" * 5000
    detail = told(Result("prod", error=ClusterError(said))).notices[0].detail
    assert "abcdef" not in detail
    assert detail.isprintable()
    assert len(detail) <= 900


def test_a_source_is_told_of_when_it_is_too_old_and_when_it_answers_again() -> None:
    heard, now, source = Heard(), [time.time()], SaidSource()
    announcer = Announcer([heard], 1800, clock=lambda: now[0])
    polled = PolledSource(source, HeldMemory())
    polled.succeeded = time.time()  # as what is remembered from before the start
    announcer.polled(polled)
    assert not heard.notices
    polled.succeeded = 0.0
    source.error = "down"
    polled.poll()
    announcer.polled(polled)
    assert not heard.notices
    now[0] += 1801
    announcer.polled(polled)
    announcer.polled(polled)
    source.error = ""
    polled.poll()
    announcer.polled(polled)
    announcer.polled(polled)
    assert heard.kinds() == ["stale", "recovered"]
    assert "down" in heard.notices[0].detail
    polled.error, polled.succeeded = SourceError("down again"), time.time() - 1801
    polled.succeeded_at = time.monotonic() - 1801
    announcer.polled(polled)
    assert heard.kinds()[-1] == "stale"


def test_all_channels_share_the_time_that_the_end_has() -> None:
    heard = [Heard(), Heard()]
    Announcer(heard, 1800).close(5)
    assert all(0 <= each.closed[0] <= 5 for each in heard)


# --- as Events ------------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Keeps Events; `error` is what each write raises."""

    events: list[tuple[str, EventText]] = field(default_factory=list)
    error: Exception | None = None
    tries: int = 0
    goes: threading.Event = field(default_factory=threading.Event)

    def tier(self, name: str) -> Mapping[str, str] | None:
        return None if name == "gone" else {"kind": "Tier", "name": name}

    def record(self, regarding: Mapping[str, str], said: EventText) -> bool:
        self.tries += 1
        assert self.goes.wait(60)
        if self.error:
            raise self.error
        self.events.append((regarding["name"], said))
        return len(self.events) < 3


def events(recorder: Recorder, *notices: Notice, cluster: str | None = "prod") -> Metrics:
    recorder.goes.set()
    metrics = Metrics()
    where = on_tiers(["eu", "gone", "eu"]) if cluster else on_pod({"kind": "Pod", "name": "pod-1"})
    channel = Events(recorder, where, metrics, cluster=cluster)
    for notice in notices:
        channel.tell(notice)
    channel.close(60)
    return metrics


def notice(kind: NoticeKind, **changes: Any) -> Notice:
    return replace(Notice(kind, "cluster", "prod", "a word", 0.0), **changes)


def test_each_notice_is_an_event_of_each_tier_that_is_there() -> None:
    recorder = Recorder()
    kinds = [
        NoticeKind.BLOCKED,
        NoticeKind.FAILED,
        NoticeKind.RECOVERED,
        NoticeKind.DRIFT_REPAIRED,
        NoticeKind.UNKNOWN_ZONES,
    ]
    metrics = events(recorder, *map(notice, kinds))
    assert [name for name, _ in recorder.events] == ["eu"] * 5
    assert [(said.reason, said.warning) for _, said in recorder.events] == [
        ("PlanBlocked", True),
        ("SyncFailed", True),
        ("SyncRecovered", False),
        ("DriftRepaired", True),
        ("UnknownZoneLabels", True),
    ]
    assert recorder.events[0][1].note == "cluster prod: a word"

    def counted(result: str) -> float | None:
        labels = {"cluster": "prod", "result": result}
        return metrics.registry.get_sample_value("zonebridge_events_total", labels)

    assert (counted("written"), counted("dropped")) == (2, 3)


def test_a_clusters_events_are_its_own_and_the_pod_has_all() -> None:
    other = notice(NoticeKind.FAILED, name="other")
    stale = notice(NoticeKind.STALE, about="source", name="main")
    tiers, pod = Recorder(), Recorder()
    events(tiers, other, stale)
    events(pod, other, stale, cluster=None)
    assert not tiers.events
    assert [said.reason for _, said in pod.events] == ["SyncFailed", "SourceStale"]


def test_that_all_is_well_at_the_start_is_no_event() -> None:
    recorder = Recorder()
    events(recorder, notice(NoticeKind.RECOVERED, first=True))
    assert not recorder.tries


def test_events_that_are_refused_are_logged_once_and_tried_no_second_time() -> None:
    recorder = Recorder(error=ClusterError("refused with 403"))
    with capture_logs() as log:
        events(recorder, *[notice(NoticeKind.FAILED)] * 5)
    assert [(each["event"], each["on"]) for each in log] == [("event not written", "cluster prod")]
    assert recorder.tries == 5


def test_nobody_waits_for_events_and_what_waits_is_bounded() -> None:
    recorder = Recorder()
    channel = Events(recorder, on_tiers(["eu"]), Metrics(), cluster="prod")
    for _ in range(10_000):
        channel.tell(notice(NoticeKind.DRIFT_REPAIRED))
    until(lambda: recorder.tries)
    assert len(channel._waiting) <= 64
    channel.close(0)
    recorder.goes.set()

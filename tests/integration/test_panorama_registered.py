"""What firewalls tell through their Panorama: registered addresses, and whether all is pushed."""

from collections.abc import Callable, Iterator
from threading import Lock

import pytest
import structlog

from sync.firewall import tag_filter
from sync.firewall.configuration import Snapshot
from sync.firewall.runtime import Registrations, tagged
from sync.net.addresses import network
from sync.sources.panorama import registered_ips
from sync.sources.panorama.source import PanoramaSource
from tests.memory import HeldMemory
from tests.panorama_words import FAULTS, HALF_AN_HOUR, Clock, failure_of, source_of
from tests.words import Word, address, document, dynamic, entry, tag, text
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import ApiError, Body, Drip, EmptyResult, Fault, Reset, Silence
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, every, of, op

AUDIT = "<show><config><audit><info></info></audit></config></show>"
COUNT = "<option>count</option>"
REGISTERED = "<registered-ip>"


def firewalls(*serials: str, vsys: str = "") -> Word:
    inner = tag("vsys", entry(vsys)) if vsys else ""
    return Word("devices", "".join(entry(each, inner) for each in serials))


def company(*shared: Word) -> bytes:
    """Two firewalls in `eu` and below, two virtual systems of a third, and `lab` without any."""
    return document(
        shared or [dynamic("web", "'web'")],
        {
            "eu": [firewalls("001")],
            "berlin": [firewalls("002")],
            "us": [firewalls("003", vsys="vsys2")],
            "asia": [firewalls("003", vsys="vsys3")],
            "lab": [address("db", "10.0.0.1")],
        },
        parents={"berlin": "eu"},
    )


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(company(), authority) as panorama:
        panorama.registered_on = {"001": {"10.1.0.1": ("web",)}, "002": {"10.1.0.1": ("web",)}}
        yield panorama


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(authority: Authority, panorama: Panorama, clock: Clock) -> PanoramaSource:
    return source_of(authority, panorama, clock=clock, device_groups=("eu",))


def held(snapshot: Snapshot, name: str = "eu", asked: str = "web") -> list[str]:
    return snapshot.registered[name].held(tag_filter.parse(asked)).surely.cidrs()


def missing(snapshot: Snapshot, name: str = "eu") -> tuple[str, ...]:
    return snapshot.registered[name].missing


def targets(panorama: Panorama) -> list[tuple[str, str]]:
    """Whom registered addresses were asked of, each once for each way they were counted."""
    return sorted((each.target, each.vsys) for each in panorama.requests if COUNT in each.cmd)


# --- who is asked ---------------------------------------------------------------------------------


def test_the_firewalls_of_a_device_group_and_below_are_asked_once(
    authority: Authority, panorama: Panorama
) -> None:
    panorama.registered_on["003/vsys2"] = {"10.3.0.0/24": ("web", "x"), "10.3.0.7": ("db",)}
    panorama.registered_on["003/vsys3"] = {"10.4.0.1-10.4.0.2": ("web",)}
    groups = ("eu", "berlin", "us", "asia", "gone")
    read = source_of(authority, panorama, device_groups=groups).read()
    assert targets(panorama) == [("001", ""), ("002", ""), ("003", "vsys2"), ("003", "vsys3")]
    one = tagged([(network("10.1.0.1"), ("web",))])
    assert read.registered["eu"] == Registrations((one, one))
    assert read.registered["berlin"] == Registrations((one,))
    # An address has the tags of what it lies in too.
    assert held(read, "us", "web and db") == ["10.3.0.7/32"]
    assert held(read, "us", "x") == ["10.3.0.0/24"]
    assert held(read, "asia") == ["10.4.0.1/32", "10.4.0.2/32"]
    assert sorted(read.registered) == ["asia", "berlin", "eu", "us"]


def test_without_firewalls_it_is_what_the_panorama_has(
    authority: Authority, panorama: Panorama
) -> None:
    panorama.registered = {"10.9.0.1": ("web",)}
    read = source_of(authority, panorama, device_groups=("lab",)).read()
    assert held(read, "lab") == ["10.9.0.1/32"]
    assert targets(panorama) == [("", "")]


def test_devices_that_cannot_be_read_are_missing(authority: Authority) -> None:
    broken = company().replace(b'<entry name="001"></entry>', b"<entry/>")
    with Panorama(broken, authority) as panorama:
        panorama.registered_on["002"] = {"10.1.0.1": ("web",)}
        read = source_of(authority, panorama, device_groups=("eu",)).read()
    assert held(read) == []
    assert missing(read) == (
        "of device group 'eu', its devices or reference templates cannot be read",
    )
    alone = document([dynamic("web", "web")], {"eu": [Word("devices", "<entry/>")]})
    with Panorama(alone, authority) as panorama:
        read = source_of(authority, panorama, device_groups=("eu",)).read()
        # It has firewalls; what the Panorama has is not what they have.
        assert targets(panorama) == []
    assert read.registered["eu"].firewalls == ()
    assert missing(read)


def test_where_no_group_is_dynamic_nobody_is_asked(authority: Authority) -> None:
    with Panorama(company(address("dns", "10.0.0.53")), authority) as panorama:
        read = source_of(authority, panorama, device_groups=("eu", "lab")).read()
        assert not any(op(REGISTERED)(each) for each in panorama.requests)
        assert read.registered == {}


@pytest.mark.parametrize("where", ["eu", "berlin"])
def test_a_dynamic_group_counts_for_those_that_inherit_it(authority: Authority, where: str) -> None:
    changed = company(address("dns", "10.0.0.53")).replace(
        f'<entry name="{where}">'.encode(),
        f'<entry name="{where}">'.encode()
        + b"<address-group><entry name='d'><dynamic><filter>web</filter></dynamic></entry>"
        + b"</address-group>",
        1,
    )
    with Panorama(changed, authority) as panorama:
        source = source_of(authority, panorama, device_groups=("eu", "berlin", "us"))
        read = source.read()
    assert sorted(read.registered) == (["berlin", "eu"] if where == "eu" else ["berlin"])


# --- when they are asked --------------------------------------------------------------------------


def test_between_two_ticks_a_poll_is_one_small_call(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    clock.time = 0
    first = source.read()
    revision = source.revision()
    panorama.requests.clear()
    for clock.time in (10, 20, 29):
        assert source.revision() == revision
    assert [each.cmd for each in panorama.requests] == [AUDIT] * 3
    # And whoever reads all the same gets what is there.
    assert source.read() is first
    assert [each.cmd for each in panorama.requests] == [AUDIT] * 4


def test_a_tick_asks_firewalls_and_reads_no_configuration(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    clock.time = 0
    first, before = source.read(), source.revision()
    clock.time = 30
    panorama.registered_on["002"] = panorama.registered_on["001"] = {"10.1.0.2": ("web",)}
    panorama.requests.clear()
    assert source.revision() != before
    second = source.read()
    assert held(second) == ["10.1.0.2/32"]
    assert second.configuration is first.configuration
    assert second.provenance == first.provenance
    assert {each.type for each in panorama.requests} == {"op"}
    assert [each.cmd for each in panorama.requests if not each.target] == [
        AUDIT,
        AUDIT,
        "<show><devicegroups></devicegroups></show>",
    ]
    # Two calls a firewall: how many, and which.
    assert sorted(each.target for each in panorama.requests if each.target) == [
        "001",
        "001",
        "002",
        "002",
    ]
    clock.time = 59
    panorama.requests.clear()
    assert source.read() is second
    assert len(panorama.requests) == 1


def test_a_commit_and_a_full_read_ask_anew(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    clock.time = 0
    first = source.read()
    panorama.commit(company(dynamic("db", "db")))
    second = source.read()
    assert second.configuration != first.configuration
    assert len(targets(panorama)) == 4
    clock.time = 900
    third = source.read()
    assert third == second
    assert third.configuration is not second.configuration


# --- pages ----------------------------------------------------------------------------------------


def many(count: int) -> dict[str, tuple[str, ...]]:
    return {f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}": ("web",) for n in range(count)}


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 999, 1000, 1600])
def test_every_page_is_read(panorama: Panorama, source: PanoramaSource, count: int) -> None:
    panorama.registered_on["001"] = panorama.registered_on["002"] = many(count)
    read = source.read()
    assert missing(read) == ()
    assert sum(found.size for _, found in read.registered["eu"].firewalls[0]) == count
    # One row of every page is read twice, to see whether any moved.
    pages = sum(of("001")(each) and "<limit>500</limit>" in each.cmd for each in panorama.requests)
    assert pages == max(1, -(-(count - 1) // 499))


def replaced(panorama: Panorama, serial: str = "001") -> Callable[[], None]:
    """One of the first page goes, and another comes at the end: the count stays."""
    lock = Lock()

    def happen() -> None:
        with lock:
            rows = list(panorama.registered_on[serial].items())
            number = len(panorama.requests)
            panorama.registered_on[serial] = dict([*rows[1:], (f"192.0.2.{number % 250}", ("db",))])

    return happen


def second_page_of(serial: str) -> Callable[[Request], bool]:
    return lambda request: of(serial)(request) and "<start-point>500<" in request.cmd


def test_rows_that_move_between_pages_are_read_anew(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.registered_on["001"] = panorama.registered_on["002"] = many(1000)
    panorama.before(second_page_of("001"), replaced(panorama), times=2)
    read = source.read()
    assert missing(read) == ()
    # Two left and two came on one firewall; the other still has all.
    assert len(read.registered["eu"].firewalls[0]) == 2
    assert sum(each == ("001", "") for each in targets(panorama)) == 3


def test_rows_that_never_stand_still_are_missing(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.registered_on["001"] = panorama.registered_on["002"] = many(600)
    panorama.before(second_page_of("001"), replaced(panorama), times=None)
    read = source.read()
    assert missing(read) == ("firewall 001 does not tell as many addresses as it has registered",)
    assert sum(each == ("001", "") for each in targets(panorama)) == 3
    assert len(read.registered["eu"].firewalls) == 1


def test_one_that_comes_after_the_count_is_counted_again(
    panorama: Panorama, source: PanoramaSource
) -> None:
    def comes() -> None:
        panorama.registered_on["001"] = many(3)

    panorama.before(lambda request: of("001")(request) and "<limit>" in request.cmd, comes, times=1)
    read = source.read()
    assert missing(read) == ()
    assert read.registered["eu"].firewalls[0][0][1].size == 3


def test_there_is_a_most(
    panorama: Panorama, source: PanoramaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered_ips, "MOST", 10)
    panorama.registered_on["001"] = many(11)
    assert missing(source.read()) == ("firewall 001 has more than 10 addresses registered",)
    assert not any(of("001")(each) and "<limit>" in each.cmd for each in panorama.requests)


# --- what is missing ------------------------------------------------------------------------------


def test_a_firewall_that_never_told_is_missing_and_then_nothing_is_sure(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.disconnected.add("001")
    read = source.read()
    assert missing(read) == ("firewall 001 does not tell (001 not connected)",)
    assert held(read) == []


def test_what_a_firewall_told_last_counts_for_a_while(
    authority: Authority, panorama: Panorama, clock: Clock
) -> None:
    memory = HeldMemory()

    def source() -> PanoramaSource:
        return source_of(authority, panorama, clock=clock, device_groups=("eu",), memory=memory)

    first = source()
    first.read()
    panorama.disconnected.add("001")
    panorama.registered_on["002"] = {"10.1.0.1": ("web",), "10.1.0.2": ("web",)}
    for each in (first, source()):  # the same process, and one after it
        with structlog.testing.capture_logs() as logged:
            for _ in range(2):
                clock.sleep(30)
                read = each.read()
                assert (missing(read), held(read)) == ((), ["10.1.0.1/32"])
                found = read.registered["eu"].held(tag_filter.parse("web"))
                assert found.because[0] == (
                    "firewall 001 does not tell (001 not connected); what it told last counts"
                )
        assert sum("registered addresses unavailable" in each["event"] for each in logged) == 1
    clock.sleep(HALF_AN_HOUR)
    for each in (first, source()):
        read = each.read()
        assert missing(read) == ("firewall 001 does not tell (001 not connected)",)
        assert held(read) == []
        assert read.registered["eu"].held(tag_filter.parse("web")).at_most is None
    panorama.disconnected.clear()
    panorama.registered_on["001"] = panorama.registered_on["002"]
    clock.sleep(30)
    assert held(first.read()) == ["10.1.0.1/32", "10.1.0.2/32"]


def test_the_time_of_what_a_firewall_tells_is_kept_though_it_tells_the_same(
    authority: Authority, panorama: Panorama, clock: Clock
) -> None:
    memory = HeldMemory()
    first = source_of(authority, panorama, clock=clock, device_groups=("eu",), memory=memory)
    for _ in range(3):
        first.read()
        clock.sleep(HALF_AN_HOUR / 2)
    panorama.disconnected.add("001")
    later = source_of(authority, panorama, clock=clock, device_groups=("eu",), memory=memory)
    assert missing(later.read()) == ()


def test_what_is_remembered_and_cannot_be_read_is_as_if_nothing_was_told(
    authority: Authority, panorama: Panorama
) -> None:
    memory = HeldMemory({("registered", "001 "): b"[[1]]"})
    panorama.disconnected.add("001")
    source = source_of(authority, panorama, device_groups=("eu",), memory=memory)
    assert len(missing(source.read())) == 1


def test_only_the_firewalls_that_clusters_stand_for_count(
    authority: Authority, panorama: Panorama
) -> None:
    panorama.disconnected.add("001")
    panorama.registered_on["002"] = {"10.1.0.2": ("web",)}
    for devices, expected in ((("002", "009"), ["10.1.0.2/32"]), (("009",), [])):
        source = source_of(authority, panorama, device_groups=("eu",), devices=devices)
        assert held(source.read()) == expected


def test_a_virtual_system_is_named(authority: Authority, panorama: Panorama) -> None:
    read = source_of(authority, panorama, device_groups=("us",)).read()
    assert missing(read, "us") == ("firewall 003 (vsys2) does not tell (003 not connected)",)


def test_what_is_no_address_makes_a_firewall_missing(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.registered_on["001"] = {"10.1.0.1": ("web",), "x" * 300: ("web",)}
    assert missing(source.read()) == (
        f"firewall 001 has '{'x' * 100}' registered, which is no address",
    )


def said(*rows: str, count: int | None = None) -> Body:
    counted = "" if count is None else text("count", str(count))
    return Body(f'<response status="success">{tag("result", *rows, counted)}</response>'.encode())


ROW = '<entry ip="10.1.0.1"><tag><member>web</member></tag></entry>'


@pytest.mark.parametrize(
    "answer",
    [
        EmptyResult(),
        said(ROW, count=7),
        said(tag("rows", ROW), count=1),
        said(tag("entry", "<ip>10.1.0.1</ip>", tag("tag", tag("member", "web")))),
        said('<entry ip="10.1.0.1"><member>web</member></entry>'),
        said('<entry ip="10.1.0.1"><tag><entry name="web"/></tag></entry>'),
        said('<entry ip="10.1.0.1"><tag><member>a<b/></member></tag></entry>'),
        said('<entry ip="10.1.0.1"><tag><member/></tag></entry>'),
        said('<entry ip="10.1.0.1"/>'),
        said(ROW.replace("10.1.0.1", "")),
        said(ROW, ROW, count=2),
        said("rows"),
    ],
    ids=str,
)
def test_pages_that_do_not_add_up_are_missing(
    panorama: Panorama, source: PanoramaSource, answer: Fault
) -> None:
    panorama.fail(
        lambda request: of("001")(request) and "<limit>" in request.cmd, answer, times=None
    )
    [clause] = missing(source.read())
    assert clause.startswith("firewall 001 ")


@pytest.mark.parametrize("inner", ["", "<count/>", "<count>-1</count>", "<count>many</count>"])
def test_a_count_that_is_none_is_missing(
    panorama: Panorama, source: PanoramaSource, inner: str
) -> None:
    panorama.fail(lambda request: of("001")(request) and COUNT in request.cmd, said(inner), None)
    assert missing(source.read()) == (
        "firewall 001 tells of registered addresses in a shape that is not known here",
    )


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("call", [COUNT, "<limit>"])
def test_a_firewall_that_fails_in_any_way_harms_no_other(
    panorama: Panorama, authority: Authority, clock: Clock, fault: Fault, call: str
) -> None:
    slow = isinstance(fault, Silence | Drip)
    source = source_of(
        authority,
        panorama,
        clock=clock,
        device_groups=("eu",),
        whole_seconds=1 if slow else 60,
    )
    panorama.fail(lambda request: of("001")(request) and call in request.cmd, fault, times=None)
    read = source.read()
    [clause] = missing(read)
    assert clause.startswith(("firewall 001 does not tell (", "firewall 001 did not answer"))
    assert str(panorama.port) not in clause
    if slow:
        # It is not waited for again.
        assert sum(of("001")(each) and call in each.cmd for each in panorama.requests) == 1
    panorama.recover()
    clock.sleep(30)
    whole = source.read()
    assert (missing(whole), held(whole)) == ((), ["10.1.0.1/32"])
    assert read.configuration is whole.configuration


def test_if_the_panorama_itself_is_gone_nothing_is_read(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    whole = source.read()
    clock.sleep(30)
    # From the first firewall on: what it does not say, it does not mean.
    panorama.before(op(REGISTERED), lambda: panorama.fail(every, Reset(), times=None))
    assert "does not answer" in failure_of(source.read)
    panorama.recover()
    panorama.requests.clear()
    assert source.read() == whole
    assert {each.type for each in panorama.requests} == {"op"}


# --- whether all is pushed ------------------------------------------------------------------------


def test_firewalls_that_have_not_what_runs_are_named(
    authority: Authority, panorama: Panorama, clock: Clock
) -> None:
    groups = ("eu", "berlin", "us", "lab", "gone")
    source = source_of(authority, panorama, clock=clock, device_groups=groups)
    assert source.read().not_pushed == {}
    panorama.shared_policy_status |= {"002": "Out of Sync", "003": ""}
    panorama.disconnected |= {"001", "002"}
    clock.sleep(30)
    assert source.read().not_pushed == {"berlin": ("002",), "eu": ("002",), "us": ("003",)}


def test_they_are_told_of_without_a_dynamic_group(authority: Authority) -> None:
    with Panorama(company(address("dns", "10.0.0.53")), authority) as panorama:
        panorama.shared_policy_status["001"] = "Out of Sync"
        read = source_of(authority, panorama, device_groups=("eu",)).read()
    assert read.not_pushed == {"eu": ("001",)}


@pytest.mark.parametrize("which", ["device", "vsys"])
def test_one_virtual_system_that_lags_is_enough(authority: Authority, which: str) -> None:
    def status(of_it: bool) -> str:
        return text("shared-policy-status", "Out of Sync" if of_it else "In Sync")

    vsys = tag("vsys", entry("vsys1", status(False)), entry("vsys2", status(which == "vsys")))
    device = entry("003", text("serial", "003"), status(which == "device"), vsys)
    groups = tag("devicegroups", entry("us", tag("devices", device)))
    with Panorama(company(), authority) as panorama:
        panorama.fail(op("<devicegroups>"), said(groups))
        read = source_of(authority, panorama, device_groups=("us",)).read()
    assert read.not_pushed == {"us": ("003",)}


def test_a_firewall_that_is_not_spoken_of_has_nothing(authority: Authority) -> None:
    with Panorama(company(), authority) as panorama:
        panorama.fail(op("<devicegroups>"), said(tag("devicegroups", entry("us"))))
        read = source_of(authority, panorama, device_groups=("us",)).read()
    assert read.not_pushed == {"us": ("003",)}


@pytest.mark.parametrize(
    "fault",
    [
        *(each for each in FAULTS if not isinstance(each, Silence | Drip)),
        EmptyResult(),
        ApiError("not allowed", 17),
        said(tag("devicegroups", tag("group", "eu"))),
        said(tag("devicegroups", "<entry/>")),
    ],
    ids=repr,
)
def test_whoever_does_not_tell_is_warned_of_once(
    panorama: Panorama, source: PanoramaSource, clock: Clock, fault: Fault
) -> None:
    panorama.shared_policy_status["001"] = "Out of Sync"
    panorama.fail(op("<devicegroups>"), fault, times=None)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            read = source.read()
            assert read.not_pushed == {}
            assert held(read) == ["10.1.0.1/32"]
            clock.sleep(30)
    about = "push status of firewalls unavailable"
    assert [each["event"] for each in logged if "App-ID" not in each["event"]] == [about]
    panorama.recover()
    assert source.read().not_pushed == {"eu": ("001",)}


def test_whom_no_cluster_stands_for_is_asked_of_nothing(
    authority: Authority, panorama: Panorama, clock: Clock
) -> None:
    source = source_of(authority, panorama, clock=clock)
    before = source.revision()
    read = source.read()
    assert (read.registered, read.not_pushed) == ({}, {})
    assert not any(op("<devicegroups>")(each) for each in panorama.requests)
    clock.sleep(31)
    assert source.revision() == before

"""A Panorama's own App-IDs: when they are read, and what becomes of those that cannot be."""

from collections.abc import Iterator

import pytest
import structlog

from sync.firewall.applications import resolve_applications
from sync.firewall.objects import Application, ApplicationGroup
from sync.sources.panorama.source import PanoramaSource
from tests.panorama_words import FAULTS, FIFTEEN_MINUTES, Clock, source_of
from tests.words import document, entry, members, tag, text
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import ApiError, Drip, EmptyResult, Fault, Huge, Silence
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, op, reads


def app(name: str, *ports: str, extended: tuple[str, ...] = ()) -> str:
    default = tag("default", members("port", ports), members("extended-port", extended))
    return entry(name, default, text("category", "networking"), tag("signature", entry("x")))


def content(*apps: str, containers: tuple[str, ...] = ()) -> bytes:
    containers = containers or (entry("chat", members("functions", ["chat-base"])),)
    return tag(
        "predefined", tag("application", *apps), tag("application-container", *containers)
    ).encode()


CONTENT = content(
    app("chat-base", "tcp/7000", "udp/dynamic"),
    app("chat-file", "tcp/7001-7002"),
    app("shop", "tcp/80", extended=("tcp/80", "tcp/444/secure")),
    containers=(entry("chat", members("functions", ["chat-file", "chat-base"]), text("x", "y")),),
)
EVERY = "<show><predefined><xpath>/predefined/application</xpath></predefined></show>"
CONTAINERS = EVERY.replace("application<", "application-container<")


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(document(groups={"eu": ()}), authority) as panorama:
        panorama.predefined = CONTENT
        yield panorama


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(authority: Authority, panorama: Panorama, clock: Clock) -> PanoramaSource:
    return source_of(authority, panorama, clock=clock)


def of_content(request: Request) -> bool:
    """A call for the content, either way."""
    return op("<predefined>")(request) or reads("/config/predefined")(request)


def asked(panorama: Panorama) -> list[str]:
    return [each.cmd or each.xpath for each in panorama.requests if of_content(each)]


def test_the_app_ids_of_the_content_are_read(source: PanoramaSource) -> None:
    found = source.read().predefined
    assert sorted(found) == ["chat", "chat-base", "chat-file", "shop"]
    assert found["chat"] == ApplicationGroup("chat", ("chat-base", "chat-file"))
    assert found["chat-file"] == Application(
        "chat-file",
        default=(("port", "tcp/7001-7002"),),
        attributes=(("category", "networking"),),
        predefined=True,
    )
    traffic = resolve_applications(["chat"], found)
    assert traffic.open_because == ("App-ID chat-base has dynamic ports",)
    assert len(traffic.traffic) == 1


def test_ports_of_decrypted_traffic_are_denied_and_not_allowed(source: PanoramaSource) -> None:
    found = source.read().predefined
    allowed = resolve_applications(["shop"], found)
    denied = resolve_applications(["shop"], found, denied=True)
    assert (allowed.open_because, denied.open_because) == ((), ())
    [allow], [deny] = allowed.traffic, denied.traffic
    assert (str(allow.ports), str(deny.ports)) == ("80", "80,444")


def test_it_is_read_once_a_version(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    first = source.read()
    assert asked(panorama) == [EVERY, CONTAINERS]
    panorama.commit(document(groups={"us": ()}))
    second = source.read()
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    third = source.read()
    assert second.predefined is third.predefined is first.predefined
    assert asked(panorama) == [EVERY, CONTAINERS]
    # New content needs no commit; a full read finds it.
    panorama.system["app-version"] = "8921-9270"
    panorama.predefined = content(app("chat-base", "tcp/7005"))
    assert source.read() is third
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    fourth = source.read()
    assert sorted(fourth.predefined) == ["chat", "chat-base"]
    assert asked(panorama) == [EVERY, CONTAINERS] * 2


def test_content_without_a_version_is_read_again(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    del panorama.system["app-version"]
    source.read()
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    source.read()
    assert asked(panorama) == [EVERY, CONTAINERS] * 2


@pytest.mark.parametrize(
    "how", [ApiError("show -> predefined is invalid", 17), EmptyResult()], ids=repr
)
def test_where_the_command_is_not_known_the_configuration_is_asked(
    panorama: Panorama, source: PanoramaSource, how: Fault
) -> None:
    whole = source.read()
    panorama.system["app-version"] = "8921-9270"
    panorama.commit()
    panorama.fail(op("<predefined>"), how, times=None)
    panorama.requests.clear()
    assert source.read().predefined == whole.predefined
    assert [each.action for each in panorama.requests if reads("/predefined/")(each)] == [
        "get",
        "get",
    ]


def test_where_it_is_not_to_be_had_it_is_warned_of_once_a_version(
    panorama: Panorama, source: PanoramaSource, clock: Clock
) -> None:
    panorama.predefined = None
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert source.read().predefined == {}
            clock.sleep(FIFTEEN_MINUTES.total_seconds())
        panorama.system["app-version"] = "8921-9270"
        source.read()
    assert [each["event"] for each in logged] == [
        "App-IDs unavailable; using the last known ones, else the bundled table"
    ] * 2
    assert "shows nothing at /config/predefined/application" in logged[0]["error"]
    # A role may be mended.
    panorama.predefined = CONTENT
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    assert source.read().predefined


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_whatever_fails_leaves_what_is_known(
    panorama: Panorama, authority: Authority, clock: Clock, fault: Fault
) -> None:
    slow = isinstance(fault, Silence | Drip)
    source = source_of(authority, panorama, clock=clock, whole_seconds=1 if slow else 60)
    panorama.fail(of_content, fault, times=None)
    none = source.read()
    assert none.predefined == {}
    panorama.recover()
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    whole = source.read()
    assert whole.predefined
    panorama.system["app-version"] = "8921-9270"
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    # Without its containers the rest is not believed either.
    panorama.fail(
        lambda request: of_content(request) and "container" in request.cmd + request.xpath,
        fault,
        times=None,
    )
    assert source.read() == whole


def test_content_that_never_ends_is_none(
    panorama: Panorama, source: PanoramaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.sources.panorama.connection.MAX_BYTES", 1_000_000)
    panorama.fail(of_content, Huge(10**12), times=None)
    assert source.read().predefined == {}


UNREADABLE = {
    "two defaults": entry("a", tag("default"), tag("default")),
    "no list": entry("a", tag("default", tag("port", text("x", "tcp/80")))),
    "no port": entry("a", tag("default", members("port", ["tcp/web"]))),
    "no default": entry("a"),
    "empty": entry("a", tag("default")),
    "unknown": entry("a", tag("default", text("ident-by-luck", "1"))),
    "twice": app("a", "tcp/80") + app("a", "tcp/81"),
    "icmp": entry("a", tag("default", members("port", ["icmp/dynamic"]))),
    "extended": entry(
        "a", tag("default", members("port", ["tcp/80"]), tag("extended-port", text("x", "y")))
    ),
    "no entry": '<other name="a"/>',
}


@pytest.mark.parametrize("written", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("denied", [True, False])
def test_an_app_id_that_cannot_be_read_is_neither_any_nor_nothing(
    panorama: Panorama, source: PanoramaSource, written: str, denied: bool
) -> None:
    panorama.predefined = content(written, app("b", "tcp/90"))
    found = source.read().predefined
    [because] = resolve_applications(["a", "b"], found, denied=denied).open_because
    assert because.startswith("App-ID a ")


@pytest.mark.parametrize(
    "written",
    [
        entry("a"),
        entry("a", tag("functions")),
        entry("a", tag("functions", text("entry", "b"))),
        entry("a", members("functions", ["b"]), members("functions", ["c"])),
        entry("a", members("functions", ["gone"])),
    ],
)
def test_a_container_that_cannot_be_read_is_neither_any_nor_nothing(
    panorama: Panorama, source: PanoramaSource, written: str
) -> None:
    panorama.predefined = content(app("b", "tcp/90"), app("c", "tcp/91"), containers=(written,))
    assert resolve_applications(["a"], source.read().predefined).open_because

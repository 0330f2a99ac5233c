"""The client of a Panorama: whom it trusts, what it tells whom, what it makes of each failure."""

import gc
import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import BadStatusLine
from pathlib import Path
from threading import BoundedSemaphore

import pytest
from panos.objects import AddressObject
from panos.panorama import DeviceGroup
from structlog.testing import capture_logs

from sync.errors import SourceError, UsageError
from sync.sources.panorama import connection
from sync.sources.panorama.client import ApiKey, PanoramaHost
from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection, tls_context
from sync.sources.panorama.errors import PanoramaError
from sync.sources.trust import Trust
from sync.transport.errors import Retryable, TimedOut, Unauthenticated
from sync.transport.failures import own_words
from tests.object_tree import Verified
from tests.words import PANORAMA, address, document
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import (
    ApiError,
    Body,
    Compressed,
    ContentType,
    Drip,
    Empty,
    EmptyResult,
    Fault,
    Hangup,
    HttpStatus,
    Huge,
    NotXml,
    Redirect,
    Reset,
    Shape,
    Silence,
    Truncated,
)
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, every, keygen, op, reads
from zonebridge_simulator.server import HTML

AUDIT = "<show><config><audit><info></info></audit></config></show>"
SHARED = "/config/shared/address"
PASSWORD = "s3cret/+ &%"
DOCUMENT = document([address("dns", "10.0.0.53")], {"eu": [address("web", "10.0.0.1")], "us": ()})


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(DOCUMENT, authority, users={"reader": PASSWORD}) as panorama:
        yield panorama


# Seconds; however slow the machine is, one of them suffices to be connected and ask.
PATIENCE = (0.3, 4.0, 32.0)
STARTS = (
    b"<html><body>Panorama is initializing, please wait</body></html>",
    b"<!DOCTYPE html><html><head><title>Starting up</title><br></head></html>",
    b"The management server is not ready yet.",
)


class Client(PanoramaHost):
    """A member that remembers how long it would have slept."""

    def __init__(
        self,
        panorama: Panorama,
        trusted: Path | None,
        credentials: Callable[[], ApiKey] | None = None,
        *,
        host: str = "",
        verify: bool = True,
        slots: BoundedSemaphore | None = None,
        whole_seconds: float = 60,
        read_seconds: float = 60,
    ) -> None:
        context = tls_context("main", trusted.read_bytes() if trusted else None, verify=verify)
        line = PanoramaConnection(
            "main",
            host or panorama.host,
            panorama.port,
            context,
            slots or BoundedSemaphore(AT_ONCE),
            whole_seconds=whole_seconds,
            read_seconds=read_seconds,
        )
        self.slept: list[float] = []
        super().__init__(line, credentials or (lambda: ApiKey(panorama.api_key)), self.slept.append)

    @property
    def dns(self) -> str | None:
        found = self.show(SHARED)
        return None if found is None else found.findtext("address/entry/ip-netmask")


def answer_at_last(client: Client) -> str | None:
    """What one with little patience is answered, however often a slow machine uses that up."""
    while True:
        try:
            return client.dns
        except PanoramaError as error:
            if not isinstance(error, Retryable):
                raise


@pytest.fixture
def client(panorama: Panorama, authority: Authority) -> Client:
    return Client(panorama, authority.ca_file)


def login() -> ApiKey:
    return ApiKey(None, "reader", PASSWORD)


def error_of(call: Callable[[], object]) -> PanoramaError:
    """What a call raises: one sentence that names the source, and no object's address."""
    with pytest.raises(PanoramaError) as raised:
        call()
    said = str(raised.value)
    assert said.startswith("source main: Panorama 127.0.0.1:") or "localhost" in said
    assert "\n" not in said
    assert " object at 0x" not in said
    assert "HTTPSConnection" not in said
    return raised.value


# --- whom it trusts -------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", [login, None], ids=["keygen", "key"])
@pytest.mark.parametrize("case", ["another authority", "system", "expired", "another host"])
def test_nothing_is_told_to_whom_nobody_vouches_for(
    authority: Authority, tmp_path: Path, case: str, credentials: Callable[[], ApiKey] | None
) -> None:
    certificate = {
        "expired": lambda: authority.certificate(days=-1),
        "another host": lambda: authority.certificate("panorama.internal"),
    }.get(case, lambda: None)()
    trusted: Path | None = authority.ca_file
    if case == "another authority":
        trusted = Authority.make(tmp_path).ca_file
    if case == "system":
        trusted = None
    why = {"expired": "has expired", "another host": "IP address mismatch"}.get(case, "unable to")
    with Panorama(
        DOCUMENT, authority, users={"reader": PASSWORD}, certificate=certificate
    ) as panorama:
        client = Client(panorama, trusted, credentials)
        for call in (
            lambda: client.show(SHARED),
            lambda: client.op(AUDIT),
            lambda: Verified(client.line, panorama.api_key).op(AUDIT, cmd_xml=False),
            lambda: Verified(client.line, panorama.api_key).refresh_system_info(),
        ):
            said = str(error_of(call))
            assert why in said
            assert "ca_file" in said
        assert panorama.requests == []
        assert client.slept == []


def test_pan_os_python_makes_keys_of_whom_somebody_vouches_for_only(authority: Authority) -> None:
    with Panorama(DOCUMENT, authority, users={"reader": PASSWORD}) as panorama:
        for trusted in (None, authority.ca_file):
            device = Verified(Client(panorama, trusted).line, None)
            device._api_username, device._api_password = "reader", PASSWORD
            if trusted:
                assert device._retrieve_api_key() == panorama.api_key
            else:
                error_of(device._retrieve_api_key)
                assert panorama.requests == []


def test_a_panorama_is_trusted_by_its_own_certificate(authority: Authority, tmp_path: Path) -> None:
    certificate = authority.certificate()
    with Panorama(DOCUMENT, authority, certificate=certificate) as panorama:
        assert Client(panorama, certificate[0]).dns == "10.0.0.53"
    # One that signed itself is an authority of its own.
    own = Authority.make(tmp_path)
    itself = (own.ca_file, own.directory / "ca.key")
    with Panorama(DOCUMENT, authority, certificate=itself) as panorama:
        error_of(lambda: Client(panorama, authority.ca_file).dns)
        # But it says of no host that it is its own.
        error_of(lambda: Client(panorama, own.ca_file).dns)
        assert panorama.requests == []


def test_a_name_in_the_certificate_is_held_against_the_host(authority: Authority) -> None:
    certificate = authority.certificate("localhost")
    with Panorama(DOCUMENT, authority, certificate=certificate) as panorama:
        assert Client(panorama, authority.ca_file, host="localhost").dns == "10.0.0.53"
        error_of(lambda: Client(panorama, authority.ca_file).dns)


@pytest.mark.parametrize("credentials", [login, None], ids=["keygen", "key"])
def test_whoever_wants_so_trusts_anybody(
    authority: Authority, credentials: Callable[[], ApiKey] | None
) -> None:
    expired = authority.certificate("panorama.internal", days=-1)
    with Panorama(DOCUMENT, authority, users={"reader": PASSWORD}, certificate=expired) as panorama:
        assert Client(panorama, None, credentials, verify=False).dns == "10.0.0.53"


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----"]
)
def test_a_ca_file_without_certificates_is_refused(pem: bytes) -> None:
    with pytest.raises(UsageError, match="ca_file of source main holds no certificate"):
        tls_context("main", pem, verify=True)


def test_old_tls_is_not_spoken(authority: Authority) -> None:
    for trusted, verify in ((None, True), (authority.ca_file.read_bytes(), True), (None, False)):
        context = tls_context("main", trusted, verify=verify)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


# --- what it tells whom ---------------------------------------------------------------------------


def test_the_key_is_in_a_header_alone(panorama: Panorama, client: Client) -> None:
    client.show(SHARED)
    client.op(AUDIT)
    AddressObject.refreshall(
        Verified(client.line, panorama.api_key).add(DeviceGroup("eu")), running_config=True
    )
    assert len(panorama.requests) == 4  # pan-os-python asks for the release too
    for request in panorama.requests:
        assert (request.key_in, request.method, request.path) == ("header", "POST", "/api/")


def test_a_secret_is_in_no_log_and_no_text(
    panorama: Panorama,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    keys = [panorama.api_key]
    told: list[str] = []
    loggers = [logging.getLogger(name) for name in ("", "pan", "pan.xapi", "panos", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(1)
    caplog.handler.setLevel(1)
    try:
        client = Client(panorama, authority.ca_file, login)
        client.show(SHARED)
        panorama.expire_keys()
        keys.append(panorama.api_key)
        client.show(SHARED)
        device = Verified(client.line, panorama.api_key)
        AddressObject.refreshall(device.add(DeviceGroup("eu")), running_config=True)
        told += [repr(each) for each in (client, client.line, login(), ApiKey(keys[0]), device)]
        told += [str(each) for each in (client, client.line, login(), ApiKey(keys[0]), device)]
        own = Verified(client.line, None)
        own._api_username, own._api_password = "reader", PASSWORD
        own._retrieve_api_key()
        panorama.users.clear()
        faults: list[Fault] = [
            HttpStatus(500), NotXml(), Truncated(), Reset(), Empty(), EmptyResult(),
            ApiError("denied", 16), Redirect("https://panorama.invalid/"),
        ]  # fmt: skip
        for credentials in (
            login,
            lambda: ApiKey(keys[-1]),
            lambda: ApiKey(f"{keys[0]}\nX: {keys[1]}"),
        ):
            for fault in faults:
                panorama.recover()
                panorama.fail(every, fault, times=None)
                with pytest.raises(SourceError) as raised:
                    Client(panorama, authority.ca_file, credentials).show(SHARED)
                told += [repr(raised.value), "".join(traceback.format_exception(raised.value))]
                logging.getLogger("test").error("failed", exc_info=raised.value)
        panorama.recover()
        error_of(lambda: Client(panorama, authority.ca_file, login).show(SHARED))
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert {record.name.partition(".")[0] for record in caplog.records} >= {"pan", "urllib3"}
    told += [caplog.text, *(str(vars(record)) for record in caplog.records), *capfd.readouterr()]
    told += [each.path for each in panorama.requests]
    everything = "\n".join(told)
    for secret in (PASSWORD, "s3cret", *keys):
        assert secret not in everything


def test_a_key_with_a_line_break_is_not_sent(panorama: Panorama, authority: Authority) -> None:
    client = Client(panorama, authority.ca_file, lambda: ApiKey("abc\r\nX-Other: def"))
    assert "check the API key's file" in str(error_of(lambda: client.show(SHARED)))
    assert panorama.requests == []


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_anew_when_it_ran_out(
    panorama: Panorama, authority: Authority
) -> None:
    client = Client(panorama, authority.ca_file, login)
    assert client.dns == client.dns == "10.0.0.53"
    assert [each.type for each in panorama.requests] == ["keygen", "config", "config"]
    made = panorama.requests[0]
    assert (made.path, made.user, made.password) == ("/api/", "reader", PASSWORD)
    for status in (403, 200, 401):
        panorama.denied_status = status
        panorama.requests.clear()
        panorama.expire_keys()
        assert client.dns == "10.0.0.53"
        assert [each.type for each in panorama.requests] == ["config", "keygen", "config"]
    assert client.slept == []


@pytest.mark.parametrize("shape", ["unauth", "noauth"])
def test_a_session_that_timed_out_is_begun_anew(
    panorama: Panorama, authority: Authority, shape: Shape
) -> None:
    client = Client(panorama, authority.ca_file, login)
    panorama.fail(reads(), ApiError("Session timed out", 22, shape))
    assert client.dns == "10.0.0.53"
    assert [each.type for each in panorama.requests] == ["keygen", "config", "keygen", "config"]


def test_several_threads_make_one_key(panorama: Panorama, authority: Authority) -> None:
    client = Client(panorama, authority.ca_file, login)
    for _ in range(2):
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: client.dns, range(16))) == {"10.0.0.53"}
        panorama.expire_keys()
    assert sum(keygen(each) for each in panorama.requests) == 2


@pytest.mark.parametrize("status", [200, 401, 403])
def test_a_wrong_key_or_password_is_tried_once(
    panorama: Panorama, authority: Authority, status: int
) -> None:
    panorama.denied_status = status
    for credentials in (lambda: ApiKey("wrong"), lambda: ApiKey(None, "reader", "wrong")):
        panorama.requests.clear()
        client = Client(panorama, authority.ca_file, credentials)
        error = error_of(partial(getattr, client, "dns"))
        assert isinstance(error, Unauthenticated)
        assert not isinstance(error, Retryable)
        assert "Invalid Credential" in str(error)
        assert "renew the API key or the password" in str(error)
        assert len(panorama.requests) == 1
        assert client.slept == []


def test_a_key_that_is_made_and_refused_is_made_once_more_only(
    panorama: Panorama, authority: Authority
) -> None:
    panorama.fail(reads(), ApiError("Unauthorized request", 16), times=None)
    error_of(lambda: Client(panorama, authority.ca_file, login).dns)
    assert [each.type for each in panorama.requests] == ["keygen", "config"] * 2


def test_a_key_file_that_changed_is_read_again(
    panorama: Panorama, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(panorama.api_key)
    client = Client(panorama, authority.ca_file, lambda: ApiKey(file.read_text()))
    assert client.dns == "10.0.0.53"
    panorama.expire_keys()
    error_of(lambda: client.dns)
    assert len(panorama.requests) == 2
    file.write_text(panorama.api_key)
    assert client.dns == "10.0.0.53"
    assert len(panorama.requests) == 4


@pytest.mark.parametrize(
    "fault", [EmptyResult(), Body(b"<response status='success'><result><key/></result></response>")]
)
def test_no_key_is_an_error_that_names_the_user(
    panorama: Panorama, authority: Authority, fault: Fault
) -> None:
    panorama.fail(keygen, fault)
    client = Client(panorama, authority.ca_file, login)
    assert "makes no API key for reader" in str(error_of(lambda: client.dns))
    assert client.dns == "10.0.0.53"


@pytest.mark.parametrize("credentials", [login, None], ids=["keygen", "key"])
def test_a_panrc_is_of_no_influence(
    panorama: Panorama,
    authority: Authority,
    credentials: Callable[[], ApiKey] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "hostname=192.0.2.1\nport=1\napi_key=other\napi_username=x\napi_password=y\nserial=007\n"
    for folder in (tmp_path / "home", tmp_path / "here"):
        folder.mkdir()
        (folder / ".panrc").write_text(said)
        (folder / ".panrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    client = Client(panorama, authority.ca_file, credentials)
    assert client.dns == "10.0.0.53"
    group = Verified(client.line, panorama.api_key).add(DeviceGroup("eu"))
    assert len(AddressObject.refreshall(group, running_config=True)) == 1
    assert {each.target for each in panorama.requests} == {""}
    assert {each.user for each in panorama.requests} <= {"", "reader"}
    assert {each.key for each in panorama.requests} <= {"", panorama.api_key}


# --- what may pass --------------------------------------------------------------------------------

PASSING: list[Fault] = [
    HttpStatus(429),
    HttpStatus(500),
    HttpStatus(503, retry_after=7),
    ApiError("Internal error", 11),
    ApiError("Internal error", 21, "cdata"),
    ApiError("Internal error", 2, status=500),
    Truncated(),
    Truncated(keep=0),
    Reset(),
    Reset(after=20),
    NotXml(),
    Empty(),
    *(Body(page, status, HTML) for page in STARTS for status in (200, 503)),
    ApiError("System is starting up", 13),
]


@pytest.mark.parametrize("fault", PASSING, ids=repr)
@pytest.mark.parametrize("when", [reads(), keygen], ids=["read", "keygen"])
def test_what_may_pass_is_tried_three_times(
    panorama: Panorama, authority: Authority, fault: Fault, when: Callable[[Request], bool]
) -> None:
    client = Client(panorama, authority.ca_file, login)
    panorama.fail(when, fault, times=2)
    assert client.dns == "10.0.0.53"
    assert len(client.slept) == 2
    assert sum(when(each) for each in panorama.requests) == 3
    panorama.requests.clear()
    client = Client(panorama, authority.ca_file, login)
    panorama.fail(when, fault, times=None)
    assert isinstance(error_of(lambda: client.dns), Retryable)
    assert sum(when(each) for each in panorama.requests) == 3
    assert len(client.slept) == 2


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("page", STARTS)
def test_a_panorama_that_starts_is_told_as_that(
    panorama: Panorama, client: Client, page: bytes, status: int
) -> None:
    panorama.fail(every, Body(page, status, HTML), times=None)
    assert "is not ready yet: it is starting" in str(error_of(lambda: client.dns))


@pytest.mark.parametrize(
    ("fault", "role", "renew"),
    [
        (HttpStatus(403), True, True),
        (ApiError("Forbidden", 403, status=403), True, True),
        (ApiError("Forbidden", None, status=403), True, True),
        (ApiError("Unauthorized request", 16), True, True),
        (ApiError("Invalid Credential", 403, "result", status=403), False, True),
        (ApiError("Session timed out", 22), False, True),
    ],
    ids=repr,
)
def test_a_right_that_may_be_missing_is_named_with_who_can_give_it(
    panorama: Panorama, client: Client, fault: Fault, role: bool, renew: bool
) -> None:
    panorama.fail(every, fault, times=None)
    said = str(error_of(lambda: client.dns))
    assert ("give the role of its user the XML API's" in said) == role
    assert ("renew the API key or the password" in said) == renew


def test_the_wait_grows_and_is_what_is_asked_for(panorama: Panorama, client: Client) -> None:
    panorama.fail(every, HttpStatus(503), times=2)
    client.show(SHARED)
    first, second = client.slept
    assert 0.25 <= first <= 0.5
    assert 1 <= second <= 2
    for said, waited in ((7, 7), (10**9, 60), ("inf", None), ("-3", None), ("tomorrow", None)):
        client.slept.clear()
        panorama.fail(every, HttpStatus(503, retry_after=said))
        client.show(SHARED)
        assert client.slept == ([waited] if waited else [pytest.approx(0.375, abs=0.126)])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (HttpStatus(404), "HTTP 404"),
        (HttpStatus(403), "HTTP 403"),
        (HttpStatus(401), "renew the API key"),
        (Redirect("https://panorama.invalid/api/"), "redirects its callers (HTTP 302)"),
        (Redirect("/api/", 307), "redirects its callers (HTTP 307)"),
        (Body(b"<html/>"), "answers with <html>"),
        (Body(b"<config/>"), "answers with <config>"),
        (Body(b"<response/>"), "status ''"),
        (ApiError("Bad xpath", 6, "msg"), "code 6: Bad xpath"),
        (ApiError("a\nb", 17, "lines"), "code 17: a b"),
        (ApiError("a\nb", None, "cdata"), "(a b)"),
        (ApiError("Bad xpath", 6, status=400), "code 6: Bad xpath"),
        (ApiError("not allowed on a passive device", 15), "passive device"),
        (ApiError("x " * 100_000, 12), "x x x…"),
        (EmptyResult(), "answers with an empty result"),
        (Body(b"<response status='success'/>"), "answers with an empty result"),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_tried_once(
    panorama: Panorama, client: Client, fault: Fault, said: str
) -> None:
    panorama.fail(every, fault)
    error = error_of(lambda: client.dns)
    assert said in str(error)
    assert len(str(error)) < 1000
    assert not isinstance(error, Retryable)
    assert len(panorama.requests) == 1
    assert client.dns == "10.0.0.53"


@pytest.mark.parametrize(
    "entities",
    [b"<!ENTITY x SYSTEM 'file:///etc/passwd'>", b"<!ENTITY a 'aaaaaaaa'><!ENTITY x '&a;&a;'>"],
)
def test_entities_are_not_followed(panorama: Panorama, client: Client, entities: bytes) -> None:
    body = b"<!DOCTYPE r [%s]><response status='success'>&x;</response>" % entities
    panorama.fail(every, Body(body), times=3)
    said = str(error_of(lambda: client.dns))
    assert "root:" not in said
    assert "no XML of PAN-OS" in said


@pytest.mark.parametrize("fault", [Hangup(), ContentType("text/html"), ContentType("")], ids=repr)
def test_what_is_odd_and_right_is_taken(panorama: Panorama, client: Client, fault: Fault) -> None:
    panorama.fail(every, fault, times=2)
    assert [client.dns for _ in range(3)] == ["10.0.0.53"] * 3
    assert len(panorama.requests) == 3


def test_nothing_there_is_no_failure(panorama: Panorama, client: Client) -> None:
    missing = f"{PANORAMA}/device-group/entry[@name='asia']"
    assert client.show(missing) is None
    # As `get` says it.
    panorama.fail(every, Body(b'<response status="success" code="7"><result/></response>'))
    assert client.show(missing) is None
    assert client.slept == []


def test_the_candidate_is_not_what_is_shown(panorama: Panorama, client: Client) -> None:
    panorama.candidate = DOCUMENT.replace(b"10.0.0.53", b"10.0.0.54")
    assert client.dns == "10.0.0.53"


# --- time, size and number ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Drip(0.02), Drip(0.02, headers=True), Drip(0.02, chunked=True), Silence(600)],
    ids=["body drips", "headers drip", "a chunk's length drips", "silence"],
)
def test_no_call_lasts_for_ever(panorama: Panorama, authority: Authority, fault: Fault) -> None:
    panorama.fail(every, fault, times=None)
    for seconds in PATIENCE:
        client = Client(panorama, authority.ca_file, whole_seconds=seconds)
        error = error_of(partial(getattr, client, "dns"))
        assert isinstance(error, TimedOut)
        assert f"takes more than {seconds:g} seconds for one answer" in str(error)
        if panorama.requests:
            break
    assert panorama.requests
    panorama.recover()
    assert answer_at_last(client) == "10.0.0.53"


def test_who_is_asked_to_end_waits_for_no_answer_that_drips(
    panorama: Panorama, client: Client
) -> None:
    def dripping(request: Request) -> bool:
        client.line.stopping.set()
        return True

    panorama.fail(dripping, Drip(0.02), times=3)
    error = error_of(lambda: client.dns)
    assert "is shutting down" in str(error)
    assert not isinstance(error, Retryable)
    assert "is shutting down" in str(error_of(lambda: client.dns))
    assert len(panorama.requests) == 1
    assert client.slept == []


def test_no_error_quotes_the_key_that_was_sent(panorama: Panorama, client: Client) -> None:
    panorama.fail(every, ApiError(f"no role for {panorama.api_key} \u202e", 12))
    said = str(error_of(lambda: client.dns))
    assert panorama.api_key not in said
    assert "no role for [hidden]" in said
    assert said.isprintable()


def test_an_error_quotes_neither_what_was_answered_nor_much_of_a_proxys_words() -> None:
    assert own_words(BadStatusLine("GET /?token=hunter2")) == "BadStatusLine"
    said = own_words(OSError(f"Tunnel connection failed: 407 {'x ' * 9000}"))
    assert said.startswith("Tunnel connection failed: 407 x x")
    assert len(said) == 200


def test_silence_ends_a_call(panorama: Panorama, authority: Authority) -> None:
    client = Client(panorama, authority.ca_file, read_seconds=0.2)
    for fault in (Silence(600), Drip(600)):
        panorama.fail(every, fault, times=None)
        error = error_of(lambda: client.dns)
        assert isinstance(error, TimedOut)
        assert "does not answer" in str(error)
        assert "timed out" in str(error)
        panorama.recover()
    assert answer_at_last(client) == "10.0.0.53"


@pytest.mark.parametrize("length", [True, False])
def test_an_answer_without_end_is_not_kept(
    panorama: Panorama, client: Client, length: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_BYTES", 3_000_000)
    panorama.fail(every, Huge(10**12, length))
    error = error_of(lambda: client.dns)
    assert "more than 3,000,000 bytes" in str(error)
    assert len(panorama.requests) == 1
    assert client.dns == "10.0.0.53"


def test_an_answer_of_tags_alone_is_not_parsed(
    panorama: Panorama, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_TAGS", 1000)
    panorama.fail(every, Body(b"<a>" + b"<b/>" * 1000 + b"</a>"))
    assert "more than 1,000 tags" in str(error_of(lambda: client.dns))
    assert client.dns == "10.0.0.53"


def test_a_compressed_answer_is_not_unpacked(panorama: Panorama, client: Client) -> None:
    panorama.fail(every, Compressed())
    assert "compresses its answers although asked not to" in str(error_of(lambda: client.dns))
    assert client.dns == "10.0.0.53"


def test_a_host_that_is_down_is_named(authority: Authority) -> None:
    panorama = Panorama(DOCUMENT, authority)
    with panorama:
        pass
    error = error_of(lambda: Client(panorama, authority.ca_file).dns)
    assert isinstance(error, Retryable)
    assert "does not answer (Connection refused); check that it is up" in str(error)


def test_what_speaks_no_tls_is_not_taken_for_a_wrong_certificate(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        panorama = Panorama(DOCUMENT, authority)
        panorama.port = plain.getsockname()[1]

        def answer() -> None:
            for _ in range(3):
                line, _ = plain.accept()
                with line:
                    line.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                    line.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        said = str(error_of(lambda: Client(panorama, authority.ca_file).dns))
        thread.join()
        assert "does not answer" in said
        assert "certificate" not in said


def test_at_most_five_calls_are_under_way_over_both_members(authority: Authority) -> None:
    with Panorama(DOCUMENT, authority) as one, Panorama(DOCUMENT, authority) as other:
        slots = BoundedSemaphore(AT_ONCE)
        members = [Client(each, authority.ca_file, slots=slots) for each in (one, other)]
        lock, peak = threading.Lock(), 0
        together = threading.Barrier(AT_ONCE)

        def look() -> None:
            nonlocal peak
            together.wait(60)
            with lock:
                peak = max(peak, one._server.in_flight + other._server.in_flight)  # type: ignore[union-attr]

        for panorama in (one, other):
            panorama.before(every, look, times=None)
        with ThreadPoolExecutor(20) as threads:
            found = list(threads.map(lambda each: members[each % 2].dns, range(20)))
        assert found == ["10.0.0.53"] * 20
        assert peak == AT_ONCE
        assert one.in_flight_peak + other.in_flight_peak <= 2 * AT_ONCE
        # A connection is kept for the next call.
        assert one.connections <= AT_ONCE
        assert other.connections <= AT_ONCE


# --- proxies --------------------------------------------------------------------------------------


class Proxy:
    """An HTTP proxy that knows CONNECT alone; `heads` are what it was asked."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._tunnel, args=(line,), daemon=True)
            thread.start()

    def _tunnel(self, line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(4096)
        self.heads.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        with line, socket.create_connection((host, int(port))) as far:
            line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(far, line), daemon=True)
            back.start()
            _pump(line, far)
            back.join()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def serving() -> Iterator[Proxy]:
    proxy = Proxy()
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


def test_a_proxy_is_gone_through_and_around(
    panorama: Panorama, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as proxy:
        at = f"127.0.0.1:{proxy.port}"
        for number, url in enumerate((f"http://{at}", at, f"http://us%40er:pa%3Ass@{at}/"), 1):
            monkeypatch.setenv("HTTPS_PROXY", url)
            client = Client(panorama, authority.ca_file, login)
            assert client.dns == client.dns == "10.0.0.53"
            assert len(proxy.heads) == number
            assert proxy.heads[-1].startswith(f"CONNECT 127.0.0.1:{panorama.port} HTTP/1.")
            assert panorama.api_key not in proxy.heads[-1]
        # us@er:pa:ss
        assert "authorization: basic dxnazxi6cge6c3m=" in proxy.heads[-1].lower()
        # Who is behind it is looked at all the same, and a slow head is cut here too.
        assert "certificate that is refused" in str(
            error_of(lambda: Client(panorama, None, login).dns)
        )
        panorama.fail(every, Drip(0.02, headers=True), times=None)
        slow = Client(panorama, authority.ca_file, whole_seconds=0.3)
        assert "takes more than" in str(error_of(lambda: slow.dns))
        panorama.recover()
        heads = len(proxy.heads)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert Client(panorama, authority.ca_file).dns == "10.0.0.53"
        assert len(proxy.heads) == heads


def test_a_proxy_that_is_down_is_named(
    panorama: Panorama, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{port}")
    said = str(error_of(lambda: Client(panorama, authority.ca_file).dns))
    assert "does not answer through the proxy of HTTPS_PROXY (Connection refused)" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("url", ["socks5://user:hunter2@127.0.0.1:1", "http://[user:hunter2"])
def test_what_is_no_proxy_is_refused(
    panorama: Panorama, authority: Authority, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(UsageError, match="HTTPS_PROXY is not the URL of an HTTP proxy") as raised:
        Client(panorama, authority.ca_file)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


# --- pan-os-python --------------------------------------------------------------------------------


def test_pan_os_pythons_own_objects_are_the_same(panorama: Panorama, client: Client) -> None:
    device = Verified(client.line, panorama.api_key)
    assert device.opstate.dg_hierarchy.fetch() == {"eu": None, "us": None}
    for name in ("eu", "us"):
        theirs = AddressObject.refreshall(
            device.add(DeviceGroup(name)), running_config=True, add=False
        )
        ours = client.show(f"{PANORAMA}/device-group/entry[@name='{name}']/address")
        assert [(each.name, each.value) for each in theirs] == [
            (each.get("name"), each.findtext("ip-netmask"))
            for each in ([] if ours is None else ours.iterfind("address/entry"))
        ]
    assert device.show_highavailability_state() == ("disabled", None)
    panorama.fail(op("<audit>"), HttpStatus(500))
    error_of(lambda: device.op(AUDIT, cmd_xml=False))


def test_authorities_that_are_renewed_count_for_the_next_call(
    panorama: Panorama, authority: Authority, tmp_path: Path
) -> None:
    other = Authority.make(tmp_path)
    file = tmp_path / "authorities.pem"

    def make() -> ssl.SSLContext:
        try:
            return tls_context("main", file.read_bytes(), verify=True)
        except OSError as error:
            raise UsageError(str(error)) from None

    def holds(data: bytes) -> None:
        file.with_name("new").write_bytes(data)
        file.with_name("new").replace(file)

    holds(authority.ca_file.read_bytes())
    line = PanoramaConnection(
        "main",
        panorama.host,
        panorama.port,
        Trust("main", file, make),
        BoundedSemaphore(AT_ONCE),
    )
    client = PanoramaHost(line, lambda: ApiKey(panorama.api_key))
    client.require_up()
    # The one that had signed its certificate is trusted no more, on open connections neither.
    holds(other.ca_file.read_bytes())
    assert "certificate that is refused" in str(error_of(client.require_up))
    holds(other.ca_file.read_bytes() + authority.ca_file.read_bytes())
    client.require_up()
    with capture_logs() as log:
        # Gone, or half written: those before count on.
        for unusable in (file.unlink, partial(holds, b"no certificate")):
            unusable()
            client.require_up()
            client.require_up()
    events = [each["event"] for each in log]
    assert events == ["new authorities cannot be used; keeping the old ones"]
    holds(other.ca_file.read_bytes())
    error_of(client.require_up)


def test_a_client_that_is_let_go_of_leaves_no_connection_open(
    panorama: Panorama, authority: Authority
) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    Client(panorama, authority.ca_file).dns  # noqa: B018 - a call
    before = opened()
    # As it is after a configuration was read: what refers to itself is never collected.
    gc.disable()
    try:
        for _ in range(30):
            Client(panorama, authority.ca_file).dns  # noqa: B018 - a call
        assert opened() < before + 30
    finally:
        gc.enable()

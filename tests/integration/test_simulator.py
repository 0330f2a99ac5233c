"""The simulated Panorama answers as the real one is known to, and breaks as it is told to."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from lxml import etree
from panos.objects import AddressObject
from panos.panorama import DeviceGroup
from panos.panorama import Panorama as PanosPanorama

from tests.words import PANORAMA, address, document, entry, tag
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import (
    ApiError,
    Body,
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
    Silence,
    Truncated,
)
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, edl, every, keygen, op, reads
from zonebridge_simulator.server import Answer

AUDIT = "<show><config><audit><info/></audit></config></show>"
JOBS = "<show><jobs><all/></jobs></show>"
SHARED = "/config/shared/address"
DNS = '<address><entry name="dns"><ip-netmask>10.0.0.53</ip-netmask></entry></address>'
DOCUMENT = document(
    [address("dns", "10.0.0.53")],
    {"eu": [address("web", "10.0.0.1")], "berlin": [address("db", "10.0.1.1")], "us": ()},
    parents={"berlin": "eu"},
)
CHANGED = DOCUMENT.replace(b"10.0.0.53", b"10.0.0.54")


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(DOCUMENT, authority, users={"reader": "secret"}) as panorama:
        yield panorama


class Client:
    """A connection that verifies its server, and is kept as long as it lasts."""

    def __init__(self, panorama: Panorama, authority: Authority, timeout: float = 120) -> None:
        self.panorama = panorama
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        # As Python does since 3.13.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.line = http.client.HTTPSConnection(
            panorama.host, panorama.port, context=context, timeout=timeout
        )

    def ask(self, key: str | None = None, /, **form: str) -> http.client.HTTPResponse:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-PAN-KEY": self.panorama.api_key if key is None else key,
        }
        try:
            self.line.request("POST", "/api/", urlencode(form), headers)
            return self.line.getresponse()
        except BaseException:
            self.line.close()
            raise

    def said(self, key: str | None = None, /, **form: str) -> str:
        answer = self.ask(key, **form)
        try:
            return answer.read().decode()
        except BaseException:
            self.line.close()
            raise

    def show(self, xpath: str = SHARED) -> str:
        return self.said(type="config", action="show", xpath=xpath)

    def get(self, xpath: str = SHARED) -> str:
        return self.said(type="config", action="get", xpath=xpath)

    def op(self, cmd: str, target: str = "") -> etree._Element:
        form = {"type": "op", "cmd": cmd} | ({"target": target} if target else {})
        return etree.fromstring(self.said(**form))


@pytest.fixture
def client(panorama: Panorama, authority: Authority) -> Iterator[Client]:
    client = Client(panorama, authority)
    yield client
    client.line.close()


# --- TLS and keys ---------------------------------------------------------------------------------


def test_a_server_is_believed_by_its_authority_alone(authority: Authority, tmp_path: Path) -> None:
    other = Authority.make(tmp_path)
    for signed_by, certificate, why in (
        (other, None, "unable to get local issuer|self.signed"),
        (authority, authority.certificate(days=-1), "expired"),
        (authority, authority.certificate("panorama.internal"), "IP address mismatch"),
    ):
        with Panorama(DOCUMENT, signed_by, certificate=certificate) as panorama:
            with pytest.raises(ssl.SSLCertVerificationError, match=why):
                Client(panorama, authority).show()
            assert panorama.requests == []


def test_a_key_is_given_for_a_password_and_can_expire(panorama: Panorama, client: Client) -> None:
    given = client.said("", type="keygen", user="reader", password="secret")
    assert given == (
        f"<response status = 'success'><result><key>{panorama.api_key}</key></result></response>"
    )
    old = panorama.api_key
    panorama.expire_keys()
    denied = (
        "<response status = 'error' code = '403'>"
        "<result><msg>Invalid Credential</msg></result></response>"
    )
    assert client.said("", type="keygen", user="reader", password="wrong") == denied
    assert client.said(old, type="config", action="show", xpath=SHARED) == denied
    assert client.ask(old, type="op", cmd=JOBS).status == 403


def test_where_a_key_stood_is_told(panorama: Panorama, client: Client) -> None:
    key = panorama.api_key
    client.show()
    client.said("wrong", type="op", cmd=JOBS, key=key)
    client.line.request("GET", f"/api/?type=op&cmd={quote(JOBS)}&key={quote(key)}")
    assert b"<job>" in client.line.getresponse().read()
    client.line.request("GET", "/api/?type=op")
    assert client.line.getresponse().status == 403
    client.line.close()
    assert [each.key_in for each in panorama.requests] == ["header", "body", "query", ""]
    assert panorama.requests[0] == Request(
        type="config", action="show", xpath=SHARED, key_in="header", key=key
    )
    assert key not in repr(panorama.requests[0])


# --- configuration --------------------------------------------------------------------------------


def test_show_has_neither_a_code_nor_counts(client: Client) -> None:
    answer = client.ask(type="config", action="show", xpath=SHARED)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/xml; charset=UTF-8"
    assert answer.read().decode() == f'<response status="success"><result>{DNS}</result></response>'
    whole = etree.fromstring(client.show("/config")).find("result/config")
    assert whole is not None
    assert etree.tostring(whole) == etree.tostring(etree.fromstring(DOCUMENT))


def test_nothing_is_an_error_of_show_and_a_success_of_get(client: Client) -> None:
    missing = f"{PANORAMA}/device-group/entry[@name='asia']"
    assert client.show(missing) == (
        '<response status="error"><msg><line>No such node</line></msg></response>'
    )
    assert client.get(missing) == '<response status="success" code="7"><result/></response>'


@pytest.mark.parametrize("xpath", ["/config[", "count(/config)", "//address", f"{SHARED}|/config"])
def test_what_no_document_speaks_of_is_no_xpath(client: Client, xpath: str) -> None:
    assert 'status="error" code="6"' in client.show(xpath)


def test_get_is_of_the_candidate(panorama: Panorama, client: Client) -> None:
    def dns() -> etree._Element:
        root = etree.fromstring(client.get())
        assert root.get("code") == "19"
        assert (root[0].get("total-count"), root[0].get("count")) == ("1", "1")
        found = root.find("result/address/entry")
        assert found is not None
        return found

    assert dns().findtext("ip-netmask") == "10.0.0.53"
    panorama.candidate = CHANGED
    assert dns().findtext("ip-netmask") == "10.0.0.54"
    assert set(dns().attrib) == {"name", "admin", "dirtyId", "time"}
    assert "dirtyId" not in client.get(f"{PANORAMA}/device-group")
    assert client.show().count("10.0.0.53") == 1
    panorama.commit()
    assert client.show().count("10.0.0.54") == 1
    assert set(dns().attrib) == {"name"}
    assert "dirtyId" in client.get("/config/readonly")  # something always is


# --- commits --------------------------------------------------------------------------------------


def test_a_commit_is_the_next_version_and_a_finished_job(
    panorama: Panorama, client: Client
) -> None:
    before = [each.findtext("id") for each in client.op(JOBS).findall("result/job")]
    panorama.commit(CHANGED, administrator="alice", description="dns <moved>")
    entries = client.op(AUDIT).findall("result/entry")
    assert [each.get("name") for each in entries] == ["53", "52"]
    assert entries[0].findtext("administrator") == "alice"
    assert entries[0].findtext("description") == "dns <moved>"
    jobs = client.op(JOBS).findall("result/job")
    assert jobs[0].findtext("id") == entries[0].findtext("job")
    assert jobs[0].findtext("id") not in before
    assert [jobs[0].findtext(name) for name in ("type", "status", "result")] == [
        "Commit", "FIN", "OK",
    ]  # fmt: skip


def test_jobs_are_as_in_real_answers(panorama: Panorama, client: Client) -> None:
    panorama.add_job("Commit", status="ACT", user="alice")
    jobs = client.op(JOBS).findall("result/job")
    assert [each.tag for each in jobs[1]] == [
        "tenq", "tdeq", "id", "user", "type", "status", "queued", "stoppable", "result", "tfin",
        "description", "positionInQ", "progress",
    ]  # fmt: skip
    rows = [
        tuple(each.findtext(name) for name in ("type", "id", "status", "result")) for each in jobs
    ]
    assert rows == [
        ("Commit", "388", "ACT", "PEND"),
        ("Commit", "387", "FIN", "FAIL"),
        ("CommitAll", "386", "FIN", "OK"),
        ("Commit", "385", "FIN", "OK"),
        ("RefreshLic", "385", "FIN", "OK"),
        ("Failed-Job", None, None, None),
    ]
    assert len(jobs[3].findtext("tfin") or "") == len("01:39:18")  # a time without its day


def test_the_audit_log_has_several_shapes(panorama: Panorama, client: Client) -> None:
    panorama.commit(CHANGED)
    panorama.audit_shape = "oldest-first"
    assert client.op(AUDIT).xpath("result/audit/versions/entry/@name") == ["52", "53"]
    panorama.audit_shape = "text"
    assert (client.op(AUDIT).findtext("result") or "").splitlines()[1].startswith("53 ")
    panorama.audit_shape = lambda commits: tag("newest", entry(str(commits[0].version)))
    assert client.op(AUDIT).xpath("result/newest/entry/@name") == ["53"]
    panorama.audit_shape = "unsupported"
    assert client.op(AUDIT).get("code") == "17"
    xpath = "/operations/show/config/audit/version"
    completed = etree.fromstring(client.said(type="op", action="complete", xpath=xpath))
    assert completed.xpath(".//completion/@value") == ["52", "53"]


# --- operational commands -------------------------------------------------------------------------


def test_the_pair_is_said_flat_and_the_passive_one_keeps_its_log_to_itself(
    panorama: Panorama, client: Client
) -> None:
    state = "<show><high-availability><state/></high-availability></show>"
    alone = client.op(state).find("result")
    assert alone is not None
    assert etree.tostring(alone) == b"<result><enabled>no</enabled></result>"
    for ha, local, peer in (
        ("active", "primary-active", "secondary-passive"),
        ("passive", "secondary-passive", "primary-active"),
        ("secondary-active", "secondary-active", "primary-passive"),
        ("primary-suspended", "primary-suspended", "secondary-active"),
    ):
        panorama.ha = ha
        said = client.op(state)
        assert said.findtext("result/local-info/state") == local
        assert said.findtext("result/peer-info/state") == peer
        assert said.findtext("result/running-sync") == "synchronized"
        assert client.op(AUDIT).get("code") == (None if "active" in local else "15")


def test_device_groups_are_said_as_a_tree_and_with_their_firewalls(
    panorama: Panorama, client: Client
) -> None:
    tree = client.op("<show><dg-hierarchy></dg-hierarchy></show>")
    assert tree.get("code") == "19"
    assert tree.xpath("result/dg-hierarchy/dg/@name") == ["eu", "us"]
    assert tree.xpath("result/dg-hierarchy/dg[@name='eu']/dg/@name") == ["berlin"]

    def said() -> etree._Element:
        return client.op("<show><devicegroups/></show>")

    device = tag("devices", entry("007"), entry("008", tag("vsys", entry("vsys2"))))
    held = entry("us", device).encode()
    panorama.commit(DOCUMENT.replace(b'<entry name="us"></entry>', held))
    panorama.shared_policy_status["008"] = "Out of Sync"
    firewalls = said().findall("result/devicegroups/entry[@name='us']/devices/entry")
    assert [each.findtext("shared-policy-status") for each in firewalls] == [
        "In Sync",
        "Out of Sync",
    ]
    assert firewalls[1].xpath("vsys/entry/@name") == ["vsys2"]

    def digests() -> list[str | None]:
        groups = said().findall("result/devicegroups/entry")
        return [each.findtext("shared-policy-md5sum") for each in groups]

    before = digests()
    panorama.commit(CHANGED)
    assert all(old != new for old, new in zip(before, digests(), strict=True))


def test_registered_addresses_come_in_pages(panorama: Panorama, client: Client) -> None:
    panorama.registered = {f"10.9.{n // 250}.{n % 250}": ("web", "a & b") for n in range(501)}
    panorama.registered_on["007"] = {"10.8.0.1": ("db",)}

    def page(limit: int, start: int, target: str = "") -> tuple[int, str | None, str | None]:
        inner = f"<limit>{limit}</limit><start-point>{start}</start-point>"
        said = client.op(tag("show", tag("object", tag("registered-ip", inner))), target)
        rows = said.findall("result/entry")
        return len(rows), rows[0].get("ip") if rows else None, said.findtext("result/count")

    assert page(500, 1) == (500, "10.9.0.0", "500")
    assert page(500, 501) == (1, "10.9.2.0", "1")
    assert page(500, 502) == (0, None, "0")
    assert page(500, 1, "007") == (1, "10.8.0.1", "1")
    assert page(500, 1, "008") == (0, None, None)  # not connected
    assert page(501, 1) == (0, None, None)  # too many
    everything = "<show><object><registered-ip><all>{}</all></registered-ip></object></show>"
    said = client.op(everything.format(""))
    assert len(said.findall("result/entry")) == 501
    assert said.xpath("result/entry[1]/tag/member/text()") == ["web", "a & b"]
    counted = client.op(everything.format("<option>count</option>"))
    assert [each.text for each in counted[0]] == ["501"]


def test_external_lists_are_told_to_whoever_asks(panorama: Panorama, client: Client) -> None:
    panorama.lists["bad hosts"] = "192.0.2.0/24\n"

    def ask(name: str, known: str = "") -> tuple[int, bytes, str]:
        client.line.request("GET", f"/edl/{name}", headers={"If-None-Match": known})
        answer = client.line.getresponse()
        return answer.status, answer.read(), answer.headers["ETag"]

    status, text, tag = ask("bad%20hosts")
    assert (status, text) == (200, b"192.0.2.0/24\n")
    for known in (tag, f'"other", W/{tag}', "*"):
        assert ask("bad%20hosts", known) == (304, b"", tag)
    panorama.lists["bad hosts"] = "192.0.2.7\n"
    assert ask("bad%20hosts", tag)[:2] == (200, b"192.0.2.7\n")
    assert ask("good")[0] == 404
    panorama.fail(edl("bad hosts"), HttpStatus(503), times=None)
    assert ask("bad%20hosts")[0] == 503
    assert ask("good")[0] == 404
    assert client.show()
    assert {each.key_in for each in panorama.requests[:-1]} == {""}


@pytest.mark.parametrize(
    "form",
    [
        {"type": "op", "cmd": "<show><nothing/></show>"},
        {"type": "op", "cmd": "show nothing"},
        {"type": "config", "action": "set", "xpath": SHARED},
        {"type": "commit"},
        {},
    ],
)
def test_what_is_not_known_is_an_invalid_command(client: Client, form: dict[str, str]) -> None:
    assert 'status="error" code="17"' in client.said(**form)


def test_pan_os_python_reads_it(panorama: Panorama) -> None:
    panorama.registered = {"10.9.0.1": ("web",)}
    device = PanosPanorama(panorama.host, api_key=panorama.api_key, port=panorama.port, timeout=120)
    assert device.opstate.dg_hierarchy.fetch() == {"eu": None, "us": None, "berlin": "eu"}
    group = device.add(DeviceGroup("eu"))
    found = AddressObject.refreshall(group, running_config=True, add=False)
    assert [(each.name, each.value) for each in found] == [("web", "10.0.0.1")]
    empty = device.add(DeviceGroup("us"))
    assert AddressObject.refreshall(empty, running_config=True, add=False) == []
    assert device.show_highavailability_state() == ("disabled", None)
    assert device.userid.get_registered_ip() == {"10.9.0.1": ["web"]}
    assert {each.key_in for each in panorama.requests} == {"body"}


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (HttpStatus(500), 500, "<h1>500"),
        (HttpStatus(503, retry_after=7), 503, "<h1>503"),
        (Body(b"\xff\xfe", 207, "text/plain"), 207, "\ufffd"),
        (NotXml(), 200, "<title>Login</title>"),
        (Empty(), 200, ""),
        (EmptyResult(), 200, '<response status="success"><result/></response>'),
        (ContentType("text/html"), 200, DNS),
        (ContentType(""), 200, DNS),
        (Redirect("https://panorama.invalid/api/"), 302, ""),
        (Hangup(), 200, DNS),
        (Drip(0.001, size=4), 200, DNS),
        (Drip(0.001, size=4, headers=True), 200, DNS),
        (Silence(0.01), 200, DNS),
        (Huge(200_000), 200, "<fqdn>"),
        (Huge(200_000, length=False), 200, "<fqdn>"),
        (ApiError("a\nb", 22, "msg"), 200, 'code="22"><msg>a\nb</msg>'),
        (ApiError("a\nb", 22, "lines"), 200, 'code="22"><msg><line>a</line><line>b</line></msg>'),
        (ApiError("a\nb", None, "cdata"), 200, '"error"><msg><line><![CDATA[\na\nb\n]]></line>'),
        (ApiError("a", 16, "result", 403), 403, " code = '16'><result><msg>a</msg></result>"),
        (ApiError("a", 22, "unauth"), 200, 'status="unauth" code="22"><msg><line>a</line>'),
        (ApiError("a", None, "noauth"), 200, 'status="noauth"><msg><line>a</line>'),
    ],
)
def test_an_answer_can_be_another(
    panorama: Panorama, client: Client, fault: Fault, status: int, part: str
) -> None:
    panorama.fail(reads(action="show"), fault)
    answer = client.ask(type="config", action="show", xpath=SHARED)
    text = answer.read().decode(errors="replace")
    assert answer.status == status
    assert part in text
    assert answer.headers["Retry-After"] == ("7" if status == 503 else None)
    if isinstance(fault, Huge):
        assert len(text) > fault.size
        assert len(etree.fromstring(text)[0]) == 1
    client.line.close()
    assert DNS in client.show()  # once is enough


@pytest.mark.parametrize(
    "fault", [Truncated(), Truncated(keep=0), Reset(), Reset(after=20), Drip(30), Silence(30)]
)
def test_an_answer_can_fail_to_come(panorama: Panorama, authority: Authority, fault: Fault) -> None:
    # What never comes is waited for a moment, once it is asked for; all else, for long.
    panorama.fail(every, fault, times=2)
    client = Client(panorama, authority)
    for _ in range(2):
        client.line.connect()
        if isinstance(fault, Drip | Silence):
            client.line.sock.settimeout(0.5)
        with pytest.raises((OSError, http.client.HTTPException)):
            client.show()
        client.line.close()
    assert DNS in client.show()
    client.line.close()
    assert len(panorama.requests) == 3


def test_a_reset_is_an_rst(panorama: Panorama, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    panorama.fail(every, Reset())
    with (
        socket.create_connection((panorama.host, panorama.port), 120) as plain,
        context.wrap_socket(plain, server_hostname=panorama.host) as line,
    ):
        line.sendall(b"GET /api/ HTTP/1.1\r\n\r\n")
        # Below TLS, which tells an RST as an end like any other. Its tickets come first.
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: socket.socket.recv(line, 65536), b""))


def test_faults_are_for_the_requests_that_are_meant(panorama: Panorama, client: Client) -> None:
    panorama.fail(op("<jobs>"), HttpStatus(502))
    panorama.fail(reads("/shared"), HttpStatus(500), times=None)
    panorama.fail(keygen, HttpStatus(429))
    assert DNS in client.show("/config")
    assert client.op(AUDIT).get("status") == "success"
    assert [client.ask(type="op", cmd=JOBS).status] == [502]
    client.line.close()
    for _ in range(3):
        assert "500" in client.show()
    assert "429" in client.said(type="keygen", user="reader", password="secret")
    panorama.recover()
    assert DNS in client.show()


def test_a_commit_can_land_between_two_calls(panorama: Panorama, client: Client) -> None:
    panorama.before(reads("device-group"), lambda: panorama.commit(CHANGED))
    assert "10.0.0.53" in client.show()
    assert "10.0.0.1" in client.show(f"{PANORAMA}/device-group")
    assert "10.0.0.54" in client.show()
    assert panorama.version == 53


def test_requests_at_the_same_time_are_counted(panorama: Panorama, authority: Authority) -> None:
    def ask(_: int) -> str:
        client = Client(panorama, authority)
        try:
            return client.show()
        finally:
            client.line.close()

    for number in range(10):
        ask(number)
    assert panorama.in_flight_peak == 1
    assert panorama.connections == 10
    together = threading.Barrier(4)
    panorama.before(every, lambda: together.wait(120), times=None)
    with ThreadPoolExecutor(4) as threads:
        assert all(DNS in said for said in threads.map(ask, range(8)))
    assert panorama.in_flight_peak == 4


def test_a_connection_is_kept(panorama: Panorama, client: Client) -> None:
    for _ in range(5):
        client.show()
    assert panorama.connections == 1


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, Silence(600), Drip(600), Drip(0.001), Huge(1_000_000_000_000)]
)
def test_nothing_is_left_when_the_context_ends(authority: Authority, fault: Fault | None) -> None:
    before = set(threading.enumerate())
    with Panorama(DOCUMENT, authority) as panorama:
        idle, busy = Client(panorama, authority), Client(panorama, authority)
        idle.show()
        if fault:
            panorama.fail(every, fault)
        busy.line.request("GET", "/api/")
        _until(lambda: len(panorama.requests) == 2)
        ends = time.monotonic()
    assert time.monotonic() - ends < 60  # of the 600 seconds that a fault would take
    assert set(threading.enumerate()) == before
    for client in (idle, busy):
        client.line.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((panorama.host, panorama.port))


def test_it_comes_again_where_it_was(authority: Authority) -> None:
    panorama = Panorama(DOCUMENT, authority)
    ports = set()
    for _ in range(2):
        with panorama:
            client = Client(panorama, authority)
            assert DNS in client.show()
            client.line.close()
            ports.add(panorama.port)
    assert len(ports) == 1


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no")])
def test_what_a_test_does_wrong_is_told(authority: Authority, error: Exception) -> None:
    def wrong() -> Answer:
        raise error

    told = ValueError if isinstance(error, ValueError) else RuntimeError
    with pytest.RaisesGroup(told), Panorama(DOCUMENT, authority) as panorama:
        panorama.before(every, wrong)
        client = Client(panorama, authority)
        with pytest.raises(http.client.HTTPException):
            client.show()


def _until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.01)
    pytest.fail("it never came")

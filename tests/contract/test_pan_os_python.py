"""What we take for granted of pan-os-python and pan-python, private names of theirs among it."""

import inspect
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BoundedSemaphore
from typing import NoReturn

import pan.rc
import pan.xapi
import pytest
from lxml import etree
from pan.xapi import PanXapi
from panos.base import PanDevice
from panos.firewall import Firewall as PanosFirewall

from sync.sources.panorama.client import ApiKey, PanoramaHost
from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection
from sync.sources.panorama.devices import Firewall, Panorama
from sync.sources.panorama.errors import PanoramaError

SYSTEM = "<show><system><info></info></system></show>"
KEY = "a+key/of=the&API"
PASSWORD = "s3cret/+ &%"
SENDS = "_PanXapi__api_request"
RECEIVES = "_PanXapi__set_response"

Form = dict[str, str]


class Heard(PanoramaConnection):
    """A line that answers every call alike, and remembers what it was to send."""

    def __init__(self, answer: str = "<result/>") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__("main", "panorama", 443, context, BoundedSemaphore(AT_ONCE))
        self.answer = etree.fromstring(f'<response status="success">{answer}</response>')
        self.calls: list[tuple[Form, str | None]] = []

    def post(self, form: Mapping[str, str], key: str | None) -> etree._Element:
        self.calls.append((dict(form), key))
        return self.answer


@pytest.fixture(autouse=True)
def nothing_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    """It opens no connection, reads no .panrc, logs no secret and prints nothing."""

    def refused(*arguments: object, **given: object) -> NoReturn:
        raise AssertionError("pan-python goes a way of its own")

    monkeypatch.setattr(pan.xapi, "urlopen", refused)
    monkeypatch.setattr(pan.rc, "PanRc", refused)
    monkeypatch.setattr(PanXapi, "__init__", refused)
    for name in ("", "pan", "pan.xapi", "panos"):
        caplog.set_level(1, name)
    yield
    logged = caplog.get_records("call")
    assert "pan.xapi" not in {each.name for each in logged}
    assert not [each for each in logged if KEY in str(vars(each)) or PASSWORD in str(vars(each))]
    assert capfd.readouterr() == ("", "")


# --- the names ------------------------------------------------------------------------------------


def test_every_call_sends_and_receives_by_the_two_methods_that_are_ours() -> None:
    assert [*inspect.signature(getattr(PanXapi, SENDS)).parameters] == ["self", "query"]
    assert [*inspect.signature(getattr(PanXapi, RECEIVES)).parameters] == ["self", "response"]
    for name in ("_PanXapi__type_op", "_PanXapi__type_config", "keygen"):
        assert {SENDS, RECEIVES} <= {*getattr(PanXapi, name).__code__.co_names}
    # Nothing else connects.
    connecting = {
        name
        for name, each in inspect.getmembers(PanXapi, inspect.isfunction)
        if {"urlopen", "install_opener"} & {*each.__code__.co_names}
    }
    assert connecting == {SENDS}


def test_a_device_has_its_connection_and_its_key_by_names_that_are_ours() -> None:
    for name in ("xapi", "api_key"):
        assert isinstance(inspect.getattr_static(PanDevice, name), property)
        for ours in (Panorama, Firewall):
            assert name in vars(ours)
    # What makes connections without these: our devices override the first, and never get to the
    # second, since their keys are never their own.
    making = {
        name
        for cls in (PanDevice, PanosFirewall)
        for name, each in inspect.getmembers(cls, inspect.isfunction)
        if "XapiWrapper" in each.__code__.co_names
    }
    assert making == {"generate_xapi", "_retrieve_api_key"}
    assert "generate_xapi" in vars(Panorama)
    assert "generate_xapi" in vars(Firewall)


# --- what is sent ---------------------------------------------------------------------------------

CALLS: list[tuple[Callable[[PanoramaHost], object], Form]] = [
    (lambda member: member.op(SYSTEM), {"type": "op", "cmd": SYSTEM}),
    (
        lambda member: member.op(SYSTEM, "0001"),
        {"type": "op", "cmd": SYSTEM, "target": "0001"},
    ),
    (
        lambda member: member.op(SYSTEM, "0001", "vsys2"),
        {"type": "op", "cmd": SYSTEM, "target": "0001", "vsys": "vsys2"},
    ),
    (
        lambda member: member.show("/config/shared"),
        {"type": "config", "action": "show", "xpath": "/config/shared"},
    ),
    (
        lambda member: member.get("/config/shared"),
        {"type": "config", "action": "get", "xpath": "/config/shared"},
    ),
]


@pytest.mark.parametrize(("call", "form"), CALLS)
def test_each_call_sends_its_parameters_in_order_and_the_key_beside_them(
    call: Callable[[PanoramaHost], object], form: Form
) -> None:
    line = Heard("<result><shared/></result>")
    call(PanoramaHost(line, lambda: ApiKey(KEY)))
    ((sent, key),) = line.calls
    assert [*sent.items()] == [*form.items()]
    assert key == KEY


def test_a_key_is_made_without_one_and_then_sent() -> None:
    line = Heard(f"<result><key> {KEY.replace('&', '&amp;')}\n</key></result>")
    PanoramaHost(line, lambda: ApiKey(None, "reader", PASSWORD)).op(SYSTEM)
    (made, none), (_, key) = line.calls
    assert [*made.items()] == [("type", "keygen"), ("user", "reader"), ("password", PASSWORD)]
    assert none is None
    assert key == KEY


@pytest.mark.parametrize("answer", ["", "<result/>", "<result><key/></result>"])
def test_an_answer_without_a_key_is_our_own_error(answer: str) -> None:
    with pytest.raises(PanoramaError, match="makes no API key for reader"):
        Panorama(Heard(answer), lambda: KEY).generated_key("reader", PASSWORD)


# --- what comes back ------------------------------------------------------------------------------


def test_an_answer_is_the_lines_own_and_no_copy() -> None:
    line = Heard()
    device = Panorama(line, lambda: KEY)
    for answer in (device.op(SYSTEM, cmd_xml=False), device.xapi.show("/x"), device.xapi.get("/x")):
        assert answer is line.answer


def test_threads_have_their_own_answers_and_the_key_of_the_moment() -> None:
    together = Barrier(8)

    class Echo(Heard):
        def post(self, form: Mapping[str, str], key: str | None) -> etree._Element:
            together.wait(60)
            return etree.fromstring(f"<response><result>{form['xpath']} {key}</result></response>")

    numbers = iter(range(8))
    device = Panorama(Echo(), lambda: f"key {next(numbers)}")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda each: device.xapi.show(f"/{each}"), range(8)))
    said = [(each.findtext("result") or "").split(" ", 1) for each in answers]
    assert [xpath for xpath, _ in said] == [f"/{each}" for each in range(8)]
    assert {key for _, key in said} == {f"key {each}" for each in range(8)}


# --- the vendor's own objects ---------------------------------------------------------------------


def test_a_firewall_is_asked_through_its_panorama_with_the_panoramas_key() -> None:
    line = Heard()
    device = Panorama(line, lambda: KEY)
    managed = device.FIREWALL_CLASS(serial="0001", vsys="vsys2")
    device.add(managed)
    managed.op("show system info")
    assert managed.api_key == KEY
    managed.update_connection_method().show("/config/shared")
    assert [(sent.get("target"), sent.get("vsys"), key) for sent, key in line.calls] == [
        ("0001", "vsys2", KEY),
        ("0001", None, KEY),
    ]


def test_calls_to_firewalls_leave_nothing_behind() -> None:
    def handlers() -> int:
        loggers = logging.root.manager.loggerDict.values()
        return sum(len(each.handlers) for each in loggers if isinstance(each, logging.Logger))

    line = Heard()
    member = PanoramaHost(line, lambda: ApiKey(KEY))
    before = handlers()
    for serial in ("0001", "0002", "0001"):
        member.op(SYSTEM, serial, "vsys2")
    member.op(SYSTEM, "0003")
    assert handlers() == before
    asked = [(sent.get("target"), sent.get("vsys")) for sent, _ in line.calls]
    assert asked == [("0001", "vsys2"), ("0002", "vsys2"), ("0001", "vsys2"), ("0003", None)]


def test_what_knows_its_own_serial_number_is_not_asked_through_itself() -> None:
    line = Heard(
        "<result><system><sw-version>11.1.0</sw-version><model>Panorama</model>"
        "<serial>0009</serial></system></result>"
    )
    device = Panorama(line, lambda: KEY)
    assert device.refresh_system_info() == ("11.1.0", "Panorama", "0009")
    device.op(SYSTEM, cmd_xml=False)
    assert [sent.get("target") for sent, _ in line.calls] == [None, None]


def test_the_tree_of_device_groups_is_told_by_its_own_object() -> None:
    line = Heard('<result><dg-hierarchy><dg name="eu"><dg name="de"/></dg></dg-hierarchy></result>')
    hierarchy = Panorama(line, lambda: KEY).opstate.dg_hierarchy
    assert hierarchy.fetch() == {"eu": None, "de": "eu"}


def test_no_text_of_a_call_or_a_device_holds_the_key() -> None:
    device = Panorama(Heard(), lambda: KEY)
    for each in (device, device.xapi, device.managed("0001")):
        assert KEY not in f"{each} {each!r}"

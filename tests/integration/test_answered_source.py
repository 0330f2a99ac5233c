"""A source with answers around a source: what is asked, of whom, and when."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from sync import assembly
from sync.errors import SourceError
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from sync.firewall.estimate import Estimate
from sync.firewall.objects import ExternalList
from sync.net.addresses import NOWHERE, AddressSet, network
from sync.service.sources import PolledSource
from sync.settings import load
from sync.sources.dns import DnsCache
from sync.sources.edl.client import EdlClient
from sync.sources.enriched import AnsweredSource
from sync.sources.export import ExportSource
from tests.clock import Clock
from tests.memory import HeldMemory
from tests.name_server import NameServer
from tests.words import Word, address, document, entry, read, shared, tag, text


@dataclass
class Counted:
    """A source that counts its calls."""

    configuration: Configuration
    name: str = "main"
    version: int = 1
    calls: list[str] = field(default_factory=list)

    def revision(self) -> str:
        self.calls.append("revision")
        return str(self.version)

    def read(self) -> Snapshot:
        self.calls.append("read")
        return Snapshot(self.configuration, Provenance(self.name, "test", str(self.version)))


def fqdn(name: str, value: str) -> Word:
    return address(name, value, kind="fqdn")


def edl(name: str, url: str, *inner: str, kind: str = "ip") -> Word:
    return Word("external-list", entry(name, tag("type", tag(kind, text("url", url), *inner))))


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def answered(
    inner: Counted, server: NameServer, clock: Clock, *device_groups: str
) -> AnsweredSource:
    memory = HeldMemory()
    names = DnsCache(memory, timedelta(hours=1), resolver=server.resolver, now=clock)
    context = ssl.create_default_context()
    lists = EdlClient(memory, context, max_bytes=1000, shortest=(8, 16), now=clock)
    return AnsweredSource(inner, names, lists, device_groups or ("eu",))


def held(text: str) -> AddressSet:
    return network(text)


def test_while_nothing_is_due_a_poll_is_one_small_call(server: NameServer, clock: Clock) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    server.holds("db.example", "AAAA")
    inner = Counted(read(document([fqdn("db", "db.example")], {"eu": []})))
    source = answered(inner, server, clock)
    polled = PolledSource(source, HeldMemory())
    revision = source.revision()
    assert polled.poll()
    assert source.revision() == revision
    inner.calls.clear()
    for _ in range(3):
        clock.now += 10
        assert not polled.poll()
    assert inner.calls == ["revision"] * 3
    assert len(server.asked) == 2


def test_an_answer_that_is_due_is_asked_for_and_the_inner_source_left_alone(
    server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    inner = Counted(read(document([fqdn("db", "db.example")], {"eu": []})))
    source = answered(inner, server, clock)
    polled = PolledSource(source, HeldMemory())
    polled.poll()
    told = source.revision()
    clock.now += 59
    assert source.revision() == told
    clock.now += 1
    assert source.revision() != told
    inner.calls.clear()
    assert not polled.poll(), "the same answer is no change"
    server.holds("db.example", "A", "10.0.0.1", "10.0.0.2", ttl=60)
    clock.now += 60
    assert polled.poll()
    assert polled.snapshot is not None
    assert polled.snapshot.names == {"db.example": held("10.0.0.1") | held("10.0.0.2")}
    assert inner.calls == ["revision", "revision"]


def test_a_configuration_that_moved_is_read_and_its_new_names_asked_for(
    server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=3600)
    server.holds("web.example", "A", "10.0.0.2", ttl=3600)
    server.minimum = 3600
    inner = Counted(read(document([fqdn("db", "db.example")], {"eu": []})))
    polled = PolledSource(answered(inner, server, clock), HeldMemory())
    polled.poll()
    inner.version = 2
    inner.configuration = read(document([fqdn("w", "web.example")], {"eu": []}))
    assert polled.poll()
    assert polled.snapshot is not None
    assert polled.snapshot.names == {"web.example": held("10.0.0.2")}
    assert server.asked.count(("db.example", "A")) == 1


def test_after_a_configuration_moved_nothing_is_read_until_something_is_due(
    server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    server.holds("db.example", "AAAA")
    inner = Counted(read(document([fqdn("db", "db.example")], {"eu": []})))
    source = answered(inner, server, clock)
    source.revision()
    source.read()
    inner.version = 2
    moved = source.revision()
    source.read()
    assert source.revision() == moved


def test_an_inner_source_that_fails_is_read_again_at_the_next_poll(
    server: NameServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Counted(read(document(groups={"eu": []})))
    polled = PolledSource(answered(inner, server, clock), HeldMemory())

    def fail() -> Snapshot:
        raise SourceError("cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(inner, "read", fail)
        polled.poll()
        assert str(polled.error) == "cannot be read"
    assert polled.poll()
    assert polled.error is None


def test_a_name_that_was_asked_for_in_vain_is_told_from_one_that_was_not_asked_for(
    server: NameServer, clock: Clock
) -> None:
    server.failing.add("db.example")
    inner = Counted(read(document([fqdn("db", "db.example")], {"eu": []})))
    assert answered(inner, server, clock).read().names == {"db.example": NOWHERE}


def test_only_what_the_device_groups_see_is_asked_for(server: NameServer, clock: Clock) -> None:
    inner = Counted(
        read(
            document(
                shared=[
                    fqdn("a", "shared.example"),
                    fqdn("covered", "covered.example"),
                    edl("l", "http://shared"),
                ],
                groups={
                    "parent": [fqdn("b", "parent.example"), edl("m", "http://parent")],
                    "eu": [fqdn("c", "eu.example"), fqdn("covered", "eu.example")],
                    "us": [fqdn("d", "us.example"), edl("n", "http://us")],
                },
                parents={"eu": "parent"},
            )
        )
    )
    found = answered(inner, server, clock, "eu", "gone").read()
    assert {*found.names} == {"shared.example", "parent.example", "eu.example"}
    problem = Estimate.unknown("could not be fetched (its source is not https)")
    assert found.lists == {"http://shared": problem, "http://parent": problem}


def test_a_list_says_how_often_it_is_fetched_and_what_does_not_count() -> None:
    exceptions = tag("exception-list", text("member", "10.0.0.2"), text("member", "10.0.0.1"))
    at = tag("recurring", tag("daily", text("at", "03")))
    found = shared(
        edl("plain", "https://x/"),
        edl("full", "https://x/", exceptions, at, text("certificate-profile", "p")),
        edl("often", "https://x/", tag("recurring", tag("five-minute"))),
        edl("secret", "https://x/", tag("auth", text("username", "u"), text("password", "p"))),
        edl("strange", "https://x/", text("only-on", "tuesdays")),
        edl("domains", "https://x/", text("expand-domain", "yes"), kind="domain"),
    )
    lists = found.shared.objects.external_lists
    assert lists["plain"] == ExternalList("plain", "ip", "https://x/")
    assert (lists["full"].refresh, lists["full"].exceptions) == ("daily", ("10.0.0.1", "10.0.0.2"))
    assert lists["full"].problem == ""
    assert lists["often"].refresh == "five-minute"
    assert lists["secret"].problem == "needs a user and password that Panorama does not show"
    assert lists["strange"].problem == "has an element <only-on> that is not known here"
    assert lists["domains"] == ExternalList("domains", "domain", "https://x/")
    assert [remark.path.rpartition("/")[2] for remark in found.remarks] == ["only-on"]


@pytest.mark.parametrize(
    ("keys", "layered"),
    [("", False), ("fqdn: resolve\n", True), ("edl: fetch\n", True)],
)
def test_there_is_a_layer_where_one_of_them_is_wanted(
    keys: str, layered: bool, tmp_path: Path
) -> None:
    file = tmp_path / "zonebridge.yaml"
    file.write_text(
        f"{keys}sources: [{{name: main, kind: file, path: x}}]\n"
        "clusters: [{name: c, kind: manifests, path: out, "
        "device_groups: [{name: eu, mode: staged}]}]\n"
    )
    settings = load(file, {})
    with assembly.store_of(settings, write=False) as store:
        [source] = assembly.sources(settings, store)
    assert isinstance(source, AnsweredSource if layered else ExportSource)
    [source] = assembly.sources(settings, None)
    assert isinstance(source, ExportSource)

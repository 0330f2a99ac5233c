"""FQDN objects by DNS, from a real server on loopback; time passes when a test says so."""

from collections.abc import Iterator
from datetime import timedelta

import dns.resolver
import pytest
from structlog.testing import capture_logs

from sync.sources import Memory
from sync.sources.dns import DnsCache
from tests.clock import Clock
from tests.memory import HeldMemory
from tests.name_server import NameServer

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


PATIENT = 120.0  # seconds for an answer that comes, however slow the machine is


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as running:
        yield running


def names(
    server: NameServer, clock: Clock, memory: Memory | None = None, grace: timedelta = HOUR
) -> DnsCache:
    return DnsCache(
        HeldMemory() if memory is None else memory,
        grace,
        resolver=server.resolver,
        now=clock,
        answer_seconds=PATIENT,
        round_seconds=2 * PATIENT,
    )


def held(asked: DnsCache, *texts: str) -> dict[str, list[str]]:
    return {text: found.cidrs() for text, found in asked.answers(texts).items()}


def test_a_name_is_its_addresses_of_both_families(server: NameServer, clock: Clock) -> None:
    server.holds("db.example", "A", "10.0.0.2", "10.0.0.1")
    server.holds("db.example", "AAAA", "2001:db8::1")
    found = held(names(server, clock), "db.example")
    assert found == {"db.example": ["10.0.0.1/32", "10.0.0.2/32", "2001:db8::1/128"]}


def test_names_are_asked_for_in_one_form_and_told_as_they_are_written(
    server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1")
    server.holds("xn--bcher-kva.example", "A", "10.0.0.2")
    found = held(names(server, clock), "DB.Example.", "db.example", "Bücher.example")
    assert found == {
        "DB.Example.": ["10.0.0.1/32"],
        "db.example": ["10.0.0.1/32"],
        "Bücher.example": ["10.0.0.2/32"],
    }
    assert sorted(server.asked) == [
        (name, family)
        for name in ("db.example", "xn--bcher-kva.example")
        for family in ("A", "AAAA")
    ]


def test_what_is_no_name_is_not_asked_for(server: NameServer, clock: Clock) -> None:
    wrong = ("*.db.example", "10.0.0.1", "$name", "a b.example", "", "a..example", "x" * 64 + ".b")
    asked = names(server, clock)
    assert held(asked, *wrong) == {}
    assert server.asked == []
    assert not asked.due()


def test_aliases_and_answers_too_long_for_a_datagram_are_followed(
    server: NameServer, clock: Clock
) -> None:
    server.points("www.example", "edge.example", "A", "10.0.0.7", ttl=30)
    server.cut = True
    asked = names(server, clock)
    assert held(asked, "www.example") == {"www.example": ["10.0.0.7/32"]}
    clock.now += 29
    assert not asked.due()
    clock.now += 1
    assert asked.due(), "the shortest TTL of the chain counts"


def test_a_name_is_asked_for_again_when_its_ttl_is_over_and_not_before(
    server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    server.holds("db.example", "AAAA", ttl=60)
    asked = names(server, clock)
    held(asked, "db.example")
    before = len(server.asked)
    clock.now += 59
    assert not asked.due()
    assert held(asked, "db.example") == {"db.example": ["10.0.0.1/32"]}
    assert len(server.asked) == before
    clock.now += 1
    assert asked.due()
    held(asked, "db.example")
    assert len(server.asked) == before + 2


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 5), (86_400, 3600)])
def test_a_ttl_has_a_floor_and_a_ceiling(
    ttl: int, seconds: int, server: NameServer, clock: Clock
) -> None:
    server.minimum = 86_400
    server.holds("db.example", "A", "10.0.0.1", ttl=ttl)
    server.holds("db.example", "AAAA", "2001:db8::1", ttl=ttl)
    asked = names(server, clock)
    held(asked, "db.example")
    clock.now += seconds - 1
    assert not asked.due()
    clock.now += 1
    assert asked.due()


def test_an_address_that_vanished_stays_for_the_grace_after_its_ttl(
    server: NameServer, clock: Clock
) -> None:
    server.minimum = 3600
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    asked = names(server, clock, grace=timedelta(minutes=10))
    held(asked, "db.example")
    server.holds("db.example", "A", "10.0.0.2", ttl=3600)
    clock.now += 60
    assert held(asked, "db.example") == {"db.example": ["10.0.0.1/32", "10.0.0.2/32"]}
    clock.now += 599
    assert not asked.due()
    assert held(asked, "db.example") == {"db.example": ["10.0.0.1/32", "10.0.0.2/32"]}
    clock.now += 1
    assert asked.due(), "its end is a change, although nobody is to be asked"
    assert held(asked, "db.example") == {"db.example": ["10.0.0.2/32"]}


@pytest.mark.parametrize("name_is_gone", [True, False])
def test_that_there_is_none_is_an_answer_with_the_same_grace(
    name_is_gone: bool, server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    asked = names(server, clock)
    held(asked, "db.example")
    if name_is_gone:
        server.records.clear()
    else:
        server.holds("db.example", "A")
    clock.now += 60
    assert held(asked, "db.example") == {"db.example": ["10.0.0.1/32"]}
    clock.now += 3600
    assert held(asked, "db.example") == {"db.example": []}


def test_a_name_that_never_was_is_known_to_have_no_address(
    server: NameServer, clock: Clock
) -> None:
    assert held(names(server, clock), "none.example") == {"none.example": []}


@pytest.mark.parametrize("way", ["failing", "silent"])
def test_a_lookup_that_fails_keeps_the_last_answer_without_an_end(
    way: str, server: NameServer, clock: Clock
) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    asked = names(server, clock)
    held(asked, "db.example")
    getattr(server, way).add("db.example")
    # A lookup that nobody answers is given up soon, and one that somebody does is waited for.
    asked.answer_seconds = 0.5 if way == "silent" else PATIENT
    clock.now += 86_400
    with capture_logs() as logs:
        assert held(asked, "db.example") == {"db.example": ["10.0.0.1/32"]}
        clock.now += 30
        assert asked.due(), "it is tried again soon"
        held(asked, "db.example")
    assert [each["names"] for each in logs] == ["db.example"], "once, not at each try"
    getattr(server, way).clear()
    asked.answer_seconds = PATIENT
    server.holds("db.example", "A", "10.0.0.2", ttl=60)
    clock.now += 30
    assert held(asked, "db.example") == {"db.example": ["10.0.0.2/32"]}


def test_a_name_that_was_never_answered_has_no_answer(server: NameServer, clock: Clock) -> None:
    server.failing.add("db.example")
    assert held(names(server, clock), "db.example") == {}


def test_without_a_resolver_the_last_answers_stay(server: NameServer, clock: Clock) -> None:
    server.holds("db.example", "A", "10.0.0.1")
    memory = HeldMemory()
    held(names(server, clock, memory), "db.example")

    def none() -> dns.resolver.Resolver:
        raise dns.resolver.NoResolverConfiguration

    asked = DnsCache(memory, HOUR, resolver=none, now=clock)
    assert held(asked, "db.example", "web.example") == {"db.example": ["10.0.0.1/32"]}


def test_a_dead_resolver_ends_a_round_and_who_was_not_asked_comes_first_in_the_next(
    server: NameServer, clock: Clock
) -> None:
    dead = [f"a{number}.example" for number in range(16)]
    server.silent |= {*dead}
    server.holds("z.example", "A", "10.0.0.1")
    asked = DnsCache(
        HeldMemory(),
        HOUR,
        resolver=server.resolver,
        now=clock,
        answer_seconds=0.4,
        round_seconds=0.4,
    )
    assert held(asked, *dead, "z.example") == {}
    assert asked.due(), "no time has passed, and yet not all were asked"
    found: dict[str, list[str]] = {}
    while not found:
        clock.now += 30  # whoever failed is due again, and has its turn after the others
        found = held(asked, *dead, "z.example")
    assert found == {"z.example": ["10.0.0.1/32"]}


def test_what_no_name_can_have_is_dropped(server: NameServer, clock: Clock) -> None:
    server.holds(
        "db.example", "A",
        "0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.0.0.1",
    )  # fmt: skip
    server.holds(
        "db.example", "AAAA",
        "::", "::1", "::10.0.0.9", "::ffff:10.0.0.9", "fe80::1", "ff02::1", "fd00::1",
    )  # fmt: skip
    found = held(names(server, clock), "db.example")
    assert found == {"db.example": ["10.0.0.1/32", "fd00::1/128"]}


def test_another_process_knows_what_vanished_and_what_was_answered_last(
    server: NameServer, clock: Clock
) -> None:
    memory = HeldMemory()
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    held(names(server, clock, memory), "db.example")
    server.holds("db.example", "A", "10.0.0.2", ttl=60)
    clock.now += 600
    assert held(names(server, clock, memory), "db.example") == {
        "db.example": ["10.0.0.1/32", "10.0.0.2/32"]
    }
    server.failing.add("db.example")
    clock.now += 3600
    assert held(names(server, clock, memory), "db.example") == {"db.example": ["10.0.0.2/32"]}


def test_what_is_over_is_forgotten(server: NameServer, clock: Clock) -> None:
    memory = HeldMemory()
    asked = names(server, clock, memory)
    for number in range(1, 200):
        server.holds("db.example", "A", f"10.0.0.{number}", ttl=3600)
        held(asked, "db.example")
        clock.now += 3600
    kept = memory.recall("name", "db.example. A")
    assert kept is not None
    assert kept.count(b"10.0.0.") <= 2


def test_an_answer_that_stays_the_same_is_not_remembered_each_time(
    server: NameServer, clock: Clock
) -> None:
    class Counted(HeldMemory):
        writes = 0

        def remember(self, kind: str, name: str, value: bytes) -> None:
            Counted.writes += 1
            super().remember(kind, name, value)

    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    server.holds("db.example", "AAAA")
    asked = names(server, clock, Counted())
    for _ in range(13):
        held(asked, "db.example")
        clock.now += 60
    assert Counted.writes == 2 * 2, "at first, and each time that a tenth of the grace is over"


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"current": ["10.0.0.0/8"], "until": 0, "gone": {}}',
        b'{"current": [7], "until": 0, "gone": {}}',
        b'{"current": [], "until": "x", "gone": {}}',
        b'{"current": [], "until": 0, "gone": {"10.0.0.1": null}}',
        b'{"current": ["10.0.0.1"], "until": 9e99, "gone": {}}',
        b'{"current": [], "until": 0, "gone": {"10.0.0.1": 9e99}}',
        b'{"current": ["10.0.0.1"], "until": 0}',
        b'{"current": ["10.0.0.1"], "until": NaN, "gone": {}}',
    ],
)
def test_what_is_remembered_wrongly_is_not_believed(
    kept: bytes, server: NameServer, clock: Clock
) -> None:
    memory = HeldMemory()
    for family in ("A", "AAAA"):
        memory.remember("name", f"db.example. {family}", kept)
    server.failing.add("db.example")
    assert held(names(server, clock, memory), "db.example") == {}


def test_a_clock_set_back_keeps_nobody_from_being_asked(server: NameServer, clock: Clock) -> None:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    asked = names(server, clock)
    held(asked, "db.example")
    server.holds("db.example", "A", "10.0.0.2", ttl=60)
    clock.now -= 86_400
    assert asked.due()
    assert "10.0.0.2/32" in held(asked, "db.example")["db.example"]

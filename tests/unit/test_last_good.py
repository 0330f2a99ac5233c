"""The last good snapshot: it comes back as it was, without what could be a secret."""

import dataclasses
from typing import Any

import pytest

from sync.firewall.configuration import Configuration, Provenance, Snapshot
from sync.firewall.estimate import Estimate
from sync.firewall.objects import Application, ApplicationGroup
from sync.firewall.runtime import Registrations
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network
from sync.sources.snapshot_cache import keep, kept
from tests.memory import HeldMemory
from tests.words import (
    Word,
    address,
    both_ways,
    default_rule,
    document,
    dynamic,
    entry,
    group,
    nat_rule,
    read,
    rule,
    service,
    tag,
    text,
)

HOSTS = network("2001:db8::/32") | network("10.0.0.0/8")
# Every kind that a field may be, with nothing in it that would tell it apart but its own fields.
WORDS = (
    address("a", "10.0.0.1", tags=["prod"]),
    address("range", "10.0.0.1-10.0.0.9", kind="ip-range"),
    address("wide", "10.0.0.0/0.255.0.0", kind="ip-wildcard"),
    address("six", "::/0"),
    address("name", "www.example.com", kind="fqdn"),
    address("broken", "nowhere"),
    group("empty"),
    group("web", "a"),
    dynamic("tagged", "'prod' and not ('test' or other)"),
    service("web", "80,443", source_port="1-65535"),
    Word("service-group", entry("both", tag("members", text("member", "web")))),
    Word("application", entry("own", tag("default", text("ident-by-ip-protocol", "47")))),
    Word("application", entry("bare")),
    Word("application-group", entry("bare-group", tag("members"))),
    Word("application-filter", entry("bare-filter")),
    Word("application-filter", entry("games", tag("category", text("member", "games")))),
    Word("region", entry("lab", tag("address", text("member", "10.0.0.1")))),
    Word("bogus", entry("unknown")),
    rule("allow", from_=["web"], action="allow", schedule="nights"),
    rule("deny", rulebase="post", action="deny", **{"negate-source": "yes"}),
    default_rule("intrazone-default", text("action", "deny")),
    nat_rule("nat", both_ways("192.0.2.1")),
)


@pytest.fixture
def memory() -> HeldMemory:
    return HeldMemory()


def snapshot(configuration: Configuration | None = None, **fields: Any) -> Snapshot:
    provenance = Provenance("main", "panorama.example", "412", ("alice", "bob"), "more web")
    return Snapshot(configuration or read(document(WORDS, {"dg": WORDS})), provenance, **fields)


def test_it_comes_back_as_it_was_with_its_time(memory: HeldMemory) -> None:
    known: dict[str, Application | ApplicationGroup] = {
        "ssl": Application("ssl", (("port", "tcp/443"),)),
        "office": ApplicationGroup("office", ("ssl",)),
        "nothing": ApplicationGroup("nothing"),
    }
    found = snapshot(
        registered={
            "dg": Registrations(((((), AddressSet()), (("prod",), HOSTS)),), ("fw is down",))
        },
        names={"www.example.com": EVERYWHERE},
        lists={
            "panw-bulletproof": Estimate.exactly(HOSTS),
            "partly": Estimate(NOWHERE, HOSTS, because=("is empty now",)),
            "other": Estimate.unknown("is too long"),
        },
        predefined=known,
        not_pushed={"dg": ("001", "002")},
    )
    assert found.configuration.remarks
    keep(memory, found, 1234.5)
    assert kept(memory) == (1234.5, found)


def test_nothing_is_kept_at_first(memory: HeldMemory) -> None:
    assert kept(memory) is None


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda kept: b"",
        lambda kept: b"\x80\x04N.",
        lambda kept: kept[:-1],
        lambda kept: kept.partition(b"\n")[0] + b"\n",
        lambda kept: kept.partition(b"\n")[0] + b"\n[1.0,{}]",
        lambda kept: kept.replace(b'"problem":', b'"trouble":'),
        lambda kept: b"0.0.1 " + kept.partition(b" ")[2],
        lambda kept: kept.replace(b"\n", b"0\n", 1),
    ],
    ids=["empty", "foreign", "cut", "no more", "no snapshot", "fields", "version", "layout"],
)
def test_what_is_damaged_or_of_another_version_is_none(memory: HeldMemory, spoiled: Any) -> None:
    keep(memory, snapshot(), 1)
    [(key, value)] = memory.items()
    assert kept(memory)
    memory[key] = spoiled(value)
    assert memory[key] != value
    assert kept(memory) is None


URLS = ("https://user:hunter2@feeds.example/a", "https://feeds.example/b?token=hunter2", "panw-ips")


def test_what_could_be_a_secret_is_not_kept_and_lists_are_found_all_the_same(
    memory: HeldMemory,
) -> None:
    lists = [
        Word("external-list", entry(f"list-{number}", tag("type", tag("ip", text("url", url)))))
        for number, url in enumerate(URLS)
    ]
    told = [
        *lists,
        Word("tag", entry("prod", text("color", "color1"), text("comments", "hunter2"))),
        rule("one", description="hunter2"),
        rule("two", rulebase="post", description="hunter2"),
    ]
    found = snapshot(
        read(document(told, {"dg": told})),
        lists={url: Estimate.exactly(network(f"10.0.0.{n}")) for n, url in enumerate(URLS)},
    )
    assert str(found).count("hunter2") > 10
    keep(memory, found, 1)
    [value] = memory.values()
    assert b"hunter2" not in value
    assert b"feeds.example" not in value

    _, again = kept(memory) or (0, snapshot())
    for scope in (again.configuration.shared, again.configuration.device_groups["dg"].scope):
        held = [again.lists[each.url] for each in scope.objects.external_lists.values()]
        assert held == [found.lists[url] for url in URLS]
        assert scope.objects.external_lists["list-2"].url == "panw-ips"
        assert scope.objects.tags["prod"].color == "color1"
        assert [each.name for each in scope.rulebases.post] == ["two"]


def test_every_text_of_a_snapshot_that_is_free_is_known_here() -> None:
    """Whoever adds a field that administrators write freely decides here what is kept of it."""
    free = {
        f"{each.__name__}.{field.name}"
        for each in _dataclasses(Snapshot, set())
        for field in dataclasses.fields(each)
        if field.name in {"description", "comments", "comment", "url", "password", "key", "secret"}
    }
    assert free == {
        "ExternalList.url",
        "Provenance.description",
        "Rule.description",
        "Tag.comments",
    }


def _dataclasses(kind: Any, seen: set[Any]) -> set[Any]:
    """A dataclass and all that its fields are made of."""
    if dataclasses.is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for field in dataclasses.fields(kind):
            _dataclasses(field.type, seen)
    for inner in getattr(kind, "__args__", ()):
        _dataclasses(inner, seen)
    return seen

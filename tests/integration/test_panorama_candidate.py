"""What would run after a commit: the candidate configuration, read whole and never torn."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from lxml import etree

from sync.sources.panorama.source import PanoramaSource
from tests.panorama_words import FAULTS, Clock, failure_of, source_of
from tests.words import address, document, dynamic, group, read, rule
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import Body, Drip, EmptyResult, Fault, Silence
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, reads


def company(
    web: str = "10.0.0.1", us: str = "10.0.2.1", parent: str = "eu", dns: str = "10.0.0.53"
) -> bytes:
    return document(
        [address("dns", dns), dynamic("d", "'x' and 'y'")],
        {
            "eu": [
                address("web", web, tags=("x", "y")),
                group("all", "web", "dns"),
                rule("allow", from_=["any"], to=["any"], source=["all"], destination=["dns"]),
            ],
            "berlin": (),
            "us": [address("web", us)],
        },
        parents={"berlin": parent},
    ).replace(b"11.1.0", b"11.1.6")


DOCUMENT = company()


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(DOCUMENT, authority, version=52) as panorama:
        # It marks what was touched with the time at which it is asked.
        panorama.clock = lambda: datetime(2026, 11, 20, tzinfo=UTC)
        yield panorama


@pytest.fixture
def source(authority: Authority, panorama: Panorama) -> PanoramaSource:
    return source_of(authority, panorama, view="candidate")


def test_nothing_pending_is_what_runs(authority: Authority, panorama: Panorama) -> None:
    panorama.commit(company("10.0.0.7"), "alice", "web moves")
    running = source_of(authority, panorama).read()
    candidate = source_of(authority, panorama, view="candidate").read()
    # Entries still carry the names of those who committed them.
    assert candidate == running
    assert candidate.provenance.administrators == ("alice",)
    panorama.candidate = company("10.0.0.7")
    assert source_of(authority, panorama, view="candidate").read() == running


def test_what_is_pending_is_read_and_whose_it_is(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.candidate = company("10.0.0.9")
    found = source.read()
    assert found.configuration == read(company("10.0.0.9"))
    assert found.provenance.version == "52 with pending changes"
    assert found.provenance.administrators == ("admin",)
    assert (found.provenance.origin, found.provenance.description) == ("Panorama 127.0.0.1", "")


def marked(document: bytes, *names: tuple[str, str]) -> bytes:
    """A document in which entries at these paths carry who touched them."""
    root = etree.fromstring(document)
    for place, name in names:
        for node in root.iterfind(place):
            node.set("admin", name)
            node.set("dirtyId", "3")
            node.set("time", "2026/11/20 10:00:00")
    return etree.tostring(root)


def whole_reads(part: str) -> Callable[[Request], bool]:
    return lambda request: (
        request.action == "get"
        and request.xpath.endswith(part)
        and "/readonly/" not in request.xpath
    )


def test_of_several_only_those_are_named_whose_changes_are_pending(
    panorama: Panorama, source: PanoramaSource
) -> None:
    web = "devices/entry/device-group/entry[@name='{}']/address/entry"
    pending = marked(
        company("10.0.0.9", us="10.0.2.9"),
        (web.format("eu"), "bob"),
        (web.format("us"), "carol"),
        ("shared/address/entry", "dave"),
        ("devices/entry/device-group/entry[@name='eu']//member", "erin"),
    )
    panorama.candidate = pending
    serve(panorama, pending, "shared")
    serve(panorama, pending, "device-group")
    found = source.read()
    assert found.provenance.administrators == ("bob", "carol")
    assert found.configuration == read(company("10.0.0.9", us="10.0.2.9"))


def serve(panorama: Panorama, document: bytes, part: str, times: int | None = None) -> None:
    """Answer `get` of a part with what a document has, marks included."""
    root = etree.fromstring(document)
    found = root.find(part) if part == "shared" else root.find(f"devices/entry/{part}")
    assert found is not None
    inner = etree.tostring(found)
    answer = b'<response status="success" code="19"><result>%s</result></response>' % inner
    panorama.fail(whole_reads(f"/{part}"), Body(answer), times)


def test_a_new_entry_and_one_that_is_gone_are_pending(
    panorama: Panorama, source: PanoramaSource
) -> None:
    gone = DOCUMENT.replace(b'<entry name="us">', b'<entry name="asia">')
    panorama.candidate = gone
    found = source.read()
    assert sorted(found.configuration.device_groups) == ["asia", "berlin", "eu"]
    assert found.provenance.version == "52 with pending changes"


def test_the_hierarchy_of_the_candidate_is_its_own(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.candidate = company(parent="us")
    assert source.read().configuration.device_groups["berlin"].parent == "us"


def test_a_candidate_without_a_hierarchy_has_that_of_what_runs(
    panorama: Panorama, source: PanoramaSource
) -> None:
    root = etree.fromstring(company("10.0.0.9"))
    root.remove(root.find("readonly"))  # type: ignore[arg-type]  # it has one
    panorama.candidate = etree.tostring(root)
    found = source.read().configuration
    assert found == read(company("10.0.0.9"))
    assert found.device_groups["berlin"].parent == "eu"


def test_nothing_is_asked_that_changes_anything(panorama: Panorama, source: PanoramaSource) -> None:
    source.read()
    assert {each.action for each in panorama.requests if each.type == "config"} == {"get", "show"}
    assert all("<show>" in each.cmd for each in panorama.requests if each.type == "op")


def test_another_read_is_always_due(authority: Authority, panorama: Panorama) -> None:
    clock = Clock()
    source = source_of(authority, panorama, clock=clock, view="candidate")
    before = source.revision()
    source.read()
    clock.sleep(1)
    assert source.revision() != before
    panorama.candidate = company("10.0.0.9")
    assert source.read().configuration == read(company("10.0.0.9"))


# --- torn reads -----------------------------------------------------------------------------------


def reads_all(panorama: Panorama) -> int:
    return sum(whole_reads("/config/shared")(each) for each in panorama.requests)


@pytest.mark.parametrize("part", ["shared", "device-group"])
def test_parts_of_two_moments_are_never_one_configuration(
    panorama: Panorama, source: PanoramaSource, part: str
) -> None:
    edited = company("10.0.0.9", dns="10.0.0.54")
    panorama.candidate = edited
    # As if the edit came right after this part.
    serve(panorama, DOCUMENT, part, times=1)
    assert source.read().configuration == read(edited)
    assert reads_all(panorama) == 4


@pytest.mark.parametrize("part", ["/config/shared", "/device-group", "/template-stack"])
@pytest.mark.parametrize("which", [1, 2])
def test_an_edit_during_a_read_is_in_it_or_not(
    panorama: Panorama, source: PanoramaSource, part: str, which: int
) -> None:
    edited = company("10.0.0.9", dns="10.0.0.54")
    seen = 0

    def happen() -> None:
        nonlocal seen
        seen += 1
        if seen == which:
            panorama.candidate = edited

    panorama.before(whole_reads(part), happen, times=None)
    assert source.read().configuration in (read(DOCUMENT), read(edited))


def test_a_commit_during_a_read_begins_it_anew(panorama: Panorama, source: PanoramaSource) -> None:
    panorama.candidate = company("10.0.0.9")
    panorama.before(whole_reads("/template-stack"), lambda: panorama.commit(None, "alice"))
    found = source.read()
    assert found.configuration == read(company("10.0.0.9"))
    assert (found.provenance.version, found.provenance.administrators) == ("53", ("alice",))


def test_a_candidate_that_never_stands_still_is_not_read(
    panorama: Panorama, source: PanoramaSource
) -> None:
    number = 0

    def edit() -> None:
        nonlocal number
        number += 1
        panorama.candidate = company(f"10.0.9.{number}")

    panorama.before(whole_reads("/device-group"), edit, times=6)
    assert "was changed again during each of 3 reads" in failure_of(source.read)
    assert source.read().configuration == read(company("10.0.9.6"))


# --- reads that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [*(each for each in FAULTS if not isinstance(each, Silence | Drip)), EmptyResult()],
    ids=repr,
)
@pytest.mark.parametrize("part", ["/config/shared", "/device-group"])
def test_a_read_of_which_any_call_fails_is_none(
    panorama: Panorama, source: PanoramaSource, fault: Fault, part: str
) -> None:
    panorama.candidate = company("10.0.0.9")
    panorama.fail(whole_reads(part), fault, times=None)
    failure_of(source.read)
    panorama.recover()
    assert source.read().configuration == read(company("10.0.0.9"))


def test_a_role_that_sees_no_rules_is_refused(panorama: Panorama, source: PanoramaSource) -> None:
    bare = etree.fromstring(DOCUMENT)
    bare.remove(bare.find("shared"))  # type: ignore[arg-type]  # it has one
    panorama.candidate = etree.tostring(bare)
    assert "shows no shared objects" in failure_of(source.read)
    assert any(reads("/config/shared")(each) for each in panorama.requests)

"""A Panorama as a source: what is read, when, of whom, and what becomes of a read that fails."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from lxml import etree

from sync.assembly import translation_options
from sync.errors import SourceError, UsageError
from sync.firewall.configuration import Snapshot
from sync.firewall.parse.document import parse
from sync.reconcile.device_groups import TierBinding, target_of
from sync.sources.export import ExportSource
from sync.sources.panorama.source import Interval, PanoramaSource
from sync.transport.spreading import sooner
from tests.conftest import samples
from tests.panorama_words import FAULTS, FIFTEEN_MINUTES, Clock, failure_of, source_of
from tests.translation import settings_of_one_cluster, translate
from tests.words import address, document, entry, group, tag, text
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.faults import (
    ApiError,
    Body,
    Drip,
    EmptyResult,
    Fault,
    HttpStatus,
    Huge,
    NotXml,
    Replaced,
    Reset,
    Silence,
)
from zonebridge_simulator.panorama import Panorama
from zonebridge_simulator.request import Request, every, keygen, op, reads
from zonebridge_simulator.state import AuditShape


def company(web: str = "10.0.0.1", **given: str) -> bytes:
    return document(
        [address("dns", "10.0.0.53")],
        {"eu": [address("web", web), group("all", "web", "dns")], "berlin": ()},
        parents={"berlin": "eu"},
        **given,
    )


DOCUMENT = company()
CHANGED = company("10.0.0.2")
OTHERS = [company(f"10.0.1.{each}") for each in range(1, 9)]


@pytest.fixture
def panorama(authority: Authority) -> Iterator[Panorama]:
    with Panorama(DOCUMENT, authority, users={"reader": "secret"}) as panorama:
        yield panorama


@pytest.fixture
def source(authority: Authority, panorama: Panorama) -> PanoramaSource:
    return source_of(authority, panorama)


@pytest.fixture
def pair(authority: Authority) -> Iterator[tuple[Panorama, Panorama]]:
    """The active member at 127.0.0.1, the passive one at localhost."""
    with ExitStack() as kept:
        one = kept.enter_context(Panorama(DOCUMENT, authority))
        other = kept.enter_context(
            Panorama(DOCUMENT, authority, certificate=authority.certificate("localhost"))
        )
        one.ha, other.ha = "active", "passive"
        yield one, other


def web_of(snapshot: Snapshot) -> object:
    return snapshot.configuration.device_groups["eu"].scope.objects.addresses["web"]


# --- what is read ---------------------------------------------------------------------------------


def whole_panoramas() -> list[Path]:
    """The samples that are configurations of a Panorama, none of them trimmed."""
    found = []
    for path in samples():
        try:
            config = parse(path.read_bytes(), str(path))
        except SourceError:
            continue
        if config.find("shared") is not None:
            found.append(path)
    return found


def manifests(snapshot: Snapshot) -> list[bytes]:
    """What every device group is translated to."""
    found = []
    for name in sorted(snapshot.configuration.device_groups):
        target = target_of(TierBinding("main", name, mode="enforced"), snapshot)
        try:
            translated = translate(
                "c", [target], translation_options(settings_of_one_cluster(), ()), {}
            )
        except (SourceError, UsageError) as error:
            found.append(str(error).encode())
        else:
            found += [each.body for each in translated.manifests.values()]
    return found


@pytest.mark.parametrize("path", whole_panoramas(), ids=lambda path: path.name)
def test_it_is_what_the_export_of_the_same_configuration_is(
    authority: Authority, path: Path
) -> None:
    exported = ExportSource("main", path).read()
    with Panorama(path.read_bytes(), authority) as panorama:
        panorama.system["sw-version"] = exported.configuration.version
        read = source_of(authority, panorama).read()
    assert read.configuration == exported.configuration
    assert manifests(read) == manifests(exported)


def test_what_is_not_needed_is_not_asked_for(panorama: Panorama, source: PanoramaSource) -> None:
    source.read()
    asked = {each.xpath for each in panorama.requests if reads(action="show")(each)}
    device = "/config/devices/entry[@name='localhost.localdomain']"
    readonly = "/config/readonly/devices/entry[@name='localhost.localdomain']"
    assert asked == {
        "/config/shared",
        f"{device}/device-group",
        f"{device}/template",
        f"{device}/template-stack",
        f"{device}/deviceconfig/setting/management/ancestor-objects-take-precedence",
        f"{readonly}/device-group",
    }
    # The content stands in no running configuration.
    got = {each.xpath for each in panorama.requests if reads()(each)} - asked
    assert got == {"/config/predefined/application"}
    # Nothing is asked that changes anything.
    assert all("<show>" in each.cmd for each in panorama.requests if each.type == "op")


def test_the_candidate_is_not_read(panorama: Panorama, source: PanoramaSource) -> None:
    before = source.read(), source.revision()
    panorama.candidate = CHANGED
    assert (source.read(), source.revision()) == before


def test_what_a_configuration_lacks_is_not_missed(authority: Authority) -> None:
    bare = (
        b'<config version="11.1.6"><shared><tag><entry name="t"/></tag></shared>'
        b'<devices><entry name="localhost.localdomain">'
        b'<device-group><entry name="eu"/></device-group></entry></devices></config>'
    )
    with Panorama(bare, authority) as panorama:
        read = source_of(authority, panorama).read().configuration
        assert read == read_export(bare)
        assert list(read.device_groups) == ["eu"]
        assert not read.templates


@pytest.mark.parametrize(
    ("part", "said"), [("shared", "shared objects"), ("device-group", "device groups;")]
)
def test_a_role_that_sees_no_rules_is_refused(authority: Authority, part: str, said: str) -> None:
    """Without them denies would be missing, and nobody could tell."""
    hidden = etree.fromstring(company())
    for found in [*hidden.iterfind(part), *hidden.iterfind(f"devices/entry/{part}")]:
        found.getparent().remove(found)  # type: ignore[union-attr]  # it has one
    with (
        Panorama(etree.tostring(hidden), authority) as panorama,
        pytest.raises(SourceError, match=f"shows no {said}"),
    ):
        source_of(authority, panorama).read()


def test_device_groups_whose_parents_are_not_told_are_refused(authority: Authority) -> None:
    """They would lose the denies of their ancestors."""
    hidden = etree.fromstring(company())
    for readonly in hidden.findall("readonly"):
        hidden.remove(readonly)
    with (
        Panorama(etree.tostring(hidden), authority) as panorama,
        pytest.raises(SourceError, match="shows no parents of its device groups"),
    ):
        source_of(authority, panorama).read()


def test_the_hierarchy_of_old_releases_is_read(authority: Authority) -> None:
    told = tag(
        "dg-meta-data",
        tag(
            "dginfo",
            '<entry name="eu"><dg-id>11</dg-id></entry>'
            '<entry name="berlin"><dg-id>12</dg-id><parent-dg>eu</parent-dg></entry>',
        ),
    )
    old = company(readonly=told).replace(b"11.1.0", b"7.1.0")
    with Panorama(old, authority) as panorama:
        panorama.system["sw-version"] = "7.1.0"
        assert source_of(authority, panorama).read().configuration == read_export(old)


@pytest.mark.parametrize("says", ["yes", "no"])
def test_whether_ancestors_take_precedence_is_read(authority: Authority, says: str) -> None:
    inner = text("ancestor-objects-take-precedence", says)
    for name in ("management", "setting", "deviceconfig"):
        inner = tag(name, inner)
    set_so = company(devices=inner).replace(b"11.1.0", b"11.1.6")
    with Panorama(set_so, authority) as panorama:
        read = source_of(authority, panorama).read().configuration
    assert read == read_export(set_so)
    assert read.ancestors_take_precedence is (says == "yes")


def read_export(data: bytes) -> object:
    from tests.words import read

    return read(data)


def test_a_firewall_is_not_taken_for_a_panorama(authority: Authority) -> None:
    firewall = (
        b'<config version="11.1.6"><mgt-config/><devices><entry name="localhost.localdomain">'
        b'<vsys><entry name="vsys1"/></vsys></entry></devices></config>'
    )
    with Panorama(firewall, authority) as panorama, pytest.raises(SourceError):
        source_of(authority, panorama).read()


# --- when it is read ------------------------------------------------------------------------------


def test_a_poll_of_what_is_unchanged_is_one_small_call(
    panorama: Panorama, source: PanoramaSource
) -> None:
    source.read()
    revision = source.revision()
    panorama.requests.clear()
    for _ in range(3):
        assert source.revision() == revision
    assert [each.cmd for each in panorama.requests] == [
        "<show><config><audit><info></info></audit></config></show>"
    ] * 3


@pytest.mark.parametrize(
    "shape",
    [
        "newest-first",
        "oldest-first",
        "text",
        "unsupported",
        lambda commits: tag("a", *(f'<entry name="{each.version}"/>' for each in commits)),
        lambda commits: "",
    ],
    ids=["newest", "oldest", "text", "unsupported", "names alone", "nothing"],
)
def test_a_commit_is_another_revision_however_it_is_told(
    panorama: Panorama, source: PanoramaSource, shape: AuditShape
) -> None:
    panorama.audit_shape = shape
    before = source.revision()
    # None of these changes what runs.
    panorama.add_job("CommitAll", user="admin")
    panorama.add_job("Commit", result="FAIL", user="admin")
    panorama.add_job("Commit", status="ACT", user="admin")
    assert source.revision() == before
    panorama.commit(CHANGED, "alice")
    after = source.revision()
    assert after != before
    read = source.read()
    assert web_of(read) == web_of(snapshot_of(CHANGED))
    assert source.revision() == after
    by_version = callable(shape) or shape in ("newest-first", "oldest-first")
    if not by_version:
        assert read.provenance.version == "commit job 391"


def snapshot_of(data: bytes) -> Snapshot:
    from sync.firewall.configuration import Provenance
    from tests.words import read

    return Snapshot(read(data), Provenance("main", "x", "x"))


def test_numbers_that_nobody_counts_to_are_no_versions(
    panorama: Panorama, source: PanoramaSource
) -> None:
    far = entry("9" * 5_000)
    panorama.audit_shape = lambda commits: far + "".join(entry(str(e.version)) for e in commits)
    assert source.revision().startswith("127.0.0.1 52 ")
    panorama.audit_shape = lambda commits: far
    revision = source.revision()
    assert revision.startswith("127.0.0.1 commit job ")
    panorama.jobs.append(replace(panorama.jobs[-1], number=int("9" * 100)))
    assert source.revision() == revision


def test_an_error_that_says_too_much_is_cut_short(
    panorama: Panorama, source: PanoramaSource
) -> None:
    for status, code in (("x" * 9_000, ""), ("error", "9" * 9_000)):
        body = f"<response status='{status}' code='{code}'/>".encode()
        panorama.fail(op("<audit>"), Body(body))
        panorama.fail(op("<high-availability>"), Body(body))
        assert len(failure_of(source.revision)) < 1_000
    panorama.fail(op("<audit>"), Body(f"<{'n' * 9_000}/>".encode()))
    assert len(failure_of(source.revision)) < 1_000


@pytest.mark.parametrize("shape", ["newest-first", "unsupported"])
def test_a_commit_whose_description_is_cut_inside_a_character_is_read_as_any(
    panorama: Panorama, source: PanoramaSource, shape: AuditShape
) -> None:
    """PaloAltoNetworks/pan-os-ansible, issue 578."""
    panorama.audit_shape = shape
    panorama.commit(CHANGED, "alice", "to MOVED")
    call = op("<jobs>" if shape == "unsupported" else "<audit>")
    panorama.fail(call, Replaced(b"MOVED", b"caf\xc3"), times=None)
    with structlog.testing.capture_logs() as logged:
        assert source.read().provenance.description == r"to caf\xc3"
        source.revision()
    (told,) = (each for each in logged if "bytes that are not UTF-8" in each["event"])
    assert ("jobs" if shape == "unsupported" else "<audit>") in told["call"]
    assert told["path"].startswith("/response/result/")


def test_odd_bytes_of_the_configuration_are_remarked_on_with_their_path(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.fail(reads("/config/shared"), Replaced(b"10.0.0.53", b"10.0.0.53\xff"))
    found = source.read().configuration
    assert found.shared.objects.addresses["dns"].problem
    told = [each.path for each in found.remarks if "bytes that are not UTF-8" in each.message]
    assert told == ["/config/shared/address/entry[@name='dns']/ip-netmask"]


@pytest.mark.parametrize("shape", ["newest-first", "oldest-first", "unsupported"])
def test_whose_commit_it_was_is_known(
    panorama: Panorama, source: PanoramaSource, shape: AuditShape
) -> None:
    panorama.audit_shape = shape
    panorama.commit(CHANGED, "alice", "web <moved>\nto another rack")
    told = source.read().provenance
    assert (told.source, told.origin) == ("main", "Panorama 127.0.0.1")
    assert told.administrators == ("alice",)
    assert told.description == "web <moved> to another rack"
    if shape != "unsupported":
        assert told.version == "53"


def test_everything_is_due_again_after_a_while(panorama: Panorama, authority: Authority) -> None:
    clock = Clock()
    clock.time = 0
    source = source_of(authority, panorama, clock=clock)
    first = source.revision()
    clock.time = 899
    assert source.revision() == first
    clock.time = 900
    second = source.revision()
    assert second != first
    clock.time = 1799
    assert source.revision() == second


def test_a_commit_during_a_read_begins_it_anew(panorama: Panorama, source: PanoramaSource) -> None:
    panorama.before(reads("/device-group"), lambda: panorama.commit(CHANGED, "alice"))
    read = source.read()
    assert web_of(read) == web_of(snapshot_of(CHANGED))
    assert read.provenance.version == "53"
    assert read.provenance.administrators == ("alice",)
    assert sum(reads("/config/shared")(each) for each in panorama.requests) == 2


@pytest.mark.parametrize("shape", ["newest-first", "unsupported"])
def test_three_commits_in_a_row_are_too_many(
    panorama: Panorama, source: PanoramaSource, shape: AuditShape
) -> None:
    panorama.audit_shape = shape
    documents = iter(OTHERS)
    panorama.before(reads("/config/shared"), lambda: panorama.commit(next(documents)), times=3)
    said = failure_of(source.read)
    assert "committed again during each of 3 reads; the next poll tries again" in said
    assert sum(reads("/config/shared")(each) for each in panorama.requests) == 3
    assert web_of(source.read()) == web_of(snapshot_of(OTHERS[2]))


def test_a_version_that_goes_backwards_is_warned_of_once(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.commit(CHANGED)
    source.read()
    panorama.commits.pop()
    with structlog.testing.capture_logs() as logged:
        source.revision()
        source.revision()
    assert logged == [
        {
            "event": "the configuration's version went backwards",
            "log_level": "warning",
            "source": "main",
            "version": "52",
            "before": "53",
        }
    ]
    assert web_of(source.read()) == web_of(snapshot_of(DOCUMENT))


# --- pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["newest-first", "unsupported"])
@pytest.mark.parametrize("first", [True, False])
def test_the_active_one_is_read(
    authority: Authority, pair: tuple[Panorama, Panorama], first: bool, shape: AuditShape
) -> None:
    one, other = pair
    if not first:
        one.ha, other.ha = "passive", "secondary-active"
    active, passive = (one, other) if first else (other, one)
    active.audit_shape = passive.audit_shape = shape
    active.commit(CHANGED)
    source = source_of(authority, one, other)
    read = source.read()
    assert web_of(read) == web_of(snapshot_of(CHANGED))
    assert read.provenance.origin == f"Panorama {'127.0.0.1' if first else 'localhost'}"
    assert not any(reads()(each) for each in passive.requests)
    # Once it is known, the other one is left alone.
    passive.requests.clear()
    source.revision()
    source.read()
    assert passive.requests == []


@pytest.mark.parametrize("shape", ["newest-first", "unsupported"])
def test_a_fail_over_is_followed(
    authority: Authority, pair: tuple[Panorama, Panorama], shape: AuditShape
) -> None:
    one, other = pair
    one.audit_shape = other.audit_shape = shape
    source = source_of(authority, one, other)
    source.read()
    before = source.revision()
    one.ha, other.ha = "passive", "active"
    other.commit(CHANGED)
    assert source.revision() != before
    read = source.read()
    assert web_of(read) == web_of(snapshot_of(CHANGED))
    assert read.provenance.origin == "Panorama localhost"
    one.ha, other.ha = "active", "passive"
    assert source.read().provenance.origin == "Panorama 127.0.0.1"


def test_another_member_of_the_same_version_is_another_revision(
    authority: Authority, pair: tuple[Panorama, Panorama]
) -> None:
    one, other = pair
    source = source_of(authority, one, other)
    before = source.revision()
    one.ha, other.ha = "passive", "active"
    assert source.revision() != before


def test_a_fail_over_to_one_that_lags_is_warned_of(
    authority: Authority, pair: tuple[Panorama, Panorama]
) -> None:
    one, other = pair
    one.commit(CHANGED)
    source = source_of(authority, one, other)
    source.read()
    one.ha, other.ha = "passive", "active"
    with structlog.testing.capture_logs() as logged:
        source.revision()
    assert [each["event"] for each in logged] == ["the configuration's version went backwards"]


def test_two_active_ones_are_refused(authority: Authority, pair: tuple[Panorama, Panorama]) -> None:
    one, other = pair
    for one.ha, other.ha in (("active", "secondary-active"), (None, None)):
        said = failure_of(source_of(authority, one, other).read)
        assert "more than one of its Panoramas is active" in said
        assert not any(reads()(each) for each in (*one.requests, *other.requests))


@pytest.mark.parametrize("shape", ["newest-first", "unsupported"])
@pytest.mark.parametrize("state", ["passive", "primary-suspended", "primary-tentative"])
def test_a_passive_one_alone_is_refused(
    authority: Authority, pair: tuple[Panorama, Panorama], state: str, shape: AuditShape
) -> None:
    one, other = pair
    one.ha = state
    one.audit_shape = other.audit_shape = shape
    for panoramas in ((one,), (one, other)):
        said = failure_of(source_of(authority, *panoramas).read)
        assert "no member is active (127.0.0.1" in said
        assert "add the active one to hosts" in said
    assert not any(reads()(each) for each in (*one.requests, *other.requests))


@pytest.mark.parametrize("fault", [Reset(), HttpStatus(503), NotXml(), ApiError("x", 16)], ids=repr)
def test_one_may_be_down_if_the_other_is_active(
    authority: Authority, pair: tuple[Panorama, Panorama], fault: Fault
) -> None:
    one, other = pair
    one.ha, other.ha = "passive", "active"
    one.fail(every, fault, times=None)
    source = source_of(authority, one, other)
    assert source.read().provenance.origin == "Panorama localhost"
    # And the active one may go down later.
    one.recover()
    one.ha = "active"
    other.fail(every, fault, times=None)
    assert source.read().provenance.origin == "Panorama 127.0.0.1"


def test_when_the_active_one_is_down_the_passive_one_is_not_read(
    authority: Authority, pair: tuple[Panorama, Panorama]
) -> None:
    one, other = pair
    source = source_of(authority, one, other)
    source.read()
    one.fail(every, Reset(), times=None)
    said = failure_of(source.read)
    assert "no member is active (localhost" in said
    assert f"Panorama 127.0.0.1:{one.port} does not answer" in said
    one.recover()
    source.read()
    assert not any(reads()(each) for each in other.requests)


def test_a_member_that_does_not_say_its_state_is_not_read(
    authority: Authority, pair: tuple[Panorama, Panorama]
) -> None:
    one, other = pair
    one.fail(op("<high-availability>"), EmptyResult(), times=None)
    assert "no member is active" in failure_of(source_of(authority, one, other).read)


# --- reads that fail ------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Request], bool]] = {
    "keygen": keygen,
    "audit": op("<audit>"),
    "system": op("<system>"),
    "shared": reads("/config/shared"),
    "device groups": reads("/config/devices/entry[@name='localhost.localdomain']/device-group"),
    "templates": reads("/template"),
    "precedence": reads("ancestor-objects-take-precedence"),
    "hierarchy": reads("/config/readonly"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_read_of_which_any_call_fails_is_none_and_the_next_one_is_right(
    panorama: Panorama, authority: Authority, fault: Fault
) -> None:
    whole = source_of(authority, panorama).read()
    slow = isinstance(fault, Silence | Drip)
    clock = Clock()
    source = source_of(authority, panorama, clock=clock, login=True)
    hasty = source_of(authority, panorama, clock=clock, login=True, whole_seconds=0.15)
    for name in ("keygen", "audit", "shared") if slow else CALLS:
        if name == "keygen":
            panorama.expire_keys()
        panorama.fail(CALLS[name], fault, times=None)
        said = failure_of((hasty if slow else source).read)
        assert f"Panorama 127.0.0.1:{panorama.port}" in said
        panorama.recover()
        assert source.read() == whole
        # Else what was read would be kept.
        clock.sleep(FIFTEEN_MINUTES.total_seconds())


# Without versions the jobs are asked for; no key is made, as one is given; and the release of
# PAN-OS decides nothing.
@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"audit", "keygen", "system"}))
def test_a_part_that_is_empty_is_none(panorama: Panorama, authority: Authority, call: str) -> None:
    clock = Clock()
    source = source_of(authority, panorama, clock=clock)
    whole = source.read()
    clock.sleep(FIFTEEN_MINUTES.total_seconds())
    panorama.fail(CALLS[call], EmptyResult())
    failure_of(source.read)
    assert source.read() == whole


def test_a_part_that_never_ends_is_none(
    panorama: Panorama, source: PanoramaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.sources.panorama.connection.MAX_BYTES", 1_000_000)
    panorama.fail(reads("/config/shared"), Huge(10**12))
    assert "more than 1,000,000 bytes" in failure_of(source.read)
    source.read()


def test_without_versions_and_jobs_nothing_is_read(
    panorama: Panorama, source: PanoramaSource
) -> None:
    panorama.audit_shape = "unsupported"
    panorama.jobs.clear()
    said = failure_of(source.read)
    assert "reports neither configuration versions nor commit jobs" in said
    assert not any(reads()(each) for each in panorama.requests)


def test_a_panorama_that_comes_back_is_read(authority: Authority) -> None:
    panorama = Panorama(DOCUMENT, authority)
    with panorama:
        source = source_of(authority, panorama)
        whole = source.read()
    for _ in range(2):
        assert "does not answer (Connection refused)" in failure_of(source.read)
        assert "does not answer (Connection refused)" in failure_of(source.revision)
    with panorama:
        assert source.read() == whole
        assert etree.tostring(panorama.running)


def test_several_do_not_read_everything_in_step() -> None:
    """However long they run: each time an interval ends a little sooner, and never as another's."""
    lengths = {sooner(900) for _ in range(100)}
    assert len(lengths) > 1
    assert min(lengths) >= 810
    assert max(lengths) <= 900
    left = iter((810.0, 900.0, 820.0))
    interval = Interval(FIFTEEN_MINUTES, lambda _: next(left))
    told = [interval.passed(at) for at in (1e6, 1e6 + 809, 1e6 + 810, 1e6 + 1709, 1e6 + 1710)]
    assert told == [0, 0, 1, 1, 2]

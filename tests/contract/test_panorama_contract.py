"""What the source takes for granted of a Panorama: what any of them must answer to be read.

Each test has a cassette of its name. What a test holds of the simulator's company alone stands
behind `if panorama.is_simulated`.
"""

import re
from collections.abc import Iterable

import pytest
from lxml import etree

from sync.sources.panorama.client import ApiKey
from sync.sources.panorama.errors import PanoramaError, RefusedError
from sync.transport.errors import Retryable, Unauthenticated
from tests.contract.conversation import SYSTEM, Conversation

SHARED = "/config/shared"
DEVICE = "/config/devices/entry[@name='localhost.localdomain']"
GROUPS = f"{DEVICE}/device-group"
HIERARCHY = "/config/readonly/devices/entry[@name='localhost.localdomain']/device-group"
PRECEDENCE = f"{DEVICE}/deviceconfig/setting/management/ancestor-objects-take-precedence"
NOBODY = f"{SHARED}/address/entry[@name='an address that nobody has']"

AUDIT = "<show><config><audit><info></info></audit></config></show>"
JOBS = "<show><jobs><all></all></jobs></show>"
STATE = "<show><high-availability><state></state></high-availability></show>"
TREE = "<show><dg-hierarchy></dg-hierarchy></show>"
DEVICE_GROUPS = "<show><devicegroups></devicegroups></show>"
COUNT = (
    "<show><object><registered-ip><all><option>count</option></all></registered-ip></object></show>"
)
PAGE = (
    "<show><object><registered-ip><limit>500</limit><start-point>1</start-point></registered-ip>"
    "</object></show>"
)


def names(entries: Iterable[etree._Element]) -> list[str]:
    found = [each.get("name") or "" for each in entries]
    assert all(found)
    return sorted(found)


def shown(panorama: Conversation, xpath: str) -> etree._Element:
    """The one node at an xpath, that of its last step."""
    found = panorama.member().show(xpath)
    assert found is not None
    (node,) = found
    assert node.tag == xpath.rpartition("/")[2]
    return node


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_is_made_for_a_user_and_then_taken(panorama: Conversation) -> None:
    if panorama.login is None:
        pytest.skip("PANORAMA_USER and PASSWORD_FILE are not given")
    member = panorama.member(panorama.login)
    assert member.op(SYSTEM).find("system") is not None


def test_a_wrong_key_is_refused(panorama: Conversation) -> None:
    with pytest.raises(PanoramaError) as raised:
        panorama.member(lambda: ApiKey("wrong")).show(SHARED)
    assert isinstance(raised.value, Unauthenticated)
    assert not isinstance(raised.value, Retryable)
    assert "renew the API key" in str(raised.value)


# --- the running configuration --------------------------------------------------------------------


def test_shared_objects_are_shown(panorama: Conversation) -> None:
    shared = shown(panorama, SHARED)
    if panorama.is_simulated:
        assert shared.findtext("address/entry[@name='dns']/ip-netmask") == "10.0.0.53"


def test_device_groups_are_shown(panorama: Conversation) -> None:
    groups = shown(panorama, GROUPS)
    assert names(groups)
    if panorama.is_simulated:
        assert names(groups) == ["berlin", "eu"]


def test_templates_and_stacks_are_shown_or_are_not_there(panorama: Conversation) -> None:
    for part in ("template", "template-stack"):
        found = panorama.member().show(f"{DEVICE}/{part}")
        if found is not None:
            assert [each.tag for each in found] == [part]
            assert names(found[0])
        if panorama.is_simulated:
            assert found is not None


def test_the_parents_of_device_groups_are_shown(panorama: Conversation) -> None:
    known = names(shown(panorama, GROUPS))
    if len(known) > 1:
        parents = shown(panorama, HIERARCHY)
        assert names(parents) == known
        assert {each.text for each in parents.iter("parent-dg")} <= set(known)


def test_whether_ancestors_take_precedence_is_shown_or_is_not_there(panorama: Conversation) -> None:
    found = panorama.member().show(PRECEDENCE)
    if found is not None:
        assert [(each.tag, each.text in ("yes", "no")) for each in found] == [
            ("ancestor-objects-take-precedence", True)
        ]


def test_what_is_not_there_is_nothing(panorama: Conversation) -> None:
    assert panorama.member().show(NOBODY) is None


# --- what it tells --------------------------------------------------------------------------------


def test_versions_or_commit_jobs_are_told(panorama: Conversation) -> None:
    member = panorama.member()
    try:
        versions = member.op(AUDIT).iter("entry")
    except RefusedError:
        versions = iter(())
    jobs = member.op(JOBS).iter("job")
    numbers = [
        *(each.get("name") for each in versions),
        *(each.findtext("id") for each in jobs if each.findtext("type") == "Commit"),
    ]
    assert any(number and number.isdigit() for number in numbers)


def test_the_state_of_the_pair_is_told(panorama: Conversation) -> None:
    state = panorama.member().op(STATE)
    enabled = state.findtext("enabled")
    assert enabled in ("yes", "no")
    if enabled == "yes":
        assert (state.findtext("local-info/state") or "").endswith("active")


def test_the_release_is_told(panorama: Conversation) -> None:
    release = panorama.member().op(SYSTEM).findtext("system/sw-version") or ""
    assert re.match(r"\d+\.\d+\.\d+", release)


def test_the_tree_of_device_groups_is_the_one_that_is_shown(panorama: Conversation) -> None:
    tree = panorama.member().op(TREE)
    parents = {
        each.get("name"): parent.get("name") if parent.tag == "dg" else None
        for each in tree.iter("dg")
        if (parent := each.getparent()) is not None
    }
    assert sorted(map(str, parents)) == names(shown(panorama, GROUPS))
    if len(parents) > 1:
        told = {each.get("name"): each.findtext("parent-dg") for each in shown(panorama, HIERARCHY)}
        assert parents == told


def test_what_was_pushed_is_told_of_each_device_group(panorama: Conversation) -> None:
    told = panorama.member().op(DEVICE_GROUPS).findall("devicegroups/entry")
    assert names(told) == names(shown(panorama, GROUPS))
    for each in told:
        assert each.findtext("shared-policy-md5sum")


def test_registered_addresses_are_told_with_their_tags(panorama: Conversation) -> None:
    member = panorama.member()
    count = int(member.op(COUNT).findtext("count") or "")
    page = member.op(PAGE).findall("entry")
    assert len(page) == min(count, 500)
    for each in page:
        assert each.get("ip")
        assert all(tag.text for tag in each.iterfind("tag/member"))
    if panorama.is_simulated:
        assert [each.get("ip") for each in page] == ["10.0.0.66", "10.0.0.67"]


# --- the source -----------------------------------------------------------------------------------


def test_a_revision_stays_while_nothing_is_committed(panorama: Conversation) -> None:
    source = panorama.source()
    revision = source.revision()
    assert revision.startswith(f"{panorama.host} ")
    assert source.revision() == revision


def test_a_whole_configuration_is_read(panorama: Conversation) -> None:
    source = panorama.source()
    snapshot = source.read()
    configuration = snapshot.configuration
    assert snapshot.provenance.origin == f"Panorama {panorama.host}"
    assert source.revision() == f"{panorama.host} {snapshot.provenance.version} 0 0"
    assert re.match(r"\d+\.\d+\.\d+", configuration.version)
    groups = configuration.device_groups
    assert groups
    assert {each.parent for each in groups.values()} <= {"", *groups}
    if panorama.is_simulated:
        (registered,) = snapshot.registered["berlin"].firewalls
        assert [tags for tags, _ in registered] == [("printer", "quarantine"), ("quarantine",)]
        assert snapshot.predefined.keys() == {"shop", "shop-base"}
        assert snapshot.not_pushed == {}
        assert configuration.remarks == ()
        assert groups["berlin"].parent == "eu"
        assert [zone.name for zone in configuration.templates["branch"].network.zones] == [
            "trust",
            "untrust",
        ]
        assert snapshot.provenance.administrators == ("alice",)

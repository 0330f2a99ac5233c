"""Device groups, their ancestors, and what one of them sees and obeys."""

import pytest

from sync.errors import SourceError
from sync.firewall.configuration import Configuration
from sync.firewall.document import parse
from sync.firewall.effective import effective
from sync.firewall.objects import Address
from sync.firewall.reading import read_configuration
from sync.firewall.resolution import resolve_groups
from tests.words import (
    PANORAMA,
    Word,
    address,
    default_rule,
    document,
    entry,
    group,
    hierarchy,
    members,
    read,
    remarked,
    rule,
    seen_by,
    tag,
    text,
)

LINE = {"leaf": (), "middle": (), "top": (), "aside": ()}
PARENTS = {"leaf": "middle", "middle": "top"}


def old_place(parents: dict[str, str]) -> str:
    """Where PAN-OS 7.1 and older keep the hierarchy."""
    entries = (entry(name, text("parent-dg", parent)) for name, parent in parents.items())
    return tag("dg-meta-data", tag("dginfo", *entries))


def value(configuration: Configuration, device_group: str, name: str) -> str:
    found = effective(configuration, device_group).objects.addresses[name]
    assert isinstance(found, Address)
    return found.value


# --- where the hierarchy stands -------------------------------------------------------------------


@pytest.mark.parametrize("readonly", [hierarchy({**PARENTS, "top": ""}), old_place(PARENTS)])
def test_parents_are_read_from_either_place(readonly: str) -> None:
    configuration = read(document((), LINE, readonly=readonly))
    assert effective(configuration, "leaf").lineage == ("leaf", "middle", "top", "shared")
    assert effective(configuration, "aside").lineage == ("aside", "shared")
    assert not told(configuration)


def test_without_a_hierarchy_all_are_under_shared_and_that_is_said() -> None:
    configuration = read(document((), LINE, readonly=""))
    assert effective(configuration, "leaf").lineage == ("leaf", "shared")
    (message,) = remarked(configuration).values()
    assert "holds no hierarchy" in message
    assert not read(document((), {"only": ()}, readonly="")).remarks


def test_the_mirrors_in_readonly_are_never_taken_for_the_things_themselves() -> None:
    mirrors = tag(
        "devices",
        entry(
            "localhost.localdomain",
            tag("device-group", entry("ghost", text("id", "12"), tag("address", entry("a")))),
            tag("template", entry("ghost", tag("config"))),
            tag("template-stack", entry("ghost")),
        ),
    ) + tag("shared", tag("address", entry("ghost", text("ip-netmask", "10.0.0.1"))))
    configuration = read(document((), {"dg": ()}, readonly=mirrors))
    assert list(configuration.device_groups) == ["dg"]
    assert not configuration.templates
    assert not configuration.stacks
    assert not configuration.shared.objects.addresses


# --- lines that are broken ------------------------------------------------------------------------


def told(configuration: Configuration) -> dict[str, str]:
    """The remarks, but for those on device groups that the hierarchy does not list."""
    return {
        path: message
        for path, message in remarked(configuration).items()
        if "is not in the hierarchy" not in message
    }


def test_a_device_group_that_the_hierarchy_does_not_list_is_under_shared_and_that_is_said() -> None:
    configuration = read(document((), LINE, readonly=hierarchy(PARENTS)))
    unlisted = remarked(configuration).keys() - told(configuration).keys()
    assert any("[@name='aside']" in path for path in unlisted)


def test_an_empty_parent_is_unknown_and_not_shared() -> None:
    empty = hierarchy({"leaf": "gone"}).replace("gone", "")
    assert "the parent of device group 'leaf'" in refusal(empty)


def refusal(parents: str, device_group: str = "leaf") -> str:
    configuration = read(document((), LINE, readonly=parents))
    # Only those whose own line is broken suffer.
    assert effective(configuration, "aside").lineage == ("aside", "shared")
    with pytest.raises(SourceError) as refused:
        effective(configuration, device_group)
    return str(refused.value)


def test_a_parent_that_is_missing_is_told_with_what_to_do() -> None:
    message = refusal(hierarchy({"leaf": "gone"}))
    assert message == (
        "the parent of device group 'leaf' is not a device group of this configuration, so nobody "
        "knows which objects it inherits; export it again"
    )
    assert "'middle'" in refusal(hierarchy({"leaf": "middle", "middle": "gone"}))


@pytest.mark.parametrize(
    ("parents", "circle"),
    [
        ({"leaf": "leaf"}, "leaf > leaf"),
        ({"leaf": "middle", "middle": "leaf"}, "leaf > middle > leaf"),
        ({"leaf": "middle", "middle": "top", "top": "middle"}, "leaf > middle > top > middle"),
    ],
)
def test_parents_in_a_circle_are_told_with_the_circle(parents: dict[str, str], circle: str) -> None:
    message = refusal(hierarchy(parents))
    assert f"go round in a circle ({circle})" in message
    assert "correct the hierarchy in Panorama" in message


def test_two_parents_are_none() -> None:
    twice = hierarchy({"leaf": "middle"}).replace(
        "<parent-dg>", "<parent-dg>top</parent-dg><parent-dg>"
    )
    assert "the parent of device group 'leaf'" in refusal(twice)
    both_places = hierarchy({"leaf": "middle"}) + old_place({"leaf": "top"})
    assert "the parent of device group 'leaf'" in refusal(both_places)
    configuration = read(document((), LINE, readonly=both_places))
    assert told(configuration) == {
        "/config/readonly/dg-meta-data/dginfo/entry[@name='leaf']/parent-dg": (
            "is a second parent of device group 'leaf'"
        )
    }


def test_the_same_parent_in_both_places_is_one() -> None:
    configuration = read(document((), LINE, readonly=hierarchy(PARENTS) + old_place(PARENTS)))
    assert effective(configuration, "leaf").lineage == ("leaf", "middle", "top", "shared")
    assert not told(configuration)


def test_a_missing_device_group_is_told_with_those_there_are() -> None:
    with pytest.raises(SourceError) as refused:
        effective(read(document((), {"a": (), "b": ()})), "c")
    assert str(refused.value) == "the configuration has no device group 'c'; it has 'a', 'b'"


# --- objects --------------------------------------------------------------------------------------


def overridden(setting: str = "") -> Configuration:
    groups = {
        "leaf": [address("x", "10.0.0.1")],
        "middle": [address("x", "10.0.0.2"), address("y", "10.0.0.2")],
        "top": [address("x", "10.0.0.3")],
    }
    shared = [address("x", "10.0.0.4"), address("y", "10.0.0.4"), address("z", "10.0.0.4")]
    inner = setting and tag(
        "deviceconfig",
        tag("setting", tag("management", text("ancestor-objects-take-precedence", setting))),
    )
    return read(document(shared, groups, parents=PARENTS, devices=inner))


@pytest.mark.parametrize("setting", ["", "no"])
def test_the_nearest_object_of_a_name_wins(setting: str) -> None:
    found = overridden(setting)
    assert [value(found, "leaf", name) for name in "xyz"] == ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
    assert value(found, "top", "x") == "10.0.0.3"


def test_the_highest_object_wins_where_ancestors_take_precedence() -> None:
    found = overridden("yes")
    assert [value(found, "leaf", name) for name in "xyz"] == 3 * ["10.0.0.4"]


def test_a_setting_that_is_neither_yes_nor_no_is_not_guessed() -> None:
    found = overridden("on")
    (message,) = told(found).values()
    assert "neither yes nor no" in message
    with pytest.raises(SourceError, match="ancestor-objects-take-precedence"):
        effective(found, "leaf")


def test_inherited_groups_are_resolved_with_the_names_of_the_leaf() -> None:
    groups = {
        "leaf": [address("x", "10.0.0.1")],
        "top": [group("g", "x"), address("x", "10.0.0.3")],
    }
    configuration = read(document((), groups, parents={"leaf": "top"}))
    for name, expected in (("leaf", "10.0.0.1/32"), ("top", "10.0.0.3/32")):
        objects = effective(configuration, name).objects.addresses
        assert resolve_groups(objects, registered_known=True)["g"].addresses.cidrs() == [expected]


def test_an_address_hides_a_group_of_its_name_and_the_other_way_round() -> None:
    words: dict[str, list[Word]] = {
        "leaf": [address("x", "10.0.0.1"), group("y", "x")],
        "top": [group("x", "y"), address("y", "10.0.0.3")],
    }
    found = seen_by("leaf", words, parents={"leaf": "top"})
    assert [each.name for each in found.groups()] == ["y"]


# --- rules ----------------------------------------------------------------------------------------


def test_rules_are_in_the_order_of_evaluation() -> None:
    def both(name: str) -> list[Word]:
        return [
            rule(f"{name} pre 1"),
            rule(f"{name} pre 2"),
            rule(f"{name} post 1", rulebase="post"),
        ]

    data = document(both("shared"), {name: both(name) for name in LINE}, parents=PARENTS)
    found = effective(read(data), "leaf").rules
    assert [
        (each.rule.name, each.device_group, each.rulebase, each.position) for each in found
    ] == [
        ("shared pre 1", "shared", "pre", 1),
        ("shared pre 2", "shared", "pre", 2),
        ("top pre 1", "top", "pre", 1),
        ("top pre 2", "top", "pre", 2),
        ("middle pre 1", "middle", "pre", 1),
        ("middle pre 2", "middle", "pre", 2),
        ("leaf pre 1", "leaf", "pre", 1),
        ("leaf pre 2", "leaf", "pre", 2),
        ("leaf post 1", "leaf", "post", 1),
        ("middle post 1", "middle", "post", 1),
        ("top post 1", "top", "post", 1),
        ("shared post 1", "shared", "post", 1),
    ]


def test_the_nearest_override_of_a_default_rule_wins() -> None:
    def override(name: str, action: str) -> Word:
        return default_rule(name, text("action", action))

    groups = {
        "leaf": [override("intrazone-default", "drop")],
        "top": [override("intrazone-default", "deny"), override("interzone-default", "allow")],
    }
    configuration = read(
        document([override("interzone-default", "reset-both")], groups, parents={"leaf": "top"})
    )
    assert effective(configuration, "leaf").defaults == {
        "intrazone-default": "drop",
        "interzone-default": "allow",
    }
    assert seen_by("dg", {"dg": ()}).defaults == {
        "intrazone-default": "allow",
        "interzone-default": "deny",
    }


# --- the device group itself ----------------------------------------------------------------------


def test_a_device_group_has_devices_and_references() -> None:
    inner = tag("devices", entry("002"), entry("001", tag("vsys", entry("vsys1"))))
    data = document((), {"dg": ()}).replace(
        b'<entry name="dg"></entry>',
        entry("dg", inner, members("reference-templates", ["t1", "s1"])).encode(),
        1,
    )
    found = read(data).device_groups["dg"]
    assert found.devices == (("001", ("vsys1",)), ("002", ()))
    assert found.references == ("t1", "s1")


def test_a_device_group_that_stands_twice_is_read_as_one() -> None:
    data = document((), {"dg": [address("a", "10.0.0.1")], "dg2": [address("b", "10.0.0.2")]})
    configuration = read(data.replace(b'"dg2"', b'"dg"'))
    assert list(configuration.device_groups["dg"].scope.objects.addresses) == ["a", "b"]
    assert (
        remarked(configuration)[f"{PANORAMA}/device-group/entry[@name='dg']"]
        == "stands more than once; its parts are read as one"
    )


def test_remarks_are_by_path_from_config_inside_an_api_response_too() -> None:
    data = document((), {"d'g": [address("a", "x")]})
    inside = b'<response status="success"><result>' + data + b"</result></response>"
    assert read(inside).remarks == read(data).remarks
    assert list(remarked(read(data))) == [
        f"{PANORAMA}/device-group/entry[@name='d'g']/address/entry[@name='a']/ip-netmask"
    ]


@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        ('version="11.1.0" detail-version="11.1.6"', "11.1.6"),
        ('version="10.0.0"', "10.0.0"),
        ("", ""),
    ],
)
def test_the_version_is_the_most_detailed_there_is(attributes: str, version: str) -> None:
    assert read(f"<config {attributes}><shared/></config>".encode()).version == version


def test_a_device_group_called_shared_is_refused_and_a_parent_called_shared_is_shared() -> None:
    def configuration(*names: str, parent: str) -> Configuration:
        entries = "".join(f'<entry name="{name}"/>' for name in names)
        parents = f'<entry name="dg"><parent-dg>{parent}</parent-dg></entry>'
        document = (
            f'<config><devices><entry name="d"><device-group>{entries}</device-group></entry>'
            f'</devices><readonly><devices><entry name="d"><device-group>{parents}'
            "</device-group></entry></devices></readonly></config>"
        )
        return read_configuration(parse(document.encode(), "document"))

    assert effective(configuration("dg", parent="shared"), "dg").lineage == ("dg", "shared")
    with pytest.raises(SourceError, match="called 'shared'"):
        effective(configuration("dg", "shared", parent=""), "dg")


@pytest.mark.parametrize(
    ("held", "filled"),
    [
        ((), False),
        ((address("a", "10.0.0.1"),), True),
        ((group("g"),), True),
        ((rule("r"),), True),
        ((rule("r", rulebase="post", disabled="yes"),), True),
        ((address("a", "of no use"),), True),
        ((default_rule("intrazone-default"), Word("tag", entry("t"))), False),
    ],
    ids=["nothing", "address", "group", "rule", "disabled", "broken", "other things"],
)
def test_what_holds_rules_or_addresses_is_told(held: tuple[Word, ...], filled: bool) -> None:
    top = (address("b", "10.0.0.2"),)
    groups = {"leaf": held, "middle": (), "top": top, "aside": top}
    found = seen_by("leaf", groups, parents={"leaf": "middle", "middle": "top"})
    assert found.filled == (("leaf", "top") if filled else ("top",))


def test_shared_is_told_as_any_other() -> None:
    held = (address("a", "10.0.0.1"),)
    assert effective(read(document(held, {"zz": held, "aa": ()})), "zz").filled == ("shared", "zz")

"""Device groups, their ancestors, and what one of them sees and obeys."""

import pytest

from sync.errors import SourceError
from sync.firewall.addressing import literal
from sync.firewall.configuration import Configuration, family_of
from sync.firewall.effective import effective
from sync.firewall.groups import resolve_groups
from sync.firewall.objects import Address, Objects
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.firewall.runtime import Registrations, tagged
from sync.net.addresses import AddressSet
from tests.words import (
    PANORAMA,
    Word,
    address,
    default_rule,
    document,
    dynamic,
    entry,
    external_list,
    group,
    hierarchy,
    members,
    read,
    remarked,
    rule,
    seen_by,
    service,
    tag,
    text,
)

LINE = {"leaf": (), "middle": (), "top": (), "aside": ()}
PARENTS = {"leaf": "middle", "middle": "top", "top": "", "aside": ""}


def old_place(parents: dict[str, str]) -> str:
    """Where PAN-OS 7.1 and older keep the hierarchy."""
    entries = (
        entry(name, text("parent-dg", parent) if parent else text("dg-id", "11"))
        for name, parent in parents.items()
    )
    return tag("dg-meta-data", tag("dginfo", *entries))


def in_entries(parents: dict[str, str], *, readonly: str = "", version: str = "11.1.0") -> bytes:
    """A document where the entries of device groups tell their parents."""
    words = {
        name: [Word("parent-dg", parent)] if parent else [] for name, parent in parents.items()
    }
    data = document((), words, readonly=readonly)
    return data.replace(b'version="11.1.0"', f'version="{version}"'.encode())


def value(configuration: Configuration, device_group: str, name: str) -> str:
    found = effective(configuration, device_group).objects.addresses[name]
    assert isinstance(found, Address)
    return found.value


# --- where the hierarchy stands -------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        document((), LINE, readonly=hierarchy(PARENTS)),
        document((), LINE, readonly=old_place(PARENTS)),
        in_entries(PARENTS),
        in_entries({**PARENTS, "aside": "shared"}),
        in_entries(PARENTS, readonly=hierarchy(PARENTS)),
        in_entries({**PARENTS, "middle": ""}, readonly=hierarchy(PARENTS)),
        in_entries(PARENTS, readonly=hierarchy({"middle": "top", "top": "", "aside": ""})),
    ],
)
def test_parents_are_read_from_every_place(data: bytes) -> None:
    configuration = read(data)
    assert effective(configuration, "leaf").lineage == ("leaf", "middle", "top", "shared")
    assert effective(configuration, "aside").lineage == ("aside", "shared")
    assert not configuration.remarks


def test_where_all_that_are_listed_have_parents_one_that_is_a_parent_alone_is_under_shared() -> (
    None
):
    line = {name: LINE[name] for name in ("leaf", "middle", "top")}
    configuration = read(
        document((), line, readonly=hierarchy({"leaf": "middle", "middle": "top"}))
    )
    assert effective(configuration, "leaf").lineage == ("leaf", "middle", "top", "shared")
    assert not configuration.remarks


@pytest.mark.parametrize(
    "listed",
    [
        {"leaf": "middle", "top": "", "aside": ""},
        {"leaf": "middle"},
        {"leaf": "middle", "middle": "top", "aside": ""},
    ],
)
def test_a_parent_that_is_named_and_not_listed_may_have_parents_itself(
    listed: dict[str, str],
) -> None:
    """Their denies would be lost: where some are listed without a parent, all would be listed."""
    configuration = read(document((), LINE, readonly=hierarchy(listed)))
    with pytest.raises(SourceError, match="does not list it"):
        effective(configuration, "leaf")


def test_without_a_hierarchy_nobody_knows_what_a_device_group_inherits() -> None:
    """It might lose the denies of its ancestors."""
    configuration = read(document((), LINE, readonly=""))
    for name in LINE:
        with pytest.raises(SourceError) as refused:
            effective(configuration, name)
        assert str(refused.value) == (
            f"the parent of device group {name!r} is unknown, and so is what it inherits: the "
            "hierarchy (/config/readonly) is missing; export the whole configuration "
            "(Panorama > Setup > Operations) and let no tool edit it"
        )
    assert len(configuration.remarks) == len(LINE)


@pytest.mark.parametrize(
    "data",
    [
        # One alone can have no parent but Shared.
        document((), {"leaf": ()}, readonly=""),
        # Device groups had no parents before PAN-OS 7.0.
        in_entries({"leaf": "", "aside": ""}, version="6.1.0"),
    ],
)
def test_where_no_other_parent_can_be_it_is_shared(data: bytes) -> None:
    configuration = read(data)
    assert effective(configuration, "leaf").lineage == ("leaf", "shared")
    assert not configuration.remarks


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ({"leaf": "aside"}, "it is said to be 'aside' and 'middle'"),
        ({"top": "aside"}, "it is said to be 'aside' and 'shared'"),
    ],
)
def test_places_that_disagree_are_an_error(parents: dict[str, str], said: str) -> None:
    configuration = read(in_entries({**PARENTS, **parents}, readonly=hierarchy(PARENTS)))
    with pytest.raises(SourceError, match=said):
        effective(configuration, "leaf")
    assert effective(configuration, "aside").lineage == ("aside", "shared")


def test_parents_in_entries_may_be_missing_or_in_a_circle() -> None:
    for parents in ({"leaf": "gone", "top": ""}, {"leaf": "top", "top": "leaf"}):
        with pytest.raises(SourceError):
            effective(read(in_entries(parents)), "leaf")


def test_whose_parent_nobody_knows_may_be_below_any_other() -> None:
    """So its firewalls count among those of every other."""
    configuration = read(document((), LINE, readonly=hierarchy({"top": "", "leaf": "top"})))
    family = {each.name for each in family_of(configuration, "top")}
    assert family == {"top", "leaf", "middle", "aside"}


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


def test_a_device_group_that_the_hierarchy_does_not_list_has_a_parent_that_nobody_knows() -> None:
    message = refusal(hierarchy({"middle": "top", "aside": ""}))
    assert "the hierarchy (/config/readonly) does not list it" in message


def test_an_empty_parent_is_unknown_and_not_shared() -> None:
    empty = hierarchy({**PARENTS, "leaf": "gone"}).replace("gone", "")
    assert "the parent of device group 'leaf'" in refusal(empty)


def refusal(parents: str, device_group: str = "leaf") -> str:
    configuration = read(document((), LINE, readonly=parents))
    # Only those whose own line is broken suffer.
    assert effective(configuration, "aside").lineage == ("aside", "shared")
    with pytest.raises(SourceError) as refused:
        effective(configuration, device_group)
    return str(refused.value)


def test_a_parent_that_is_missing_is_told_with_what_to_do() -> None:
    message = refusal(hierarchy({**PARENTS, "leaf": "gone"}))
    assert message == (
        "the parent of device group 'leaf' is not a device group of this configuration, so which "
        "objects it inherits is unknown; export it again"
    )
    assert "'middle'" in refusal(hierarchy({**PARENTS, "middle": "gone"}))


@pytest.mark.parametrize(
    ("parents", "circle"),
    [
        ({"leaf": "leaf"}, "leaf > leaf"),
        ({"leaf": "middle", "middle": "leaf"}, "leaf > middle > leaf"),
        ({"leaf": "middle", "middle": "top", "top": "middle"}, "leaf > middle > top > middle"),
    ],
)
def test_parents_in_a_circle_are_told_with_the_circle(parents: dict[str, str], circle: str) -> None:
    message = refusal(hierarchy({**PARENTS, **parents}))
    assert f"form a cycle ({circle})" in message
    assert "correct the hierarchy in Panorama" in message


def test_two_parents_are_none() -> None:
    twice = hierarchy(PARENTS).replace(
        "<parent-dg>middle", "<parent-dg>top</parent-dg><parent-dg>middle"
    )
    assert "the parent of device group 'leaf'" in refusal(twice)
    both_places = hierarchy(PARENTS) + old_place({"leaf": "top"})
    assert "the parent of device group 'leaf'" in refusal(both_places)
    configuration = read(document((), LINE, readonly=both_places))
    assert remarked(configuration) == {
        f"{PANORAMA}/device-group/entry[@name='leaf']": (
            "has a parent that nobody knows: it is said to be 'middle' and 'top'"
        )
    }


def test_the_same_parent_in_both_places_is_one() -> None:
    configuration = read(document((), LINE, readonly=hierarchy(PARENTS) + old_place(PARENTS)))
    assert effective(configuration, "leaf").lineage == ("leaf", "middle", "top", "shared")
    assert not configuration.remarks


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
    (message,) = remarked(found).values()
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
        resolved = resolve_groups(objects, registered_known=True)
        assert resolved["g"].holds.surely.cidrs() == [expected]


# --- one name for objects of several kinds --------------------------------------------------------

LIST = external_list("x", "https://lists.example/x")
REGION = Word("region", entry("x", members("address", ["10.0.9.0/24", "10.0.8.1-10.0.8.3"])))
SERVICE_GROUP = Word("service-group", entry("x", members("members", ["service-http"])))
APP = Word("application", entry("x", tag("default", members("port", ["tcp/8080"]))))
APP_GROUP = Word("application-group", entry("x", members("members", ["ssl"])))
APP_FILTER = Word("application-filter", entry("x", members("category", ["media"])))


def literals(*texts: str) -> AddressSet:
    return AddressSet.union(literal(each) or AddressSet() for each in texts)


def line(lower: list[Word], upper: list[Word], *, ancestors: bool = False) -> Objects:
    """The objects of a device group that has these words itself, and these above it."""
    setting = text("ancestor-objects-take-precedence", "yes" if ancestors else "no")
    management = tag("setting", tag("management", setting))
    data = document(
        (),
        {"leaf": lower, "top": upper},
        parents={"leaf": "top"},
        devices=tag("deviceconfig", management),
    )
    return effective(read(data), "leaf").objects


@pytest.mark.parametrize("ancestors", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "kinds"),
    [
        (address("x", "10.0.0.1"), group("x", "y"), "an address group and of an address"),
        (address("x", "10.0.0.1"), REGION, "a region and of an address"),
        (group("x", "y"), REGION, "a region and of an address group"),
        (LIST, address("x", "10.0.0.1"), "an external dynamic list and of an address"),
        (LIST, group("x", "y"), "an external dynamic list and of an address group"),
        (LIST, REGION, "a region and of an external dynamic list"),
        (service("x", "22"), SERVICE_GROUP, "a service group and of a service"),
        (APP, APP_GROUP, "an application group and of a custom application"),
        (APP, APP_FILTER, "an application filter and of a custom application"),
        (APP_GROUP, APP_FILTER, "an application filter and of an application group"),
    ],
)
def test_a_name_of_several_kinds_is_none_of_them(
    one: Word, other: Word, kinds: str, turned: bool, ancestors: bool
) -> None:
    lower, upper = ([other], [one]) if turned else ([one], [other])
    objects = line(lower, upper, ancestors=ancestors)
    (found,) = (
        found
        for each in (objects.addresses, objects.services, objects.applications)
        if (found := each.get("x"))
    )
    assert found.problem == f"is the name of {kinds}"
    assert getattr(found, "addresses", None) is None


def test_a_name_of_one_kind_is_that_of_the_nearest_level_or_of_the_first_ancestor() -> None:
    far = Word("region", entry("x", members("address", ["10.7.0.0/16"])))
    for ancestors, held in (
        (False, literals("10.0.9.0/24", "10.0.8.1-10.0.8.3")),
        (True, literals("10.7.0.0/16")),
    ):
        found = line([REGION], [far], ancestors=ancestors).addresses["x"]
        assert isinstance(found, Address)
        assert (found.kind, found.addresses) == ("region", held)


def test_a_country_is_a_region_whatever_else_has_its_name() -> None:
    assert line([], []).addresses["DE"].problem == "is a predefined region"
    for word, kind in (
        (address("DE", "10.0.0.1"), "an address"),
        (group("DE", "10.0.0.1"), "an address group"),
        (Word("region", entry("DE", members("address", ["10.0.0.1"]))), "a region"),
        (external_list("DE", "https://lists.example/x"), "an external dynamic list"),
    ):
        found = line([], [word]).addresses["DE"]
        assert found.problem == f"is the name of a predefined region and of {kind}"
        assert getattr(found, "addresses", None) is None


def test_a_predefined_list_is_one_whatever_else_has_its_name() -> None:
    name = "panw-highrisk-ip-list"
    assert line([], []).addresses[name].problem == "is a predefined external dynamic list"
    found = line([address(name, "10.0.0.1")], []).addresses[name]
    assert found.problem == "is the name of a predefined external dynamic list and of an address"


def test_a_list_that_is_called_like_an_address_is_not_read_as_one() -> None:
    listed = external_list("10.0.0.4", "https://lists.example/x")
    objects = line([listed, group("g", "10.0.0.4")], [])
    assert objects.addresses["10.0.0.4"].problem
    found = resolve_groups(objects.addresses, registered_known=True)["g"]
    assert (bool(found.holds.surely), bool(found.holds.because)) == (False, True)


def test_a_list_of_other_things_than_addresses_takes_no_name() -> None:
    listed = external_list("x", "https://lists.example/x", kind="url")
    assert not line([listed], [address("x", "10.0.0.1")]).addresses["x"].problem


@pytest.mark.parametrize("word", [APP, APP_GROUP, APP_FILTER])
def test_of_the_name_of_a_predefined_app_nothing_else_is_believed(word: Word) -> None:
    named = Word(word.place, word.xml.replace('name="x"', 'name="ssl"'))
    found = line([named], []).applications["ssl"]
    assert found.problem.startswith("is the name of a predefined App-ID and of a")


def test_a_member_with_two_meanings_adds_nothing_to_a_group_and_keeps_it_open() -> None:
    objects = line(
        [group("g", "x", "10.0.0.9"), address("x", "10.0.0.1")], [group("x", "10.0.0.2")]
    )
    found = resolve_groups(objects.addresses, registered_known=True)
    assert (found["g"].holds.surely, found["g"].holds.at_most) == (literals("10.0.0.9"), None)
    assert found["g"].holds.because == ("its member group 'x' is not wholly known",)


def test_a_dynamic_group_holds_no_region() -> None:
    objects = line([dynamic("g", "not 'web'"), REGION, address("y", "10.0.0.1")], [])
    found = resolve_groups(objects.addresses, registered_known=True)["g"]
    assert (found.holds.surely, found.holds.because) == (literals("10.0.0.1"), ())


@pytest.mark.parametrize("other", [address("x", "10.0.0.1"), dynamic("x", "'db'")])
def test_a_dynamic_group_with_two_meanings_surely_holds_nothing_that_is_registered(
    other: Word,
) -> None:
    words = [other, dynamic("x", "'web'")]
    objects = line(words, []) if "dynamic" in other.xml else line(words[:1], words[1:])
    told = Registrations((tagged([(literals("10.0.0.7"), ("web",))]),))
    found = resolve_groups(objects.addresses, registered_known=True, registered=told)["x"]
    assert not found.holds.surely
    assert found.holds.because


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
        == "occurs more than once; its parts are read as one"
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

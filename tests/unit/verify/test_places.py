"""Who is at an end of a flow, by the selectors that ask, and which addresses are in which zone."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sync.errors import UsageError
from sync.firewall.zone_networks import Derived
from sync.net.addresses import EVERYWHERE, NOWHERE, AddressSet, network
from sync.options import ZoneDefinition, ZoneOptions
from sync.translate.zones import PODS, Workloads, among_pods, zones_of
from sync.verify.profiles import (
    MULTICAST,
    DeviceGroup,
    Networks,
    Profiles,
    UnreadableError,
    networks_of,
    zones_named,
)
from tests.naive.calico_verdict import labels_of, selector
from tests.naive.flows import Pod
from tests.words import rule, seen_by

LABEL = "firewall.tigera.io/zone"
NOTHING = Derived((), {}, {})
DB = "app in {'db', 'cache'} && !has(old)"
TEAM = "(app != 'web') && (pcns.team == 'a' || has(pcns.lead))"
DEFINITIONS = {
    "db": ZoneDefinition(DB),
    "prod": ZoneDefinition("", "env == 'prod'"),
    "team": ZoneDefinition("app != 'web'", "team == 'a' || has(lead)"),
    "web": ZoneDefinition(networks=()),
}


def profiles(**definitions: ZoneDefinition) -> Profiles:
    """Of the zones `lab` and `web`, and those defined."""
    return Profiles({"lab", "web", *definitions}, ZoneOptions(definitions=definitions))


def wholly(known: Profiles, text: str) -> int:
    """The profiles that a selector surely selects, where no other one is open."""
    surely, maybe = known.asked(text)
    if surely != maybe:
        raise UnreadableError(text)
    return surely


def selected(text: str, known: Profiles) -> set[str]:
    """The words of the profiles that a selector selects, in short."""
    shorter = {"a pod whose label names no zone": "mislabelled", "a pod without a zone": "unzoned"}
    words = known.names(wholly(known, text))
    return {shorter.get(word, word.removeprefix("zone ")) for word in words}


# --- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PODS, {"lab", "web", "mislabelled", "unzoned"}),
        ("all()", {"lab", "web", "mislabelled", "unzoned"}),
        ("has(projectcalico.org/namespace)", {"lab", "web", "mislabelled", "unzoned"}),
        ("!has(projectcalico.org/namespace)", set()),
        (f"{LABEL} == 'web'", {"web"}),
        (f"{LABEL} in {{'web', 'lab'}}", {"web", "lab"}),
        (f"{LABEL} in {{}}", set()),
        (f"{PODS} && {LABEL} != 'web'", {"lab", "mislabelled", "unzoned"}),
        (f"{PODS} && !({LABEL} == 'web')", {"lab", "mislabelled", "unzoned"}),
        (f"has({LABEL})", {"lab", "web", "mislabelled"}),
        (f"!has({LABEL})", {"unzoned"}),
        (f"has({LABEL}) && {LABEL} not in {{'web', 'lab'}}", {"mislabelled"}),
        (f"{PODS} && (({LABEL} == 'web') || (!has({LABEL})))", {"web", "unzoned"}),
        (f"!(!({LABEL} == 'web' && {LABEL} == 'web'))", {"web"}),
        (f"{LABEL} == 'web' && {LABEL} == 'lab'", set()),
    ],
)
def test_a_label_says_the_zone(text: str, expected: set[str]) -> None:
    assert selected(text, profiles()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"({DB})", {"db"}),
        ("pcns.env == 'prod' && !(app in {'cache', 'db'} && !has(old))", {"prod"}),
        (f"({DB}) || pcns.env == 'prod'", {"db", "prod"}),
        (
            f"({TEAM}) && !(pcns.env == 'prod') && !({DB})",
            {"team"},
        ),
        (
            f"{LABEL} == 'web' && !({DB}) && !(pcns.env == 'prod') && !({TEAM})",
            {"web"},
        ),
    ],
)
def test_a_definition_says_the_zone_where_no_earlier_one_does(
    text: str, expected: set[str]
) -> None:
    known = profiles(**DEFINITIONS)
    assert selected(text, known) == expected
    assert (
        selected(f"{PODS} && !({text})", known)
        == {*("db", "prod", "team", "web", "lab", "mislabelled", "unzoned")} - expected
    )


@pytest.mark.parametrize(
    "text",
    [
        "app == 'db'",
        f"{PODS} && has(app)",
        f"{LABEL} == 'nobody'",
        f"{LABEL} == 'db'",  # only who mistyped or forged it has it
        f"{LABEL} == 'web'",  # a pod of a definition may have it as well
        f"has({LABEL})",
        f"{LABEL} starts with 'we'",
        "pcns.env == 'prod'",  # which the definition before it may have taken
        "projectcalico.org/orchestrator == 'openstack'",
        "projectcalico.org/namespace == 'default'",
        "env == 'prod'",  # a namespace's label without its prefix
        "app in {'db', 'cache'}",
        "!has(old) && app in {'db', 'cache'}",
        "global()",
        "app ==",
        "",
    ],
)
def test_what_no_zone_says_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        wholly(profiles(**DEFINITIONS), text)


def test_what_cannot_matter_is_no_reason_to_refuse() -> None:
    assert selected(f"has(app) && !has({LABEL}) && has({LABEL})", profiles()) == set()
    assert selected(f"has(app) || {PODS}", profiles()) == {"lab", "web", "mislabelled", "unzoned"}


def test_surely_and_perhaps_are_told_apart() -> None:
    known = profiles()
    web, lab = known.zones["web"], known.zones["lab"]
    assert known.asked(f"{LABEL} == 'web' || ({LABEL} == 'lab' && has(app))") == (web, web | lab)
    assert known.asked(f"!({LABEL} == 'web' && has(app))") == (known.pods & ~web, known.pods)


def test_a_definition_like_an_earlier_one_has_no_pods() -> None:
    twice = {"first": ZoneDefinition("app == 'x'"), "second": ZoneDefinition("app in {'x'}")}
    known = profiles(**twice)
    assert known.zones.keys() == {"first", "lab", "web"}
    assert known.every == {"first", "second", "lab", "web"}
    assert selected("app == 'x'", known) == {"first"}


@pytest.mark.parametrize("other", ["app != 'x'", "!(app == 'x')"])
def test_a_definition_may_be_what_another_is_not(other: str) -> None:
    definitions = {"first": ZoneDefinition("app == 'x'"), "second": ZoneDefinition(other)}
    options = ZoneOptions(definitions=definitions)
    workloads, known = Workloads(options), Profiles(definitions, options)
    for name, bit in known.zones.items():
        assert known.asked(among_pods(workloads.pods(name))) == (bit, bit)


def test_a_definition_of_all_pods_of_a_kind_leaves_none_of_it() -> None:
    zones = {"web", "db"}

    def impossible(selector: str, namespaces: str = "") -> list[str]:
        own = ZoneDefinition(selector, namespaces)
        known = Profiles({*zones, "own"}, ZoneOptions(definitions={"own": own}))
        return known.names(known.impossible)

    label, none = "a pod whose label names no zone", "a pod without a zone"
    assert impossible("all()") == ["zone db", "zone web", label, none]
    assert impossible("", "all()") == ["zone db", "zone web", label, none]
    assert impossible(f"has({LABEL})") == ["zone db", "zone web", label]
    assert impossible(f"!has({LABEL})") == [none]
    assert impossible(f"{LABEL} == 'web'") == ["zone web"]
    assert impossible("app == 'own'") == []


def test_every_profile_has_a_name_of_its_own() -> None:
    known = profiles()
    assert known.names(known.everyone) == [
        *("zone lab", "zone web"),
        *("a pod whose label names no zone", "a pod without a zone", "an address outside pods"),
    ]
    assert known.names(known.pods) == known.names(known.everyone)[:-1]


KEYS, VALUES = ["a", "b"], ["1", "2"]
NAMES = ["app", "db", "dmz", "web"]
positive = st.one_of(
    st.builds("{} == '{}'".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.sampled_from(KEYS).map("has({})".format),
)
terms = st.one_of(
    positive, st.builds("{} != '{}'".format, st.sampled_from(KEYS), st.sampled_from(VALUES))
)


def defined_by(
    inner: st.SearchStrategy[str],
) -> st.SearchStrategy[list[tuple[str, ZoneDefinition]]]:
    selectors = st.one_of(inner, st.builds("{} || {}".format, inner, inner))
    definitions = st.one_of(
        st.builds(ZoneDefinition, selectors, st.one_of(st.just(""), selectors)),
        st.builds(ZoneDefinition, st.just(""), selectors),
        st.just(ZoneDefinition()),
    )
    return st.lists(st.tuples(st.sampled_from(NAMES), definitions), unique_by=lambda each: each[0])


@given(
    defined_by(positive),
    st.sets(st.sampled_from(NAMES), min_size=1),
)
def test_what_a_translation_asks_is_read(
    defined: list[tuple[str, ZoneDefinition]], chosen: set[str]
) -> None:
    options = ZoneOptions(definitions=dict(defined))
    workloads, known = Workloads(options), Profiles(NAMES, options)
    bits = {name: known.zones.get(name, 0) for name in NAMES}
    for name in NAMES:
        text = among_pods(workloads.pods(name))
        assert wholly(known, text) == bits[name]
        assert wholly(known, f"{PODS} && !({text})") == known.pods & ~bits[name]
    (together,) = workloads.in_any(chosen, 100_000)
    assert wholly(known, among_pods(together)) == sum(bits[name] for name in chosen)


LABELS = [{}, {"a": "1"}, {"a": "2", "b": "1"}, {"b": "2"}]


@given(
    defined_by(terms),
    st.recursive(
        st.one_of(
            terms,
            st.sampled_from(
                [f"{LABEL} == 'web'", f"{LABEL} in {{'app', 'x'}}", f"has({LABEL})", "all()"]
            ),
        ),
        lambda inner: st.one_of(
            st.builds("({} && {})".format, inner, inner),
            st.builds("({} || {})".format, inner, inner),
            inner.map("!({})".format),
        ),
        max_leaves=5,
    ),
)
def test_who_is_surely_selected_is_and_who_may_not_be_is_not(
    defined: list[tuple[str, ZoneDefinition]], text: str
) -> None:
    options = ZoneOptions(definitions=dict(defined))
    # What a definition says in other words than its own is open and no more.
    known = Profiles(NAMES, options)
    surely, maybe = known.asked(text)
    asked = selector(text)
    for labels in LABELS:
        for inherited in LABELS:
            for zone in ("", "web", "app", "db", "x"):
                own = {**labels, LABEL: zone} if zone else labels
                seen = labels_of(Pod(own, "default", inherited))
                bit = _profile(seen, zone, options, known)
                if asked(seen):
                    assert maybe & bit
                else:
                    assert not surely & bit


def _profile(seen: Mapping[str, str], zone: str, options: ZoneOptions, known: Profiles) -> int:
    """The profile of a pod with these labels, the first definition that selects it before all."""
    by_label = set(NAMES)
    for name, each in options.definitions.items():
        said = [(each.selector, ""), (each.namespace_selector, "pcns.")]
        tests = [selector(text, prefix) for text, prefix in said if text]
        if tests:
            by_label.discard(name)
        if tests and all(test(seen) for test in tests):
            return known.zones[name]
    if zone in by_label:
        return known.zones[zone]
    return known.unknown_label if zone else known.unzoned


# --- networks -------------------------------------------------------------------------------------


def group(*zones: str, derived: Derived = NOTHING) -> DeviceGroup:
    """A device group whose rules name these zones."""
    words = [rule(f"from {zone}", from_=[zone], to=["any"]) for zone in zones]
    return DeviceGroup("panorama", seen_by("dg", {"dg": words}), derived, "fw")


def placed(
    zones: Sequence[str],
    derived: Derived = NOTHING,
    elsewhere: Sequence[str] = (),
    **options: object,
) -> Networks:
    return networks_of(group(*zones, derived=derived), ZoneOptions(**options), elsewhere)  # type: ignore[arg-type]


def nets(*texts: str) -> AddressSet:
    return AddressSet.union(map(network, texts))


def test_the_zones_are_those_of_rules_and_templates() -> None:
    derived = Derived(("lab", "multicast"), {}, {})
    words = [rule("one", from_=["web", "any"], to=["multicast"]), rule("two", to=["db"])]
    seen = DeviceGroup("panorama", seen_by("dg", {"dg": words}), derived, "fw")
    assert zones_named(seen) == {"db", "lab", "web"}


def test_the_longest_prefix_decides_and_what_is_configured_before_what_is_derived() -> None:
    found = placed(
        ["lan", "web", "lab"],
        Derived(("lab",), {"lab": ("10.1.0.0/16", "10.2.0.0/16", "10.1.2.3/32")}, {}),
        definitions={
            "lan": ZoneDefinition(networks=("10.0.0.0/8",)),
            "web": ZoneDefinition(networks=("10.1.0.0/16", "10.1.2.0/24", "2001:db8::/64")),
        },
    )
    assert found.of["lab"] == nets("10.2.0.0/16", "10.1.2.3/32")
    assert found.of["web"] == nets("10.1.0.0/16", "2001:db8::/64") - nets("10.1.2.3/32")
    assert found.of["lan"] == nets("10.0.0.0/8") - nets("10.1.0.0/16", "10.2.0.0/16")
    claimed = nets("10.0.0.0/8", "2001:db8::/64", "224.0.0.0/4", "ff00::/8")
    assert found.unclaimed == EVERYWHERE - claimed


def test_a_zone_without_networks_is_not_known_to_hold_any() -> None:
    found = placed(["web", "db"], definitions={"web": ZoneDefinition(networks=("10.0.0.0/8",))})
    assert "db" not in found.of
    assert found.surely(["db", "web"]) == nets("10.0.0.0/8")
    assert found.perhaps(["web"]) == nets("10.0.0.0/8")
    assert found.perhaps(["web", "db"]) == EVERYWHERE - nets("224.0.0.0/4", "ff00::/8")


def test_a_configured_zone_that_no_rule_names_has_no_networks_unless_given() -> None:
    unsaid = {"web": ZoneDefinition("app == 'web'"), "db": ZoneDefinition("app == 'db'")}
    found = placed(["web"], definitions=unsaid)
    assert found.of["db"] == NOWHERE
    assert "web" not in found.of


def test_zones_of_other_device_groups_have_no_networks_here() -> None:
    definitions = {"web": ZoneDefinition(networks=("10.0.0.0/8",))}
    found = placed([], elsewhere=["web", "db"], definitions=definitions)
    assert found.of["web"] == nets("10.0.0.0/8"), "given ones count wherever the zone is named"
    assert found.of["db"] == NOWHERE


DEFAULT = Derived(
    ("lan", "out"),
    {"lan": ("10.0.0.0/8",), "out": ("192.0.2.0/24", "0.0.0.0/0")},
    {},
    {"out": ("0.0.0.0/0",)},
)


def test_a_default_route_takes_what_is_left_where_all_else_is_known() -> None:
    found = placed(["lan", "out"], DEFAULT)
    assert found.of["out"] == nets("0.0.0.0/0") - nets("10.0.0.0/8", "224.0.0.0/4")
    assert found.unclaimed == nets("::/0") - nets("ff00::/8")


def test_a_default_route_is_not_known_where_another_zone_is_not() -> None:
    found = placed(["lan", "out", "dark"], DEFAULT)
    assert "out" not in found.of
    assert found.of["lan"] == nets("10.0.0.0/8")
    # What leads to it by a longer prefix is in no other zone, but is not told apart here either.
    assert not found.unclaimed & nets("10.0.0.0/8")


def test_nothing_is_derived_where_the_settings_say_so() -> None:
    found = placed(["lan", "out"], DEFAULT, derive_networks=False)
    assert found.of.keys() == {MULTICAST}


def test_multicast_is_taken_from_every_other_zone() -> None:
    definitions = {
        "web": ZoneDefinition(networks=("224.0.0.0/3", "ff02::/16")),
        "multicast": ZoneDefinition(networks=("10.0.0.0/8",)),
    }
    found = placed(["web"], definitions=definitions)
    assert found.of["web"] == nets("240.0.0.0/4")
    assert found.of[MULTICAST] == nets("224.0.0.0/4", "ff00::/8")
    assert nets("10.0.0.0/8") & found.unclaimed


PREFIXES = [
    *("10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.7/32", "10.0.1.0/24", "192.0.2.1"),
    *("224.0.0.0/3", "224.0.0.9/32", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128"),
]
DEFAULTS = [("0.0.0.0/0",), ("::/0",), ("0.0.0.0/1", "::/1"), ("128.0.0.0/1", "64.0.0.0/2")]
some_zones = st.sets(st.sampled_from(NAMES))


@st.composite
def derivations(draw: st.DrawFn) -> Derived:
    """What templates may say: no prefix leads to two zones, and default routes come last."""
    zones = sorted(draw(some_zones))
    owners = draw(st.dictionaries(st.sampled_from(PREFIXES[:-1]), st.sampled_from(NAMES)))
    last = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(DEFAULTS), max_size=1))
    known = [zone for zone in zones if draw(st.booleans())]
    everything_else = {zone: last[zone] for zone in known if zone in last}
    held = {
        zone: (
            *(_masked(net) for net, owner in owners.items() if owner == zone),
            *everything_else.get(zone, ()),
        )
        for zone in known
    }
    unknown = {zone: "a test says so" for zone in zones if zone not in held}
    return Derived(tuple(zones), held, unknown, everything_else)


def _masked(net: str) -> str:
    return net if "/" in net else f"{net}/32"


configured = st.dictionaries(
    st.sampled_from([*NAMES, "multicast"]),
    st.one_of(
        st.none(),
        st.lists(st.sampled_from([*PREFIXES, "0.0.0.0/0", "::/0"]), max_size=3).map(tuple),
    ).map(lambda networks: ZoneDefinition(networks=networks)),
)


@given(some_zones, derivations(), configured, some_zones, st.booleans())
def test_both_readings_of_networks_are_the_same(
    named: set[str],
    derived: Derived,
    definitions: Mapping[str, ZoneDefinition],
    elsewhere: set[str],
    derive: bool,
) -> None:
    options = ZoneOptions(derive_networks=derive, definitions=definitions)
    one = group(*sorted(named), derived=derived)
    try:
        expected = zones_of(one.seen, derived, options, Workloads(options), sorted(elsewhere))
    except UsageError:
        assume(False)
    found = networks_of(one, options, elsewhere - zones_named(one))
    known = {
        name: zone.networks for name, zone in expected.remote.items() if zone.networks is not None
    }
    assert dict(found.of) == known
    assert found.unclaimed == expected.unknown
    assert zones_named(one) == expected.own.keys()

"""Security rules as they are read: every field, its default, and what makes a rule unsayable."""

from dataclasses import replace
from typing import Any

import pytest

from sync.firewall.configuration import Configuration
from sync.firewall.rules import EVERYWHERE, Rule, Target
from tests.words import (
    Word,
    default_rule,
    entry,
    members,
    remarked,
    rule,
    shared,
    tag,
    text,
)

RULE = "/config/shared/pre-rulebase/security/rules/entry[@name='r']"


def one(*extra: str, **lists: list[str] | str) -> Rule:
    """The only rule, read without a remark."""
    configuration = shared(rule("r", *extra, rulebase="pre", **lists))
    assert not configuration.remarks
    (found,) = configuration.shared.rulebases.pre
    return found


def spoiled(*extra: str, **lists: list[str] | str) -> tuple[Rule, dict[str, str]]:
    """A rule and the remarks on it; its neighbour is read as if nothing had happened."""
    configuration = shared(rule("r", *extra, rulebase="pre", **lists), rule("s", action="deny"))
    found, neighbour = configuration.shared.rulebases.pre
    assert neighbour == Rule("s", action="deny")
    return found, remarked(configuration)


def test_absent_fields_have_the_defaults_of_pan_os() -> None:
    found = one()
    assert found == Rule("r")
    assert (found.from_zones, found.to_zones, found.sources, found.destinations) == 4 * (("any",),)
    assert found.services == ("application-default",)
    assert (found.action, found.rule_type, found.disabled) == ("allow", "universal", False)


def test_every_field_is_read() -> None:
    found = one(
        text("description", "Ärger"),
        tag("target", text("negate", "no")),
        from_=["trust", "dmz"],
        to=["untrust"],
        source=["web", "10.0.0.1"],
        destination=["db"],
        negate_source="yes",
        negate_destination="no",
        application=["ssl"],
        service=["https", "http"],
        action="reset-both",
        rule_type="interzone",
        disabled="yes",
        tag=["k8s"],
    )
    assert found == Rule(
        "r",
        "",
        ("trust", "dmz"),
        ("untrust",),
        ("web", "10.0.0.1"),
        ("db",),
        negate_source=True,
        negate_destination=False,
        applications=("ssl",),
        services=("https", "http"),
        action="reset-both",
        rule_type="interzone",
        disabled=True,
        tags=("k8s",),
        description="Ärger",
    )


@pytest.mark.parametrize("action", ["allow", "deny", "drop", "reset-client", "reset-server"])
def test_actions_are_kept_apart(action: str) -> None:
    assert one(action=action).action == action


def test_an_identity_is_kept() -> None:
    word = Word("pre-rulebase/security/rules", '<entry name="r" uuid="b4-1"/>')
    assert shared(word).shared.rulebases.pre == (Rule("r", "b4-1"),)


def test_empty_lists_and_marks_of_zones_mean_what_absent_ones_do() -> None:
    assert one(tag("source"), tag("from"), tag("service")) == Rule("r")
    marked = '<from><member previous-zone="x">trust</member></from>'
    assert one(marked) == Rule("r", from_zones=("trust",))


def test_what_does_not_decide_is_silent() -> None:
    silent = ("log-start", "log-end", "log-setting", "option", "qos", "group-tag")
    inner = [text(name, "x") for name in silent]
    profiles = tag("profile-setting", tag("profiles", members("virus", ["default"])))
    assert one(*inner, profiles, tag("icmp-unreachable"), tag("disable-inspect")) == Rule("r")


@pytest.mark.parametrize(
    "name",
    [
        "source-user",
        "category",
        "hip-profiles",
        "source-hip",
        "destination-hip",
        "source-imsi",
        "source-imei",
        "source-nw-slice",
    ],
)
def test_constraints_are_kept_unless_they_are_any(name: str) -> None:
    assert one(members(name, ["a", "b"])) == Rule("r", constraints=((name, ("a", "b")),))
    assert one(members(name, ["any"])) == Rule("r")
    assert one(tag(name)) == Rule("r")


@pytest.mark.parametrize(
    ("inner", "field"),
    [("source", "sources"), ("to", "to_zones"), ("application", "applications")],
)
def test_any_twice_is_any(inner: str, field: str) -> None:
    expected: dict[str, Any] = {field: ("any",)}
    assert one(members(inner, ["any", "any"])) == Rule("r", **expected)
    assert one(members("category", ["any", " any "])) == Rule("r")


def test_a_schedule_is_a_constraint() -> None:
    assert one(text("schedule", "nights")) == Rule("r", constraints=(("schedule", ("nights",)),))


def test_constraints_have_one_order() -> None:
    inner = (text("schedule", "n"), members("category", ["c"]))
    assert one(*inner) == one(*reversed(inner))


# --- what makes a rule unsayable ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        (text("source-posture", "x"), "<source-posture> is not known"),
        (members("source", "a") + members("source", "b"), "<source> stands more than once"),
        (text("action", "permit"), "<action> is 'permit', which is not known"),
        (text("action", "Allow"), "<action> is 'Allow', which is not known"),
        (tag("action"), "<action> is '', which is not known"),
        (text("rule-type", "zone"), "<rule-type> is 'zone', which is not known"),
        (text("disabled", "true"), "<disabled> is 'true', neither yes nor no"),
        (text("negate-source", ""), "<negate-source> is '', neither yes nor no"),
        (text("negate-destination", "YES"), "<negate-destination> is 'YES', neither yes nor no"),
        (tag("target", text("negate", "maybe")), "<target> has a <negate> that cannot be read"),
        (tag("target", text("zones", "x")), "<target> has a <zones> that cannot be read"),
    ],
)
def test_a_rule_is_unsayable_with_its_reason(inner: str, problem: str) -> None:
    found, remarks = spoiled(inner)
    assert found.unreadable == (problem,)
    assert remarks == {RULE: f"{problem}; the rule is treated as unknown"}


@pytest.mark.parametrize(
    ("inner", "where", "problem"),
    [
        (tag("source", "web"), "/source", "<source> cannot be read"),
        (
            tag("destination", "<entry name='x'/>"),
            "/destination/entry[@name='x']",
            "<destination> cannot be read",
        ),
        (tag("service", "<member/>"), "/service/member", "<service> cannot be read"),
        (tag("tag", "<x/>"), "/tag/x", "<tag> cannot be read"),
        (tag("source-user", "<x/>"), "/source-user/x", "<source-user> cannot be read"),
        (tag("target", tag("tags", "<x/>")), "/target/tags/x", "<target> has unreadable tags"),
        (
            tag("target", tag("devices", "<entry/>")),
            "/target/devices/entry",
            "<target> has devices that cannot be read",
        ),
        (
            tag("target", tag("devices", entry("1", tag("vsys", "<entry/>")))),
            "/target/devices/entry[@name='1']/vsys/entry",
            "<target> has devices that cannot be read",
        ),
    ],
)
def test_a_list_that_cannot_be_read_makes_a_rule_unsayable(
    inner: str, where: str, problem: str
) -> None:
    found, remarks = spoiled(inner)
    assert found.unreadable == (problem,)
    assert remarks.keys() == {RULE, f"{RULE}{where}"}
    assert remarks[RULE] == f"{problem}; the rule is treated as unknown"


@pytest.mark.parametrize(
    ("tag_", "field", "default"),
    [
        ("source", "sources", ("any",)),
        ("destination", "destinations", ("any",)),
        ("application", "applications", ("any",)),
        ("service", "services", ("any",)),
        # The zones that they list are still named.
        ("from", "from_zones", ("x", "any")),
        ("to", "to_zones", ("x", "any")),
        ("source-user", "constraints", ()),
        ("category", "constraints", ()),
        ("hip-profiles", "constraints", ()),
        ("saas-tenant-list", "constraints", ()),
    ],
)
def test_any_beside_others_makes_a_rule_unsayable_and_is_any(
    tag_: str, field: str, default: tuple[str, ...]
) -> None:
    found, _ = spoiled(members(tag_, ["x", "any"]), text("negate-source", "yes"))
    assert found.unreadable == (f"<{tag_}> lists any beside others",)
    assert getattr(found, field) == default
    assert found.negate_source == (tag_ != "source")


@pytest.mark.parametrize("beside", ["http", "any"])
def test_application_default_beside_others_is_any_service(beside: str) -> None:
    found, _ = spoiled(members("service", ["application-default", beside]))
    assert "<service> lists application-default beside others" in found.unreadable
    assert found.services == ("any",)


def test_every_reason_is_kept_sorted() -> None:
    found, _ = spoiled(tag("zz"), tag("aa"), text("action", "x"))
    assert found.unreadable == (
        "<aa> is not known",
        "<action> is 'x', which is not known",
        "<zz> is not known",
    )


@pytest.mark.parametrize("order", [("yes", "no"), ("no", "yes")])
def test_a_rule_that_is_and_is_not_disabled_stays(order: tuple[str, str]) -> None:
    found, _ = spoiled(*(text("disabled", each) for each in order))
    assert not found.disabled
    assert found.unreadable == ("<disabled> stands more than once",)


@pytest.mark.parametrize("order", [("allow", "deny"), ("deny", "allow")])
def test_a_rule_that_allows_and_denies_does_not_allow(order: tuple[str, str]) -> None:
    found, _ = spoiled(*(text("action", each) for each in order))
    assert found.action == "deny"
    assert found.unreadable == ("<action> stands more than once",)


def test_rules_keep_their_order_and_repeated_names_are_both_kept() -> None:
    configuration = shared(
        rule("b"), rule("a"), rule("b", action="deny"), rule("z", rulebase="post")
    )
    rules = configuration.shared.rulebases
    assert [(each.name, each.action) for each in rules.pre] == [
        ("b", "allow"),
        ("a", "allow"),
        ("b", "deny"),
    ]
    assert [each.name for each in rules.post] == ["z"]
    (message,) = remarked(configuration).values()
    assert message == "is the name of an earlier rule here too; both are kept, in order"


# --- what cannot be read is never narrower than what is meant ------------------------------------


@pytest.mark.parametrize(
    ("inner", "field"),
    [
        ("from", "from_zones"),
        ("to", "to_zones"),
        ("source", "sources"),
        ("destination", "destinations"),
        ("application", "applications"),
        ("service", "services"),
    ],
)
def test_a_list_that_is_unreadable_or_repeated_is_any(inner: str, field: str) -> None:
    for spoiling in (
        tag(inner, text("member", "a"), "<x/>"),
        members(inner, ["a"]) + members(inner, ["a"]),
    ):
        found, _ = spoiled(spoiling)
        assert getattr(found, field) == ("any",)
        assert found.unreadable


def test_tags_that_are_unreadable_or_repeated_choose_nothing() -> None:
    for spoiling in (tag("tag", text("member", "a"), "<x/>"), 2 * members("tag", ["a"])):
        found, _ = spoiled(spoiling)
        assert found.tags == ()
        assert found.unreadable


@pytest.mark.parametrize(
    ("side", "field"), [("source", "sources"), ("destination", "destinations")]
)
@pytest.mark.parametrize(
    "negation",
    ["<negate-{}>maybe</negate-{}>", 2 * "<negate-{}>yes</negate-{}>", "<negate-{}/>"],
)
def test_a_list_that_may_be_negated_is_any(side: str, field: str, negation: str) -> None:
    found, _ = spoiled(members(side, ["a"]), negation.replace("{}", side))
    assert getattr(found, field) == ("any",)
    assert (found.negate_source, found.negate_destination) == (False, False)
    assert found.unreadable


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_list_that_is_unreadable_is_not_negated(side: str) -> None:
    found, _ = spoiled(tag(side, "<x/>"), text(f"negate-{side}", "yes"))
    assert (found.sources, found.negate_source) == (("any",), False)
    assert (found.destinations, found.negate_destination) == (("any",), False)


@pytest.mark.parametrize(
    "kind",
    [
        text("rule-type", "zone"),
        tag("rule-type", "<x/>"),
        text("rule-type", "intrazone") + text("rule-type", "interzone"),
        2 * text("rule-type", "intrazone"),
    ],
)
def test_a_rule_of_no_known_type_is_for_all_zones(kind: str) -> None:
    found, _ = spoiled(members("from", ["a"]), members("to", ["b"]), kind)
    assert (found.rule_type, found.from_zones, found.to_zones) == ("universal", ("any",), ("any",))
    assert found.unreadable


ONE_DEVICE = tag("target", tag("devices", entry("1")))


@pytest.mark.parametrize(
    "target",
    [
        2 * ONE_DEVICE,
        tag("target", tag("devices", entry("1"), "<entry/>")),
        tag("target", tag("devices", entry("1")), text("negate", "maybe")),
        tag("target", tag("devices", entry("1")), tag("zones")),
        tag("target", tag("tags", text("member", "a"), "<x/>"), text("negate", "yes")),
        tag("target", tag("devices", "1")),
        tag("target", "1"),
    ],
)
def test_a_target_that_is_unreadable_is_every_device(target: str) -> None:
    found, _ = spoiled(target)
    assert found.target == EVERYWHERE
    assert found.unreadable


def test_a_rule_that_may_be_disabled_stays() -> None:
    for spoiling in (
        text("disabled", "true"),
        tag("disabled", "yes", "<x/>"),
        text("disabled", "yes") + tag("disabled", "yes", "<x/>"),
    ):
        found, _ = spoiled(spoiling)
        assert not found.disabled
        assert found.unreadable


@pytest.mark.parametrize("name", ["disabled", "action"])
def test_a_switch_that_says_the_same_twice_is_believed(name: str) -> None:
    found, _ = spoiled(2 * text(name, "yes" if name == "disabled" else "allow"))
    assert (found.disabled, found.action) == (name == "disabled", "allow")
    assert found.unreadable == (f"<{name}> stands more than once",)


@pytest.mark.parametrize(
    "action", [text("action", "permit"), tag("action"), tag("action", "allow", "<x/>")]
)
def test_an_action_that_is_not_surely_allow_is_a_deny(action: str) -> None:
    found, _ = spoiled(action)
    assert found.action == "deny"
    assert found.unreadable


@pytest.mark.parametrize("name", ["category", "source-user"])
def test_a_constraint_that_is_repeated_keeps_no_part_of_it(name: str) -> None:
    found, _ = spoiled(members(name, ["a"]), members(name, ["b"]))
    assert found == Rule("r", unreadable=(f"<{name}> stands more than once",))


# --- what is not written as a rule with a name ----------------------------------------------------


def among_rules(*xml: str) -> tuple[tuple[Rule, ...], dict[str, str]]:
    """The rules read from these elements between two whole rules, and the remarks."""
    words = [Word("pre-rulebase/security/rules", each) for each in xml]
    configuration = shared(rule("a"), *words, rule("z"))
    first, *between, last = configuration.shared.rulebases.pre
    assert (first, last) == (Rule("a"), Rule("z"))
    return tuple(between), remarked(configuration)


def test_a_rule_without_a_name_is_unsayable_in_its_place() -> None:
    found, remarks = among_rules(
        "<entry/>",
        tag("entry", members("from", ["dmz"]), text("action", "deny")),
        "<entry name=' '/>",
    )
    because = ("it has no name",)
    assert found == (
        Rule("<entry>", unreadable=because),
        Rule("<entry>", from_zones=("dmz",), action="deny", unreadable=because),
        Rule("<entry>", unreadable=because),
    )
    path = "/config/shared/pre-rulebase/security/rules/entry"
    message = "it has no name; the rule is treated as unknown"
    assert remarks == {path: message, f"{path}[@name=' ']": message}


@pytest.mark.parametrize(
    ("xml", "name", "action"),
    [
        ("<rule/>", "<rule>", "deny"),
        ("<rule name='x'/>", "x", "deny"),
        (f"<rule name='x'>{text('action', 'allow')}</rule>", "x", "allow"),
        (f"<rule name='x'>{2 * text('action', 'allow')}</rule>", "x", "deny"),
        (f"<rule name='x'>{tag('action', 'allow', '<x/>')}</rule>", "x", "deny"),
        (f"<rule name='x'>{text('action', 'drop')}{members('from', ['a'])}</rule>", "x", "deny"),
        (f"<rule>{text('disabled', 'yes')}</rule>", "<rule>", "deny"),
    ],
)
def test_an_element_that_is_no_entry_is_an_unsayable_rule(xml: str, name: str, action: str) -> None:
    (found,), remarks = among_rules(xml)
    assert found == Rule(
        name,
        services=("any",),
        action=action,
        unreadable=("it is written as <rule>, not as an entry",),
    )
    assert list(remarks.values()) == ["is not an entry; it counts as a rule that is unknown"]


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", EVERYWHERE),
        (text("negate", "no"), EVERYWHERE),
        (tag("devices"), EVERYWHERE),
        (text("negate", "yes"), Target(negate=True)),
        (tag("devices", entry("2"), entry("1")), Target((("1", ()), ("2", ())))),
        (
            tag("devices", entry("1", tag("vsys", entry("vsys2"), entry("vsys1")))),
            Target((("1", ("vsys1", "vsys2")),)),
        ),
        (members("tags", "ba") + text("negate", "yes"), Target((), ("a", "b"), negate=True)),
    ],
)
def test_targets_are_read_in_every_shape(inner: str, expected: Target) -> None:
    assert one(tag("target", inner)) == replace(Rule("r"), target=expected)


@pytest.mark.parametrize("order", [("yes", "no"), ("no", "yes")])
def test_a_target_that_says_two_things_makes_a_rule_unsayable(order: tuple[str, str]) -> None:
    found, _ = spoiled(tag("target", *(text("negate", each) for each in order)))
    assert found.unreadable == ("<target> has <negate> more than once",)


# --- default rules --------------------------------------------------------------------------------


def defaults(*words: Word) -> tuple[dict[str, str], Configuration]:
    configuration = shared(*words)
    return dict(configuration.shared.rulebases.defaults), configuration


def test_overrides_of_default_rules_are_read() -> None:
    found, configuration = defaults(
        default_rule("intrazone-default", text("action", "deny"), text("log-end", "yes")),
        default_rule("interzone-default", text("action", "reset-both")),
    )
    assert found == {"intrazone-default": "deny", "interzone-default": "reset-both"}
    assert not configuration.remarks


def test_an_override_without_an_action_changes_none() -> None:
    found, configuration = defaults(default_rule("intrazone-default", text("log-end", "yes")))
    assert found == {}
    assert not configuration.remarks


@pytest.mark.parametrize(
    "words",
    [
        [default_rule("intrazone-default", text("action", "permit"))],
        [default_rule("intrazone-default", text("action", "allow"), text("action", "deny"))],
        [
            default_rule("intrazone-default", text("action", "allow")),
            default_rule("intrazone-default", text("action", "deny")),
        ],
        [
            default_rule("intrazone-default", text("action", "deny")),
            default_rule("intrazone-default", text("action", "allow")),
        ],
    ],
)
def test_an_override_that_is_not_clear_denies(words: list[Word]) -> None:
    found, configuration = defaults(*words)
    assert found == {"intrazone-default": "deny"}
    (message,) = remarked(configuration).values()
    assert message == "has no single action that is known; it is taken as a deny"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<rule name='intrazone-default'/>", {"intrazone-default": "deny"}),
        (tag("entry"), {"intrazone-default": "deny", "interzone-default": "deny"}),
    ],
)
@pytest.mark.parametrize("allowed_first", [True, False])
def test_an_override_that_is_no_entry_with_a_name_denies(
    xml: str, expected: dict[str, str], *, allowed_first: bool
) -> None:
    allow = default_rule("intrazone-default", text("action", "allow"))
    words = [allow, Word("post-rulebase/default-security-rules/rules", xml)]
    found, _ = defaults(*(words if allowed_first else reversed(words)))
    assert found == expected


def test_an_override_with_an_action_that_holds_more_denies() -> None:
    found, _ = defaults(default_rule("intrazone-default", tag("action", "allow", "<x/>")))
    assert found == {"intrazone-default": "deny"}


def test_other_default_rules_are_left_out_and_remarked() -> None:
    found, configuration = defaults(default_rule("x-default", text("action", "allow")))
    assert found == {}
    (message,) = remarked(configuration).values()
    assert "neither intrazone-default nor interzone-default" in message

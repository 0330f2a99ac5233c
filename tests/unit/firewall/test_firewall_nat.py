"""NAT rules as they are read: which destinations they translate, and what cannot be read."""

import pytest

from sync.firewall.effective import effective
from sync.firewall.rules import NatRule
from tests.words import (
    Word,
    both_ways,
    document,
    members,
    nat_rule,
    read,
    remarked,
    shared,
    tag,
    text,
    to_server,
)

RULE = "/config/shared/pre-rulebase/nat/rules/entry[@name='n']"
SERVER = to_server("10.0.0.1")
PUBLIC = members("destination", ["shop", "192.0.2.1"])


def translated(*inner: str) -> tuple[str, ...]:
    """What the only NAT rule translates, read without a remark; nothing if it does not count."""
    configuration = shared(nat_rule("n", *inner))
    assert not configuration.remarks
    return tuple(
        listed for rule in configuration.shared.rulebases.nat_pre for listed in rule.translated
    )


@pytest.mark.parametrize("kind", ["destination-translation", "dynamic-destination-translation"])
def test_a_destination_translation_translates_the_destination(kind: str) -> None:
    translation = tag(kind, text("translated-address", "10.0.0.1"))
    assert translated(PUBLIC, translation) == ("shop", "192.0.2.1")


@pytest.mark.parametrize("destination", ["", tag("destination")])
def test_no_destination_is_any(destination: str) -> None:
    assert translated(destination, SERVER) == ("any",)


def test_a_source_translation_in_both_directions_translates_its_address_back() -> None:
    assert translated(PUBLIC, both_ways("192.0.2.9")) == ("192.0.2.9",)
    assert translated(PUBLIC, SERVER, both_ways("out")) == ("shop", "192.0.2.1", "out")


@pytest.mark.parametrize(
    "inner",
    [
        "",
        tag("source-translation", tag("static-ip", text("translated-address", "192.0.2.9"))),
        both_ways("192.0.2.9").replace("yes", "no"),
        tag("source-translation", tag("dynamic-ip", members("translated-address", ["pool"]))),
        SERVER + text("disabled", "yes"),
    ],
)
def test_what_translates_no_destination_does_not_count(inner: str) -> None:
    assert translated(PUBLIC, inner) == ()


def test_a_rule_that_says_that_it_is_not_disabled_counts() -> None:
    assert translated(PUBLIC, SERVER, text("disabled", "no"))


@pytest.mark.parametrize(
    ("inner", "where", "message"),
    [
        (SERVER + tag("destination", text("x", "y")), "/destination/x", "is not a member"),
        (both_ways(""), "/source-translation/static-ip", "cannot be read"),
        (
            both_ways("192.0.2.9").replace("yes", "perhaps"),
            "/source-translation/static-ip",
            "cannot be read",
        ),
        (
            tag("source-translation", tag("static-ip", text("bi-directional", "yes"))),
            "/source-translation/static-ip",
            "cannot be read",
        ),
        (SERVER + text("disabled", "perhaps"), "", "is neither disabled nor not"),
        (SERVER + text("disabled", "yes") + text("disabled", "no"), "", "is neither disabled"),
    ],
)
def test_what_cannot_be_read_is_any_destination_and_is_said(
    inner: str, where: str, message: str
) -> None:
    configuration = shared(nat_rule("n", inner), nat_rule("m", PUBLIC, SERVER))
    assert configuration.shared.rulebases.nat_pre == (
        NatRule("n", ("any",)),
        NatRule("m", ("shop", "192.0.2.1")),
    )
    ((path, said),) = remarked(configuration).items()
    assert path == RULE + where
    assert message in said


def test_what_is_no_entry_with_a_name_is_left_out_and_that_is_said() -> None:
    words = (
        nat_rule("", SERVER),
        Word("pre-rulebase/nat/rules", f'<rule name="n">{SERVER}</rule>'),
    )
    configuration = shared(*words)
    assert not configuration.shared.rulebases.nat_pre
    assert len(configuration.remarks) == len(words)


def test_nat_rules_are_inherited_in_the_order_of_evaluation() -> None:
    def both(name: str) -> list[Word]:
        return [nat_rule(f"{name} {each}", SERVER, rulebase=each) for each in ("post", "pre")]

    data = document(
        both("shared"),
        {"top": both("top"), "leaf": both("leaf"), "aside": both("no")},
        parents={"leaf": "top"},
    )
    assert [each.name for each in effective(read(data), "leaf").nat] == [
        "shared pre",
        "top pre",
        "leaf pre",
        "leaf post",
        "top post",
        "shared post",
    ]

"""The firewalls that may have a rule, and whether all of them surely have it."""

import pytest

from sync.firewall.rules import Target
from sync.verify.firewall_semantics import carried

ONE, TWO = ("0001", ()), ("0002", ())
ONE_SYSTEM = ("0001", ("vsys1",))


@pytest.mark.parametrize(
    ("target", "may", "surely"),
    [
        (Target(), True, True),
        (Target((ONE, TWO)), True, True),
        (Target((ONE,)), True, False),
        (Target((("0009", ()),)), False, False),
        # Another virtual system of the same firewall lacks the rule.
        (Target((ONE_SYSTEM, TWO)), True, False),
        (Target(tags=("edge",)), True, False),
        (Target((ONE,), ("edge",)), True, False),
    ],
)
def test_a_target_chooses_the_firewalls_that_it_names(
    target: Target, may: bool, surely: bool
) -> None:
    assert carried(target, ("0001", "0002")) == (may, surely)


@pytest.mark.parametrize(
    ("target", "may", "surely"),
    [
        (Target((ONE, TWO), negate=True), False, False),
        (Target((ONE,), negate=True), True, False),
        (Target((("0009", ()),), negate=True), True, True),
        # Another virtual system of a firewall that it spares in part has the rule.
        (Target((ONE_SYSTEM, TWO), negate=True), True, False),
        (Target(tags=("edge",), negate=True), True, False),
        (Target(negate=True), False, False),
    ],
)
def test_a_negated_target_chooses_all_firewalls_but_those_that_it_names(
    target: Target, may: bool, surely: bool
) -> None:
    assert carried(target, ("0001", "0002")) == (may, surely)


@pytest.mark.parametrize("negate", [False, True])
def test_without_known_firewalls_a_target_with_devices_is_possible_and_never_sure(
    negate: bool,
) -> None:
    assert carried(Target((ONE,), negate=negate), ()) == (True, False)
    assert carried(Target(), ()) == (True, True)
    assert carried(Target(negate=True), ()) == (False, False)

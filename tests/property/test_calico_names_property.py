"""Names: always valid, and one original to a name."""

import string

from hypothesis import given
from hypothesis import strategies as st

from sync.calico import names
from sync.calico.objects import GlobalNetworkPolicy, GlobalNetworkSet
from sync.calico.validator import validate

# Names people use, names that are nearly legal, names that look mapped, and anything at all.
originals = st.one_of(
    st.text(string.ascii_letters + string.digits + " -_./", max_size=70),
    st.text("ab-.", max_size=300),
    st.text("ab- _", max_size=8).map(names.mapped),
    st.text(max_size=40),
)


@given(originals)
def test_a_mapped_name_is_a_dns_label_and_never_stays(original: str) -> None:
    mapped = names.mapped(original)
    assert names.is_dns_label(mapped)
    assert names.is_label_value(mapped)
    assert names.label_value(mapped) != mapped


@given(originals)
def test_every_name_is_one_that_calico_takes(original: str) -> None:
    label = f"{names.FIREWALL_PREFIX}/{names.label_key_name(original)}"
    for name in (
        names.set_name(original),
        names.edl_name(original),
        names.set_part_name(original, 2),
    ):
        labels = ((names.ADDRESS_GROUP_LABEL, names.label_value(original)), (label, ""))
        assert validate(GlobalNetworkSet(name, (), labels).manifest()) == ()
        assert len(f"{name}.yaml".encode()) <= 240
    for name in (
        names.policy_name("fw", original),
        names.policy_part_name("fw", original, "b", 12),
    ):
        assert validate(GlobalNetworkPolicy(name, "fw", 1, "all()").manifest()) == ()


@given(st.lists(originals, unique=True, max_size=30))
def test_different_originals_have_different_names(those: list[str]) -> None:
    for naming in (
        names.set_name,
        names.label_value,
        names.label_key_name,
        lambda zone: names.policy_name("fw", zone),
        lambda zone: names.policy_part_name("fw", zone, "a", 2),
        lambda group: names.set_part_name(group, 2),
    ):
        assert len({naming(original) for original in those}) == len(those)


@given(originals, originals)
def test_kinds_of_sets_never_share_a_name(one: str, other: str) -> None:
    written = {
        names.set_name(one),
        names.edl_name(other),
        names.set_part_name(one, 2),
        names.list_name([other]),
    }
    assert len(written) == 4

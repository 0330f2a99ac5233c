"""The reading of names, overrides, filters and groups, against a second, naive one."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.effective import effective
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.net.addresses import network
from tests.naive import documents, reader


def resolved(document: str, device_group: str, *, known: bool) -> dict[str, Resolved]:
    configuration = read_configuration(parse(document.encode(), "document"))
    objects = effective(configuration, device_group).objects.addresses
    return resolve_groups(objects, registered_known=known)


@given(documents.documents(), st.booleans(), st.data())
def test_groups_hold_what_the_naive_reading_says(
    document: str, known: bool, data: st.DataObject
) -> None:
    device_group = data.draw(st.sampled_from(reader.device_groups(document)))
    naive = reader.naive_groups(
        document, device_group, registered="optional" if known else "required"
    )
    ours = resolved(document, device_group, known=known)
    assert ours.keys() == naive.keys()
    for name, group in naive.items():
        assert bool(ours[name].holds.because) == group.open, (name, ours[name].holds.because)
        for address in documents.PROBES:
            inside = bool(ours[name].holds.surely & network(str(address)))
            assert inside == group.holds(address), (name, address)
        few = group.few
        if few is not None:
            assert ours[name].holds.surely.size == len(few)


@given(documents.documents(), st.integers(), st.data())
def test_the_order_of_elements_does_not_matter(
    document: str, seed: int, data: st.DataObject
) -> None:
    device_group = data.draw(st.sampled_from(reader.device_groups(document)))
    other = documents.shuffled(document, Random(seed))
    assert resolved(other, device_group, known=True) == resolved(document, device_group, known=True)

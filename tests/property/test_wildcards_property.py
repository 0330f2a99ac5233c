"""Rulebases of overlapping wildcards: nothing is opened, and report and proof agree.

To look further than the tests do, with what is accepted too:

    python -c 'from tests.property.test_wildcards_property import hunt; hunt(range(1000, 2000))'
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.addressing import MAX_WILDCARD_BLOCKS, Wildcard, wildcard
from sync.net.addresses import AddressSet
from sync.reconcile.verification import disagreements
from sync.verify.wildcards import pattern
from tests.naive.rulebases import Case, case
from tests.property.test_proof_property import documents_of, proof_of
from tests.property.test_translation_property import Judged, misformed, more_permissive, translated

SEEDS = range(12)
MANY_SEEDS = range(1000, 1400, 20)


def wild(seed: int, size: int = 1) -> Case:
    return case(seed, wild=True, number=250, size=size)


def accepting(made: Case) -> Case:
    """The same case with settings that accept losses."""
    return replace(
        made,
        zones=replace(made.zones, trust_addresses=True),
        rules=replace(
            made.rules,
            deny_applications="ports",
            accept_dropped_members=("k8s",),
            accept_dropped_denies=("prod",),
        ),
    )


def unproven(one: Judged) -> Iterator[str]:
    """What the proof finds of a translation, or finds to be not as the report says."""
    proof = proof_of(one, documents_of(one))
    for each in (*disagreements(proof, one.translated.report), *proof.undecided):
        yield f"\nseed {one.case.seed}: {each}"


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_opened_where_wildcards_overlap(seed: int) -> None:
    one = translated(wild(seed))
    assert not "".join([*misformed(one), *more_permissive(one), *unproven(one)])


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_report_and_proof_agree_on_what_is_accepted(seed: int) -> None:
    assert not "".join(unproven(translated(accepting(wild(seed)))))


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more_wildcards(first: int) -> None:
    hunt(range(first, first + MANY_SEEDS.step), strict=True)


def hunt(seeds: Iterable[int], *, strict: bool = False) -> None:
    """Look for counterexamples, and print them; `strict`: the first is an error."""
    for seed in seeds:
        made = wild(seed, size=4 if seed % 20 == 0 else 1)
        one = translated(made)
        found = [*misformed(one), *more_permissive(one), *unproven(one)]
        found += unproven(translated(accepting(made)))
        assert not (strict and found), "".join(found)
        print(*found[:3], sep="", end="\n" if found else "")


# --- base and mask --------------------------------------------------------------------------------

_masks = st.one_of(
    st.integers(0, 2**31 - 1),
    st.sampled_from((0, 5, 0xFE, 0x3FFFE, 0x7FFFFE, 0x55555555, 0x7FFFFFFF)),
)
_wildcards = st.builds(
    lambda base, mask: f"{IPv4Address(base)}/{IPv4Address(mask)}",
    st.integers(0, 2**32 - 1),
    _masks,
)
_nets = st.builds(
    lambda first, free: AddressSet((first >> free << free, (first >> free << free) + (1 << free))),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


def holds(text: str, address: int) -> bool:
    base, mask = (int(IPv4Address(part)) for part in text.split("/"))
    return (base ^ address) & ~mask == 0


@given(_wildcards, _nets, st.integers(0, 2**32 - 1))
def test_what_a_wildcard_holds_of_a_network_is_exact_or_more(
    text: str, net: AddressSet, place: int
) -> None:
    one, other = wildcard(text), pattern(text)
    assert other is not None
    read = one.among(net)
    assert read == other.holds(net)
    assert read == read & net & one.prefix
    assert one.prefix == other.prefix
    inside = (one.base & ~one.mask) | (place & one.mask)
    for address in (inside, place, net.v4[0], net.v4[1] - 1):
        in_net = net.v4[0] <= address < net.v4[1]
        found = bool(read & AddressSet((address, address + 1)))
        if in_net and holds(text, address):
            assert found
        elif one.blocks <= MAX_WILDCARD_BLOCKS:
            assert not found


@given(_wildcards, _wildcards, st.integers(0, 2**32 - 1))
def test_two_wildcards_share_one_that_holds_what_both_hold(
    text: str, other: str, place: int
) -> None:
    one, two = wildcard(text), wildcard(other)
    both = one.shared_with(two)
    address = one.base | (place & one.mask)
    if both is None:
        assert not (holds(text, address) and holds(other, address))
        return
    address = both.base | (place & both.mask)
    assert holds(text, address)
    assert holds(other, address)
    assert both == two.shared_with(one)
    assert isinstance(both, Wildcard)

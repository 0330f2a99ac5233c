"""Everything that is written loads into the kernel: interval sets of nftables, and ipsets.

A real kernel is asked, with what each selector of a rule covers, for whole configurations and for
every state that an update leaves between two writes. See `tests.data_plane` for what Felix does.

To look further than the tests do:

    python -c 'from tests.integration.test_data_planes import hunt; hunt(range(1000, 1100))'
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

import pytest

from benchmarks.generate import generate
from sync.calico import limits
from sync.calico.manifest import Manifest
from sync.clusters.cluster import Key
from sync.firewall.configuration import Configuration
from sync.firewall.effective import effective
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.plan.changes import Change
from sync.plan.differences import differences
from sync.plan.plan import make_plan
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests import words
from tests.conftest import samples
from tests.data_plane import DataPlane, KernelSets, kernel_sets, overlapping
from tests.golden.test_golden_manifests import OWNER
from tests.golden.test_golden_manifests import translated as of_groups
from tests.naive.rulebases import Case, case
from tests.property.test_translation_property import translated
from tests.translation import translate

SEEDS = range(16)
UPDATES = range(8)
# Ten cases in each of many tests.
MANY_SEEDS = range(1000, 1200, 10)
ZONES = 5

Objects = Mapping[Key, Manifest]
GROUP = ("firewall.tigera.io/address-group == 'web'", "", "global()")
OTHER = ("firewall.tigera.io/address-group == 'db'", "", "global()")


def nets(*listed: str) -> KernelSets:
    return {GROUP: frozenset(listed)}


# --- what a kernel takes --------------------------------------------------------------------------


def test_the_kernel_takes_disjoint_nets_of_both_families_and_all_that_lie_side_by_side(
    data_plane: DataPlane,
) -> None:
    listed = nets("10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/32", "10.0.1.1/32", "2001:db8::/64")
    assert data_plane.refuses(listed) == ""


def test_no_interval_set_takes_a_net_and_a_part_of_it(data_plane: DataPlane) -> None:
    for listed in (nets("10.0.0.0/8", "10.1.0.0/16"), nets("2001:db8::/32", "2001:db8::1/128")):
        assert _OVERLAPS.search(data_plane.nft_refuses(listed))
        assert data_plane.ipset_refuses(listed) == ""


def test_a_part_of_a_net_cannot_come_while_the_net_stands(data_plane: DataPlane) -> None:
    whole, both = nets("10.0.0.0/8"), nets("10.0.0.0/8", "10.1.0.0/16")
    found = data_plane.nft_refuses({}, whole, both)
    assert _OVERLAPS.search(found)
    assert "state 2: 'add element ip calico s0 { 10.1.0.0/16 }' of (\"firewall" in found


def test_a_net_and_a_part_of_it_change_places_in_one_write(data_plane: DataPlane) -> None:
    whole, part = nets("10.0.0.0/8", "2001:db8::/32"), nets("10.1.0.0/16", "2001:db8::/64")
    assert data_plane.refuses(whole, part, whole) == ""


def test_sets_come_and_go_on_their_own(data_plane: DataPlane) -> None:
    one, other = {GROUP: frozenset({"10.0.0.0/8"})}, {OTHER: frozenset({"10.0.0.0/16"})}
    assert data_plane.refuses(one, {**one, **other}, other, {}, one) == ""


@pytest.mark.parametrize("halves", [("0.0.0.0/1", "128.0.0.0/1"), ("::/1", "8000::/1")])
def test_all_addresses_of_a_family_are_taken_in_halves_alone(
    data_plane: DataPlane, halves: tuple[str, str]
) -> None:
    assert data_plane.refuses(nets(*halves)) == ""
    whole = nets(f"{halves[0].partition('/')[0]}/0")
    assert data_plane.nft_refuses(whole) == ""
    assert "CIDR" in data_plane.ipset_refuses(whole)


def test_the_last_addresses_of_a_family_are_read_back_as_they_were_written(
    data_plane: DataPlane,
) -> None:
    last = ("255.255.255.255/32", "240.0.0.0/5", f"{'ffff:' * 7}ffff/128", "c000::/3")
    assert data_plane.refuses(nets(*last)) == ""


# --- whole configurations -------------------------------------------------------------------------


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_a_sample_loads_into_the_kernel(data_plane: DataPlane, path: Path) -> None:
    """The demo is among them: each device group as a cluster of its own."""
    data = path.read_bytes()
    if b"<device-group>" not in data:
        pytest.skip("the configuration of a firewall")
    for each in of_groups(data).values():
        assert data_plane.refuses(kernel_sets(each.manifests.values())) == ""


@cache
def benchmark(*, wildcards: bool) -> Objects:
    """The rulebase of the benchmarks, of a size at which groups meet."""
    data = generate(
        addresses=1_500, groups=200, rules=300, one_device_group=True, wildcards=wildcards
    )
    found = read_configuration(parse(data, "generated.xml"))
    return of_benchmark(found)


def of_benchmark(configuration: Configuration, standing: Objects | None = None) -> Objects:
    definitions = {
        f"zone-{number:02}": ZoneDefinition(networks=(f"10.{number * 8}.0.0/13",))
        for number in range(1, ZONES + 1)
    }
    options = Options(
        (),
        registered_known=True,
        owner=OWNER,
        rules=RuleOptions(),
        zones=ZoneOptions(definitions=definitions),
        pod_cidrs=network("100.64.0.0/10"),
    )
    target = Target(
        "main", effective(configuration, "site-a"), "firewallpolicy", 101, "enforced", NOTHING
    )
    return translate("cluster", [target], options, standing or {}).manifests


@pytest.mark.parametrize("wildcards", [False, True])
def test_the_rulebase_of_the_benchmarks_loads_into_the_kernel(
    data_plane: DataPlane, *, wildcards: bool
) -> None:
    assert data_plane.refuses(kernel_sets(benchmark(wildcards=wildcards).values())) == ""


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_rulebases_load_into_the_kernel(
    data_plane: DataPlane, seed: int, *, tame: bool
) -> None:
    for size in (1, 4):
        found = translated(case(seed, tame=tame, number=2, size=size)).translated.manifests
        assert data_plane.refuses(kernel_sets(found.values())) == ""


# --- every state of an update ---------------------------------------------------------------------


@pytest.mark.parametrize("tame", [True, False])
@pytest.mark.parametrize("seed", UPDATES)
def test_every_state_of_an_update_loads_into_the_kernel(
    data_plane: DataPlane, seed: int, *, tame: bool
) -> None:
    """Addresses and members of groups change, as most commits have it."""
    assert "".join(update_refused(data_plane, seed, tame=tame)) == ""


@pytest.mark.parametrize("seed", UPDATES)
def test_so_does_every_state_where_sets_are_of_several_parts(
    data_plane: DataPlane, seed: int
) -> None:
    with small_sets():
        assert "".join(update_refused(data_plane, seed, tame=True)) == ""


@pytest.mark.parametrize("seed", UPDATES)
def test_so_does_every_state_between_two_rulebases(data_plane: DataPlane, seed: int) -> None:
    old, new = (case(each, tame=True, number=2) for each in (seed, seed + 1_000))
    found = states_between(old, new, Random(seed))
    assert data_plane.refuses(*found) == ""


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY_SEEDS)
def test_the_same_of_many_more(data_plane: DataPlane, first: int) -> None:
    for seed in range(first, first + 10):
        for tame in (True, False):
            assert "".join(update_refused(data_plane, seed, tame=tame)) == ""
        with small_sets():
            assert "".join(update_refused(data_plane, seed, tame=False)) == ""


def test_the_rulebase_of_the_benchmarks_loads_while_its_addresses_change(
    data_plane: DataPlane,
) -> None:
    data = generate(addresses=600, groups=100, rules=100, one_device_group=True, wildcards=False)
    changed = moved_addresses(data.decode(), Random(1), share=0.02).encode()
    old = of_benchmark(read_configuration(parse(data, "generated.xml")))
    new = of_benchmark(read_configuration(parse(changed, "generated.xml")), old)
    found = [kernel_sets(each.values()) for each in states(old, new, Random(1))]
    assert len(found) > 10
    assert data_plane.refuses(*found) == ""


def test_the_updates_above_move_nets_into_one_another() -> None:
    """So that what is tested is the order of writes, and not luck."""
    nested = 0
    for seed, tame in product(UPDATES, (True, False)):
        before, after = ends_of_update(seed, tame=tame)
        for selector, listed in before.items():
            if listed != after.get(selector, listed):
                nested += bool(overlapping({*listed, *after[selector]}))
    assert nested > len(UPDATES)


# --- updates --------------------------------------------------------------------------------------

# What nft says of a net that overlaps one of the kernel's, and one of the same transaction.
_OVERLAPS = re.compile("interval overlaps with an existing one|conflicting intervals specified")
_HOST = re.compile(r"<ip-netmask>10\.0\.\d+\.(\d+)(?:/\d+)?</ip-netmask>")
_NET = re.compile(r"<ip-netmask>(\d+\.\d+\.\d+)\.\d+(?:/\d+)?</ip-netmask>")
_STATIC = re.compile(r"<static>.*?</static>", re.DOTALL)
_MEMBER = re.compile(r"<member>[^<]*</member>")


@contextmanager
def small_sets() -> Iterator[None]:
    """Sets of a few nets, instead of ten thousand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "NETS_PER_SET", 3)
        yield


def update_refused(data_plane: DataPlane, seed: int, *, tame: bool) -> Iterator[str]:
    old, new = ends_of(seed, tame=tame)
    found = data_plane.refuses(*states_between(old, new, Random(seed)))
    if found:
        yield f"\nseed {seed}, tame {tame}: {found}"


def ends_of(seed: int, *, tame: bool) -> tuple[Case, Case]:
    """A case, and the same after a commit that changed addresses and members of groups."""
    random = Random(f"update {seed} {tame}")
    old = case(seed, tame=tame, number=2, size=2)
    text = old.document.decode()

    def longer_or_shorter(found: re.Match[str]) -> str:
        if random.random() < 0.5:
            return found[0]
        length = random.choice((24, 25, 26, 27, 28, 30, 32))
        address = int(found[1]) >> (32 - length) << (32 - length)
        return f"<ip-netmask>10.0.0.{address}/{length}</ip-netmask>"

    def others(found: re.Match[str]) -> str:
        listed = _MEMBER.findall(found[0])
        known = sorted(set(_MEMBER.findall("".join(_STATIC.findall(text)))))
        if random.random() < 0.5:
            listed = [each for each in listed if random.random() < 0.7] or listed[:1]
            listed.append(random.choice(known))
        return f"<static>{''.join(dict.fromkeys(listed))}</static>"

    text = _STATIC.sub(others, _HOST.sub(longer_or_shorter, text))
    document = text.encode()
    return old, replace(old, document=document, configuration=words.read(document))


def ends_of_update(seed: int, *, tame: bool) -> tuple[KernelSets, KernelSets]:
    old, new = (translated(each).translated.manifests for each in ends_of(seed, tame=tame))
    return kernel_sets(old.values()), kernel_sets(new.values())


def moved_addresses(text: str, random: Random, share: float) -> str:
    """Some addresses of a configuration, each now a net that others lie in."""
    return _NET.sub(
        lambda found: (
            f"<ip-netmask>{found[1]}.0/24</ip-netmask>" if random.random() < share else found[0]
        ),
        text,
    )


def states_between(old: Case, new: Case, random: Random) -> list[KernelSets]:
    """The kernel sets at every state from one case to the other, and back again."""
    before = translated(old).translated.manifests
    after = translated(new, before).translated.manifests
    there = list(states(before, after, random))
    again = translated(old, after).translated.manifests
    found = [kernel_sets(each.values()) for each in (*there, *states(after, again, random))]
    # A write that no kernel set tells of is no state of the kernel.
    return [each for each, last in zip(found, [None, *found], strict=False) if each != last]


def states(old: Objects, new: Objects, random: Random) -> Iterator[Objects]:
    """What stands before the plan from one to the other, and after each of its writes."""
    found = differences(new, old, {key: _Held(manifest) for key, manifest in old.items()})
    stands = dict(old)
    yield dict(stands)
    for step in make_plan("cluster", [], found, [], repair_drift=True).steps():
        under_way: list[list[Change]] = [list(chain) for chain in step]
        while under_way:
            change = random.choice(under_way).pop(0)
            under_way = [each for each in under_way if each]
            if change.after:
                stands[change.kind, change.name] = change.after
            else:
                del stands[change.kind, change.name]
            yield dict(stands)


class _Held:
    """An object of ours in a cluster that nobody else touches."""

    foreign_because = ""
    changed_by = ""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = self.stands = manifest


def hunt(seeds: Iterable[int]) -> None:
    """Look for states that no kernel takes, and print them."""
    plane = DataPlane(("unshare", "--net"))
    for seed in seeds:
        for tame in (True, False):
            print(*update_refused(plane, seed, tame=tame), sep="", end="")

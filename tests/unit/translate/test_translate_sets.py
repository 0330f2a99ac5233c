"""Address groups as sets: names, labels, annotations, parts, and which groups a cluster gets."""

import random
from collections.abc import Mapping, Sequence

import pytest

from sync.calico import limits, names
from sync.calico.objects import GlobalNetworkSet
from sync.calico.ownership import owner_labels
from sync.calico.validator import validate
from sync.errors import SourceError
from sync.firewall.effective import EffectiveDeviceGroup
from sync.firewall.estimate import Estimate
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import AddressSet, network
from sync.net.intervals import from_ranges
from sync.translate.network_sets import GroupSet, Target, group_sets, network_sets
from tests.words import Word, address, dynamic, group, rule, seen_by

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
A, B, C = address("a", "10.0.0.1"), address("b", "10.0.0.3"), address("c", "10.0.0.5")


def target_of(source: str, device_group: EffectiveDeviceGroup) -> Target:
    return Target(source, device_group, "fw", 101, "staged", NOTHING)


def sets(
    *words: Word, tags: Sequence[str] = (), registered_known: bool = True
) -> dict[str, GroupSet]:
    """The sets of one device group, by identity."""
    target = target_of("main", seen_by("dg", {"dg": words}))
    found, _ = group_sets([target], tags=tags, registered_known=registered_known)
    return {each.identity: each for each in found}


def of_several(
    groups: Mapping[str, Sequence[Word]], *, sources: Mapping[str, str] | None = None
) -> list[GroupSet]:
    """The sets of several device groups in one cluster, in their order."""
    targets = [
        target_of((sources or {}).get(name, "main"), seen_by(name, groups)) for name in groups
    ]
    found, seen = group_sets(targets, tags=(), registered_known=True)
    for target in targets:
        # Each target finds its own groups by the names that its rules use.
        of_target = seen[target.source, target.device_group.name]
        assert all(each.group == name and each in found for name, each in of_target.items())
    return found


def objects(*words: Word, registered_known: bool = True) -> list[GlobalNetworkSet]:
    """The objects of one device group; every one of them valid."""
    found = sets(*words, registered_known=registered_known).values()
    made = [each for _, each in network_sets(found, OWNER)]
    assert not [problem for each in made for problem in validate(each.manifest())]
    return made


def only(*words: Word, registered_known: bool = True) -> GlobalNetworkSet:
    (found,) = objects(*words, registered_known=registered_known)
    return found


# --- one set --------------------------------------------------------------------------------------


def test_a_set_carries_name_labels_and_annotations_as_tigera_gave_them() -> None:
    found = only(A, B, group("web", "b", "a", tags=("prod", "Tier 1")))
    assert found.name == "pan.web"
    assert found.nets == ("10.0.0.1/32", "10.0.0.3/32")
    assert dict(found.labels) == {
        "firewall.tigera.io/address-group": "web",
        "firewall.tigera.io/prod": "",
        f"firewall.tigera.io/{names.mapped('Tier 1')}": "",
        **dict(OWNER),
    }
    assert dict(found.annotations) == {
        "firewall.tigera.io/name": "web",
        "firewall.tigera.io/device-groups": "dg",
        "firewall.tigera.io/object-type": "AddressGroup",
        "firewall.tigera.io/type": "Panorama",
    }


@pytest.mark.parametrize("tag", ["zone", "address-group", "list", "edl"])
def test_a_tag_never_takes_the_place_of_a_label_of_ours(tag: str) -> None:
    labels = dict(only(A, group("web", "a", tags=(tag,))).labels)
    assert labels["firewall.tigera.io/address-group"] == "web"
    assert labels[f"firewall.tigera.io/{names.mapped(tag)}"] == ""
    assert "firewall.tigera.io/zone" not in labels


@pytest.mark.parametrize(
    ("name", "set_name", "label"),
    [
        ("web", "pan.web", "web"),
        ("web.eu", "pan.web.eu", "web.eu"),
        ("Web", f"pan.{names.mapped('Web')}", "Web"),
        ("web servers", f"pan.{names.mapped('web servers')}", names.mapped("web servers")),
        ("web_1", f"pan.{names.mapped('web_1')}", "web_1"),
        ("x-0123abcd", f"pan.{names.mapped('x-0123abcd')}", names.mapped("x-0123abcd")),
        (63 * "x", f"pan.{63 * 'x'}", 63 * "x"),
        (64 * "x", f"pan.{names.mapped(64 * 'x')}", names.mapped(64 * "x")),
        ("Ünïcode", f"pan.{names.mapped('Ünïcode')}", names.mapped("Ünïcode")),
        ("日本", f"pan.{names.mapped('日本')}", names.mapped("日本")),
    ],
)
def test_a_name_stays_where_kubernetes_takes_it(name: str, set_name: str, label: str) -> None:
    found = only(A, group(name, "a"))
    assert found.name == set_name
    assert dict(found.labels)["firewall.tigera.io/address-group"] == label
    assert dict(found.annotations)["firewall.tigera.io/name"] == name


def test_an_empty_group_is_a_set_without_nets() -> None:
    found = only(group("none"))
    assert found.nets == ()
    assert "nets" not in found.manifest().document()["spec"]


def test_sets_come_in_one_order_and_the_order_of_words_does_not_show() -> None:
    words = [A, B, C, group("z", "c", "a"), group("y", "b"), dynamic("x", "'t'")]
    assert [each.name for each in objects(*words)] == ["pan.x", "pan.y", "pan.z"]
    assert objects(*words) == objects(*reversed(words))


# --- what cannot be said --------------------------------------------------------------------------


def test_an_open_group_says_why_on_the_set() -> None:
    found = only(A, group("web", "a", "nowhere", "gone"))
    assert found.nets == ("10.0.0.1/32",)
    assert dict(found.annotations)["firewall.tigera.io/errors"] == (
        "its member 'gone' does not exist; its member 'nowhere' does not exist"
    )


def test_a_dynamic_group_is_open_where_registered_addresses_are_not_known() -> None:
    words = [address("a", "10.0.0.1", tags=("t",)), dynamic("d", "'t'")]
    errors = "firewall.tigera.io/errors"
    assert errors in dict(only(*words, registered_known=False).annotations)
    assert errors not in dict(only(*words, registered_known=True).annotations)


def test_many_errors_are_cut_between_two_of_them() -> None:
    found = only(group("web", *(f"missing-{number}" for number in range(5_000))))
    errors = dict(found.annotations)["firewall.tigera.io/errors"]
    assert len(errors) < 4200
    *whole, last = errors.split("; ")
    assert last == "and more"
    assert all(each.startswith("its member 'missing-") for each in whole)
    assert all(each.endswith("' does not exist") for each in whole)


def test_one_endless_error_is_cut_too() -> None:
    errors = dict(only(group("web", 10_000 * "x")).annotations)["firewall.tigera.io/errors"]
    assert len(errors) < 4200
    assert errors.endswith("; and more")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("::ffff:10.0.0.1", ()),
        ("::ffff:0:0/96", ()),
        ("::ffff:10.0.0.0/104", ()),
    ],
)
def test_mapped_addresses_are_dropped_and_the_group_is_open(
    value: str, kept: tuple[str, ...]
) -> None:
    found = only(A, address("m", value), group("web", "m", "a"))
    assert found.nets == ("10.0.0.1/32", *kept)
    assert "::ffff:0:0/96" in dict(found.annotations)["firewall.tigera.io/errors"]


def test_a_net_around_the_mapped_addresses_stays_whole() -> None:
    found = only(address("m", "::/64"), group("web", "m"))
    assert found.nets == ("0.0.0.0/1", "128.0.0.0/1", "::/64")
    assert "firewall.tigera.io/errors" not in dict(found.annotations)


# --- parts ----------------------------------------------------------------------------------------


def large(hosts: Sequence[int]) -> GroupSet:
    """A group of scattered IPv4 hosts."""
    held = AddressSet(from_ranges((n, n + 1) for n in hosts))
    holds = Estimate(held, None, because=("it is large",))
    return GroupSet("web farm", "web farm", ("dg",), holds, ("prod",))


# Even numbers: no two of them make one net.
HOSTS = [2 * each for each in random.Random(1).sample(range(2**31), 25_000)]


def test_as_many_nets_as_fit_are_one_set() -> None:
    assert len(large(HOSTS[: limits.NETS_PER_SET]).objects(OWNER)) == 1
    assert len(large(HOSTS[: limits.NETS_PER_SET + 1]).objects(OWNER)) == 2


def test_the_parts_of_a_large_set_are_the_whole_under_one_label() -> None:
    whole = large(HOSTS)
    parts = whole.objects(OWNER)
    assert len(parts) == 4
    assert sorted(net for part in parts for net in part.nets) == sorted(whole.holds.surely.cidrs())
    assert all(len(part.nets) <= limits.NETS_PER_SET for part in parts)
    assert [part.name for part in parts] == [
        f"pan.{names.mapped('web farm')}",
        *(f"pan-part.{names.mapped('web farm')}.{number}" for number in (2, 3, 4)),
    ]
    assert len({(part.labels, part.annotations) for part in parts}) == 1
    assert not [problem for part in parts for problem in validate(part.manifest())]


def test_a_net_that_comes_or_goes_changes_one_part() -> None:
    before = large(HOSTS).objects(OWNER)
    for changed in (HOSTS[1:], [*HOSTS, 1]):
        after = large(changed).objects(OWNER)
        assert len(after) == len(before)
        assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_the_same_nets_are_always_the_same_parts() -> None:
    assert large(HOSTS).objects(OWNER) == large(HOSTS[::-1]).objects(OWNER)


def test_long_nets_are_cut_by_their_bytes() -> None:
    nets = tuple(
        f"2001:db8:{n >> 16:x}:{n & 65535:x}:ffff:ffff:ffff:ffff/128" for n in range(20_000)
    )
    held = AddressSet.union(network(net) for net in nets)
    parts = GroupSet("six", "six", ("dg",), Estimate.exactly(held)).objects(OWNER)
    assert sorted(net for part in parts for net in part.nets) == sorted(held.cidrs())
    for part in parts:
        assert len(part.manifest().body) < limits.SET_BYTES + 2_000


def test_a_set_is_cut_further_where_its_files_are_applied_and_as_stably() -> None:
    parts, fewer, more = (
        large(hosts).objects(OWNER, limits.APPLIED) for hosts in (HOSTS, HOSTS[1:], [*HOSTS, 1])
    )
    assert len(parts) == 4
    assert len(large(HOSTS[:12_000]).objects(OWNER, limits.Sizes(50_000))) == 8
    assert sorted(net for part in parts for net in part.nets) == sorted(
        large(HOSTS).holds.surely.cidrs()
    )
    assert all(len(part.manifest().body) < limits.APPLIED_BYTES for part in parts)
    for changed in (fewer, more):
        assert sum(old != new for old, new in zip(parts, changed, strict=True)) == 1


# --- which groups ---------------------------------------------------------------------------------


def test_without_tags_every_group_is_selected() -> None:
    assert list(sets(A, group("x", "a"), group("y", "a", tags=("t",)))) == ["x", "y"]


def test_tags_select_their_groups_and_those_that_rules_use() -> None:
    found = sets(
        A,
        group("tagged", "a", tags=("k8s", "other")),
        group("other", "a", tags=("other",)),
        group("plain", "a"),
        group("source", "a"),
        group("destination", "inner"),
        group("inner", "a"),
        group("inherited", "a"),
        group("retired", "a"),
        rule("r", source=["source", "a"], destination=["destination", "10.0.0.9"]),
        rule("s", source=["inherited"], rulebase="post", action="deny"),
        rule("off", source=["retired"], disabled="yes"),
        tags=["k8s", "unused"],
    )
    assert list(found) == ["destination", "inherited", "source", "tagged"]


# --- several device groups in one cluster ---------------------------------------------------------


def test_groups_that_are_the_same_are_shared() -> None:
    found = of_several({"eu": [A, group("web", "a")], "us": [A, group("web", "a")]})
    assert [each.identity for each in found] == ["web"]
    assert found[0].device_groups == ("eu", "us")
    ((_, network_set),) = network_sets(found, OWNER)
    assert dict(network_set.annotations)["firewall.tigera.io/device-groups"] == "eu,us"


@pytest.mark.parametrize(
    "other",
    [
        [B, group("web", "b")],
        [A, group("web", "a", tags=("t",))],
        [A, group("web", "a", "nowhere")],
    ],
    ids=["nets", "tags", "open"],
)
def test_a_group_that_differs_has_an_identity_of_its_own(other: list[Word]) -> None:
    found = of_several({"eu": [A, group("web", "a")], "us": other}, sources={"us": "second"})
    assert [each.identity for each in found] == ["second/us/web", "web"]
    own, plain = (network_set for _, network_set in network_sets(found, OWNER))
    mapped = names.mapped("second/us/web")
    assert (plain.name, own.name) == ("pan.web", f"pan.{mapped}")
    assert dict(plain.labels)["firewall.tigera.io/address-group"] == "web"
    assert dict(own.labels)["firewall.tigera.io/address-group"] == mapped
    assert dict(own.annotations)["firewall.tigera.io/name"] == "web"
    assert dict(own.annotations)["firewall.tigera.io/device-groups"] == "us"
    assert dict(plain.annotations)["firewall.tigera.io/device-groups"] == "eu"


def test_the_device_group_listed_first_keeps_the_plain_name() -> None:
    eu, us = [A, group("web", "a")], [B, group("web", "b")]
    for groups in ({"eu": eu, "us": us}, {"us": us, "eu": eu}):
        found = {each.identity: each for each in of_several(groups)}
        assert found["web"].device_groups == (next(iter(groups)),)


def test_a_group_of_the_second_alone_keeps_its_plain_name() -> None:
    found = of_several({"eu": [A, group("web", "a")], "us": [B, group("db", "b")]})
    assert [each.identity for each in found] == ["db", "web"]


# --- clashes --------------------------------------------------------------------------------------

# Found by trying: their readable parts and the first 32 bits of their digests agree.
CLASH = ("web   . .-.db", "web .- #- _db")


def test_two_groups_with_one_name_are_refused_with_what_to_do() -> None:
    assert names.mapped(CLASH[0]) == names.mapped(CLASH[1])
    found = sets(A, group(CLASH[0], "a"), group(CLASH[1], "a")).values()
    with pytest.raises(SourceError) as refused:
        list(network_sets(found, OWNER))
    message = str(refused.value)
    assert all(repr(name) in message for name in CLASH)
    assert message.endswith("rename one of them in Panorama")

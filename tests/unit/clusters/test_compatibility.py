"""Which Calico is warned of, in which mode, and what the warning says to do."""

import pytest

from sync.clusters.cluster import ClusterFacts, FelixSettings
from sync.clusters.compatibility import warnings

OVERLAPS, REMOVALS, READ_BACK = "12851, 12650", "13274", "13477, 13275"


def told(version: str, **modes: FelixSettings) -> list[str]:
    felix = {name.replace("_", "."): settings for name, settings in modes.items()}
    return [*warnings("prod", ClusterFacts(calico_version=version, felix=felix))]


def mode(nftables: str | None = None, *, bpf: bool | None = None) -> FelixSettings:
    return FelixSettings(nftables, bpf)


@pytest.mark.parametrize(
    ("version", "nftables", "faults"),
    [
        ("v3.28.2", "Enabled", ()),
        ("v3.29.0", "Enabled", (REMOVALS, READ_BACK)),
        ("v3.30.0", "Enabled", (REMOVALS, READ_BACK)),
        ("v3.30.9", "Auto", (OVERLAPS, READ_BACK)),
        ("v3.31.0", None, ()),
        ("v3.31.6", None, ()),
        ("v3.31.6", "Disabled", ()),
        ("v3.31.6", "Enabled", (REMOVALS, READ_BACK)),
        ("v3.31.6", "Auto", (OVERLAPS, READ_BACK)),
        ("v3.31.7", "Enabled", ()),
        ("v3.31.7", "Auto", ()),
        ("v3.31.10", "Auto", ()),
        ("v3.32.0", None, (OVERLAPS, READ_BACK)),
        ("v3.32.0", "Auto", (OVERLAPS, READ_BACK)),
        ("v3.32.0", "Enabled", (REMOVALS, READ_BACK)),
        ("v3.32.0", "Disabled", ()),
        ("v3.32.1", None, (REMOVALS, READ_BACK)),
        ("v3.32.1", "Enabled", (REMOVALS, READ_BACK)),
        ("v3.32.2", None, ()),
        ("v3.32.2", "Enabled", ()),
        ("v3.33.0", "Auto", ()),
        ("v4.0.0", "Enabled", ()),
    ],
)
def test_a_release_is_warned_of_in_the_modes_in_which_it_fails(
    version: str, nftables: str | None, faults: tuple[str, ...]
) -> None:
    found = told(version, default=mode(nftables))
    assert bool(found) == bool(faults)
    for warning in found:
        assert (
            f"cluster prod runs Calico {version} with nftablesMode {nftables or 'Auto'} " in warning
        )
        named = [each for each in (OVERLAPS, REMOVALS, READ_BACK) if each in warning]
        assert named == [*faults]
        assert "Upgrade Calico to v3.31.7, v3.32.2 or later" in warning
        assert ("where kube-proxy uses nftables, " in warning) == (nftables != "Enabled")
        assert ("set nftablesMode: Disabled" in warning) == (nftables == "Enabled")


@pytest.mark.parametrize(
    "version", ["", "v3.32", "v3.32.0-0.dev-12-gabcdef", "v3.22.1-1.0", "master", "3.32.0.1"]
)
def test_what_is_no_release_is_not_guessed_at(version: str) -> None:
    """An edition with numbers of its own is another program."""
    assert told(version, default=mode("Enabled")) == []


def test_without_a_configuration_the_mode_is_that_of_the_release() -> None:
    assert told("v3.31.6") == []
    assert "nftablesMode Auto (FelixConfiguration default)" in told("v3.32.0")[0]


def test_ebpf_keeps_its_sets_elsewhere() -> None:
    assert told("v3.32.0", default=mode("Enabled", bpf=True)) == []
    # A node without it, and nodes that say nothing of it.
    found = told("v3.32.0", default=mode(bpf=True), node_a=mode(bpf=False), node_b=mode("Enabled"))
    assert len(found) == 1
    assert "(FelixConfiguration node.a)" in found[0]
    assert told("v3.32.0", default=mode("Disabled"), node_a=mode(bpf=True)) == []


def test_a_node_of_its_own_mode_is_named_and_of_many_a_few() -> None:
    nodes = {f"node_{number}": mode("Enabled") for number in range(5)}
    (found,) = told("v3.31.0", default=mode("Disabled"), **nodes)
    assert "(FelixConfiguration node.0, node.1, node.2 and 2 more)" in found


def test_modes_that_differ_are_each_warned_of() -> None:
    found = told("v3.32.0", default=mode(), node_a=mode("Enabled"), node_b=mode("Disabled"))
    assert [each.partition("(")[0] for each in found] == [
        "cluster prod runs Calico v3.32.0 with nftablesMode Auto ",
        "cluster prod runs Calico v3.32.0 with nftablesMode Enabled ",
    ]


def test_a_mode_that_is_not_known_may_be_nftables() -> None:
    assert told("v3.32.0", default=mode("Sometimes"))


def test_a_right_that_is_missing_is_named_once_and_nothing_else_is_said() -> None:
    (found,) = warnings("prod", ClusterFacts(calico_because="prod refuses to list it"))
    assert found.endswith("are not warned of: prod refuses to list it")

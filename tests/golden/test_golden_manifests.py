"""Whole configurations to manifests, as they are written."""

from pathlib import Path
from random import Random

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from sync.calico.ownership import owner_labels
from sync.calico.validator import validate
from sync.clusters.manifests import render
from sync.errors import SourceError
from sync.firewall.document import parse
from sync.firewall.effective import effective
from sync.firewall.reading import read_configuration
from sync.translate.sets import Target, group_sets, network_sets
from tests.conftest import ROOT, samples
from tests.naive.documents import shuffled

OWNER = owner_labels("golden", "00000000-0000-4000-8000-000000000000")
DEMO = ROOT / "config" / "demo" / "panorama.xml"


class Yaml(SingleFileSnapshotExtension):
    """One readable file for each snapshot."""

    _write_mode = WriteMode.TEXT
    file_extension = "yaml"


def manifests(data: bytes) -> dict[str, bytes]:
    """Every set of every device group, as one file holds them all."""
    configuration = read_configuration(parse(data, "export.xml"))
    found: dict[str, bytes] = {}
    for name in configuration.device_groups:
        try:
            target = Target("main", effective(configuration, name))
        except SourceError:
            # A sample without its whole hierarchy: nobody knows what it means.
            continue
        sets = group_sets([target], tags=(), registered_known=False)
        made = [network_set.manifest() for _, network_set in network_sets(sets, OWNER)]
        assert not [problem for each in made for problem in validate(each)]
        found[name] = b"---\n".join(render(each.document()) for each in made)
    return found


DEMO_GROUPS = manifests(DEMO.read_bytes())


@pytest.mark.parametrize("device_group", DEMO_GROUPS)
def test_the_demo_becomes_these_manifests(device_group: str, snapshot: SnapshotAssertion) -> None:
    assert DEMO_GROUPS[device_group].decode() == snapshot(extension_class=Yaml)


def test_the_demo_is_read_without_a_remark() -> None:
    assert read_configuration(parse(DEMO.read_bytes(), "export.xml")).remarks == ()


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_every_sample_gives_the_same_bytes_whatever_its_order(path: Path) -> None:
    data = path.read_bytes()
    if b"<device-group>" not in data:
        # Among the samples is a firewall's.
        with pytest.raises(SourceError, match="the configuration of a firewall"):
            parse(data, path.name)
        return
    expected = manifests(data)
    assert expected
    assert manifests(data) == expected
    for seed in range(3):
        assert manifests(shuffled(data.decode(), Random(seed)).encode()) == expected

"""Foreign objects: which may be taken over when adoption is asked for, and what becomes of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkSet
from sync.calico.ownership import owner_labels
from sync.clusters.cluster import LiveObject, NotWrittenError
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import error_of
from sync.clusters.kubernetes.writer import KubernetesWriter
from sync.clusters.manifests import ManifestsReader, ManifestsWriter

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
WEB = GlobalNetworkSet("pan.web", ("10.0.0.1/32",), OWNER).manifest()
KEY = ("GlobalNetworkSet", "pan.web")


def foreign(labels: Any = None, **changes: Any) -> dict[str, Any]:
    """A set of others at the place of `WEB`."""
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {"name": "pan.web", "labels": labels},
        "spec": {"nets": ["192.0.2.0/24"]},
        **changes,
    }


LEFT_BEHIND: dict[str, Any] = {
    "no labels": None,
    "theirs": {"app.kubernetes.io/managed-by": "Tigera", "firewall.tigera.io/dmz": ""},
    "another store": dict(owner_labels("test", "another")),
    "no instance": {"zonebridge.io/store": "another"},
    "no mapping": ["zonebridge.io/instance"],
}


@pytest.mark.parametrize("labels", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_what_no_other_installation_claims_may_be_taken_over(labels: Any) -> None:
    found = LiveObject.of(foreign(labels), OWNER)
    assert (found.manifest, found.adoptable) == (None, True)
    assert found.foreign_because
    stands = found.stands
    assert stands is not None
    assert stands.document()["spec"] == {"nets": ["192.0.2.0/24"]}


def test_what_another_installation_claims_must_be_left_alone() -> None:
    found = LiveObject.of(foreign(dict(owner_labels("elsewhere", "another"))), OWNER)
    assert (found.manifest, found.adoptable, found.stands) == (None, False, None)
    because = "belongs to another installation (zonebridge.io/instance: elsewhere)"
    assert found.foreign_because == because


def test_what_is_ours_stands_as_it_is() -> None:
    found = LiveObject.of(WEB.document(), OWNER)
    assert (found.manifest, found.stands, found.adoptable) == (WEB, WEB, False)


def test_what_stands_of_a_foreign_object_is_never_ours() -> None:
    """It lacks one of our labels, so a write that meets it is never taken for written."""
    for key, _ in OWNER:
        document = WEB.document()
        del document["metadata"]["labels"][key]
        found = LiveObject.of(document, OWNER)
        assert found.stands is not None
        assert found.stands != WEB


# --- in a directory -------------------------------------------------------------------------------


def put(path: Path, document: dict[str, Any]) -> Path:
    file = path / "globalnetworkset" / "pan.web.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(document))
    return file


def test_a_file_is_taken_over_with_what_is_theirs_in_it(tmp_path: Path) -> None:
    put(tmp_path, foreign({"team": "blue", "firewall.tigera.io/dmz": ""}))
    reader = ManifestsReader(tmp_path, OWNER)
    found = reader.read()[KEY]
    assert found.adoptable
    ManifestsWriter(tmp_path, remaining=lambda: 60).replace(WEB, found)
    now = reader.read()[KEY]
    assert now.manifest == WEB
    assert now.document["metadata"]["labels"] == {**dict(OWNER), "team": "blue"}


@pytest.mark.parametrize(
    "document",
    [
        foreign(kind="NetworkSet"),
        foreign(metadata={"name": "pan.db"}),
        foreign(spec={"nets": {"10.0.0.1/32"}}),
        foreign(dict(owner_labels("elsewhere", "another"))),
        {},
    ],
    ids=["another kind", "another name", "no JSON", "another installation", "nothing"],
)
def test_a_file_of_something_else_is_not_taken_over(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    file = put(tmp_path, document)
    before = file.read_bytes()
    found = ManifestsReader(tmp_path, OWNER).read()[KEY]
    assert (found.manifest, found.stands) == (None, None)
    with pytest.raises(AssertionError):
        ManifestsWriter(tmp_path, remaining=lambda: 60).replace(WEB, found)
    assert file.read_bytes() == before


def test_a_file_that_changed_meanwhile_is_not_taken_over(tmp_path: Path) -> None:
    file = put(tmp_path, foreign())
    found = ManifestsReader(tmp_path, OWNER).read()[KEY]
    file.write_text(yaml.safe_dump(foreign(spec={"nets": []})))
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        ManifestsWriter(tmp_path, remaining=lambda: 60).replace(WEB, found)


# --- in a cluster ---------------------------------------------------------------------------------


class Held(Api):
    """An API server that holds one object; `faults` are statuses to answer writes with first."""

    def __init__(self, document: dict[str, Any], faults: list[int]) -> None:
        super().__init__("prod", pytest.fail, sleep=lambda seconds: None)
        self.document = document
        self.faults = faults
        self.message = "a fault"
        self.sent: list[str] = []

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        if method != "GET":
            self.sent.append(method)
            if self.faults:
                raise error_of(self.faults.pop(0), self.message, words=self.message)
            self.document = {**options["body"]}
        return self.document


def writer(api: Api) -> KubernetesWriter:
    return KubernetesWriter(api, OWNER, remaining=lambda: 60, seconds=10)


@pytest.mark.parametrize("fault", [409, 429, 500])
def test_a_take_over_that_met_a_fault_is_tried_again(fault: int) -> None:
    api = Held(foreign({"team": "blue"}), [fault])
    writer(api).replace(WEB, LiveObject.of(api.document, OWNER))
    assert LiveObject.of(api.document, OWNER).manifest == WEB
    assert api.sent == ["PUT", "PUT"]


def test_what_another_installation_claims_meanwhile_is_not_taken_over() -> None:
    api = Held(foreign(), [409])
    seen = LiveObject.of(api.document, OWNER)
    api.document = foreign(dict(owner_labels("elsewhere", "another")))
    with pytest.raises(NotWrittenError, match="changed by someone else"):
        writer(api).replace(WEB, seen)
    assert api.sent == ["PUT"]


@pytest.mark.parametrize("status", [405, 409, 500])
def test_a_tier_that_is_not_empty_is_asked_for_once(status: int) -> None:
    tier = {"kind": "Tier", "metadata": {"name": "fw", "uid": "1", "resourceVersion": "2"}}
    api = Held(tier, [status] * 9)
    api.message = "operation delete is not supported on fw: Cannot delete a non-empty tier"
    with pytest.raises(NotWrittenError, match="non-empty tier"):
        writer(api).delete(LiveObject(Manifest.of(tier), tier))
    assert api.sent == ["DELETE"]

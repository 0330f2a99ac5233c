"""A report compiles what it needs: nothing is compared, proven, checked or written for it."""

from pathlib import Path
from typing import Any

import pytest

from sync.calico.ownership import owner_labels
from sync.options import ZoneDefinition, ZoneOptions
from sync.reconcile import cycle, desired, verification
from sync.reconcile.desired import Cluster
from sync.reconcile.device_groups import TierBinding
from sync.render.matrix import matrix_document, matrix_lines
from sync.sources.export import ExportSource
from sync.store import Store, open_store
from sync.translate.compiler import Options
from sync.verify.matrix import Cell, Matrix, Reach
from tests.memory import MemoryCluster
from tests.words import address, document, rule

EVERY = {"application": ["any"], "service": ["any"], "source": ["any"], "destination": ["any"]}
RULES = [
    address("db-1", "10.2.0.7"),
    rule("web to db", **{**EVERY, "destination": ["db-1"]}, from_=["web"], to=["db"],
         action="allow"),
    rule("staff", **EVERY, from_=["web"], to=["lab"], source_user=["alice"], action="allow"),
    rule("within db", **EVERY, from_=["db"], to=["db"], action="deny"),
    rule("as usual", **{**EVERY, "service": ["application-default"]}, from_=["lab"], to=["lab"],
         action="allow"),
    rule("nothing else", **EVERY, from_=["lab"], to=["lab"], action="deny"),
]  # fmt: skip
ZONES = {
    "web": ZoneDefinition(networks=()),
    "db": ZoneDefinition(networks=("10.2.0.0/16",)),
    "lab": ZoneDefinition(networks=("10.3.0.0/16",)),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/zonebridge.db")


def reported(tmp_path: Path, store: Store, **asked: bool) -> Any:
    file = tmp_path / "main.xml"
    file.write_bytes(document((), {"dg": RULES}))
    owner = owner_labels("test", store.uuid)
    cluster = MemoryCluster(owner)
    (found,) = cycle.report_cycle(
        [ExportSource("main", file)],
        [Cluster("prod", (TierBinding("main", "dg"),), cluster, None, None, repair_drift=True)],
        store,
        Options((), True, owner, zones=ZoneOptions(definitions=ZONES)),
        **asked,
    )
    assert not cluster.writes
    return found


def test_a_report_proves_and_checks_nothing(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(verification, "prove", never)
    monkeypatch.setattr(desired, "validate", never)
    monkeypatch.setattr(cycle, "plan_for", never)
    found = reported(tmp_path, store)
    assert [each.name for each in found.report.rules] == [
        "web to db",
        "staff",
        "within db",
        "as usual",
        "nothing else",
    ]
    assert found.origins[0].source == "main"
    assert found.matrices == ()


def test_who_may_reach_whom_names_the_rules_that_decide(tmp_path: Path, store: Store) -> None:
    (matrix,) = reported(tmp_path, store, reach=True).matrices
    cells = {(each.source, each.destination): each for each in matrix.cells}
    assert len(cells) == 9
    to_db = cells["web", "db"]
    assert (to_db.firewall.state, to_db.calico.state, to_db.unlike) == ("some", "some", "")
    assert to_db.calico.partly == ("any traffic",)
    assert [each.rule for each in to_db.firewall.rules] == ["web to db", "interzone-default"]
    assert to_db.calico.rules[0].places[0] == "firewallpolicy.pan-zone-web[egress 0]"
    staff = cells["web", "lab"]
    assert (staff.firewall.sign, staff.calico.state, staff.unlike) == ("perhaps", "none", "less")
    assert staff.firewall.perhaps == ("any traffic",)
    assert cells["db", "db"].calico.state == "none"
    assert cells["web", "web"].calico.state == "all"


def test_the_matrix_is_text_and_a_document(tmp_path: Path, store: Store) -> None:
    (matrix,) = reported(tmp_path, store, reach=True).matrices
    lines = [*matrix_lines(matrix)]
    assert lines[0] == "Who may reach whom: zones of device group main/dg"
    at = lines.index("  ! web -> lab")
    assert lines[at + 1 : at + 3] == [
        "      firewall: perhaps any traffic",
        "      Calico:   none (less than the firewall)",
    ]
    assert "    db -> db, lab, web" in lines
    found = matrix_document("prod", matrix)
    assert [*found] == [
        *("cluster", "source", "target", "tier", "zones", "pods_only", "because", "cells"),
    ]
    (cell,) = (each for each in found["cells"] if (each["from"], each["to"]) == ("web", "db"))
    assert cell["calico"]["rules"][0]["calico"][0] == "firewallpolicy.pan-zone-web[egress 0]"
    assert cell["firewall"]["rules"][0] == {
        "name": "web to db",
        "action": "allow",
        "device_group": "dg",
        "rulebase": "pre",
        "position": 1,
        "calico": [],
    }


def test_what_the_settings_accept_is_no_matter_of_the_firewall(
    tmp_path: Path, store: Store
) -> None:
    (matrix,) = reported(tmp_path, store, reach=True).matrices
    (lab,) = [each for each in matrix.cells if each.source == each.destination == "lab"]
    # Each application passes on its own ports: which these are for a flow, no port tells.
    assert (lab.firewall.services, lab.firewall.partly) == ((), ())
    assert (lab.firewall.state, lab.firewall.perhaps) == ("some", ("any traffic",))
    assert (lab.calico.state, lab.unlike) == ("all", "more")


def test_services_that_read_the_same_say_between_which_ends_they_differ() -> None:
    reach = Reach("some", partly=("tcp/443",))
    lost, gained = "pod 10.1.0.10 -> 10.2.0.7, tcp/443 from port 50000", ""
    cells = (Cell("web", "db", reach, reach, "less", lost, gained),)
    assert [*matrix_lines(Matrix("main", "dg", "fw", ("db", "web"), (), cells))][1:] == [
        "  ! web -> db",
        "      firewall and Calico: for some addresses tcp/443",
        f"      but Calico denies some that the firewall may allow, such as {lost}",
    ]

"""Credentials of a running client that change, against a real API server."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.clusters.kubernetes.auth import renewal
from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ForbiddenError, UnansweredError, UnauthenticatedError
from tests.kubernetes_cluster import ControlPlane
from tests.kubernetes_words import SETS, api
from zonebridge_simulator.authority import Authority


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is believed when it is seen a second time, at the next request."""
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(renewal, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def document(calico: ControlPlane, tmp_path: Path) -> dict[str, Any]:
    """A kubeconfig that names its authority and token by files, which are there."""
    found: dict[str, Any] = yaml.safe_load(calico.kubeconfig(path=tmp_path / "k").read_text())
    (tmp_path / "ca.pem").write_bytes(calico.ca_file.read_bytes())
    (tmp_path / "token").write_text(calico.admin_token)
    found["clusters"][0]["cluster"] = {"server": calico.url, "certificate-authority": "ca.pem"}
    found["users"][0]["user"] = {"tokenFile": "token"}
    return found


def opened(calico: ControlPlane, file: Path, document: dict[str, Any], **changes: Any) -> Api:
    file.write_text(yaml.safe_dump(document))
    return api(calico, kubeconfig=file, **changes)


def status(reached: Api) -> int:
    """How a request is answered, 0 where nobody does; 200 for a success."""
    try:
        reached.request("GET", SETS, query={"limit": 1})
    except UnauthenticatedError:
        return 401
    except ForbiddenError:
        return 403
    except UnansweredError:
        return 0
    return 200


def test_a_token_that_gets_fewer_rights_or_more_is_followed(
    calico: ControlPlane, document: dict[str, Any], tmp_path: Path
) -> None:
    reached = opened(calico, tmp_path / "k", document)
    assert status(reached) == 200
    (tmp_path / "token").write_text(calico.guest_token)
    assert [status(reached), status(reached)] == [200, 403]
    (tmp_path / "token").write_text(calico.admin_token)
    assert [status(reached), status(reached)] == [403, 200]
    # One that is refused is changed at once.
    (tmp_path / "token").write_text("wrong")
    assert [status(reached), status(reached)] == [200, 401]
    (tmp_path / "token").write_text(calico.admin_token)
    assert status(reached) == 200
    reached.close()


def test_another_authority_is_followed_also_where_a_plugin_gives_the_credentials(
    calico: ControlPlane, document: dict[str, Any], authority: Authority, tmp_path: Path
) -> None:
    version = "client.authentication.k8s.io/v1"
    credential = {
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {"token": calico.admin_token},
    }
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable} -IS\nimport json\nprint(json.dumps({credential!r}))\n")
    plugin.chmod(0o700)
    document["users"][0]["user"] = {"exec": {"command": "./plugin", "apiVersion": version}}
    (tmp_path / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    reached = opened(calico, tmp_path / "k", document, exec_plugins=("./plugin",))
    assert status(reached) == 0
    (tmp_path / "ca.pem").write_bytes(calico.ca_file.read_bytes())
    assert [status(reached), status(reached)] == [0, 200]
    reached.close()


def test_a_kubeconfig_that_is_written_anew_is_followed_and_half_of_one_is_not(
    calico: ControlPlane, document: dict[str, Any], tmp_path: Path
) -> None:
    server = document["clusters"][0]["cluster"]["server"]
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    reached = opened(calico, tmp_path / "k", document)
    assert status(reached) == 0
    data = base64.b64encode(calico.ca_file.read_bytes()).decode()
    document["clusters"][0]["cluster"] = {"server": server, "certificate-authority-data": data}
    whole = yaml.safe_dump(document)
    (tmp_path / "k").write_text(whole)
    assert [status(reached), status(reached)] == [0, 200]
    (tmp_path / "k").write_text(whole[: len(whole) // 2])
    assert {status(reached) for _ in range(5)} == {200}
    reached.close()

"""What a cluster says that tells it from others, and what is no such thing."""

from typing import Any, cast

import pytest

from sync.clusters.kubernetes.client import Api
from sync.clusters.kubernetes.errors import ApiError, error_of
from sync.clusters.kubernetes.reader import KubernetesReader
from sync.errors import ClusterError

UID = "0b5ff9f2-6a3f-4b7e-9d5c-3d0c4f6a7b8c"


class Answering:
    """An API server that answers everything with this."""

    name = "prod"

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def patiently(self, method: str, path: str) -> Any:
        assert (method, path) == ("GET", "/api/v1/namespaces/kube-system")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def identity(answer: Any) -> str:
    return KubernetesReader(cast("Api", Answering(answer)), ()).identity()


def test_a_cluster_is_the_uid_of_its_kube_system() -> None:
    assert identity({"metadata": {"uid": UID}}) == UID


@pytest.mark.parametrize(
    "answer", [{}, {"metadata": {}}, *({"metadata": {"uid": uid}} for uid in ("", 7, None, "a b"))]
)
def test_what_is_no_uid_is_refused(answer: Any) -> None:
    with pytest.raises(ClusterError, match="check which server is at its address"):
        identity(answer)


def test_a_server_without_that_namespace_is_no_cluster() -> None:
    with pytest.raises(ClusterError, match="has no namespace kube-system"):
        identity(error_of(404, "cluster prod refuses it"))


def test_a_missing_right_is_told_as_it_was() -> None:
    with pytest.raises(ApiError, match="grant"):
        identity(error_of(403, "cluster prod refuses it; grant the user this"))

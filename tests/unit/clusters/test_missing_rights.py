"""What a refusal of an API server is told as: the right that is missing, or what admission says."""

import pytest

from sync.clusters.kubernetes.errors import missing_right


@pytest.mark.parametrize(
    ("method", "path", "query", "right"),
    [
        ("GET", "/api/v1/pods", "limit=500", "list on pods"),
        ("GET", "/api/v1/namespaces", "limit=500", "list on namespaces"),
        ("GET", "/api/v1/namespaces/kube-system", "", "get on namespaces kube-system"),
        (
            "GET",
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            "",
            "list on endpointslices.discovery.k8s.io in namespace default",
        ),
        (
            "GET",
            "/apis/projectcalico.org/v3/tiers",
            "watch=true",
            "watch on tiers.projectcalico.org",
        ),
        ("POST", "/apis/projectcalico.org/v3/tiers", "", "create on tiers.projectcalico.org"),
        ("PUT", "/apis/projectcalico.org/v3/tiers/f", "", "update on tiers.projectcalico.org f"),
        ("DELETE", "/apis/projectcalico.org/v3/tiers/f", "", "delete on tiers.projectcalico.org f"),
        ("GET", "/apis/projectcalico.org/v3", "", "get on /apis/projectcalico.org/v3"),
        ("GET", "/apis", "", "get on /apis"),
    ],
)
def test_a_request_needs_one_right(method: str, path: str, query: str, right: str) -> None:
    assert missing_right(method, path, query) == right

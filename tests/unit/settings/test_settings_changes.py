"""What is told of a configuration that took another one's place."""

from typing import Any

import pytest
from pydantic import SecretStr

from sync.settings import Settings
from sync.settings.changes import at_start, changes


def group(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "mode": "enforced"} | keys


def settings(**keys: Any) -> Settings:
    document: dict[str, Any] = {
        "sources": [{"name": "main", "kind": "file", "path": "/x.xml"}],
        "store": {"url": "sqlite:////x.db"},
        "clusters": [cluster("eu"), cluster("us")],
    }
    return Settings.model_validate(document | keys)


def cluster(name: str, *groups: dict[str, Any], **keys: Any) -> dict[str, Any]:
    groups = groups or (group("dg"),)
    return {
        "name": name,
        "kind": "manifests",
        "path": f"/{name}",
        "device_groups": [*groups],
    } | keys


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, []),
        ({"drift": "report"}, ["drift: repair -> report"]),
        ({"poll_interval": "2m"}, ["poll_interval: 10s -> 2m"]),
        ({"zones": {"derive_networks": False}}, ["zones.derive_networks: true -> false"]),
        (
            {"zones": {"definitions": {"web": {"networks": ["10.0.0.0/8"]}}}},
            ["zones.definitions[web]: added"],
        ),
        ({"address_groups": {"tags": ["a", "b"]}}, ["address_groups.tags: [] -> [a, b]"]),
        ({"rules": {"filter": "x" * 500}}, [f"rules.filter:  -> {'x' * 60}…"]),
        ({"audit": {"head_file": "/heads"}}, ["audit.head_file: null -> /heads"]),
        ({"clusters": [cluster("us"), cluster("eu")]}, ["clusters: in another order"]),
        (
            {"clusters": [cluster("us", group("dg", mode="staged")), cluster("asia")]},
            [
                "clusters[eu]: removed",
                "clusters[us].device_groups[dg].mode: enforced -> staged",
                "clusters[asia]: added",
            ],
        ),
    ],
)
def test_each_key_that_differs_is_told_by_names(keys: dict[str, Any], told: list[str]) -> None:
    assert changes(settings(), settings(**keys)) == told


def test_no_secret_is_told() -> None:
    source = {
        "name": "main",
        "kind": "panorama",
        "hosts": ["p"],
    }

    def with_key(key: str) -> Settings:
        made = settings(sources=[source | {"api_key_file": "/key"}])
        [first] = made.sources
        return made.model_copy(
            update={"sources": (first.model_copy(update={"api_key": SecretStr(key)}),)}
        )

    [told] = changes(with_key("hunter1"), with_key("hunter2"))
    assert told.startswith("sources[main].api_key: ")
    assert "hunter" not in told


def test_what_only_a_restart_takes_up_is_named() -> None:
    other = settings(
        instance="other",
        store={"url": "sqlite:////y.db"},
        health={"bind": "127.0.0.1:1", "max_source_age": "1h"},
        audit={"head_file": "/heads"},
        drift="report",
    )
    named = ["instance", "store.url", "health.bind", "audit.head_file"]
    assert at_start(settings(), other) == named
    assert at_start(settings(), settings(drift="report", lease_ttl="1h")) == []

"""What a configuration file may not say: each refusal has its place and its remedy."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.calico.validator import BUILT_IN_TIERS
from sync.errors import UsageError
from sync.settings import Settings, load
from sync.settings.models import Settings as Model
from sync.settings.shape import child, keys_of
from sync.settings.values import TIERS_OF_CALICO

SECRET = "hunter2-Zq"


def a_device_group(**keys: Any) -> dict[str, Any]:
    return {"name": "dg-eu", "mode": "enforced"} | keys


def a_cluster(**keys: Any) -> dict[str, Any]:
    cluster = {"name": "gitops", "kind": "manifests", "path": "out"}
    return cluster | {"device_groups": [a_device_group()]} | keys


def a_source(**keys: Any) -> dict[str, Any]:
    return {"name": "main", "kind": "file", "path": "export.xml"} | keys


def a_document(**keys: Any) -> dict[str, Any]:
    return {"sources": [a_source()], "clusters": [a_cluster()]} | keys


def refusal_of(document: Any, directory: Path) -> str:
    file = directory / "zonebridge.yaml"
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(file, {})
    return str(refused.value).replace(str(directory), "DIR")


CLUSTERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"device_group": []},
        "clusters[0].device_group: unknown key; did you mean device_groups?",
    ),
    "service chain": ({"name": "_service"}, "clusters[0].name: _service is the service's own"),
    "empty name": ({"name": ""}, "clusters[0].name: must not be empty"),
    "control character": ({"name": "a\x07b"}, "clusters[0].name: holds a control character"),
    "long name": ({"name": "x" * 64}, "clusters[0].name: must be at most 63 characters"),
    "name that climbs": ({"name": "../x"}, "clusters[0].name: must be at most 63 characters"),
    "number as name": ({"name": 5}, "clusters[0].name: must be text; put it in quotes"),
    "no path": ({"path": None}, "clusters[0].path: is missing; kind manifests needs it"),
    "other kind's key": ({"context": "x"}, "clusters[0].context: belongs to kind kubernetes"),
    "other kind": ({"kind": "kubernetes"}, "clusters[0].path: belongs to kind manifests"),
    "no such kind": ({"kind": "k3s"}, "clusters[0].kind: must be kubernetes or manifests"),
    "not a list": ({"device_groups": "dg"}, "clusters[0].device_groups: must be a list"),
    "empty list item": ({"device_groups": [None]}, "clusters[0].device_groups[0]: has no value"),
    "bad network": ({"pod_cidrs": ["10.0.0.1/8"]}, "clusters[0].pod_cidrs[0]: must be a network"),
    "network of a link": ({"pod_cidrs": ["fe80::%a/64"]}, "pod_cidrs[0]: must be a network"),
    "windows of files": ({"windows": "ignore"}, "clusters[0].windows: belongs to kind kubernetes"),
    "a guard": ({"guard": {"min_existing": 1}}, "clusters[0].guard.min_existing: this version"),
}


@pytest.mark.parametrize(("keys", "expected"), CLUSTERS.values(), ids=CLUSTERS)
def test_a_wrong_cluster_is_refused(keys: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal_of(a_document(clusters=[a_cluster(**keys)]), tmp_path)


GROUPS: dict[str, tuple[dict[str, Any], str]] = {
    "no mode": ({"mode": None}, "mode: has no value; give it one"),
    "bad mode": ({"mode": "enforce"}, "mode: must be enforced or staged"),
    "unknown source": ({"source": "mian"}, "source: there is no source mian; did you mean main?"),
    "tier with a dot": ({"tier": "a.b"}, "tier: must be a DNS label"),
    "tier of 64": ({"tier": "a" * 64}, "tier: must be a DNS label"),
    "tier with a line break": ({"tier": "a\n"}, "tier: holds a control character"),
    "default": ({"tier": "default"}, "tier: default is a tier of Calico's own"),
    "kube-admin": ({"tier": "kube-admin"}, "tier: kube-admin is a tier of Calico's own"),
    "kube-baseline": ({"tier": "kube-baseline"}, "tier: kube-baseline is a tier of Calico's own"),
    "anp": ({"tier": "adminnetworkpolicy"}, "tier: adminnetworkpolicy is a tier of Calico's own"),
    "banp": ({"tier": "baselineadminnetworkpolicy"}, "is a tier of Calico's own"),
    "order is no number": ({"order": "first"}, "order: must be a whole number"),
    "order is a truth": ({"order": True}, "order: must be a whole number"),
    "order is below zero": ({"order": -1}, "order: must be at least 0"),
    "order is no float": ({"order": 2**53}, "order: must be at most 9007199254740991"),
}


@pytest.mark.parametrize(("keys", "expected"), GROUPS.values(), ids=GROUPS)
def test_a_wrong_device_group_is_refused(
    keys: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    cluster = a_cluster(device_groups=[a_device_group(**keys)])
    refusal = refusal_of(a_document(clusters=[cluster]), tmp_path)
    assert "clusters[0].device_groups[0]." in refusal
    assert expected in refusal


def test_the_mode_is_always_stated(tmp_path: Path) -> None:
    cluster = a_cluster(device_groups=[{"name": "dg-eu"}])
    expected = "clusters[0].device_groups[0].mode: is missing; add it"
    assert expected in refusal_of(a_document(clusters=[cluster]), tmp_path)


PAIRS: dict[str, tuple[dict[str, Any], str]] = {
    "tier": ({"name": "b", "order": 102}, "[1].tier: firewallpolicy is already used"),
    "order": ({"name": "b", "tier": "second"}, "[1].order: 101 is already used"),
    "twice": (
        {"source": "main", "tier": "second", "order": 102},
        "[1].name: main/dg-eu is already used",
    ),
}


@pytest.mark.parametrize(("second", "expected"), PAIRS.values(), ids=PAIRS)
def test_device_groups_of_a_cluster_share_nothing(
    second: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    cluster = a_cluster(device_groups=[a_device_group(), a_device_group(**second)])
    assert expected in refusal_of(a_document(clusters=[cluster]), tmp_path)


def test_two_clusters_may_share_a_tier(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    clusters = [a_cluster(), a_cluster(name="second", path="out2")]
    file.write_text(yaml.safe_dump(a_document(clusters=clusters)))
    assert len(load(file, {}).clusters) == 2


def test_clusters_differ_in_name_and_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    clusters = [a_cluster(), a_cluster(path="x/../out"), a_cluster(name="third", path="link")]
    refusal = refusal_of(a_document(clusters=clusters), tmp_path)
    assert "clusters[1].name: gitops is already used" in refusal
    assert "clusters[1].path: DIR/out is already used" in refusal
    assert "clusters[2].path: DIR/out is already used" in refusal


def test_a_source_must_be_named_when_there_are_several(tmp_path: Path) -> None:
    document = a_document(sources=[a_source(), a_source(name="other")])
    expected = "device_groups[0].source: is missing; there are several sources (main, other)"
    assert expected in refusal_of(document, tmp_path)


SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "panorama with a file": ({"kind": "panorama"}, "sources[0].path: belongs to kind file"),
    "no hosts": ({"kind": "panorama"}, "sources[0].hosts: is missing; kind panorama needs it"),
    "no key": ({"kind": "panorama"}, "sources[0].api_key_file: is missing; name it, or username"),
    "no path": ({"path": None}, "sources[0].path: is missing; kind file needs it"),
    "null in path": ({"path": "a\0b"}, "sources[0].path: holds a control character"),
    "hosts of a file": ({"hosts": ["a"]}, "sources[0].hosts: belongs to kind panorama"),
    "bad port": ({"port": 70000}, "sources[0].port: must be at most 65535"),
    "bad truth": ({"verify_tls": "perhaps"}, "sources[0].verify_tls: must be true or false"),
    "bare number": ({"full_read_interval": 15}, "sources[0].full_read_interval: must be a dur"),
    "secret": ({"api_key": SECRET}, "sources[0].api_key: a secret does not belong in the"),
}


@pytest.mark.parametrize(("keys", "expected"), SOURCES.values(), ids=SOURCES)
def test_a_wrong_source_is_refused(keys: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal_of(a_document(sources=[a_source(**keys)]), tmp_path)


def test_a_panorama_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    of_kind = {"name": "main", "kind": "panorama", "hosts": ["a", "b"]}
    for secret in ({"api_key_file": "key"}, {"username": "reader", "password_file": "password"}):
        file.write_text(yaml.safe_dump(a_document(sources=[of_kind | secret])))
        assert load(file, {}).sources[0].hosts == ("a", "b")


def test_sources_differ_in_name(tmp_path: Path) -> None:
    document = a_document(sources=[a_source(), a_source()])
    assert "sources[1].name: main is already used" in refusal_of(document, tmp_path)


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "near": ({"instanc": "x"}, "instanc: unknown key; did you mean instance?"),
    "far": ({"qqqqqq": SECRET}, "qqqqqq: unknown key; known here: instance, sources,"),
    "odd key": ({"a\nb": 1}, '"a\\nb": unknown key'),
    "pydantic-settings' own": ({"_env_file": "/etc/passwd"}, "_env_file: unknown key"),
    "no sources": ({"sources": []}, "sources: is empty; name at least one"),
    "instance": ({"instance": "a b"}, "instance: must be a label value"),
    "long instance": ({"instance": "a" * 64}, "instance: must be a label value"),
    "empty section": ({"log": None}, "log: has no value; give it one or remove the key"),
    "section as text": ({"log": "info"}, "log: must be a mapping"),
    "level": ({"log": {"level": "loud"}}, "log.level: must be debug, info, warning or error"),
    "tags": ({"address_groups": {"tags": "k8s"}}, "address_groups.tags: must be a list"),
    "password in url": (
        {"store": {"url": f"postgresql+psycopg://u:{SECRET}@db/z"}},
        "store.url: holds a password; put the password into a file and name it in store.passw",
    ),
    "password in query": (
        {"store": {"url": f"postgresql+psycopg://db/z?password={SECRET}"}},
        "store.url: holds a password",
    ),
    "other database": ({"store": {"url": "mysql://db/z"}}, "store.url: must be sqlite:///FILE or"),
    "bare postgresql": ({"store": {"url": "postgresql://db/z"}}, "store.url: must be sqlite:///"),
    "no url": ({"store": {"url": f"u:{SECRET}@db"}}, "store.url: must be sqlite:///FILE or"),
    "bad port": ({"store": {"url": f"sqlite://u:{SECRET}"}}, "store.url: must be sqlite:///FILE"),
    "memory": ({"store": {"url": "sqlite://"}}, "store.url: must name a file"),
    "named memory": ({"store": {"url": "sqlite:///:memory:"}}, "store.url: must name a file"),
    "password of a file": (
        {"store": {"password_file": "x"}},
        "store.password_file: belongs to a PostgreSQL url",
    ),
    "secret in the file": ({"store": {"password": SECRET}}, "store.password: a secret does not"),
    "web for all": ({"web": {"bind": "0.0.0.0:80"}}, "web.auth: none is only for a loopback"),
    "bad bind": ({"web": {"bind": "::1:80"}}, "web.bind: must be ADDRESS:PORT"),
    "label": ({"zones": {"label": "a/b/c"}}, "zones.label: must be a label key"),
}


@pytest.mark.parametrize(("keys", "expected"), KEYS.values(), ids=KEYS)
def test_a_wrong_key_is_refused(keys: dict[str, Any], expected: str, tmp_path: Path) -> None:
    refusal = refusal_of(a_document(**keys), tmp_path)
    assert expected in refusal
    assert SECRET not in refusal


def an_essential(**keys: Any) -> dict[str, Any]:
    return {"essentials": [{"direction": "egress", "on": "all()", "pods": "all()"} | keys]}


def definitions(**zones: Any) -> dict[str, Any]:
    return {"definitions": zones}


ZONES: dict[str, tuple[dict[str, Any], str]] = {
    "no other end": (an_essential(pods=None), "essentials[0].pods: is missing, and so are cidrs"),
    "no direction": (an_essential(direction="both"), "[0].direction: must be ingress or egress"),
    "no protocol": (an_essential(ports=["53"]), "ports[0]: must be PORT/PROTOCOL or FIRST-LAST"),
    "port 0": (an_essential(ports=["0/udp"]), "ports[0]: must be PORT/PROTOCOL"),
    "port with a zero": (an_essential(ports=["053/udp"]), "ports[0]: must be PORT/PROTOCOL"),
    "port too high": (an_essential(ports=["65536/udp"]), "ports[0]: must have ports from 1 to 65"),
    "range too high": (an_essential(ports=["1-65536/tcp"]), "ports[0]: must have ports from 1 to"),
    "falling range": (an_essential(ports=["9-8/tcp"]), "ports[0]: must have ports from 1 to 655"),
    "range of one": (an_essential(ports=["9-9/tcp"]), "ports[0]: must have ports from 1 to 65535"),
    "51 ports": (
        an_essential(ports=[f"{port}/tcp" for port in range(1, 52)]),
        "essentials[0].ports: has 51 items; name at most 50",
    ),
    "any": (definitions(any={}), "definitions.any: is a word of PAN-OS and cannot be a zone"),
    "multicast": (definitions(multicast={}), "definitions.multicast: is PAN-OS's own word"),
    "no name": (definitions(**{"": {}}), "is no name of a zone; give it one"),
    "no selector": (
        definitions(web={"workloads": {}}),
        "web.workloads: is empty; give it selector",
    ),
    "one network in two zones": (
        definitions(web={"networks": ["10.0.0.0/8"]}, db={"networks": ["10.0.0.0/255.0.0.0"]}),
        "zones.definitions.web.networks[0]: 10.0.0.0/8 is a network of zone 'db' too; leave it to",
    ),
}


@pytest.mark.parametrize(("zones", "expected"), ZONES.values(), ids=ZONES)
def test_wrong_zones_are_refused(zones: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal_of(a_document(zones=zones), tmp_path)


def test_networks_may_lie_in_one_another_and_stand_twice_in_one_zone(tmp_path: Path) -> None:
    web, db = ["10.0.0.0/8", "10.0.0.0/8"], ["10.1.0.0/16"]
    document = a_document(zones=definitions(web={"networks": web}, db={"networks": db}))
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.safe_dump(document))
    assert list(load(file, {}).zones.definitions) == ["db", "web"]


def test_allow_is_refused_where_a_later_tier_is_to_be_heard(tmp_path: Path) -> None:
    second = a_device_group(name="dg-us", tier="before", order=5)
    cluster = a_cluster(device_groups=[a_device_group(), second])
    document = a_document(clusters=[cluster], rules={"allow_as": "Allow"})
    assert refusal_of(document, tmp_path) == (
        "DIR/zonebridge.yaml: rules.allow_as: Allow in tier before would end the judgement before "
        "tier firewallpolicy in cluster gitops; use Pass."
    )
    (tmp_path / "zonebridge.yaml").write_text(
        yaml.safe_dump(document | {"clusters": [a_cluster()]})
    )
    assert load(tmp_path / "zonebridge.yaml", {}).rules.allow_as == "Allow"


def test_the_tiers_of_calico_are_those_that_the_validator_knows() -> None:
    assert set(BUILT_IN_TIERS) == TIERS_OF_CALICO


LATER: dict[str, dict[str, Any]] = {
    "guard.min_prefix_length.ipv4": {"guard": {"min_prefix_length": {"ipv4": 9}}},
    "guard.not_pushed": {"guard": {"not_pushed": "wait"}},
    "audit.retention": {"audit": {"retention": "90d"}},
    "audit.archive": {"audit": {"archive": "old"}},
    "web.auth": {"web": {"auth": "token"}},
}


@pytest.mark.parametrize(("place", "keys"), LATER.items(), ids=LATER)
def test_what_is_still_to_come_is_refused(place: str, keys: dict[str, Any], tmp_path: Path) -> None:
    refusal = refusal_of(a_document(**keys), tmp_path)
    assert refusal.startswith(f"DIR/zonebridge.yaml: {place}: ")
    assert refusal.endswith("; remove the key.")
    assert SECRET not in refusal


def test_a_queue_needs_a_postgresql(tmp_path: Path) -> None:
    refusal = refusal_of(a_document(engine={"kind": "procrastinate"}), tmp_path)
    assert refusal.startswith("DIR/zonebridge.yaml: engine.kind: procrastinate needs a PostgreSQL")
    document = a_document(
        engine={"kind": "procrastinate"}, store={"url": "postgresql+psycopg://me@here/zonebridge"}
    )
    (tmp_path / "zonebridge.yaml").write_text(yaml.safe_dump(document))
    assert load(tmp_path / "zonebridge.yaml", {}).engine.kind == "procrastinate"


def test_a_key_still_to_come_may_say_what_happens_anyway(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    same = {"poll_interval": "10s", "registered_interval": "30s", "engine": {"kind": "embedded"}}
    file.write_text(yaml.safe_dump(a_document(**same)))
    load(file, {})


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    cluster = a_cluster(name="_service", device_group=[], context="x")
    document = a_document(instanc=1, audit={"archive": "x"}, clusters=[cluster], log={"level": 3})
    document["store"] = {"url": "mysql://x", "ulr": 1}
    assert refusal_of(document, tmp_path).splitlines() == [
        "DIR/zonebridge.yaml has 7 problems:",
        "  clusters[0].device_group: unknown key; did you mean device_groups?",
        "  instanc: unknown key; did you mean instance?",
        "  store.ulr: unknown key; did you mean url?",
        "  audit.archive: this version keeps audit records permanently; remove the key",
        "  store.url: must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE",
        "  clusters[0].name: _service is the service's own audit chain; choose another name",
        "  log.level: must be debug, info, warning or error",
    ]


TEXTS: dict[str, tuple[str, str]] = {
    "empty": ("", "is empty; it needs at least sources and clusters"),
    "only comments": ("# nothing\n---\n", "is empty"),
    "a list": ("- a\n", "must hold a mapping"),
    "a word": ("a\n", "must hold a mapping"),
    "key twice": ("fqdn: skip\nfqdn: skip\n", ", line 2, column 1: this key is given twice"),
    "inner key twice": ("log:\n  level: info\n  level: info\n", ", line 3, column 3: this key"),
    "number as key": ("1: x\n", ", line 1, column 1: a key must be text"),
    "list as key": ("[a]: x\n", ", line 1, column 1: a key must be text"),
    "unclosed": ("log: [a\n", ", line 2, column 1: expected ',' or ']'"),
    "bad indentation": ("log:\n  level: info\n format: json\n", ", line 3, column 2: expected"),
    "tab": ("log:\n\tlevel: info\n", ", line 2, column 1: found character"),
    "colon": (f"a: b: {SECRET}\n", ", line 1, column 5: mapping values are not allowed here"),
    "two documents": ("a: 1\n---\nb: 1\n", ", line 2, column 1: but found another document"),
    "alias": ("a: &a [x]\nb: *a\n", ", line 2, column 4: aliases (*) are not read"),
    "recursive alias": ("a: &a [*a]\n", ", line 1, column 8: aliases (*) are not read"),
    "alias bomb": (
        "a: &a [x, x]\n" + "".join(f"a{i}: &a{i} [*a, *a]\n" for i in range(30)),
        "aliases (*) are not read; write the value out",
    ),
    "tag": ("a: !!python/object:os.system x\n", ", line 1, column 4: tags (!) are not read"),
    "undefined tag": (f"a: !{SECRET}!x\n", ", line 1, column 4: found undefined tag handle"),
    "control character": ("a: \x01\n", "holds a control character; remove it"),
    "nesting": ("[" * 100_000, "is nested too deeply"),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_unreadable_yaml_is_refused_with_its_line(text: str, expected: str, tmp_path: Path) -> None:
    refusal = refusal_of(text, tmp_path)
    assert refusal.startswith("DIR/zonebridge.yaml")
    assert expected in refusal
    assert SECRET not in refusal
    assert "\n" not in refusal


def test_yaml_words_stay_text(tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    tags = "[on, no, 2024-01-01, 0101, 1.5, 1:30, <<, =]"
    text = yaml.safe_dump(a_document()) + f"address_groups: {{tags: {tags}}}\n"
    file.write_text(text)
    expected = ("on", "no", "2024-01-01", "0101", "1.5", "1:30", "<<", "=")
    assert load(file, {}).address_groups.tags == expected


def _missing(file: Path) -> None:
    pass


def _not_utf8(file: Path) -> None:
    file.write_bytes(b"a: 1\nb: \xff\n")


def _huge(file: Path) -> None:
    with file.open("wb") as stream:
        os.truncate(stream.fileno(), 1 << 30)  # a gigabyte that takes no room


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (_missing, "There is no configuration file FILE; write one"),
    "directory": (Path.mkdir, "FILE is a directory; name the configuration file in it."),
    "not UTF-8": (_not_utf8, "FILE, line 2, is not UTF-8; save the file as UTF-8."),
    "a gigabyte": (_huge, "FILE is larger than 1 MiB; it is not a configuration."),
    "loop": (lambda file: file.symlink_to(file), "FILE cannot be read: Too many levels"),
}


@pytest.mark.parametrize(("make", "expected"), FILES.values(), ids=FILES)
def test_an_unreadable_file_is_refused(
    make: Callable[[Path], Any], expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "zonebridge.yaml"
    make(file)
    with pytest.raises(UsageError) as refused:
        load(file, {})
    assert expected in str(refused.value).replace(str(file), "FILE")


def test_no_file_at_all_says_how_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"zonebridge\.yaml; write one .*--config or ZONEBRIDGE_C"):
        load(None, {})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | scalars, inner),
    max_leaves=8,
)


@st.composite
def nearly_right(draw: st.DrawFn, annotation: Any = Model) -> Any:
    """A document with known keys, in which anything may stand anywhere."""
    if draw(st.integers(0, 9)) == 0:
        return draw(anything)
    keys = keys_of(annotation)
    if keys:
        chosen = draw(st.lists(st.sampled_from(keys), unique=True))
        return {key: draw(nearly_right(child(annotation, key))) for key in chosen}
    if child(annotation, 0):
        return [draw(nearly_right(child(annotation, 0))) for _ in range(draw(st.integers(0, 2)))]
    words = ["main", "file", "panorama", "manifests", "out", "enforced", "10s", "10.0.0.0/8", "a:1"]
    return draw(st.sampled_from(words) | st.text() | st.integers())


@given(document=anything | nearly_right())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_document_is_settings_or_a_usage_error(document: Any, tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        assert isinstance(load(file, {}), Settings)
    except UsageError as error:
        str(error).encode()  # can be printed


@given(content=st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_settings_or_a_usage_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "zonebridge.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError):
        load(file, {})

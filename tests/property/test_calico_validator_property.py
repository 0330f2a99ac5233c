"""Whatever the validator accepts, a cluster's API server accepts."""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sync.calico import cidrs
from sync.calico.manifest import Manifest
from sync.calico.objects import (
    KINDS,
    EntityRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    Icmp,
    Object,
    Pairs,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from sync.calico.validator import validate

ROOT = Path(__file__).resolve().parents[2]
CRDS = Path(os.environ.get("CALICO_CRDS", ROOT.parent / "shared" / "calico")) / "v3"

orders = st.integers(1 - 2**53, 2**53 - 1)
labels = st.dictionaries(
    st.sampled_from(["app", "firewall.tigera.io/zone"]), st.sampled_from(["", "web", "Web_1"])
).map(lambda pairs: tuple(pairs.items()))
annotations: st.SearchStrategy[Pairs] = st.dictionaries(
    st.sampled_from(["firewall.tigera.io/rule", "note"]), st.text(max_size=8)
).map(lambda pairs: tuple(pairs.items()))
some_selectors = st.sampled_from(["all()", "app == 'web'", "has(a) && !(b in {'c'})"])
ports = st.integers(1, 65535) | st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(
    lambda ends: f"{min(ends)}:{max(ends)}"
)
v4_nets = st.builds(
    lambda address, length: str(ipaddress.IPv4Network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
v6_nets = st.builds(
    lambda address, length: str(ipaddress.IPv6Network((address, length), strict=False)),
    st.integers(2**48, 2**128 - 1),
    st.integers(96, 128),
)


@st.composite
def entities(draw: st.DrawFn, version: int | None, *, ported: bool) -> EntityRule:
    networks = {4: v4_nets, 6: v6_nets}.get(version or 0, st.nothing())
    some_nets = st.lists(networks, unique=True, max_size=3).map(tuple) if version else st.just(())
    some_ports = st.lists(ports, max_size=3).map(tuple) if ported else st.just(())
    selector = draw(st.just("") | some_selectors)
    return EntityRule(
        selector=selector,
        not_selector="" if selector else draw(st.just("") | some_selectors),
        namespace_selector=draw(st.sampled_from(["", "global()", "all()"])) if selector else "",
        nets=draw(some_nets),
        not_nets=draw(some_nets),
        ports=draw(some_ports),
        not_ports=draw(some_ports),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    protocol = draw(st.sampled_from(["TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "UDPLite", 47, None]))
    version = {"ICMP": 4, "ICMPv6": 6}.get(str(protocol)) or draw(st.sampled_from([4, 6, None]))
    ported = protocol in ("TCP", "UDP", "SCTP")
    icmp = st.builds(Icmp, st.integers(0, 254), st.none() | st.integers(0, 255))
    return Rule(
        draw(st.sampled_from(["Allow", "Deny", "Pass"])),
        protocol,
        version,  # type: ignore[arg-type]  # 4, 6 or None, which mypy sees as int
        draw(entities(version, ported=ported)),
        draw(entities(version, ported=ported)),
        draw(st.none() | icmp) if protocol in ("ICMP", "ICMPv6") else None,
        draw(annotations),
    )


some_rules = st.lists(rules(), max_size=3).map(tuple)


def policies(
    kind: type[GlobalNetworkPolicy] | type[StagedGlobalNetworkPolicy],
) -> st.SearchStrategy[Object]:
    return st.builds(
        kind,
        name=st.sampled_from(["fw.pan-zone-web", "fw.x"]),
        tier=st.just("fw"),
        order=orders,
        selector=some_selectors,
        ingress=some_rules,
        egress=some_rules,
        labels=labels,
        annotations=annotations,
    )


objects: st.SearchStrategy[Object] = st.one_of(
    st.builds(Tier, st.sampled_from(["fw", "a-1"]), orders, st.sampled_from(["Pass", "Deny"])),
    st.builds(
        GlobalNetworkSet,
        st.sampled_from(["pan.web", "pan.web.prod"]),
        st.lists(v4_nets | v6_nets, unique=True).map(
            lambda nets: tuple(sorted(nets, key=cidrs.sort_key))
        ),
        labels,
        annotations,
    ),
    policies(GlobalNetworkPolicy),
    policies(StagedGlobalNetworkPolicy),
)

json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "Allow", "Log", "TCP", "all()", "10.0.0.0/8", "::/0", "80:90"]),
    st.lists(st.sampled_from(["10.0.0.0/8", "Ingress", 80, {}, None]), max_size=2),
    st.dictionaries(st.sampled_from(["type", "name", "action", "nets"]), st.integers(0, 300)),
)
known_keys = st.sampled_from(
    ["order", "nets", "types", "ports", "protocol", "icmp", "http", "selector", "ipVersion"]
)


def places(value: object) -> Iterator[Any]:
    """Every object and list in a document."""
    if isinstance(value, dict | list):
        yield value
        for member in value.values() if isinstance(value, dict) else value:
            yield from places(member)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document with one member changed, added or taken away."""
    document = draw(objects).manifest().document()
    place = draw(st.sampled_from(list(places(document["spec"])) or [document]))
    key: Any = (
        draw(known_keys | st.sampled_from(sorted(place) or ["x"]))
        if isinstance(place, dict)
        else draw(st.integers(0, len(place) - 1))
    )
    if draw(st.booleans()) and (isinstance(place, list) or key in place):
        del place[key]
    else:
        place[key] = draw(json_values)
    return document


@given(objects)
def test_valid_objects_of_every_kind_pass(written: Object) -> None:
    assert validate(written.manifest()) == ()


@given(damaged())
def test_any_damage_gets_a_verdict(document: dict[str, Any]) -> None:
    for violation in validate(Manifest("", "", orjson.dumps(document), "")):
        assert violation.message


@given(v4_nets | v6_nets, st.integers(0, 45), st.sampled_from("019af:./ "))
def test_a_cidr_passes_exactly_when_it_is_its_own_canonical_form(
    cidr: str, position: int, typo: str
) -> None:
    changed = cidr[:position] + typo + cidr[position + 1 :]
    try:
        network = ipaddress.ip_network(changed)
        canonical = "/" in changed and str(network) == changed
        if network.version == 6 and network.network_address.ipv4_mapped is not None:
            canonical = False
    except ValueError:
        canonical = False
    try:
        cidrs.sort_key(changed)
    except ValueError:
        assert not canonical
    else:
        assert canonical


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A CRD's schema as the API server applies it with strict field validation.

    Unknown fields are refused, and lists of the type `set` hold nothing twice.
    """
    tight = {
        key: closed(member) if isinstance(member, dict) else member
        for key, member in schema.items()
    }
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        tight["additionalProperties"] = False
    if schema.get("x-kubernetes-list-type") == "set":
        tight["uniqueItems"] = True
    return tight


def crd_validators() -> dict[str, jsonschema.Draft202012Validator]:
    found = {}
    for kind, plural in KINDS.items():
        crd = yaml.safe_load((CRDS / f"projectcalico.org_{plural}.yaml").read_text())
        [version] = crd["spec"]["versions"]
        schema = closed(version["schema"]["openAPIV3Schema"])
        found[kind] = jsonschema.Draft202012Validator(schema)
    return found


@pytest.fixture(scope="module")
def crds() -> dict[str, jsonschema.Draft202012Validator]:
    if not CRDS.is_dir():
        pytest.skip("CALICO_CRDS names no folder with Calico's v3 definitions")
    return crd_validators()


@given(document=damaged() | objects.map(lambda written: written.manifest().document()))
def test_whatever_is_accepted_fits_the_definitions_of_calico(
    crds: dict[str, jsonschema.Draft202012Validator], document: dict[str, Any]
) -> None:
    manifest = Manifest("", "", orjson.dumps(document), "")
    if not validate(manifest):
        crds[document["kind"]].validate(document)

"""Policies of essentials: they are taken as they are, and pass nothing but what is listed."""

from typing import Any

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.options import Essential, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.essentials import essential_policies
from sync.verify.profiles import UnreadableError
from tests.translation import translate
from tests.words import rule, seen_by

DNS = Essential("egress", "role == 'x'", "k8s-app == 'dns'", (), ("53/udp", "5300-5310/tcp"))
NODES = Essential("ingress", "all()", "", ("192.0.2.0/24", "2001:db8::/64"), ())
ANYWHERE = Essential("egress", "has(free)", "", ("0.0.0.0/0", "::/0"), ("443/tcp",))
ESSENTIALS = (DNS, NODES, ANYWHERE)
PORTS = {"ports": ["5300:5310"]}


def written(*essentials: Essential) -> list[dict[str, Any]]:
    """What a device group with two zones becomes."""
    group = seen_by("dg", {"dg": [rule("r", from_=["web"], to=["db"])]})
    options = Options((), True, (), zones=ZoneOptions(essentials=essentials))
    target = Target("main", group, "fw", 1, "enforced", NOTHING)
    found = translate("c", [target], options, {}).manifests
    return [each.document() for each in found.values()]


def of(documents: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """The first essential policy that has rules this way."""
    return next(
        each["spec"]
        for each in documents
        if each["metadata"]["name"].startswith("fw.pan-essentials") and each["spec"].get(way)
    )


def test_what_the_translation_makes_of_essentials_is_known_for_it() -> None:
    names = essential_policies("fw", written(*ESSENTIALS), ESSENTIALS)
    assert names == {"fw.pan-essentials", "fw.pan-essentials-2", "fw.pan-essentials-3"}
    assert essential_policies("fw", written(), ()) == frozenset()


def test_what_the_settings_do_not_list_is_none() -> None:
    for left in (ESSENTIALS[1:], ESSENTIALS[:2], ()):
        with pytest.raises(UnreadableError, match="is not one of"):
            essential_policies("fw", written(*ESSENTIALS), left)


@pytest.mark.parametrize(
    ("way", "changed"),
    [
        ("egress", {"action": "Allow"}),
        (
            "egress",
            {"destination": {"selector": "all() || (k8s-app == 'dns')", **PORTS}},
        ),
        ("egress", {"destination": {"selector": "k8s-app == 'dns'"}}),
        ("egress", {"destination": {"selector": "!(k8s-app == 'dns')", **PORTS}}),
        ("egress", {"destination": PORTS}),
        ("egress", {"protocol": "UDP"}),
        ("ingress", {"source": {"nets": ["192.0.2.0/23"]}}),
        ("ingress", {"source": {"nets": []}}),
        ("ingress", {"source": {}}),
        ("ingress", {"source": {"notNets": ["192.0.2.0/24"]}}),
        ("ingress", {"source": {"selector": "all()", "nets": ["192.0.2.0/24"]}}),
    ],
)
def test_whatever_would_pass_more_is_none(way: str, changed: dict[str, Any]) -> None:
    documents = written(DNS, NODES)
    of(documents, way)[way][0] |= changed
    with pytest.raises(UnreadableError):
        essential_policies("fw", documents, (DNS, NODES))


def test_other_pods_than_those_it_is_on_are_none() -> None:
    documents = written(DNS)
    spec = of(documents, "egress")
    spec["selector"] = spec["selector"].replace("(role == 'x')", "!(role == 'x')")
    with pytest.raises(UnreadableError):
        essential_policies("fw", documents, (DNS,))

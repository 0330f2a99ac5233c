"""What plans say of pods and of what has to wait."""

import pytest

from sync.firewall.zone_networks import NOTHING
from sync.options import ZoneDefinition, ZoneOptions
from sync.plan.rollout import Rollout
from sync.reconcile.omissions import in_no_zone, left_out
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from tests.translation import Translated, translate
from tests.words import rule, seen_by

ZONES = ZoneOptions(
    definitions={"web": ZoneDefinition("app == 'shop'"), "db": ZoneDefinition(networks=())}
)


@pytest.fixture
def translated() -> Translated:
    words = [rule("out", from_=["web"], to=["db"], service=["any"])]
    target = Target("main", seen_by("dg", {"dg": words}), "fw", 1, "enforced", NOTHING)
    return translate("c", [target], Options((), True, (), zones=ZONES), {})


def test_a_label_puts_no_pod_into_a_zone_that_has_its_pods_by_a_definition(
    translated: Translated,
) -> None:
    pods = {"db": ["shop/db"], "web": ["shop/blog"], "wbe": ["shop/a", "shop/b"]}
    named = [*in_no_zone(translated.report, ZONES, pods)]
    assert [each.subject for each in named] == [
        "pods labelled firewall.tigera.io/zone: 'wbe'",
        "pods labelled firewall.tigera.io/zone: 'web'",
    ]
    assert "(shop/a, shop/b); correct the label" in named[0].reason


def test_a_move_that_is_brought_back_says_that_the_rest_waits(translated: Translated) -> None:
    assert left_out(translated.report, [], {}) == []
    assert Rollout(translated.manifests).left_out == []
    (waits,) = Rollout(translated.manifests, returning=True).left_out
    assert "the next plan has the rest" in waits.reason

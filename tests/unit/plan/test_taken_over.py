"""The guard of what is taken over: what would open flows while it is written is blocked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from sync.calico.objects import GlobalNetworkPolicy, GlobalNetworkSet, Rule, Tier
from sync.plan.changes import Cause, Change
from sync.plan.guards import Blocker
from sync.plan.guards.taken_over import taken_over
from tests import tigera

WEB = "firewall.tigera.io/zone == 'web'"
OURS = f"projectcalico.org/orchestrator == 'k8s' && ({WEB})"
CHAIN = (("zonebridge.io/chain", "web"),)
GROUP = {"selector": "firewall.tigera.io/address-group == 'web'"}


class Held:
    def __init__(self, manifest: Manifest, foreign_because: str = "") -> None:
        self.document: Mapping[str, Any] = manifest.document()
        self.foreign_because = foreign_because


def ours(number: int = 1, selector: str = OURS) -> Manifest:
    name = "fw.pan-zone-web" if number == 1 else f"fw.pan-part-web-a{number}"
    rules = (Rule("Pass"),)
    return GlobalNetworkPolicy(
        name, "fw", number * 10, selector, egress=rules, ingress=rules, annotations=CHAIN
    ).manifest()


def a_set(*nets: str) -> Manifest:
    labels = (("firewall.tigera.io/address-group", "web"),)
    return GlobalNetworkSet("pan.web", nets, labels).manifest()


def theirs(
    *rules: dict[str, Any], name: str = "", tier: str = "fw", noted: bool = True
) -> Manifest:
    made = tigera.policy("web", egress=rules, tier=tier, name=name).document()
    if not noted:
        made["metadata"]["annotations"] = {}
    return Manifest.of(made)


def blockers(
    changes: Sequence[tuple[Manifest | None, Manifest]],
    *foreign: Manifest,
    end: str = "Deny",
    standing: Sequence[Manifest] = (),
) -> list[Blocker]:
    live = {("Tier", "fw"): Held(Tier("fw", 101, "Pass" if end == "Pass" else "Deny").manifest())}
    live |= {(each.kind, each.name): Held(each) for each in standing}
    live |= {(each.kind, each.name): Held(each, "is foreign") for each in foreign}
    live |= {(each.kind, each.name): Held(each, "is foreign") for each, _ in changes if each}
    made = [Change(before, after, Cause.CONFIGURATION) for before, after in changes]
    found = taken_over(made, live, ["fw"])
    assert len(found) <= 1
    return found


def said(
    changes: Sequence[tuple[Manifest | None, Manifest]], *foreign: Manifest, **more: Any
) -> str:
    return "".join(each.message for each in blockers(changes, *foreign, **more))


def test_a_policy_of_the_same_pods_is_replaced_where_the_tier_denies_at_its_end() -> None:
    assert said([(theirs(), ours()), (None, ours(2))]) == ""
    assert said([(theirs(), ours())], end="Pass") == ""


def test_several_policies_in_the_place_of_one_need_a_tier_that_denies_at_its_end() -> None:
    expected = "is replaced by several policies, in a tier that ends with Pass"
    message = said([(theirs(), ours()), (None, ours(2))], end="Pass")
    assert f"GlobalNetworkPolicy fw.pan-zone-web {expected}" in message
    assert "name a tier of its own in device_groups[].tier" in message
    assert expected in said([(theirs(), ours())], end="Pass", standing=[ours(2)])


def test_a_policy_of_other_pods_is_not_replaced() -> None:
    message = said([(theirs(), ours(selector="app == 'web'"))])
    assert f"fw.pan-zone-web selects other pods ({WEB}) than what replaces it" in message


def test_a_policy_that_says_the_same_is_taken_over_by_its_labels_alone() -> None:
    document = ours().document()
    del document["metadata"]["annotations"]
    assert said([(Manifest.of(document), ours()), (None, ours(2))], end="Pass") == ""


DENIES = tigera.rule("Deny", "destination", GROUP)
ALLOWS = tigera.rule("Allow", "destination", GROUP)
SMALLER = [(a_set("10.0.0.1/32", "10.0.0.2/32"), a_set("10.0.0.1/32"))]
LARGER = [(a_set("10.0.0.1/32"), a_set("10.0.0.0/24"))]


@pytest.mark.parametrize(
    ("sets", "policy", "blocked"),
    [
        (SMALLER, theirs(DENIES), True),
        (SMALLER, theirs(DENIES, tier="other"), True),
        (SMALLER, theirs(DENIES, tier="other", noted=False), False),
        (SMALLER, theirs(ALLOWS), False),
        (LARGER, theirs(ALLOWS), True),
        (LARGER, theirs(ALLOWS, tier="other"), False),
        (LARGER, theirs(DENIES), False),
    ],
)
def test_a_set_that_policies_of_others_select_changes_only_where_they_open_nothing(
    sets: Sequence[tuple[Manifest | None, Manifest]], policy: Manifest, blocked: bool
) -> None:
    assert ("GlobalNetworkSet pan.web" in said(sets, policy)) is blocked


def test_a_set_may_gain_what_only_a_replaced_policy_allows() -> None:
    assert said([*LARGER, (theirs(ALLOWS), ours())]) == ""


def test_a_set_of_ours_loses_nothing_by_which_a_policy_of_others_denies_in_a_tier_of_ours() -> None:
    """It is ours since a sync that was killed; it loses before policies change."""
    [(before, after)] = SMALLER
    live = {
        (each.kind, each.name): Held(each, because)
        for each, because in ((before, ""), (theirs(DENIES), "is foreign"))
    }
    loses = Change(before, after, Cause.CONFIGURATION)
    replaced = Change(theirs(DENIES), ours(), Cause.CONFIGURATION)
    [blocker] = taken_over([loses, replaced], live, ["fw"])
    assert "pan.web loses addresses that fw.pan-zone-web denies" in blocker.message
    [blocker] = taken_over([replace(loses, after=None), replaced], live, ["fw"])
    assert "pan.web loses addresses that fw.pan-zone-web denies" in blocker.message
    [blocker] = taken_over([loses], live, ["fw"])
    assert blocker.message.startswith("what changes beside policies of others may let flows pass")
    assert taken_over([loses], live, ["other"]) == []
    assert taken_over([Change(after, before, Cause.CONFIGURATION), replaced], live, ["fw"]) == []


def test_an_approval_covers_a_policy_that_stays_as_it_is() -> None:
    one, same, other = (
        blockers(SMALLER, theirs(*rules, tier="other"))[0].covers
        for rules in ([DENIES], [DENIES], [DENIES, DENIES | {"protocol": "TCP"}])
    )
    assert one == same != other

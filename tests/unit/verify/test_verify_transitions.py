"""Which tier has to change before which, where a deny moves from one to another."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sync.net.addresses import network
from sync.options import ZoneOptions
from sync.verify.transitions import Meeting, meetings

Document = dict[str, Any]
Said = Mapping[tuple[str, str], Sequence[Document]]
"""The rules of each tier and zone, the same both ways but for `far`."""

PODS = "projectcalico.org/orchestrator == 'k8s'"
LABEL = "firewall.tigera.io/zone"


def pods_of(zone: str) -> str:
    return f"{PODS} && ({LABEL} == '{zone}')"


def deny(port: int | None = None, zone: str = "", net: str = "") -> Document:
    """A deny at the far end: of a zone's pods, or of a net, or of everything."""
    far: Document = {}
    if zone:
        far["selector"] = pods_of(zone)
    if net:
        far["nets"] = [net]
    return {"action": "Deny", "far": far, "port": port}


def documents(said: Said, kind: str = "GlobalNetworkPolicy") -> list[Document]:
    """Tiers and a policy for each zone; what no rule decides is passed."""
    found: list[Document] = [
        {"kind": "Tier", "metadata": {"name": tier}, "spec": {"order": 1, "defaultAction": "Pass"}}
        for tier in sorted({tier for tier, _ in said})
    ]
    for (tier, zone), rules in said.items():
        spec: Document = {
            "tier": tier,
            "order": 1,
            "selector": pods_of(zone),
            "types": ["Ingress", "Egress"],
        }
        for direction, far in (("egress", "destination"), ("ingress", "source")):
            spec[direction] = [written(rule, far) for rule in rules]
        found.append({"kind": kind, "metadata": {"name": f"{tier}.{zone}"}, "spec": spec})
    return found


def written(rule: Document, far: str) -> Document:
    made: Document = {"action": rule["action"], "source": {}, "destination": {}}
    made[far] = dict(rule["far"])
    if "nets" in made[far]:
        made["ipVersion"] = 4
    if rule["port"]:
        made["protocol"] = "TCP"
        made["destination"]["ports"] = [rule["port"]]
    return made


def both(one: Sequence[Document], other: Sequence[Document], zone: str = "web") -> Said:
    """What two tiers say, the second one to pods of `zone`."""
    return {("a", "web"): one, ("b", zone): other}


def met(before: Said, after: Said, **kinds: str) -> list[Meeting]:
    zones = {zone for _, zone in (*before, *after)}
    return meetings(
        documents(before), documents(after, **kinds), zones, ZoneOptions(), network("10.0.0.0/8")
    )


def pairs(found: Sequence[Meeting]) -> list[tuple[str, str]]:
    return [(".".join(each.denies), ".".join(each.passes)) for each in found]


def test_a_deny_that_moves_from_one_tier_to_another_is_written_there_first() -> None:
    before = {("a", "web"): [deny(22)], ("b", "web"): []}
    after = {("a", "web"): [], ("b", "web"): [deny(22)]}
    (found,) = met(before, after)
    assert pairs([found]) == [("b.web", "a.web")]
    assert found.flow is not None
    assert found.flow.packet.said() == "tcp/22 from port 50000"
    assert pairs(met(after, before)) == [("a.web", "b.web")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (both([deny(22)], []), both([], [deny(23)])),
        (both([deny(22)], [deny()]), both([], [deny()])),
        ({("a", "web"): [deny(22)]}, {("a", "web"): []}),
        (both([deny(22)], []), both([], [deny(22, net="1.0.0.0/8")], "db")),
        (both([], []), both([deny(1)], [deny(1)])),
    ],
    ids=["other flows", "denied all along", "one tier", "other ends", "both newly"],
)  # fmt: skip
def test_changes_that_share_no_flow_need_no_order(before: Said, after: Said) -> None:
    assert met(before, after) == []


def test_tiers_that_judge_different_ends_of_a_flow_are_ordered_too() -> None:
    before = {("a", "web"): [deny(22, "db")], ("b", "db"): []}
    after = {("a", "web"): [], ("b", "db"): [deny(22, "web")]}
    assert pairs(met(before, after)) == [("b.db", "a.web")]


def test_where_two_tiers_judge_one_end_the_other_end_needs_no_order() -> None:
    """Each tier has a chain for both zones, and each chain denies the whole flow."""
    here = {("a", "web"): [deny(22, "db")], ("a", "db"): [deny(22, "web")]}
    nothing: Said = {("a", "web"): [], ("a", "db"): []}

    def of(tier: str, said: Said) -> Said:
        return {(tier, zone): rules for (_, zone), rules in said.items()}

    before = {**here, **of("b", nothing)}
    after = {**nothing, **of("b", here)}
    assert pairs(met(before, after)) == [("b.db", "a.db"), ("b.web", "a.web")]


def test_denies_that_change_places_would_each_have_to_be_first() -> None:
    before = {("a", "web"): [deny(22)], ("b", "web"): [deny(23)]}
    after = {("a", "web"): [deny(23)], ("b", "web"): [deny(22)]}
    assert pairs(met(before, after)) == [("a.web", "b.web"), ("b.web", "a.web")]


def test_more_flows_are_a_larger_size() -> None:
    before = {("a", "web"): [deny(22, net="9.0.0.0/8")], ("b", "web"): [deny(23, net="9.0.0.0/16")]}
    after = {("a", "web"): [deny(23, net="9.0.0.0/16")], ("b", "web"): [deny(22, net="9.0.0.0/8")]}
    one, other = met(before, after)
    assert pairs([one, other]) == [("a.web", "b.web"), ("b.web", "a.web")]
    assert other.size > one.size


def test_a_tier_that_goes_passes_what_it_denied_and_a_staged_one_denies_nothing() -> None:
    before = {("a", "web"): [deny(22)], ("b", "web"): []}
    after = {("b", "web"): [deny()]}
    assert pairs(met(before, after)) == [("b.web", "a.web")]
    assert met(before, after, kind="StagedGlobalNetworkPolicy") == []


def test_what_cannot_be_judged_may_deny_and_pass_anything() -> None:
    before = {("a", "web"): [deny(22)], ("b", "web"): []}
    after: Said = {("a", "web"): [], ("b", "web"): []}
    documents_before, documents_after = documents(before), documents(after)
    (odd,) = (each for each in documents_after if each["metadata"]["name"] == "b.web")
    odd["spec"]["doNotTrack"] = True
    found = meetings(documents_before, documents_after, {"web"}, ZoneOptions(), None)
    assert pairs(found) == [("b.web", "a.web")]
    assert found[0].flow is None

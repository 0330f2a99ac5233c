"""Fields that an API server adds, and those that another hand does."""

from typing import Any

import pytest

from sync.calico.manifest import first_difference
from sync.calico.objects import EntityRule, GlobalNetworkPolicy, Rule
from sync.calico.ownership import ours_of, owner_labels

OWNER = owner_labels("test", "5c3b8a34-0000-4000-8000-000000000000")
SENT = GlobalNetworkPolicy(
    "fw.web",
    "fw",
    10,
    "all()",
    ingress=(Rule("Deny", source=EntityRule(nets=("10.0.0.1/32",))),),
    labels=OWNER,
).manifest()
WHOLE: dict[str, Any] = {"f:spec": {"f:ingress": {}, "f:newer": {}}}


def held(spec: Any = None, rule: Any = None, hands: Any = (("zonebridge", WHOLE),)) -> Any:
    document = SENT.document()
    document["spec"].update(spec or {})
    document["spec"]["ingress"][0].update(rule or {})
    if hands is not None:
        entries = [{"manager": name, "fieldsV1": fields} for name, fields in hands]
        document["metadata"]["managedFields"] = entries
    return document


@pytest.mark.parametrize(
    "document",
    [
        held({"newer": "Auto"}),
        held(rule={"newer": {"mode": "Auto"}}),
        held({"newer": 1}, hands=[("zonebridge", WHOLE), ("kubectl", {"f:metadata": {}})]),
        held({"newer": 1}, hands=[("kubectl", {"f:spec": {"f:order": {}}})]),
        held({"applyOnForward": False, "serviceAccountSelector": "", "egress": []}),
        held(rule={"notProtocol": None}),
    ],
)
def test_what_the_server_adds_is_not_ours_to_compare(document: Any) -> None:
    assert ours_of(document) == SENT


@pytest.mark.parametrize(
    "document",
    [
        held({"newer": 1}, hands=[("kubectl", {"f:spec": {"f:newer": {}}})]),
        held({"newer": 1}, hands=[("kubectl", {"f:spec": {}})]),
        held(rule={"newer": 1}, hands=[("kubectl", {"f:spec": {"f:ingress": {}}})]),
        held({"newer": 1}, hands=[("kubectl", None)]),
        held({"newer": 1}, hands=[]),
        held({"newer": 1}, hands=None),
        # What this version knows decides what the policy does, whoever is said to have written it.
        held({"applyOnForward": True}),
        held({"order": None}),
        held({"types": []}),
        held(rule={"notProtocol": "TCP"}),
        held(rule={"source": {"nets": ["10.0.0.1/32"], "notSelector": "a"}}),
        held(rule={"source": {"nets": []}}),
        held(rule={"icmp": {}}),
        held(rule={"icmp": {"type": 0}}),
    ],
)
def test_what_another_hand_adds_is_drift(document: Any) -> None:
    assert ours_of(document) != SENT


def test_in_the_answer_to_our_own_write_no_other_hand_has_been() -> None:
    assert ours_of(held({"newer": 1}, hands=None), just_sent=True) == SENT
    assert ours_of(held({"applyOnForward": True}, hands=None), just_sent=True) != SENT


def test_where_two_documents_differ_is_named() -> None:
    sent = SENT.document()
    changed = held(rule={"action": "Allow"})
    assert first_difference(sent, changed) == "metadata.managedFields"
    assert first_difference(sent["spec"], changed["spec"], "spec") == "spec.ingress[0].action"
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "a[1]"
    assert first_difference(sent, SENT.document()) == ""

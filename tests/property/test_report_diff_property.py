"""`report --diff` tells everything that two reports say differently of a rule or of a group."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest

from sync.queries.report_diff import RuleChange, report_diff
from sync.reconcile.desired import desired
from sync.reconcile.device_groups import Read
from sync.reconcile.shadows import shadowed
from sync.reconcile.verification import judged_tiers
from sync.render.report import document
from sync.render.report_diff import document as diff_document
from sync.render.report_diff import text
from tests.unit.test_report_diff import CLUSTER, OPTIONS, side
from tests.words import Word, dynamic, group, rule

SEEDS = range(40)
HOSTS = ("h1", "10.2.0.7", "10.244.1.0/24", "10.244.0.0/16", "missing")

# Of a document: what identifies a rule, and what others can change about its place alone.
IDENTITY = {"uuid", "position", "calico"}


class Sides:
    """Rules and groups of one configuration, which a change makes those of another."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rules = [self.rule(f"r{number}") for number in range(random.randint(3, 7))]
        self.groups = {name: self.members() for name in ("used", "idle", "other")}

    def members(self) -> tuple[str, ...]:
        return tuple(self.random.sample(HOSTS, self.random.randint(1, 3)))

    def rule(self, name: str) -> dict[str, Any]:
        choose = self.random.choice
        return {
            "name": name,
            "action": choose(("allow", "deny")),
            "from_": choose((["web"], ["any"], ["db"])),
            "to": choose((["db"], ["any"], ["lan"])),
            "source": choose((["any"], ["used"], ["10.244.1.0/24"], ["10.244.0.0/16"])),
            "destination": choose((["any"], ["other"], ["h1"], ["10.2.0.0/16"])),
            "service": choose((["pg"], ["any"], ["ssh"], ["pg", "ssh"], ["application-default"])),
            "application": choose((["any"], ["any"], ["ssl"])),
            "source_user": choose((["any"], ["any"], ["any"], ["corp\\ext"])),
            "disabled": choose(("no", "no", "no", "yes")),
            "description": choose(("", "one", "two")),
        }

    def change(self) -> None:
        kind = self.random.randint(0, 5)
        at = self.random.randrange(len(self.rules))
        if kind == 0:
            self.groups[self.random.choice([*self.groups])] = self.members()
        elif kind == 1:
            self.rules.insert(at, self.rule(f"n{self.random.randint(0, 10**6)}"))
        elif kind == 2 and len(self.rules) > 1:
            del self.rules[at]
        elif kind == 3:
            self.random.shuffle(self.rules)
        else:
            key = self.random.choice([each for each in self.rules[at] if each != "name"])
            self.rules[at] = {**self.rules[at], key: self.rule("")[key]}

    def words(self) -> tuple[list[Word], list[Word]]:
        rules = [rule(**each) for each in self.rules]
        listed = [group(name, *members) for name, members in self.groups.items()]
        return rules, [*listed, dynamic("tagged", "'t1'")]


def reported(read: Read) -> dict[str, Any]:
    """What `report --output json` has of a configuration."""
    wanted = desired(CLUSTER, read, {}, {}, OPTIONS)
    return document([shadowed(wanted.report, judged_tiers(wanted))])


def compared(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule's document says of it, whatever its place; another example is no difference."""
    found = {key: value for key, value in rule.items() if key not in IDENTITY}
    for where, shadow in found.pop("shadow").items():
        shadow = shadow or {"extent": "none", "by": [], "because": "", "more": False}
        by = [(each["name"], each["device_group"], each["widened"]) for each in shadow["by"]]
        found[f"{where} hidden"] = (shadow["extent"], by, shadow["because"], shadow["more"])
    return found


TOLD = {
    "status": "→",
    "reasons": "other reasons",
    "remedies": "remedy: ",
    "calico hidden": "earlier rules here: ",
    "firewall hidden": "earlier rules on the firewall: ",
    "allow": "action: ",
}


def untold(
    before: Mapping[str, Any], after: Mapping[str, Any], lines: Sequence[str]
) -> Iterator[str]:
    """What differs between two documents of a rule and stands in none of its lines."""
    for key, old in before.items():
        if old == after[key]:
            continue
        words = TOLD.get(key, f"{key.replace('_', ' ')}: ")
        # None are told with the status, which differs then.
        gone = key in ("reasons", "remedies") and not after[key]
        if key == "reasons" and before["status"] != after["status"]:
            continue
        if not gone and not any(words in line for line in lines):
            yield f"{key}: {old} -> {after[key]}"


def rows_of(name: str, said: str) -> list[str]:
    """The lines of one rule in a text."""
    lines = said.splitlines()
    start = next(
        at for at, line in enumerate(lines) if line.startswith("  ~ ") and f"{name!r}" in line
    )
    found = []
    for line in lines[start + 1 :]:
        if not line.startswith("      "):
            break
        found.append(line)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_differs_between_two_reports_is_told(seed: int) -> None:
    random = Random(f"diff {seed}")
    sides = Sides(random)
    one, held = side("1", *sides.words()), dict(sides.groups)
    for _ in range(random.randint(1, 3)):
        sides.change()
    other = side("2", *sides.words())
    found = report_diff(CLUSTER, one, other, OPTIONS)
    said, told = text(found, verbose=True), diff_document(found)
    old, new = reported(one), reported(other)
    changed: dict[str, RuleChange] = {
        each.after.name: each for each in found.rules if each.before and each.after
    }
    before, after = (
        {each["name"]: compared(each) for each in all_["rules"]} for all_ in (old, new)
    )
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            assert name in changed
            assert [*untold(before[name], after[name], rows_of(name, said))] == []
    groups = {each["name"]: each for each in told["groups"]}
    was, now = ({each["name"]: each for each in all_["groups"]} for all_ in (old, new))
    for name in was.keys() | now.keys():
        if was.get(name) != now.get(name):
            assert groups[name]["before"] == without_cluster(was.get(name))
            assert groups[name]["after"] == without_cluster(now.get(name))
    for name, members in held.items():
        gained, lost = holding(sides.groups[name]), holding(members)
        for probe in PROBES:
            for key, some in (("added", gained - lost), ("removed", lost - gained)):
                nets = groups[name][key] if name in groups else []
                assert (probe in some) == any(
                    ip_address(probe) in ip_network(each) for each in nets
                )
    zones = (
        {each["name"]: each for each in old["zones"]},
        {each["name"]: each for each in new["zones"]},
    )
    told_of = {(each["before"] or each["after"])["name"] for each in told["zones"]}
    for name in zones[0].keys() | zones[1].keys():
        sides_of = [{**(each.get(name) or {}), "rules": []} for each in zones]
        assert (sides_of[0] != sides_of[1]) == (name in told_of)


PROBES = ("10.2.0.1", "10.2.0.7", "10.244.1.5", "10.244.9.9")


def holding(members: Sequence[str]) -> set[str]:
    """Which of some addresses a group holds."""
    nets = [
        ip_network("10.2.0.1" if each == "h1" else each) for each in members if each != "missing"
    ]
    return {each for each in PROBES if any(ip_address(each) in net for net in nets)}


def without_cluster(group: dict[str, Any] | None) -> dict[str, Any] | None:
    return group and {key: value for key, value in group.items() if key != "cluster"}

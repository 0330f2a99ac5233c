"""`report --diff`: what changed for every rule between two configurations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sync.calico.ownership import owner_labels
from sync.firewall.configuration import Provenance, Snapshot
from sync.net.addresses import network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.queries.group_changes import zone_changes
from sync.queries.report_diff import ReportDiff, report_diff
from sync.reconcile.desired import Cluster, desired
from sync.reconcile.device_groups import Read, TierBinding
from sync.render import report_diff as rendered
from sync.translate.compiler import Options
from tests.memory import MemoryCluster
from tests.words import Word, address, default_rule, document, group, read, rule, service, text

OWNER = owner_labels("test", "uuid")
ZONES = ZoneOptions(
    definitions={
        "web": ZoneDefinition(networks=()),
        "db": ZoneDefinition(networks=()),
        "lan": ZoneDefinition(networks=("10.2.0.0/16",)),
    }
)


def said(name: str, action: str = "allow", **lists: Sequence[str] | str) -> Word:
    usual: dict[str, Sequence[str] | str] = {"from_": ["web"], "to": ["db"], "service": ["pg"]}
    return rule(name, action=action, **{**usual, **lists})


ONE, TWO, THREE = (said(name, source=[f"10.244.{name}.0/24"]) for name in ("1", "2", "3"))
OBJECTS = (service("pg", "5432"), service("ssh", "22"), address("h1", "10.2.0.1"))


CLUSTER = Cluster(
    "prod",
    (TierBinding("main", "dg", "fw", 101, "enforced"),),
    MemoryCluster(OWNER),
    None,
    None,
    repair_drift=True,
    pod_cidrs=network("10.244.0.0/16"),
)
OPTIONS = Options((), True, OWNER, rules=RuleOptions(), zones=ZONES)


def side(version: str, rules: Sequence[Word], more: Sequence[Word]) -> Read:
    """What a source has: some rules of the device group, and objects beside those of all."""
    found = read(document((*OBJECTS, *more), {"dg": rules}))
    return {"main": Snapshot(found, Provenance("main", "memory", version))}


def diff(
    old: Sequence[Word],
    new: Sequence[Word],
    objects: tuple[Sequence[Word], Sequence[Word]] = ((), ()),
    shared: tuple[Sequence[Word], Sequence[Word]] = ((), ()),
) -> ReportDiff:
    one, other = (
        side("1", old, (*objects[0], *shared[0])),
        side("2", new, (*objects[1], *shared[1])),
    )
    return report_diff(CLUSTER, one, other, OPTIONS)


def lines(found: ReportDiff) -> list[str]:
    return [line.strip() for line in rendered.text(found).splitlines() if line]


def test_what_is_the_same_is_counted_alone() -> None:
    assert lines(diff([ONE, TWO], [ONE, TWO])) == [
        "Cluster prod: rules: no change; 2 unchanged.",
        "From source main, version 1, to version 2.",
        "Flows",
        "no flow changes",
    ]


def test_added_and_removed_rules_say_what_became_of_them_and_which_flows_change() -> None:
    assert lines(diff([ONE, TWO], [ONE, THREE])) == [
        "Cluster prod: rules: 1 added, 1 removed; 1 unchanged.",
        "From source main, version 1, to version 2.",
        "Rules of device group main/dg",
        "+ dg pre 2 '3' (allow, exact, 2 Calico rules)",
        "- dg pre 2 '2' (allow, exact, 2 Calico rules)",
        "Flows",
        "+ web → db 5432/tcp from 10.244.3.0/24 becomes allowed",
        "- web → db 5432/tcp from 10.244.2.0/24 becomes denied",
        "nothing else changes",
    ]


def test_a_rule_that_changes_places_is_moved_and_those_around_it_are_not() -> None:
    found = diff([ONE, TWO, THREE], [THREE, ONE, TWO])
    assert lines(found)[3:] == [
        "~ dg pre 1 '3'",
        "moved from dg pre 3",
        "Flows",
        "no flow changes",
    ]
    # One more above all is no move of those below it.
    assert [each.change for each in diff([TWO, THREE], [ONE, TWO, THREE]).rules] == ["added"]


def test_changed_fields_are_named_with_what_came_and_went() -> None:
    new = said("1", source=["10.244.1.0/24"], service=["ssh"], description="now by ssh")
    assert lines(diff([ONE], [new]))[3:] == [
        "~ dg pre 1 '1'",
        "services: +ssh −pg",
        "description: none → now by ssh",
        "Calico rules: 2, changed",
        "Flows",
        "+ web → db 22/tcp from 10.244.1.0/24 becomes allowed",
        "- web → db 5432/tcp from 10.244.1.0/24 becomes denied",
        "nothing else changes",
    ]


def test_a_renamed_rule_is_known_by_its_uuid() -> None:
    old, new = (
        Word(ONE.place, ONE.xml.replace('name="1"', f'name="{name}" uuid="u-1"'))
        for name in ("1", "first")
    )
    assert lines(diff([old], [new]))[3:] == [
        "~ dg pre 1 'first'",
        "name: 1 → first",
        "Flows",
        "no flow changes",
    ]


def test_a_group_that_holds_more_changes_the_rules_that_name_it() -> None:
    old = said("to-lan", to=["lan"], destination=["servers"])
    found = diff([old], [old], (([group("servers", "h1")]), [group("servers", "h1", "10.2.0.9")]))
    assert lines(found)[3:] == [
        "~ dg pre 1 'to-lan'",
        "'servers' holds +10.2.0.9/32",
        "Address groups and external lists",
        "~ 'servers' holds +10.2.0.9/32",
        "Flows",
        "+ web → 10.2.0.9/32 5432/tcp becomes allowed",
        "nothing else changes",
    ]


def test_another_status_comes_with_its_reason() -> None:
    old, new = said("1"), said("1", source_user=["corp\\ext"])
    found = lines(diff([old], [new]))
    assert (
        "exact → left-out: Calico cannot see what it asks for: <source-user> is corp\\ext" in found
    )
    assert "Calico rules: 2 → 0" in found


def test_rules_of_one_name_in_two_scopes_are_two() -> None:
    found = diff([ONE], [ONE], shared=((), [said("1", source=["10.244.9.0/24"])]))
    assert [(each.change, each.after and each.after.device_group) for each in found.rules] == [
        ("added", "shared")
    ]


def test_another_default_is_named() -> None:
    allowed = default_rule("interzone-default", text("action", "allow"))
    found = diff([ONE], [ONE, allowed])
    assert "~ main/dg interzone-default: deny → allow" in lines(found)
    assert found.flows.enforced.allowed


def test_the_document_has_both_sides_of_each_rule() -> None:
    found = rendered.document(diff([ONE, TWO], [TWO]))
    [removed] = found["rules"]
    assert (removed["change"], removed["after"], removed["before"]["name"]) == (
        "removed",
        None,
        "1",
    )
    assert found["unchanged"] == 1
    assert [each["text"] for each in found["flows"]["denied"]] == [
        "web → db 5432/tcp from 10.244.1.0/24"
    ]


def test_names_from_configurations_reach_no_terminal_and_are_no_markdown() -> None:
    odd = said("odd `x` \u202e")
    for out in (rendered.text(diff([], [odd])), rendered.markdown(diff([], [odd]))):
        assert "\u202e" not in out
    assert "```diff" in rendered.markdown(diff([], [odd]))


def test_in_a_longer_rulebase_one_move_is_one() -> None:
    many: list[Any] = [said(f"r{number}", source=[f"10.244.{number}.0/24"]) for number in range(20)]
    moved = [many[-1], *many[:-1]]
    found = diff(many, moved)
    assert [each.moved for each in found.rules] == [True]
    assert found.flows.enforced.nothing


def test_a_group_that_no_rule_uses_is_told_too() -> None:
    old, new = [group("idle", "h1"), group("gone")], [group("idle", "10.2.0.9"), group("new", "h1")]
    found = diff([ONE], [ONE], (old, new))
    assert lines(found)[0] == (
        "Cluster prod: rules: no change; 1 unchanged; groups: 1 added, 1 removed, 1 changed."
    )
    assert lines(found)[2:] == [
        "Address groups and external lists",
        "- 'gone'",
        "~ 'idle' holds +10.2.0.9/32 −10.2.0.1/32",
        "+ 'new' holds +10.2.0.1/32",
        "Flows",
        "no flow changes",
    ]
    assert "### Address groups and external lists" in rendered.markdown(found)
    told = {each["name"]: each for each in rendered.document(found)["groups"]}
    assert [told["idle"][each] for each in ("change", "added", "removed")] == [
        "changed",
        ["10.2.0.9/32"],
        ["10.2.0.1/32"],
    ]
    assert (told["gone"]["after"], told["new"]["before"]) == (None, None)


def test_a_group_that_lacks_something_now_says_what_and_what_to_do() -> None:
    old, new = [group("idle", "h1")], [group("idle", "h1", "nobody")]
    assert lines(diff([ONE], [ONE], (old, new)))[3:5] == [
        "~ 'idle'",
        (
            "exact → narrowed: its member 'nobody' does not exist (remedy: create the missing "
            "object in Panorama, or take it out of the list)"
        ),
    ]


def test_a_rule_that_others_hide_now_is_changed_though_nothing_in_it_is() -> None:
    deny = said("all of it", "deny", service=["any"])
    found = diff([ONE], [deny, ONE])
    assert lines(found)[0] == "Cluster prod: rules: 1 added, 1 changed; 0 unchanged."
    assert lines(found)[4:7] == [
        "~ dg pre 2 '1'",
        "earlier rules here: take nothing of it → take all of it: 'all of it'",
        "earlier rules on the firewall: take nothing of it → take all of it: 'all of it'",
    ]
    [_, change] = rendered.document(found)["rules"]
    assert (change["hidden_changed"], change["firewall_hidden_changed"]) == (True, True)
    # One more rule above both is no other place of the one that hides.
    far = said("far", from_=["db"], to=["web"])
    assert [each.change for each in diff([deny, ONE], [far, deny, ONE]).rules] == ["added"]


def test_of_rules_that_hide_as_much_as_before_those_that_differ_are_named() -> None:
    denies = [said(name, "deny", service=["any"], source=["any"]) for name in ("a", "b")]
    found = lines(diff([denies[0], ONE], [denies[1], ONE]))
    assert "earlier rules here: take all of it as before, by +'b' −'a'" in found


def test_a_remedy_that_names_the_rule_is_told_with_its_new_name() -> None:
    old, new = (
        Word(each.place, each.xml.replace("<entry ", '<entry uuid="u-1" ', 1))
        for each in (said(name, "deny", source=["nobody"]) for name in ("old", "new"))
    )
    found = lines(diff([old], [new]))
    assert "name: old → new" in found
    assert any("accept_dropped_members: [new]" in each for each in found if "remedy: " in each)


def test_zones_that_come_and_go_and_those_with_other_networks_are_told() -> None:
    new = said("1", to=["lan"], source=["10.244.1.0/24"])
    found = diff([ONE], [new])
    assert lines(found)[0] == (
        "Cluster prod: rules: 1 changed; 0 unchanged; zones: 1 added, 1 removed."
    )
    rows = lines(found)
    at = rows.index("Zones")
    assert rows[at + 1 : at + 3] == [
        "+ 'lan' of device group main/dg",
        "- 'db' of device group main/dg",
    ]
    wider = replace(ZONES, definitions={**ZONES.definitions, "lan": ZoneDefinition()})
    before, after = (
        desired(CLUSTER, side("1", [new], ()), {}, {}, replace(OPTIONS, zones=zones))
        for zones in (ZONES, wider)
    )
    [change] = zone_changes(before, after)
    told = rendered.text(replace(found, zones=(change,)))
    assert "networks: 10.2.0.0/16 → unknown" in told
    assert change.change == "changed"
    [document] = rendered.document(replace(found, zones=(change,)))["zones"]
    assert (document["before"]["networks"], document["after"]["networks"]) == (
        ["10.2.0.0/16"],
        None,
    )

"""A remedy to delete a rule is only for one that no firewall needs."""

from pathlib import Path

from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.cycle import report_cycle
from sync.render.why import clauses
from sync.sources.export import ExportSource
from sync.translate.compiler import Options
from tests.integration.test_cycle import World
from tests.unit.store.words import new_store, ticking
from tests.words import Word, document, rule

TARGET = '<target><devices><entry name="001"/></devices><negate>no</negate></target>'
ZONES = ZoneOptions(definitions={"web": ZoneDefinition(), "db": ZoneDefinition()})


def from_web(name: str, action: str, *extra: str, rulebase: str = "pre") -> Word:
    return rule(
        name,
        *extra,
        from_=["web"],
        to=["db"],
        source=["any"],
        destination=["any"],
        service=["any"],
        application=["any"],
        action=action,
        rulebase=rulebase,
    )


def said(path: Path, data: bytes, name: str, rules: RuleOptions) -> str:
    with new_store(path / "store.db", clock=ticking()) as store:
        world = World(path, store, zones=ZONES)
        world.keep_in_memory()
        world.export(data=data)
        options = Options((), True, world.owner, zones=ZONES, rules=rules)
        source = ExportSource("main", path / "main.xml")
        [result] = report_cycle(
            [source], [world.cluster("prod", dry=True)], store, options, shadows=True
        )
        assert result.report
        [found] = [each for each in result.report.rules if each.name == name]
        return "; ".join(f"{clause} ({remedy})" for clause, remedy in clauses(found))


def test_a_shared_rule_that_other_device_groups_need_is_not_to_be_deleted(tmp_path: Path) -> None:
    """The cleanup rule of Shared never matches below dg; it denies for every other group."""
    shared = (from_web("clean", "deny", rulebase="post"),)
    data = document(shared, {"dg": (from_web("all", "allow"),), "other": ()})
    told = said(tmp_path, data, "clean", RuleOptions())
    assert "never matches" in told
    assert "delete it" not in told, told


def test_a_rule_that_other_firewalls_of_the_group_need_is_not_to_be_deleted(tmp_path: Path) -> None:
    """Only firewall 001 has the rule that hides it; `rules.devices` is no list of all firewalls."""
    data = document((), {"dg": (from_web("all", "allow", TARGET), from_web("clean", "deny"))})
    told = said(tmp_path, data, "clean", RuleOptions(devices=("001",)))
    assert "never matches" in told
    assert "delete it" not in told, told

"""Warnings about networks that settings replace, and about names that no source has."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sync.cli.config import config
from sync.cli.context import Context
from sync.cli.main import zonebridge
from sync.firewall.zone_networks import Derived
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.likely_mistakes import FromTemplates, Used, replaced_networks, unknown_names
from tests.words import Word, document, entry, members, read, rule, tag, text


def warned(
    zones: Mapping[str, Sequence[str] | None],
    given: Mapping[str, Sequence[str]],
    *,
    derive: bool = True,
) -> list[str]:
    definitions = {
        name: ZoneDefinition(networks=None if nets is None else tuple(nets))
        for name, nets in zones.items()
    }
    networks = {name: tuple(nets) for name, nets in given.items()}
    derived = Derived(tuple(networks), networks, {})
    options = ZoneOptions(definitions=definitions, derive_networks=derive)
    return replaced_networks(options, [FromTemplates("dg-shop", derived)])


def test_networks_that_replace_others_are_named() -> None:
    given = {"web": ["10.1.0.0/16", "10.2.0.0/16"]}
    [said] = warned({"web": ["10.2.0.0/16"]}, given)
    assert said.startswith(
        "zones.definitions.web.networks leaves out 10.1.0.0/16, which the templates of device "
        "group dg-shop give to this zone"
    )
    [said] = warned({"web": []}, {"web": [f"10.{n}.0.0/16" for n in range(9)]})
    assert "10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16 and 5 more, which" in said
    # A zone with everything else does not give the network back.
    assert warned({"web": [], "internet": ["0.0.0.0/0"]}, given)


def test_networks_that_replace_nothing_are_not() -> None:
    given = {"web": ["10.1.0.0/16"], "db": ["10.1.9.0/24"]}
    assert warned({"web": ["10.0.0.0/8"]}, given) == []
    assert warned({"web": None}, given) == []
    assert warned({"other": []}, given) == []
    assert warned({"web": []}, given, derive=False) == []
    # What others hold within it is not the zone's.
    assert warned({"web": ["10.1.0.0/17"], "lan": ["10.1.128.0/17"]}, given) == []
    assert (
        warned({"web": []}, {"web": ["10.1.9.0/24"], "db": ["10.1.9.0/25", "10.1.9.128/25"]}) == []
    )


def used(*, devices: str = "", names: Sequence[tuple[str, str]] = (("main", "dg"),)) -> Used:
    groups: dict[str, Sequence[Word]] = {
        "dg": (rule("one", members("tag", ["k8s"]), from_=["any"], to=["any"]),),
        "top": (rule("upper", from_=["any"], to=["any"]),),
        "other": (rule("elsewhere", from_=["any"], to=["any"]), Word("devices", devices)),
    }
    shared = (rule("for all", from_=["any"], to=["any"]),)
    configuration = read(document(shared, groups, parents={"dg": "top"}))
    return Used(names, {"main": configuration})


def test_names_of_no_rule_are_named_once() -> None:
    rules = RuleOptions(
        accept_dropped_denies=("one", "k8s", "upper", "for all", "on", "elsewhere", "on"),
        accept_dropped_members=("upper",),
    )
    [said] = unknown_names(rules, used())
    assert said == (
        "rules.accept_dropped_denies: no rule of the clusters' device groups has the name or tag "
        "'elsewhere', 'on'; correct or remove it"
    )


@pytest.mark.parametrize("names", [(), (("main", "dg"), ("unread", "dg")), (("main", "none"),)])
def test_names_are_not_judged_where_device_groups_are_unknown(
    names: Sequence[tuple[str, str]],
) -> None:
    assert unknown_names(RuleOptions(accept_dropped_denies=("on",)), used(names=names)) == []


def test_firewalls_that_no_device_group_has_are_named() -> None:
    rules = RuleOptions(devices=("0002", "0001"))
    [said] = unknown_names(rules, used(devices=entry("0001")))
    assert said == (
        "rules.devices: no device group of the sources has the firewall 0002; correct or remove "
        "the serial number"
    )
    assert unknown_names(rules, used()) == []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two device groups with the zone web; templates give dg-shop's networks alone."""
    interface = entry("ethernet1/1", tag("layer3", tag("ip", entry("10.1.0.1/16"))))
    network = tag(
        "network",
        tag("interface", tag("ethernet", interface)),
        tag("virtual-router", entry("default", members("interface", ["ethernet1/1"]))),
    )
    zone = tag("zone", entry("web", tag("network", members("layer3", ["ethernet1/1"]))))
    inside = tag(
        "devices", entry("localhost.localdomain", network, tag("vsys", entry("vsys1", zone)))
    )
    into = rule("in", from_=["any"], to=["web"])
    data = document(
        groups={
            "dg-shop": (Word("reference-templates", text("member", "base")), into),
            "dg-branch": (into,),
        },
        devices=tag("template", entry("base", tag("config", inside))),
    )
    (tmp_path / "export.xml").write_bytes(data)
    groups = [
        {"name": each, "tier": each, "order": order, "mode": "staged"}
        for order, each in enumerate(("dg-shop", "dg-branch"), 101)
    ]
    cluster = {"name": "c", "kind": "manifests", "path": "out", "device_groups": groups}
    said = {
        "sources": [{"name": "main", "kind": "file", "path": "export.xml"}],
        "clusters": [cluster],
        "zones": {"definitions": {"web": {"networks": []}}},
        "rules": {"accept_dropped_denies": ["on"]},
    }
    (tmp_path / "zonebridge.yaml").write_text(yaml.safe_dump(said))
    return tmp_path


def run(directory: Path, *arguments: str) -> Result:
    context = Context(directory / "zonebridge.yaml", debug=False)
    return CliRunner().invoke(config, arguments, obj=context)


@pytest.mark.parametrize("command", [("config", "check"), ("plan",), ("sync",)])
def test_commands_warn(
    command: Sequence[str], directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = str(directory / "zonebridge.yaml")
    zonebridge.main(["--config", file, *command], standalone_mode=False)
    said = " ".join("".join(capfd.readouterr()).split())
    assert said.count("zones.definitions.web.networks leaves out 10.1.0.0/16, which") == 1
    assert said.count("rules.accept_dropped_denies: no rule of the clusters' device groups") == 1


def test_init_says_what_networks_replace(directory: Path) -> None:
    chosen = ("--device-group", "dg-shop", "--device-group", "dg-branch")
    export = str(directory / "export.xml")
    written = run(directory, "init", "--output", "-", "--source", export, *chosen).stdout
    plain = " ".join(written.replace("#", " ").split())
    assert "dg-shop: derived: 10.1.0.0/16 dg-branch: networks unknown: no template" in plain
    assert (
        "or [] if it has only pods in every device group: what is given applies to all of them, "
        "and replaces what templates derive"
    ) in plain
    assert "They apply to all device groups, and replace what templates derive" in plain


def test_init_says_which_device_groups_it_took(directory: Path) -> None:
    export = ("init", "--output", "-", "--source", str(directory / "export.xml"))
    assert run(directory, *export).stderr == (
        "1 device group with a cluster: 'dg-branch'; in a comment only: 'dg-shop' "
        "(--device-group NAME, repeatable, chooses)\n"
    )
    both = run(directory, *export, "--device-group", "dg-shop", "--device-group", "dg-branch")
    assert both.stderr == "2 device groups with a cluster: 'dg-shop', 'dg-branch'\n"

"""Reports for pages: one of every status, hostile names, and as many rules as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sync.firewall.rules import Rule
from sync.plan.origin import Origin
from sync.render.page import Sheet
from sync.translate.fidelity import (
    DeviceGroupFidelity,
    GroupFidelity,
    Report,
    RuleFidelity,
    Status,
    ZoneFidelity,
)
from sync.verify.matrix import Cell, DecidingRule, Matrix, Reach

ZONES: Final = ("db", "untrust", "web")
EVIL: Final = "</script><img src=x onerror=\"document.title='evil'\">\u202e&amp;{{ 7 * 7 }}'"
LOST: Final = "pod 10.1.0.10 -> 10.2.0.7, tcp/5432 from port 50000"
LONG: Final = "averyveryverylongname" * 12
_STATUSES: Final = tuple(Status)
_SERVICES: Final = ("tcp-443", "application-default", "tcp-high-ports")


def rule(number: int, name: str = "", **fields: object) -> RuleFidelity:
    """A rule as a large rulebase has many."""
    status = _STATUSES[number % len(_STATUSES)]
    name = name or f"rule-{number:05}"
    allow = number % 3 != 0
    written = Rule(
        name,
        from_zones=(ZONES[number % 3],),
        to_zones=("any",) if number % 5 == 0 else (ZONES[(number + 1) % 3],),
        sources=(f"10.{number % 250}.0.0/16", "web-servers"),
        destinations=("database-servers",),
        negate_destination=number % 7 == 0,
        applications=("web-browsing", "ssl"),
        services=(_SERVICES[number % 3],),
        action="allow" if allow else "deny",
        tags=("kubernetes", "production"),
    )
    made = RuleFidelity(
        source="main",
        target="datacenter",
        device_group="shared",
        rulebase="pre",
        position=number + 1,
        name=name,
        uuid="",
        allow=allow,
        disabled=False,
        status=status,
        reasons=("its source is an external dynamic list",) if status else (),
        calico=(f"firewallpolicy.pan-zone-web[egress {number}]",),
        remedies=("set `edl: fetch`",) if status else (),
        rule=written,
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # whatever a test asks for


def matrix(zones: Sequence[str] = ZONES) -> Matrix:
    """Who may reach whom: all within a zone, nothing from `untrust`, else some that differ."""
    return Matrix(
        "main",
        "datacenter",
        "firewallpolicy",
        tuple(zones),
        (),
        tuple(_cell(source, to) for source in zones for to in zones),
    )


def _cell(source: str, destination: str) -> Cell:
    default = DecidingRule("intrazone-default", "allow", None)
    if source == destination:
        reach = Reach("all", ("any traffic",), rules=(default,))
        return Cell(source, destination, reach, reach, "")
    if source == "untrust":
        nothing = Reach("none", rules=(replace(default, rule="interzone-default", action="deny"),))
        return Cell(source, destination, nothing, nothing, "")
    decider = DecidingRule("web-to-db", "allow", ("main", "datacenter", "shared", "pre", 7))
    firewall = Reach("some", ("tcp/443",), ("tcp/5432",), ("udp/53",), (decider,))
    places = ("firewallpolicy.pan-zone-web[egress 3]", "firewallpolicy.pan-zone-db[ingress 4]")
    calico = Reach("some", ("tcp/443",), (), (), (replace(decider, place=None, places=places),))
    return Cell(source, destination, firewall, calico, "less", LOST)


def sheet(rules: Sequence[RuleFidelity], *, cluster: str = "prod", mode: str = "enforced") -> Sheet:
    """A sheet with all parts of a page."""
    zone = ZoneFidelity(
        source="main",
        target="datacenter",
        name="web",
        label_value="web",
        workloads="all()",
        networks=("10.1.0.0/16",),
        origin="configured",
        rules=("web-to-db",),
        by_pod_label=True,
    )
    group = DeviceGroupFidelity(
        "main", "datacenter", "firewallpolicy", "enforced" if mode == "enforced" else "staged", 3
    )
    report = Report(
        cluster,
        tuple(rules),
        (
            GroupFidelity("web-servers", Status.EXACT, ()),
            GroupFidelity("database-servers", Status.NARROWED, ("a member is missing",)),
        ),
        (zone,),
        ("egress on all(): 10.96.0.10/32 53/udp",),
        (group,),
    )
    return Sheet(report, (Origin("main", "4711", ("alice",), "tidy up"),), (matrix(),))

"""Render reports as one self-contained HTML page: who may reach whom, and every rule.

reports  ->  data  ->  templates/report.html.j2, with its style and script inside

The page loads nothing: its Content-Security-Policy allows only the style and the script that it
holds, by their digests. Rules are data in it, which the script shows a page at a time. Names come
from configurations that others write: none of them is HTML, a script, or shown out of order.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sync.firewall.rules import Rule
from sync.plan.origin import Origin
from sync.render.matrix import matrix_document
from sync.render.report import (
    MEANINGS,
    NO_ESSENTIALS,
    ZONE_HEADS,
    calico_words,
    group_cells,
    summarise,
    zone_cells,
)
from sync.render.why import clauses, headlines
from sync.render.zones import device_group
from sync.text import printable
from sync.translate.fidelity import Report, RuleFidelity, Status
from sync.verify.matrix import Matrix

_TITLE: Final = "What became of the firewall's rules"
_ANY: Final = ("any",)
_LONGEST: Final = 600  # letters of a text that is shown whole; as in page.js
_SHOWN: Final = 300  # of a longer one, until someone asks for the rest


@dataclass(frozen=True, slots=True)
class Sheet:
    """The report of one cluster, with the versions it is made from, and who may reach whom."""

    report: Report
    origins: tuple[Origin, ...] = ()
    matrices: tuple[Matrix, ...] = ()


def html(
    sheets: Sequence[Sheet],
    *,
    failed: Mapping[str, str] | None = None,
    made: str = "",
    verbose: bool = False,
) -> str:
    """Render the reports of several clusters as one page; `made` is when it was made.

    `failed` are the errors of clusters without a report, by cluster.
    """
    environment = _environment()
    style, script = (_source(name) for name in ("page.css", "page.js"))
    data = {
        "clusters": [
            {
                "cluster": sheet.report.cluster,
                "rules": [_rule(each, verbose=verbose) for each in sheet.report.rules],
                "matrices": [
                    matrix_document(sheet.report.cluster, each) for each in sheet.matrices
                ],
            }
            for sheet in sheets
        ]
    }
    page = environment.get_template("report.html.j2").render(
        title=_TITLE,
        made=made,
        statuses=[(str(each), MEANINGS[each]) for each in Status],
        failed=[*(failed or {}).items()],
        sheets=[_shown(each) for each in sheets],
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        style_digest=_digest(style),
        script_digest=_digest(script),
        data=_embedded(data),
    )
    return f"{page.rstrip()}\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sync.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What a terminal or a browser would interpret, or show out of order, is escaped.
        finalize=_finalized,
    )
    environment.filters["place"] = _place
    environment.globals.update(longest=_LONGEST, shown=_SHOWN)
    return environment


def _finalized(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(name: str) -> str:
    """A file that stands in the page as it is."""
    environment = _environment()
    assert environment.loader
    source, _, _ = environment.loader.get_source(environment, name)
    return source


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(data: Any) -> Markup:
    """Data as JSON that ends no element."""
    text = orjson.dumps(_printable(data)).decode()
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - no letter of HTML is left


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, dict):
        return {key: _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return value


def _shown(sheet: Sheet) -> dict[str, Any]:
    """What the template shows of one cluster."""
    report = sheet.report
    return {
        "cluster": report.cluster,
        "origins": sheet.origins,
        "device_groups": report.device_groups,
        "summary": summarise(report),
        "headlines": headlines(report),
        "essentials": report.essentials or (NO_ESSENTIALS,),
        "matrices": sheet.matrices,
        "groups": [group_cells(each) for each in report.groups],
        "zone_heads": ZONE_HEADS,
        "zones": [zone_cells(each) for each in report.zones],
    }


def _place(matrix: Matrix) -> list[tuple[str, list[Any]]]:
    """The rows of a matrix: a source zone, and its cells."""
    width = len(matrix.zones)
    return [
        (zone, [*matrix.cells[number * width : (number + 1) * width]])
        for number, zone in enumerate(matrix.zones)
    ]


def _rule(each: RuleFidelity, *, verbose: bool) -> dict[str, Any]:
    """One rule as the script takes it; a list is a column."""
    rule = each.rule or Rule(each.name, action="allow" if each.allow else "deny")
    said = [*clauses(each)]
    return {
        "target": device_group(each),
        "place": f"{each.device_group} {each.rulebase} {each.position}",
        "name": each.name,
        "status": str(each.status),
        "action": rule.action,
        "from": list(rule.from_zones),
        "to": list(rule.to_zones),
        "source": _listed(rule.sources, negated=rule.negate_source),
        "destination": _listed(rule.destinations, negated=rule.negate_destination),
        "service": _services(rule),
        "tags": list(rule.tags),
        "why": [*(clause for clause, _ in said), *(f"NAT: {name}" for name in each.nat)],
        "remedy": [*dict.fromkeys(remedy for _, remedy in said if remedy)],
        "calico": calico_words(each, verbose=verbose),
    }


def _listed(names: Sequence[str], *, negated: bool) -> list[str]:
    return [f"not {name}" if negated else name for name in names]


def _services(rule: Rule) -> list[str]:
    """Services, then applications, as the heading has them; of two that are any, one."""
    applications = [] if rule.applications == _ANY else list(rule.applications)
    services = [] if rule.services == _ANY else list(rule.services)
    if services == ["application-default"] and not applications:
        return ["any application-default"]
    return [*services, *applications] or ["any"]

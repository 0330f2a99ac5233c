"""Build the options of translation and proof from the settings, and check their expressions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sync.calico import selectors
from sync.calico.objects import Pairs
from sync.calico.ownership import owner_labels
from sync.errors import UsageError
from sync.firewall import tag_filter
from sync.options import Essential, RuleOptions, ZoneDefinition, ZoneOptions
from sync.settings import (
    Settings,
)
from sync.settings.models import Zone as ZoneDefinitionSettings
from sync.settings.models import Zones as ZoneSettings
from sync.settings.problems import Place, Problem
from sync.store import Store
from sync.translate.compiler import Options

if TYPE_CHECKING:
    pass


def options(settings: Settings, store: Store) -> Options:
    """Return the translation options for the owner that the store names; raises `UsageError`."""
    return translation_options(settings, owner_labels(settings.instance, store.uuid))


def translation_options(settings: Settings, owner: Pairs) -> Options:
    """Return the translation options; `owner` are the labels of our objects.

    The pod networks are not among them: each cluster has its own. Raises `UsageError` for an
    expression that cannot be parsed.
    """
    problems = expression_problems(settings)
    if problems:
        listed = "\n  ".join(map(str, problems))
        raise UsageError(f"The configuration has expressions that cannot be parsed:\n  {listed}")
    return Options(
        tags=settings.address_groups.tags,
        registered_known=settings.registered_ips == "optional",
        registered_accepted=settings.registered_ips == "optional",
        owner=owner,
        rules=RuleOptions(**dict(settings.rules)),
        zones=_zones(settings.zones),
    )


def expression_problems(settings: Settings) -> list[Problem]:
    """Return the problems of the rules' filter and of selectors.

    The settings know neither language, so they are checked here, where both are known.
    """
    problems = []
    if settings.rules.filter.strip():
        try:
            tag_filter.parse(settings.rules.filter)
        except ValueError as error:
            problems.append(Problem(("rules", "filter"), f"cannot be read: {error}; correct it"))
    for place, selector in _selectors(settings.zones):
        found = selectors.problem(selector)
        if found:
            where = f"{found.message} at character {found.position + 1}"
            text = f"is not a selector: {where}; correct it"
            problems.append(Problem(("zones", *place), text))
        elif "global(" in selector:
            problems.append(Problem(("zones", *place), "selects no pods: remove global()"))
    return problems


def _selectors(zones: ZoneSettings) -> Iterator[tuple[Place, str]]:
    for i, essential in enumerate(zones.essentials):
        yield ("essentials", i, "on"), essential.on
        if essential.pods:
            yield ("essentials", i, "pods"), essential.pods
    for name, zone in zones.definitions.items():
        for key in ("selector", "namespace_selector"):
            selector = getattr(zone.workloads, key, None)
            if selector:
                yield ("definitions", name, "workloads", key), selector


def _zones(zones: ZoneSettings) -> ZoneOptions:
    return ZoneOptions(
        label=zones.label,
        derive_networks=zones.derive_networks,
        trust_addresses=zones.trust_addresses,
        unzoned_pods=zones.unzoned_pods,
        unknown_addresses=zones.unknown_addresses,
        essentials=tuple(
            Essential(
                direction=each.direction,
                on=each.on,
                pods=each.pods or "",
                cidrs=tuple(map(str, each.cidrs)),
                ports=each.ports,
            )
            for each in zones.essentials
        ),
        definitions={name: _definition(zone) for name, zone in zones.definitions.items()},
    )


def _definition(zone: ZoneDefinitionSettings) -> ZoneDefinition:
    workloads = zone.workloads
    return ZoneDefinition(
        selector=(workloads and workloads.selector) or "",
        namespace_selector=(workloads and workloads.namespace_selector) or "",
        networks=None if zone.networks is None else tuple(map(str, zone.networks)),
    )

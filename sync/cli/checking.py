"""Check a configuration beyond its own keys: expressions, files, and likely mistakes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sync.errors import ClusterError, SourceError, UsageError
from sync.settings import Settings, check_files
from sync.settings.problems import Problem, listed, nearest, write_place

if TYPE_CHECKING:
    from sync.firewall.configuration import Configuration
    from sync.firewall.effective import EffectiveDeviceGroup
    from sync.firewall.zone_networks import Derived
    from sync.translate.zones import Zone

ZonesSeen = dict[tuple[int, int], "tuple[Zone, ...] | None"]
"""Zones of each device group, by its cluster's position and its own; None: unknown."""


def checked(settings: Settings, file: Path, known: Collection[Problem] = ()) -> list[str]:
    """Return warnings about the files that the configuration in `file` names.

    Raises `UsageError` for an expression that cannot be parsed, and for a file that cannot be
    used. File problems in `known` become warnings instead.
    """
    from sync.assembly import expression_problems

    problems, warnings = check_files(settings)
    texts = {each.text for each in known}
    warnings += [str(each) for each in problems if each.text in texts]
    problems = [each for each in problems if each.text not in texts]
    if problems:
        first = f"{file} names files that cannot be used:"
        raise UsageError("\n  ".join([first, *map(str, problems)]))
    problems = expression_problems(settings)
    if problems:
        raise UsageError(listed(file, problems))
    return warnings


def essential_warnings(settings: Settings, seen: ZonesSeen) -> list[str]:
    """Return warnings about enforced device groups without essentials.

    Without zones a device group has no policies for pods; one whose zones are unknown here has a
    warning of its own, and the plan has this one.
    """
    from sync.assembly import device_groups, translation_options
    from sync.reconcile.missing_essentials import missing_essentials

    zones = translation_options(settings, ()).zones
    found = []
    for i, cluster in enumerate(settings.clusters):
        groups = device_groups(settings, cluster)
        zoned = [group for j, group in enumerate(groups) if seen.get((i, j))]
        found += missing_essentials(cluster.name, zoned, zones)
    return found


def mistake_warnings(
    settings: Settings, configurations: "Mapping[str, Configuration]"
) -> list[str]:
    """Return the warnings of plans about what settings replace, and name in vain."""
    from sync.assembly import device_groups, translation_options
    from sync.firewall.zone_networks import derived
    from sync.reconcile.likely_mistakes import (
        FromTemplates,
        Used,
        replaced_networks,
        unknown_names,
    )

    options = translation_options(settings, ())
    groups = [here for each in settings.clusters for here in device_groups(settings, each)]
    used = Used.by(groups, configurations)
    given = [
        FromTemplates(name, derived(configurations[source], name))
        for source, name in sorted(used.device_groups)
        if source in configurations and name in configurations[source].device_groups
    ]
    return [*replaced_networks(options.zones, given), *unknown_names(options.rules, used)]


def further_warnings(
    settings: Settings, zones: Collection[str] = (), *, whole: bool = False
) -> list[str]:
    """Return warnings about likely mistakes in the settings.

    `zones` are those that device groups are known to name; `whole` means that there are no others.
    """
    return [
        *_unused_sources(settings),
        *_answer_warnings(settings),
        *_context_warnings(settings),
        *_zone_warnings(settings, zones, whole=whole),
    ]


def zones_seen(
    settings: Settings,
    file: Path,
    configurations: "Mapping[str, Configuration]",
    unusable: list[str],
) -> ZonesSeen:
    """Return the zones of every device group whose configuration is known.

    `configurations` are by source. A missing device group is added to `unusable`. Raises
    `UsageError` if the settings in `file` do not fit the configurations.
    """
    from sync.assembly import translation_options
    from sync.firewall.effective import effective
    from sync.firewall.zone_networks import derived
    from sync.translate.zones import Workloads, own_zones, zones_of

    options = translation_options(settings, ()).zones
    zones: ZonesSeen = {}
    problems = []
    for i, cluster in enumerate(settings.clusters):
        seen: dict[int, tuple[EffectiveDeviceGroup, Derived]] = {}
        for j, group in enumerate(cluster.device_groups):
            zones[i, j] = None
            configuration = configurations.get(settings.source_of(group).name)
            if configuration is None:
                continue
            try:
                seen[j] = effective(configuration, group.name), derived(configuration, group.name)
            except SourceError as error:
                unusable.append(f"clusters[{i}].device_groups[{j}]: {error}")
        try:
            workloads = Workloads(options)
            for j, (device_group, networks) in seen.items():
                others = {zone for other in seen if other != j for zone in own_zones(*seen[other])}
                found = zones_of(device_group, networks, options, workloads, sorted(others))
                zones[i, j] = tuple(found.own.values())
        except UsageError as error:
            problems.append(Problem(("clusters", i), str(error)))
    if problems:
        raise UsageError(listed(file, problems))
    return zones


def _unused_sources(settings: Settings) -> list[str]:
    used = {
        settings.source_of(group).name
        for cluster in settings.clusters
        for group in cluster.device_groups
    }
    return [
        f"sources[{i}]: no device group uses source {source.name}; remove it, or use it"
        for i, source in enumerate(settings.sources)
        if source.name not in used
    ]


def _answer_warnings(settings: Settings) -> Iterator[str]:
    if settings.fqdn == "resolve":
        yield (
            "fqdn: resolve lets rules allow what this machine's DNS answers, which may be more "
            "than firewalls allow by theirs; give both the same resolvers"
        )


def unusable_clusters(settings: Settings) -> list[str]:
    """Say of each cluster whose kubeconfig cannot be used why; no cluster is contacted."""
    from sync.clusters.kubernetes.auth.kubeconfig import contexts
    from sync.settings.problems import did_you_mean

    found = []
    for i, cluster in enumerate(settings.clusters):
        if cluster.kubeconfig is None:
            continue
        try:
            _, known = contexts(cluster.kubeconfig)
        except ClusterError as error:
            found.append(f"clusters[{i}].kubeconfig: {error}")
            continue
        if cluster.context and cluster.context not in known:
            found.append(
                f"clusters[{i}].context: {cluster.kubeconfig} has no context {cluster.context}; "
                f"{did_you_mean(cluster.context, known)}"
            )
    return found


def _context_warnings(settings: Settings) -> Iterator[str]:
    """Warn of clusters that use the current context of a kubeconfig with several."""
    from sync.clusters.kubernetes.auth.kubeconfig import contexts

    for i, cluster in enumerate(settings.clusters):
        if cluster.kubeconfig is None or cluster.context:
            continue
        try:
            current, known = contexts(cluster.kubeconfig)
        except ClusterError:
            continue  # an error of its own
        if len(known) > 1:
            yield (
                f"clusters[{i}].context: is not given, and {cluster.kubeconfig} has several "
                f"({', '.join(known)}); each process takes the one that is current when it starts, "
                f"now {current or 'none'}; set the context"
            )


def _zone_warnings(settings: Settings, named: Collection[str], *, whole: bool) -> Iterator[str]:
    definitions = settings.zones.definitions
    by_label = [
        name
        for name in [*definitions, *sorted({*named} - {*definitions})]
        if not (
            name in definitions
            and (workloads := definitions[name].workloads)
            and workloads.namespace_selector
        )
    ]
    if by_label:
        yield (
            f"zones: anyone who creates a pod can put it into {', '.join(map(repr, by_label))} by "
            "its labels; give zones a namespace_selector under zones.definitions"
        )
    if whole:
        for name in definitions:
            if name not in named:
                match = nearest(name, named)
                yield (
                    f"{write_place(('zones', 'definitions', name))}: no device group of the "
                    f"clusters names this zone; "
                    + (f"did you mean {match!r}?" if match else "remove it, or correct its name")
                )
    if settings.zones.unzoned_pods == "deny" and not any(
        _keeps_dns(essential.direction, essential.ports) for essential in settings.zones.essentials
    ):
        yield (
            "zones.unzoned_pods: deny keeps zoned pods from a cluster DNS that is in no zone, and "
            "no essential has port 53; add one to zones.essentials"
        )


def _keeps_dns(direction: str, ports: Sequence[str]) -> bool:
    """Return whether an essential allows DNS; without ports it allows everything."""
    written = [each.removesuffix("/udp").split("-") for each in ports if each.endswith("/udp")]
    return direction == "egress" and (
        not ports or any(int(each[0]) <= 53 <= int(each[-1]) for each in written)
    )

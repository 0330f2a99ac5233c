"""`zonebridge plan --from … --to …`: compare two sets of exported configurations.

    [NAME=]FILE, for both sides  ->  clusters whose sources are all named  ->  plans

It needs the configuration only: no cluster, no Panorama and no store is contacted.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import click

from sync import assembly
from sync.calico.ownership import owner_labels
from sync.errors import UsageError
from sync.reconcile.cycle import FlowsOf, compare_cycle
from sync.reconcile.desired import Cluster
from sync.reconcile.result import Result
from sync.settings import Settings
from sync.settings.problems import did_you_mean
from sync.sources.export import ExportSource
from sync.store import NO_UUID
from sync.text import printable, shortened


def compared(
    settings: Settings,
    only: Sequence[str],
    *,
    before: Sequence[str],
    after: Sequence[str],
    flows_of: FlowsOf | None = None,
) -> list[Result]:
    """Plan the changes from the exports `before` to those `after`, both as `exports` takes them.

    A cluster in `only`, or any, that has a source without an export is skipped and named on
    stderr. Raises `UsageError` if none remains, or if the two sides have different sources.
    """
    old, new, clusters = both_sides(settings, only, before=before, after=after)
    return compare_cycle(
        old,
        new,
        clusters,
        assembly.translation_options(settings, owner_labels(settings.instance, NO_UUID)),
        flows_of=flows_of,
    )


def both_sides(
    settings: Settings,
    only: Sequence[str],
    *,
    before: Sequence[str],
    after: Sequence[str],
    options: tuple[str, str] = ("--from", "--to"),
) -> tuple[list[ExportSource], list[ExportSource], list[Cluster]]:
    """Return the exports of both sides as sources, and the clusters that they are enough for.

    Raises as `compared`.
    """
    names = [source.name for source in settings.sources]
    one, other = options
    old, new = exports(one, before, names), exports(other, after, names)
    for option, missing in ((one, new.keys() - old.keys()), (other, old.keys() - new.keys())):
        if missing:
            raise UsageError(
                f"{option} has no export of the source {', '.join(sorted(missing))}, and both "
                "sides must have the same sources; name it too"
            )
    return (
        [ExportSource(name, file) for name, file in old.items()],
        [ExportSource(name, file) for name, file in new.items()],
        _comparable(settings, only, old.keys(), " and ".join(options)),
    )


def exports(option: str, given: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Parse texts like `main=a.xml` into files by source; `names` are the configured sources.

    The part before `=` counts as a name only if a source has it: file names may contain a `=` too.
    With a single source the name may be omitted. Raises `UsageError` for an unknown source, or one
    that is named twice.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (equals and name in names):
            if len(names) > 1:
                raise UsageError(
                    f"{option} {text!r} names none of the {len(names)} sources; write NAME=FILE, "
                    f"{did_you_mean(name, names)}"
                )
            if file and Path(file).exists() and not Path(text).exists():
                raise UsageError(
                    f"{option} {text!r} is not a file, and no source is called {name!r}; "
                    f"{did_you_mean(name, names)}"
                )
            name, file = names[0], text
        if not file:
            raise UsageError(f"{option} {text!r} names no file; name an exported configuration")
        if name in found:
            raise UsageError(f"{option} names two files for the source {name}; name one")
        found[name] = Path(file)
    return found


def _comparable(
    settings: Settings, only: Sequence[str], given: Collection[str], options: str
) -> list[Cluster]:
    """Return the clusters whose sources are all `given`; name the others on stderr."""
    found = []
    for chosen in settings.clusters:
        if only and chosen.name not in only:
            continue
        cluster = assembly.unreached_cluster(settings, chosen)
        missing = {here.source for here in cluster.device_groups}.difference(given)
        if missing:
            sources = shortened(sorted(missing), ", ")
            said = f"cluster {cluster.name} is left out: {options} have no export of {sources}"
            click.echo(printable(said), err=True)
        else:
            found.append(cluster)
    if not found:
        raise UsageError(
            "no cluster has an export of each of its sources; name one for each source"
        )
    return found

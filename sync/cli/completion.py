"""Names for shell completion: of clusters, zones, address groups and device groups.

Clusters and defined zones come from the configuration. What only the firewall names comes from
sources that are files: a Panorama is not contacted for a press of a key.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sync.cli.context import Context

if TYPE_CHECKING:
    from sync.firewall.configuration import Configuration
    from sync.settings import Settings

Names = Callable[["Settings"], Iterable[str]]


class Name(click.ParamType[str]):
    """A name, completed from what the configuration and its files have.

    A terminal that is not UTF-8 sends invalid text.
    """

    name = "name"

    def __init__(self, names: Names | None = None) -> None:
        self._names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if any("\ud800" <= each <= "\udfff" for each in value):
            self.fail(f"{value!r} is not UTF-8; type it on a terminal that is", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del param
        held = ctx.find_root().obj
        found: set[str] = set()
        # Whatever is wrong is reported when the command runs, and never while it is typed.
        with suppress(Exception):
            if self._names:
                settings = (
                    held if isinstance(held, Context) else Context(None, debug=False)
                ).read()
                found = set(self._names(settings))
        return [CompletionItem(each) for each in sorted(found) if each.startswith(incomplete)]


def clusters(settings: "Settings") -> Iterator[str]:
    """Yield the names of clusters."""
    return (each.name for each in settings.clusters)


def zones(settings: "Settings") -> Iterator[str]:
    """Yield the names of zones: the defined ones, and those that the rules of files name."""
    yield from settings.zones.definitions
    for configuration in _files(settings):
        scopes = [each.scope for each in configuration.device_groups.values()]
        for scope in (configuration.shared, *scopes):
            for rule in (*scope.rulebases.pre, *scope.rulebases.post):
                yield from ({*rule.from_zones, *rule.to_zones} - {"any", "multicast"})


def address_groups(settings: "Settings") -> Iterator[str]:
    """Yield the names of address groups in files."""
    from sync.firewall.objects import AddressGroup

    for configuration in _files(settings):
        scopes = [each.scope for each in configuration.device_groups.values()]
        for scope in (configuration.shared, *scopes):
            for name, each in scope.objects.addresses.items():
                if isinstance(each, AddressGroup):
                    yield name


def rules(settings: "Settings") -> Iterator[str]:
    """Yield the names of the rules in files."""
    for configuration in _files(settings):
        scopes = [each.scope for each in configuration.device_groups.values()]
        for scope in (configuration.shared, *scopes):
            yield from (each.name for each in (*scope.rulebases.pre, *scope.rulebases.post))


def _files(settings: "Settings") -> "Iterator[Configuration]":
    from sync.sources.export import ExportSource

    for source in settings.sources:
        if source.kind == "file" and source.path:
            yield ExportSource(source.name, source.path).read().configuration


NAMES: dict[tuple[str, str], Names] = {
    **{("", each): clusters for each in ("only", "cluster", "accept")},
    ("explain", "source"): zones,
    ("explain", "destination"): zones,
    ("report", "rule"): rules,
}
"""What completes a parameter, by the command ("" for any) and the parameter's name."""


def completing(command: click.Command, name: str) -> None:
    """Let the parameters of a command that take names complete them."""
    for each in command.params:
        names = NAMES.get((name, each.name or "")) or NAMES.get(("", each.name or ""))
        if names and isinstance(each.type, click.types.StringParamType):
            each.type = Name(names)

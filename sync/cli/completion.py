"""Names for shell completion: of clusters, zones, address groups and device groups.

Clusters and defined zones come from the configuration. What only the firewall names comes from
sources that are files: a Panorama is not contacted for a press of a key.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from sync.cli.context import Context
from sync.errors import SourceError

if TYPE_CHECKING:
    from sync.firewall.effective import EffectiveDeviceGroup
    from sync.settings import Settings

Names = Callable[["Settings"], Iterable[str]]

_OFFERED: Final = re.compile(r"[\w./](?:[\w .:/@-]*[\w.:/@-])?")
"""The names that every shell can be given: PAN-OS allows no others. Those with a character that a
shell or a terminal interprets have to be typed, and so has a rule without a name.
"""


class Bash(BashComplete):
    """Completion for bash, with the spaces in names escaped where no quote was opened."""

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ ${COMP_WORDS[COMP_CWORD]} == [\\"\\']* ]] || printf -v value %%q "$value"
                COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete \
"$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


add_completion_class(Bash)


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
        return [
            CompletionItem(each)
            for each in sorted(found)
            if each.startswith(incomplete) and _OFFERED.fullmatch(each)
        ]


def clusters(settings: "Settings") -> Iterator[str]:
    """Yield the names of clusters."""
    return (each.name for each in settings.clusters)


def zones(settings: "Settings") -> Iterator[str]:
    """Yield the names of zones: the defined ones, and those that the rules of files name."""
    yield from settings.zones.definitions
    for seen in _enforced(settings):
        for each in seen.rules:
            yield from {*each.rule.from_zones, *each.rule.to_zones} - {"any", "multicast"}


def address_groups(settings: "Settings") -> Iterator[str]:
    """Yield the names of the address groups that clusters get from files."""
    for seen in _enforced(settings):
        yield from (each.name for each in seen.groups())


def rules(settings: "Settings") -> Iterator[str]:
    """Yield the names of the rules that clusters get from files."""
    for seen in _enforced(settings):
        yield from (each.rule.name for each in seen.rules)


def _enforced(settings: "Settings") -> "Iterator[EffectiveDeviceGroup]":
    """Yield the device groups of clusters, as files have them."""
    from sync.firewall.effective import effective
    from sync.sources.export import ExportSource

    wanted = {
        (settings.source_of(group).name, group.name)
        for cluster in settings.clusters
        for group in cluster.device_groups
    }
    for source in settings.sources:
        names = sorted(name for of, name in wanted if of == source.name)
        if source.kind == "file" and source.path and names:
            configuration = ExportSource(source.name, source.path).read().configuration
            for name in names:
                with suppress(SourceError):
                    yield effective(configuration, name)


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

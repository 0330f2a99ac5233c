"""`zonebridge audit`: list, show, export and verify the audit trail."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from sync.cli import exit_codes
from sync.cli.completion import Name, address_groups, clusters, rules
from sync.cli.context import Context, print_json
from sync.cli.times import Time
from sync.errors import UsageError
from sync.settings.problems import did_you_mean
from sync.store import Head, Kind, Outcome, Record, Store
from sync.store import audit as trail
from sync.store.head_file import read_heads
from sync.store.records import values
from sync.store.verification import verify as verify_trail
from sync.text import printable, printable_json

OUTCOMES: Final = (
    *(each.value for each in Outcome),
    *("done", "drift left", "blocked", "held elsewhere"),
    *(f"exit {code}" for code in exit_codes.FAILURES),
)
"""The outcomes of intents, and those of runs: of a service, and of a command."""

_MOST = 2**63 - 1  # a database's largest integer

_Found = TypeVar("_Found")


class Known(click.Choice[str]):
    """One of some values; the error names the nearest one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value and value not in self.choices:
            self.fail(f"{value!r} is unknown; {did_you_mean(value, self.choices)}", param, ctx)
        return str(value)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--since", type=Time(), help="Not before this time: 2026-03-03, 1h."),
        click.option("--until", type=Time(), help="Before this time."),
        click.option("--cluster", type=Name(clusters), default="", help="Of this cluster."),
        click.option(
            "--kind",
            type=Known([each.value for each in Kind]),
            metavar="KIND",
            help=f"Records of this kind: {', '.join(Kind)}.",
        ),
        click.option(
            "--object",
            "object_name",
            type=Name(),
            default="",
            help="About the object of this name.",
        ),
        click.option("--rule", type=Name(rules), default="", help="Made by this firewall rule."),
        click.option(
            "--group", type=Name(address_groups), default="", help="Made by this address group."
        ),
        click.option(
            "--administrator", type=Name(), default="", help="From a commit of this administrator."
        ),
        click.option(
            "--outcome",
            type=Known(OUTCOMES),
            default="",
            metavar="OUTCOME",
            help="With this outcome: applied, failed, blocked, …",
        ),
    ):
        command = option(command)
    return command


@click.group()
def audit() -> None:
    """The audit trail: list it, look into it, export it, verify it."""


@audit.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N records.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def list_records(context: Context, /, *, limit: int | None, output: str, **wanted: Any) -> None:
    """List records, oldest first."""
    with context.recorded() as store:
        # Queried newest first and then reversed, so that a limit cuts off the oldest.
        found = trail.records(
            store,
            _filter(store, wanted),
            newest_first=limit is not None,
            limit=limit and min(limit, _MOST),
        )
        records = reversed(list(found)) if limit is not None else found
        told = _or_none_told(records)
        if output == "json":
            print_json([values(record) for record in told])
            return
        for record in told:
            click.echo(_line(record))


@audit.command(short_help="Show one record, or all objects as they were at a time.")
@click.argument("record", required=False, type=Name())
@click.option("--at", "time", type=Time(), help="Show every object as it was at this time.")
@click.option("--cluster", type=Name(clusters), default="", help="With --at: of this cluster only.")
@click.pass_obj
def show(context: Context, record: str | None, time: datetime | None, cluster: str) -> None:
    """Show one RECORD (CHAIN:SEQUENCE) with its bodies, or all objects --at a time."""
    if (record is None) == (time is None):
        raise UsageError("name either a record, as CHAIN:SEQUENCE, or a time, with --at")
    with context.recorded() as store:
        if time is not None:
            chains = [_recorded(store, cluster)] if cluster else store.clusters()
            print_json(
                {
                    name: [manifest.document() for manifest in trail.at(store, name, time).values()]
                    for name in chains
                }
            )
            return
        chain, _, sequence = (record or "").rpartition(":")
        number = int(sequence) if sequence.isascii() and sequence.isdigit() else 0
        if not chain or not 0 < number <= _MOST:
            raise UsageError(
                f"{record!r} is not CHAIN:SEQUENCE; `zonebridge audit list` shows them"
            )
        shown = trail.show(store, chain, number)
        print_json(
            {
                "record": values(shown.record),
                "before": shown.before.document() if shown.before else None,
                "after": shown.after.document() if shown.after else None,
                "found": shown.found.document() if shown.found else None,
            }
        )


@audit.command()
@_filters
@click.option(
    "--format", "layout", type=click.Choice(["jsonl"]), default="jsonl", show_default=True
)
@click.pass_obj
def export(context: Context, /, *, layout: str, **wanted: Any) -> None:
    """Write records to stdout, one JSON object a line, oldest first."""
    del layout  # there is one so far
    # In a file the bytes are those that a record's hash is computed from.
    shown = sys.stdout.isatty()
    with context.recorded() as store:
        for line in _or_none_told(trail.export(store, _filter(store, wanted))):
            sys.stdout.buffer.write(printable_json(line) if shown else line)


@audit.command(short_help="Recompute the whole trail, and name the first bad record.")
@click.option(
    "--head", "head", metavar="HEAD", help="A published head: SEQUENCE:HASH, or a file of heads."
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def verify(context: Context, head: str | None, output: str) -> None:
    """Recompute the whole trail; exit 8 and name the first bad record if it does not verify."""
    published = _published(head) if head else ()
    with context.recorded() as store:
        found = verify_trail(store, published)
    if output == "json":
        print_json(
            {
                "records": found.records,
                "heads": [str(each) for each in found.heads],
                "without_head": list(found.without_head),
            }
        )
    else:
        click.echo("\n".join(map(printable, str(found).split("\n"))))


def _filter(store: Store, wanted: dict[str, Any]) -> trail.Filter:
    """Return the filter of the options; a cluster without records is taken for a typo."""
    if wanted["cluster"]:
        _recorded(store, wanted["cluster"])
    return trail.Filter(**{name: value for name, value in wanted.items() if value})


def _or_none_told(found: Iterable[_Found]) -> Iterator[_Found]:
    """Yield what was found; report on stderr if it is nothing."""
    nothing = True
    for each in found:
        nothing = False
        yield each
    if nothing:
        click.echo("no record matches", err=True)


def _recorded(store: Store, cluster: str) -> str:
    known = store.clusters()
    if cluster not in known:
        raise UsageError(f"no record names a cluster {cluster!r}; {did_you_mean(cluster, known)}")
    return cluster


def _published(head: str) -> tuple[Head, ...]:
    file = Path(head)
    return read_heads(file) if os.access(file, os.F_OK) else (Head.parse(head),)


def _line(record: Record) -> str:
    """Render a record as one line: time, chain, action, object, administrator."""
    what = " ".join(part for part in (record.kind, record.action, record.outcome) if part)
    rest = [f"{record.object_kind} {record.object_name}".strip(), record.detail, record.error]
    if record.kind == "run" and record.action == "begin":
        rest.append(record.trigger)
    where = f"{record.chain}:{record.sequence}"
    about = "  ".join(part for part in rest if part)
    return printable(f"{record.time}  {where:<20}  {what:<24}  {about}".rstrip())

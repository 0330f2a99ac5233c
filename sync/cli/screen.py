"""Print plans as they are made, before they are written, and what became of them.

A plan is printed by a thread of its own: a reader that is slow, as a pager is, must not keep a sync
from writing, nor its lease from others. Writing waits for a moment, so that readers who keep up see
each plan before it is written.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

import click

from sync.cli.context import clear_line, drop_output, until_closed
from sync.cli.results import (
    became,
    plan_text,
    print_documents,
    print_error,
    print_markdown,
    print_unconfigured,
)
from sync.plan.plan import Plan
from sync.reconcile.result import Result
from sync.render.markdown import markdown
from sync.text import printable


class Screen:
    """What a sync prints; JSON and Markdown are one document at the end. Thread-safe.

    Only plans that someone is asked about are shown in Markdown before: a comment on a pull request
    has room for all plans together, and for each once.

    `patience` is how many seconds a reader of a plan has, before it is written.
    """

    def __init__(self, output: str, *, verbose: bool, patience: float = 1.0) -> None:
        self._output, self._verbose, self._patience = output, verbose, patience
        self._lock = Lock()
        self._separator = ""
        self._shown: set[tuple[str, str, bool]] = set()
        self._errors: set[tuple[str, str]] = set()
        self._failure: Exception | None = None
        self._texts: SimpleQueue[tuple[str, Event]] = SimpleQueue()
        self._printer: Thread | None = None

    def show(self, plan: Plan) -> None:
        """Print a plan, the same one only once; raises what kept it from being printed."""
        if printed := self._put(plan):
            printed.wait()
        if self._failure:
            raise self._failure

    def before_writing(self, plan: Plan) -> None:
        """Print a plan that is about to be written; others wait for the end, and their turn."""
        if self._output != "text" or not plan.writes or (plan.blockers and not plan.partial):
            return
        if printed := self._put(plan):
            printed.wait(self._patience)

    def error(self, result: Result) -> None:
        """Print to stderr why a cluster could not be read or written; the same error once."""
        key = result.cluster, str(result.error)
        if key not in self._errors:
            self._errors.add(key)
            print_error(result)

    def end(self, results: Sequence[Result], left: Sequence[dict[str, Any]]) -> None:
        """Print what became of all plans; `left` are the clusters no longer configured."""
        if self._output == "text":
            for result in results:
                if result.plan:
                    self._put(result.plan)
        self._drain()
        with until_closed():
            if self._output == "json":
                print_documents(results, written=True, left=left)
                return
            print_unconfigured(left)
            if self._output == "markdown":
                click.echo(self._separator, nl=False)
                print_markdown(results, verbose=self._verbose, written=True)
            for result in results:
                self._written(result, of_several=len(results) > 1)
        if self._failure:
            raise self._failure

    def _written(self, result: Result, *, of_several: bool) -> None:
        where = printable(f" to {result.cluster}") if of_several else ""
        if self._output == "text" and (said := became(result, where)):
            click.echo(said)
        for change, why in result.failed:
            what = f"cluster {result.cluster}: {change.kind} {change.name}"
            click.echo(printable(f"error: {what}: {why}"), err=True)
        self.error(result)

    def _put(self, plan: Plan) -> Event | None:
        """Have a plan printed, unless it was; the event is set when that is done."""
        key = plan.cluster, plan.digest, bool(plan.blockers)
        with self._lock:
            if self._output == "json" or key in self._shown:
                return None
            self._shown.add(key)
            render = markdown if self._output == "markdown" else plan_text
            text = self._separator + render(plan, verbose=self._verbose)
            self._separator = "\n"
            if self._printer is None:
                self._printer = Thread(target=self._print, name="printer", daemon=True)
                self._printer.start()
            printed = Event()
            self._texts.put((text, printed))
            return printed

    def _drain(self) -> None:
        """Wait until everything is printed."""
        if self._printer:
            printed = Event()
            self._texts.put(("", printed))
            printed.wait()

    def _print(self) -> None:
        while True:
            text, printed = self._texts.get()
            try:
                # Another stream than the terminal's needs no line cleared, and may take long.
                with clear_line() if sys.stdout.isatty() else nullcontext():
                    _write(text)
            except BrokenPipeError:
                drop_output()
            except Exception as error:  # noqa: BLE001 - others wait for this thread
                # A full disk under the output stops no sync; it is reported at the end.
                self._failure = error
            printed.set()


def _write(text: str) -> None:
    """Write to stdout without holding its lock: a reader may never read on."""
    sys.stdout.flush()
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]

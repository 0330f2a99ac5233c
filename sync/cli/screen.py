"""Print plans as they are made, before they are written, and what became of them."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import click

from sync.cli.context import clear_line, until_closed
from sync.cli.results import print_documents, print_error, print_unconfigured, rendered
from sync.plan.plan import Plan
from sync.reconcile.result import Result
from sync.text import printable


class Screen:
    """What a sync prints, in text or Markdown; JSON is one document at the end. Thread-safe."""

    def __init__(self, output: str, *, verbose: bool) -> None:
        self._output, self._verbose = output, verbose
        self._lock = Lock()
        self._separator = ""
        self._shown: set[tuple[str, str, bool]] = set()
        self._errors: set[tuple[str, str]] = set()
        self._failure: OSError | None = None

    def show(self, plan: Plan) -> None:
        """Print a plan that is about to be written; the same plan once."""
        key = plan.cluster, plan.digest, bool(plan.blockers)
        with self._lock, clear_line():
            if self._output == "json" or key in self._shown:
                return
            self._shown.add(key)
            try:
                with until_closed():
                    click.echo(self._separator, nl=False)
                    click.echo(rendered(plan, self._output, verbose=self._verbose), nl=False)
            except OSError as error:
                # A full disk under the output stops no sync; it is reported at the end.
                self._failure = error
            self._separator = "\n"

    def before_writing(self, plan: Plan) -> None:
        """Print a plan at once if it is written; others wait for the end, and their turn."""
        if plan.writes and (not plan.blockers or plan.partial):
            self.show(plan)

    def error(self, result: Result) -> None:
        """Print to stderr why a cluster could not be read or written; the same error once."""
        key = result.cluster, str(result.error)
        if key not in self._errors:
            self._errors.add(key)
            print_error(result)

    def end(self, results: Sequence[Result], left: Sequence[dict[str, Any]]) -> None:
        """Print what became of all plans; `left` are the clusters no longer configured."""
        with until_closed():
            if self._output == "json":
                print_documents(results, written=True, left=left)
                return
            print_unconfigured(left)
            for result in results:
                if result.plan:
                    self.show(result.plan)
            for result in results:
                self._written(result, of_several=len(results) > 1)
        if self._failure:
            raise self._failure

    def _written(self, result: Result, *, of_several: bool) -> None:
        if result.plan and (result.written or result.failed):
            where = printable(f" to {result.cluster}") if of_several else ""
            click.echo(f"Written{where}: {len(result.written)}; failed: {len(result.failed)}.")
        for change, why in result.failed:
            what = f"cluster {result.cluster}: {change.kind} {change.name}"
            click.echo(printable(f"error: {what}: {why}"), err=True)
        self.error(result)

"""Run from a shell: a campaign, one document of it again, or what atheris finds."""

import argparse
import os
import sys

from tests.fuzz.campaign import SECONDS, Outcome, campaign, fed
from tests.fuzz.targets import numbered


def main() -> None:
    """Feed the documents, say what became of them, and end with 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of the processor, for one document"
    )
    parser.add_argument("--only", type=int, help="the document of this number, with its traceback")
    parser.add_argument("--show", type=int, help="the bytes of the document of this number")
    options = parser.parse_args()
    if options.show is not None:
        sys.stdout.buffer.write(numbered(options.seed, options.show)[1])
        return
    if options.only is not None:
        target, data = numbered(options.seed, options.only)
        print(f"{target.name}, {len(data):,} bytes")
        print("read" if fed(target, data) else "refused")
        return
    outcome = campaign(
        options.seed, options.documents, options.workers, options.seconds, _tell_progress
    )
    print(report(outcome, options.seed))
    sys.exit(bool(outcome.findings))


def _tell_progress(outcome: Outcome) -> None:
    done = outcome.documents.total()
    if done % 5_000 == 0:
        first = [found[0].number for found in outcome.kinds().values()]
        print(f"{done:,} documents, findings: {first or 'none'}", file=sys.stderr)


def report(outcome: Outcome, seed: int) -> str:
    """What became of the documents, and the first number and traceback of each finding."""
    lines = [f"{outcome.documents.total():,} documents of seed {seed}, {outcome.size:,} bytes"]
    for name, many in sorted(outcome.documents.items()):
        lines.append(f"  {name:14}{many:8,}, {outcome.refused[name]:,} of them refused")
    seconds, number = outcome.slowest
    lines.append(f"slowest: {number}, {seconds:.2f} s of the processor")
    lines.append(f"peak memory: {outcome.peak:.0f} MiB, {outcome.idle:.0f} when idle")
    grown, number = outcome.largest
    lines.append(f"most of it for one document: {number}, {grown:.0f} MiB")
    lines.append(f"findings: {len(outcome.kinds())}")
    for (target, kind, place), found in outcome.kinds().items():
        lines.append(f"\n{target}: {kind} at {place}, {len(found)} times, first {found[0].number}")
        lines.append(found[0].told)
    return "\n".join(lines)


if __name__ == "__main__":
    main()

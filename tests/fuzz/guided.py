"""What atheris finds by the branches that it reaches: coverage of ours, mutations of ours.

    python -m tests.fuzz.guided configuration --seconds 600

atheris has wheels for Linux on x86-64 alone; elsewhere there is the campaign. It ends at the first
finding and writes the document to `crash-…`.
"""

import argparse
import sys
from random import Random

import atheris
from lxml import etree

# What is imported from here on reports its branches.
with atheris.instrument_imports(include=["sync"], enable_loader_override=False):
    from tests.fuzz.campaign import fed
    from tests.fuzz.mutation import mutated_bytes, mutated_xml
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz one reader for so many seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    targets = {each.name: each for each in TARGETS}
    parser.add_argument("target", choices=targets)
    parser.add_argument("--seconds", type=int, default=600)
    options = parser.parse_args()
    target = targets[options.target]

    def one(data: bytes) -> None:
        fed(target, data)

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        """What led to new branches, changed further; now and then something else."""
        random = Random(seed)
        made = target.made(random) if random.random() < 0.2 else _mutated(data, random)
        return made[:largest]

    arguments = [f"-max_total_time={options.seconds}", "-max_len=262144", "-timeout=10"]
    arguments += ["-rss_limit_mb=2048", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutated)
    atheris.Fuzz()


def _mutated(data: bytes, random: Random) -> bytes:
    """A document as the campaign mutates it; bytes that are no XML as bytes."""
    # An answer begins with the number of its call.
    head = data[:1] if data[:1] != b"<" else b""
    try:
        return head + mutated_xml(random, etree.fromstring(data[len(head) :]))
    except (etree.XMLSyntaxError, ValueError):
        return mutated_bytes(random, data)


if __name__ == "__main__":
    main()

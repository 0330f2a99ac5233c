"""Markdown of any plans fits into a comment, closes what it opens, and says what it cut."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.calico.manifest import Manifest
from sync.plan.changes import Cause, Change
from sync.plan.guards import Blocker
from sync.plan.omission import LeftOut, Omission
from sync.plan.origin import NotPushed, Origin
from sync.plan.plan import Plan
from sync.render.markdown import LIMIT, Shown, document, markdown, shared

PIECES = [
    "`",
    "```",
    "</details>",
    "<",
    "\n",
    "\x1b[2J",
    "\x9b",
    "\u202e",
    "é",
    "🔥",
    "|",
    "a",
    "\\",
]
NAMES = st.builds(
    lambda parts, times: "".join(parts) * times,
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6),
    st.sampled_from([1, 3, 40, 500]),
)


def change(name: str, net: str) -> Change:
    found = Manifest.of(
        {"kind": "GlobalNetworkSet", "metadata": {"name": name}, "spec": {"nets": [net]}}
    )
    return Change(None, found, Cause.CONFIGURATION)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    def many(kind: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(kind, max_size=3)) * draw(st.sampled_from([0, 1, 2, 30]))

    left_out = many(st.builds(LeftOut, NAMES, NAMES, st.sampled_from(list(Omission))))
    rules = many(st.builds(LeftOut, NAMES, NAMES, st.just(Omission.WIDER)))
    changes = many(st.builds(change, NAMES, NAMES))
    blocked = many(st.builds(Blocker, NAMES, NAMES, st.booleans()))
    origins = many(st.builds(Origin, NAMES, NAMES, st.tuples(NAMES)))
    return Plan(
        draw(NAMES),
        tuple(origins),  # type: ignore[arg-type] # any strategy gives lists of objects
        tuple(changes),  # type: ignore[arg-type] # the same
        (),
        (),
        tuple(blocked),  # type: ignore[arg-type] # the same
        # Each line another one, so that none is counted with others.
        tuple(LeftOut(f"{n}{x.subject}", f"{n}{x.reason}", x.kind) for n, x in enumerate(left_out)),  # type: ignore[attr-defined] # the same
        unchanged=1,
        not_pushed=(NotPushed(draw(NAMES), draw(NAMES), (draw(NAMES),)),),
        warnings=tuple(draw(st.lists(NAMES, max_size=2))),
        compared_with=tuple(origins),  # type: ignore[arg-type] # the same
        rules=tuple(rules),  # type: ignore[arg-type] # the same
        known=draw(st.sampled_from([None, frozenset()])),
        modes=((draw(NAMES), "staged"), (draw(NAMES), "enforced")),
    )


def require_whole(shown: str) -> None:
    """Require that each fence and each fold is closed, and nothing else opens one."""
    fence, folds = "", 0
    for line in shown.splitlines():
        if fence:
            if line == fence:
                fence = ""
            else:
                assert fence not in line
        elif line.startswith("```"):
            fence = "`" * (len(line) - len(line.lstrip("`")))
        else:
            folds += line.startswith("<details>")
            folds -= line == "</details>"
            assert folds in (0, 1)
    assert (fence, folds) == ("", 0)
    assert shown.replace("\n", "").isprintable()


@settings(deadline=None, max_examples=60)
@given(plans(), st.booleans(), st.sampled_from([2_000, 9_000, LIMIT]))
def test_a_plan_fits_whatever_is_in_it(plan: Plan, verbose: bool, limit: int) -> None:
    shown = markdown(plan, verbose=verbose, limit=limit)
    assert len(shown) <= limit
    require_whole(shown)
    assert f"**{plan.summary}**" in shown
    assert plan.digest in shown
    if len(markdown(plan, verbose=verbose, limit=1 << 40)) > limit:
        # It says how much is missing, by a sentence or at the end of a line.
        assert re.search(r"more lines; |Cut here: |… and more", shown)


@settings(deadline=None, max_examples=10)
@given(
    st.lists(plans(), min_size=1, max_size=3),
    st.sampled_from([1, 30, 100]),
    st.dictionaries(NAMES, NAMES, max_size=3),
    st.sampled_from([1, 200]),
)
def test_many_clusters_fit_into_one_document(
    found: list[Plan], times: int, errors: dict[str, str], copies: int
) -> None:
    several = [Shown(plan, ("Written: 1; failed: 0.",)) for plan in found * times]
    failed = {f"{n}{name}": error for n in range(copies) for name, error in errors.items()}
    shown = document(several, before=["Candidate: nothing is pending."], failed=failed)
    assert len(shown) <= LIMIT
    require_whole(shown)
    assert ("**Failed:**" in shown) is bool(failed)
    named = shown.count("**Failed:**")
    if named < len(failed):
        assert f"**Failed:** {len(failed) - named + 1:,} more cluster" in shown
        named -= 1
    headings = sum(line.startswith("## ") for line in shown.splitlines()) - named
    if headings < len(several):
        assert f"\nCut here: {len(several) - headings:,} more cluster" in shown


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30), st.integers(0, 100_000))
def test_room_is_shared_evenly_and_what_is_small_is_whole(sizes: list[int], room: int) -> None:
    shares = shared(sizes, room)
    assert sum(shares) <= room
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    for share, size in zip(shares, sizes, strict=True):
        assert share == size or size > room // len(sizes)
    if sum(sizes) <= room:
        assert shares == sizes

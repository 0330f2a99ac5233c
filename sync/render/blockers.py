"""Render blockers: those that differ only in the object that they name are one line."""

from collections.abc import Iterable, Iterator

from sync.plan.guards import Blocker
from sync.text import printable

_NAMED = 4  # objects besides the first


def rows(blockers: Iterable[Blocker]) -> Iterator[str]:
    """Yield a line for each blocker, or for each kind of several, in their order."""
    alike: dict[tuple[str, str], list[Blocker]] = {}
    for each in blockers:
        said = each.message.replace(each.subject, "\0") if each.subject else each.message
        alike.setdefault((each.guard, said), []).append(each)
    for (guard, _), (first, *others) in alike.items():
        line = f"! {guard}: {first.message}"
        if others:
            line = f"! {guard} ({len(others) + 1:,}): {first.message}; and {_likewise(others)}"
        yield printable(line)


def _likewise(others: list[Blocker]) -> str:
    names = list(dict.fromkeys(each.subject for each in others if each.subject))
    if not names:
        return "once more" if len(others) == 1 else f"{len(others):,} times more"
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"likewise {', '.join(names[:_NAMED])}{more}"

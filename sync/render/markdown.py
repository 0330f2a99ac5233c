"""Render plans as Markdown that fits into a comment on a pull request, whatever is in them.

    plans -> heads and folded sections -> a share of the room for each -> at most LIMIT characters

GitHub ends a comment at 65,536 characters. What is small comes whole, what is large is cut, and
each cut says how much is missing. Nothing in a name is Markdown, HTML, or the end of a fence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from sync.plan.plan import Plan
from sync.render import flows
from sync.render.plan import heading, not_pushed, origins, sections
from sync.text import counted, markdown_escaped, printable
from sync.verify.flow_changes import ChangedFlows

LIMIT: Final = 60_000
"""Characters of one document."""

_LEAST = 1_000  # characters that a plan needs at least
_LINE = 300
_NAME = 100
_SENTENCES = 12  # about sources and device groups
_MORE = "… and more"
_OPEN_LINES = 20  # a longer section is folded
_OPEN = ("Blocked", "Warnings")
_WHOLE = "`zonebridge plan --output json` has all"


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan, with sentences about what became of it, and the flows that it changes."""

    plan: Plan
    notes: tuple[str, ...] = ()
    flows: ChangedFlows | None = None


def document(
    shown: Sequence[Shown],
    *,
    before: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
    verbose: bool = False,
    limit: int = LIMIT,
) -> str:
    """Render the plans of several clusters, after some sentences, in at most `limit` characters.

    `failed` are the errors of clusters without a plan, by cluster: they come first. Plans that
    change nothing are the first to be cut. Ends with a line break, if anything is shown.
    """
    intro = "".join(f"{_sentence(each)}\n\n" for each in before[:_SENTENCES])[: limit // 4]
    intro += failures(failed or {}, limit // 4)
    room = limit - len(intro) - 2 * _LINE
    wanted = [*shown]
    if len(wanted) * _LEAST > room:
        wanted = sorted(shown, key=lambda each: not (each.plan.blockers or each.plan.changes))
        wanted = wanted[: room // _LEAST]
    blocks = [_Block(each, verbose=verbose) for each in wanted]
    shares = shared([block.size for block in blocks], room)
    text = "\n".join(block.rendered(share) for block, share in zip(blocks, shares, strict=True))
    if len(wanted) < len(shown):
        left = counted(len(shown) - len(wanted), "more cluster")
        text += f"\nCut here: {left}; {_WHOLE}.\n"
    return intro + text


def failures(failed: Mapping[str, str], room: int) -> str:
    """Render the errors of clusters, by cluster, in at most `room` characters."""
    text = ""
    for number, (cluster, error) in enumerate(failed.items()):
        block = f"## {markdown_escaped(_cut(cluster, _NAME))}\n\n**Failed:** {_sentence(error)}\n\n"
        if len(text) + len(block) + _LINE > room:
            left = counted(len(failed) - number, "more cluster")
            return f"{text}**Failed:** {left}; {_WHOLE}.\n\n"
        text += block
    return text


def markdown(plan: Plan, *, verbose: bool = False, limit: int = LIMIT) -> str:
    """Render one plan; ends with a line break."""
    return document([Shown(plan)], verbose=verbose, limit=limit)


def shared(sizes: Sequence[int], room: int) -> list[int]:
    """Share room among parts of these sizes: what is small gets all it needs, the rest is even."""
    shares = [0] * len(sizes)
    left = len(sizes)
    for index in sorted(range(len(sizes)), key=lambda each: sizes[each]):
        shares[index] = min(sizes[index], max(room, 0) // left)
        room -= shares[index]
        left -= 1
    return shares


class _Block:
    """The Markdown of one plan, in two parts: a head of bounded size, and sections."""

    def __init__(self, shown: Shown, *, verbose: bool) -> None:
        plan = shown.plan
        sentences = (
            *origins(plan),
            *not_pushed(plan),
            *shown.notes,
        )
        # The first two always fit into the least room.
        self._title = f"## {markdown_escaped(_cut(heading(plan), _NAME))}\n"
        self._summary = f"\n**{plan.summary}**\n"
        self._sentences = [f"\n{_sentence(each)}\n" for each in sentences[:_SENTENCES]]
        if len(sentences) > _SENTENCES:
            self._sentences.append(f"\nAnd {len(sentences) - _SENTENCES:,} more sentences.\n")
        self._digest = f"\nPlan digest `{plan.digest}`\n"
        self._sections = [
            _Section(title, [_cut(row, _LINE) for row in rows])
            for title, rows in (
                *sections(plan, verbose=verbose, every=True),
                *(flows.sections(shown.flows, every=verbose) if shown.flows else ()),
            )
        ]
        parts = [self._title, self._summary, self._digest, *self._sentences]
        self.size = sum(map(len, parts)) + sum(each.size for each in self._sections) + 1

    def rendered(self, room: int) -> str:
        """The block in at most `room` characters."""
        head = self._title + self._summary
        if self.size <= room:
            whole = "".join(section.rendered(section.size) for section in self._sections)
            return head + "".join(self._sentences) + whole + self._digest
        room -= len(head) + len(self._digest) + 1
        for sentence in self._sentences:
            if len(sentence) <= room // 2:
                head += sentence
                room -= len(sentence)
        shares = shared([each.size for each in self._sections], room - _LINE)
        body, cut = "", 0
        for section, share in zip(self._sections, shares, strict=True):
            text = section.rendered(share)
            body += text
            cut += not text
        if cut:
            body += f"\nCut here: {counted(cut, 'section')}; {_WHOLE}.\n"
        return head + body + self._digest


class _Section:
    """Lines that begin with a sign, coloured as a diff, in a fence that none of them closes."""

    def __init__(self, title: str, rows: Sequence[str]) -> None:
        self._title = title
        self._rows = rows
        self._fence = "`" * max(3, 1 + max((row.count("`") for row in rows), default=0))
        self.size = len(self._text(rows, ""))

    def rendered(self, room: int) -> str:
        """The section in at most `room` characters; "" if not even its title fits."""
        if self.size <= room:
            return self._text(self._rows, "")
        last = f"\nAnd {len(self._rows):,} more lines; {_WHOLE}.\n"
        left = room - len(self._text((), last))
        kept = 0
        for row in self._rows:
            left -= len(row) + 1
            if left < 0:
                break
            kept += 1
        if not kept:
            return ""
        last = f"\nAnd {len(self._rows) - kept:,} more lines; {_WHOLE}.\n"
        return self._text(self._rows[:kept], last)

    def _text(self, rows: Sequence[str], last: str) -> str:
        lines = "".join(f"{row}\n" for row in rows)
        fenced = f"\n{self._fence}diff\n{lines}{self._fence}\n{last}"
        folded = len(self._rows) > _OPEN_LINES and self._title not in _OPEN
        if not folded:
            return f"\n### {self._title}\n{fenced}"
        count = f"{len(self._rows):,} lines"
        return (
            f"\n<details><summary><b>{escape(self._title)}</b>: {count}</summary>\n{fenced}\n"
            "</details>\n"
        )


def _sentence(text: str) -> str:
    return markdown_escaped(_cut(text, _LINE))


def _cut(text: str, most: int) -> str:
    text = printable(text[: most + 1])  # which only makes it longer
    return text if len(text) <= most else f"{text[: most - len(_MORE)]}{_MORE}"

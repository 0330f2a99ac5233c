"""Render the changes that would allow a flow, as text and JSON."""

from typing import Any

from sync.queries.why_not import MOST_TRIED, WhyNot
from sync.text import counted, printable, shortened


def text(found: WhyNot) -> str:
    """Render for a terminal, to stand below the explained flow; ends with a line break."""
    lines = ["", *_lines(found)]
    return "".join(f"{printable(line)}\n" for line in lines)


def _lines(found: WhyNot) -> list[str]:
    if found.note:
        return [f"Why not: {found.note}"]
    both = "Our tiers allow it, and the firewall perhaps denies it. " if found.allowed else ""
    if not found.remedies:
        tried = counted(found.tried, "change")
        return [
            f"Why not: {both}{tried} tried on the model, and none allows it there and in Calico"
        ]
    surely = " for sure" if found.allowed else ""
    lines = [f"{both}What would allow it{surely}, each by itself, tried on the model:"]
    for each in found.remedies:
        lines.append(f"  {each.owner}: {each.text}")
        if each.past:
            lines.append(f"    which goes past {shortened(each.past, ', ')}")
    if found.more:
        lines.append(f"  more than {counted(MOST_TRIED, 'change')} may help; only these were tried")
    return lines


def document(found: WhyNot) -> dict[str, Any]:
    """The changes for `--output json`."""
    return {
        "note": found.note or None,
        "changes": [
            {
                "kind": each.kind,
                "owner": each.owner,
                "text": each.text,
                "past": list(each.past),
            }
            for each in found.remedies
        ],
        "tried": found.tried,
        "all_tried": not found.more,
    }

"""Finds words in the documents that docs/glossary.md advises against: `make lint` runs it.

python docs/check_words.py [file …]
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"

# Pages that were written with the glossary at hand. Others join them as they are read again.
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/adr/*.md",
    "docs/architecture.md",
    "docs/glossary.md",
)


def advised_against() -> dict[str, str]:
    """What to write instead of each phrase, from the glossary's last table."""
    table = GLOSSARY.read_text().partition("## Words to avoid")[2]
    return {
        phrase: better
        for phrases, better in re.findall(r"^\| (\*.+?\*) \| (.+?) \|$", table, re.MULTILINE)
        for phrase in re.findall(r"\*(.+?)\*", phrases)
    }


def findings(file: Path, banned: dict[str, str]) -> Iterator[str]:
    """Each of them as `file:line: phrase; better: …`; code between backticks does not count."""
    text = file.read_text()
    if file == GLOSSARY:
        text = text.partition("## Words to avoid")[0]
    text = re.sub(r"`[^`\n]+`", lambda code: " " * len(code[0]), text)
    for phrase, better in banned.items():
        words = r"\s+".join(map(re.escape, phrase.split()))
        for found in re.finditer(rf"\b{words}\b", text, re.IGNORECASE):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{file}:{line}: {phrase!r}; better: {better}"


def main(arguments: Sequence[str]) -> int:
    """Print the findings; 1 if there are any."""
    files = [Path(each) for each in arguments] or [
        file for page in PAGES for file in sorted(ROOT.glob(page))
    ]
    banned = advised_against()
    found = [each for file in files for each in findings(file.resolve(), banned)]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

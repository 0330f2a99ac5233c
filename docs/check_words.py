"""Finds words that docs/glossary.md advises against: `make lint` runs it over documents and code.

python docs/check_words.py [file …]

In Python files it reads docstrings, comments and messages; in all others everything but code.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
HEADING = "## Words to avoid"

_BLANKS = r"\s+"
KEPT = "# words kept"
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+(?:\n[^`\n]+)?`", re.MULTILINE | re.DOTALL)

PAGES = ("*.md", "docs/**/*.md", "helm/*/*.md", "cassettes/*.md")
SOURCES = ("sync/**/*.py",)
# A changelog keeps the words of its releases.
NOT_HELD = ("CHANGELOG.md",)


def advised_against() -> dict[str, str]:
    """What to write instead of each phrase, from the glossary's last table."""
    table = GLOSSARY.read_text().partition(HEADING)[2]
    return {
        phrase: better
        for phrases, better in re.findall(r"^\| (\*.+?\*) \| (.+?) \|$", table, re.MULTILINE)
        for phrase in re.findall(r"\*(.+?)\*", phrases)
    }


def findings(file: Path, banned: Mapping[str, str]) -> Iterator[str]:
    """Each banned phrase of a document as `file:line: phrase; better: …`; code does not count."""
    text = file.read_text()
    if file == GLOSSARY:
        text = text.partition(HEADING)[0]
    text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    return _found(file, [(1, text)], banned)


def python_findings(files: Iterable[Path], banned: Mapping[str, str]) -> Iterator[str]:
    """The same of the docstrings, comments and messages of Python files.

    A text that is put together of values and literals is read with `X` in place of each value.
    A text on a line with `KEPT` is not judged: manifests hold it, and they must not change.
    """
    for file in files:
        source = file.read_text()
        lines = source.splitlines()
        texts = [*_strings(ast.parse(source)), *_comments(source)]
        judged = [each for each in texts if KEPT not in lines[each[0] - 1]]
        yield from _found(file, judged, banned)


def _strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each string of a module with its line; a part of an f-string is not one of its own."""
    nodes = list(ast.walk(tree))
    parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            values = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield node.lineno, "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Each block of comments with its first line: a phrase may run over the end of a line."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != last + 1:
                yield first, "\n".join(block)
                block = []
            first = first if block else token.start[0]
            last = token.start[0]
            block.append(token.string.lstrip("# "))
    if block:
        yield first, "\n".join(block)


def _found(
    file: Path, texts: Iterable[tuple[int, str]], banned: Mapping[str, str]
) -> Iterator[str]:
    patterns = {
        phrase: re.compile(rf"\b{phrase.replace(' ', _BLANKS)}\b", re.IGNORECASE)
        for phrase in banned
    }
    for first, text in texts:
        # Nearly every text holds none of them, and a plain search tells soonest.
        plain = " ".join(text.lower().split())
        for phrase in [each for each in banned if each.lower() in plain]:
            for match in patterns[phrase].finditer(text):
                line = first + text.count("\n", 0, match.start())
                yield f"{file}:{line}: {phrase!r}; better: {banned[phrase]}"


def main(arguments: Sequence[str]) -> int:
    """Print the findings; 1 if there are any."""
    files = [Path(each) for each in arguments] or [
        file
        for pattern in (*PAGES, *SOURCES)
        for file in sorted(ROOT.glob(pattern))
        if file.name not in NOT_HELD
    ]
    banned = advised_against()
    found = list(python_findings([file for file in files if file.suffix == ".py"], banned))
    for file in files:
        if file.suffix != ".py":
            found += findings(file.resolve(), banned)
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

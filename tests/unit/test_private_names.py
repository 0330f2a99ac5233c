"""Tests stand on public names: one that patches or imports a private name holds the code still."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
OURS: Final = ("sync", "tests", "benchmarks", "helm", "zonebridge_simulator")
# What replaces a name while a test lasts.
PATCHES: Final = frozenset({"setattr", "delattr", "setitem", "delitem", "patch", "object"})
# A private part of a dotted name; one with two underscores is Python's own.
PRIVATE: Final = re.compile(r"(?:^|\.)_(?!_)")
# A module without any of these has no private name of others, and need not be parsed: a part of a
# dotted name that is not `self`'s or `cls`'s, a text that begins with one, an import of one.
SUSPECT: Final = re.compile(
    r"(?<!\bself)(?<!\bcls)\._(?!_)|[\"']_(?!_)|^ *(?:from|import) .*[ .(]_(?!_)|^ +_(?!_)\w+,?$",
    re.MULTILINE,
)


def found_in(source: str) -> Iterator[tuple[int, str]]:
    """The lines of a module that import or patch a private name, with the name."""
    if not SUSPECT.search(source):
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                if module.split(".")[0] in OURS:
                    dotted = [f"{module}.{each.name}" for each in names]
                    yield from ((node.lineno, each) for each in dotted if PRIVATE.search(each))
            case ast.Import(names=names):
                yield from ((node.lineno, each.name) for each in names if PRIVATE.search(each.name))
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[target, *more]):
                if name in PATCHES:
                    yield from ((node.lineno, each) for each in _patched(target, more))
            case ast.Assign(targets=targets):
                yield from ((node.lineno, each) for each in map(_set, targets) if each)


def _patched(target: ast.expr, more: list[ast.expr]) -> Iterator[str]:
    """The private names in what a call patches: `(object, "name", …)` or `("dotted.name", …)`."""
    path = ast.unparse(target)
    match target:
        case ast.Constant(value=str(path)):
            pass
        case ast.Attribute() | ast.Name() if more:
            path += f".{ast.literal_eval(more[0])}" if isinstance(more[0], ast.Constant) else ""
    if PRIVATE.search(path):
        yield path


def _set(target: ast.expr) -> str:
    """A private attribute of something else than `self` that an assignment sets; "" for none."""
    match target:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return ""
        case ast.Attribute(attr=name) if PRIVATE.match(name):
            return ast.unparse(target)
    return ""


MODULES: Final = sorted(TESTS.rglob("*.py"))
EXCEPT: Final = (
    # The contract with a library is about its private names.
    "contract/test_pan_os_python.py",
    # Until these tests of the store have moved to tests/unit/store.
    "integration/test_store_postgresql_approvals.py",
    "integration/test_store_postgresql_behaviour.py",
)


def test_no_test_patches_or_imports_a_private_name() -> None:
    wrong = [
        f"{path.relative_to(TESTS)}:{line}: {name}"
        for path in MODULES
        if path.relative_to(TESTS).as_posix() not in EXCEPT
        for line, name in found_in(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from sync.plan.differences import _change", "sync.plan.differences._change"),
        ("from sync import _version", "sync._version"),
        ("from sync import (\n    _version,\n)", "sync._version"),
        ("import sync._version", "sync._version"),
        ('monkeypatch.setattr(webhook, "_LAST", 1)', "webhook._LAST"),
        ('monkeypatch.setattr("sync.store.leases._take", take)', "sync.store.leases._take"),
        ('monkeypatch.setattr(health._Handler, "timeout", 1)', "health._Handler.timeout"),
        ('patch.object(api._line, "send", send)', "api._line.send"),
        ("api._line = line", "api._line"),
        ("self.api._line = line", "self.api._line"),
    ],
)
def test_each_way_to_a_private_name_is_found(line: str, name: str) -> None:
    assert list(found_in(line)) == [(1, name)]


@pytest.mark.parametrize(
    "line",
    [
        "from os import _exit",
        "from sync import __version__",
        'monkeypatch.setattr(webhook, "LAST", 1)',
        'monkeypatch.setattr(Store, "__enter__", enter)',
        "self._line = line",
        "_line = line",
    ],
)
def test_public_names_and_a_modules_own_are_free(line: str) -> None:
    assert list(found_in(line)) == []

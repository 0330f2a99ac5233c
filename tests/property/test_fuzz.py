"""No document, answer or value makes a reader fail otherwise than it declares.

A bounded slice of what `python -m tests.fuzz` does by the hundred thousand, other documents each
day but in CI.
"""

import re
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.conftest import ROOT
from tests.fuzz.campaign import GROWTH, fed, run
from tests.fuzz.mutation import mutated_bytes, mutated_xml
from tests.fuzz.targets import TARGETS, Target, numbered
from tests.naive import documents

_DOCUMENTS = 1_500
_BY_NAME = {each.name: each for each in TARGETS}


@pytest.mark.parametrize("first", range(0, _DOCUMENTS, 300))
def test_no_document_makes_a_reader_fail(first: int) -> None:
    seed = 1 if settings().derandomize else int(time.time()) // 86_400
    outcome = run(seed, range(first, first + 300))
    told = [f"seed {seed}, {each.number}: {each.told}" for each in outcome.findings]
    assert not told, "\n".join(told)
    assert outcome.documents.total() == 300
    # Documents that are all refused, or all read, would try little.
    assert 30 < outcome.refused.total() < 270


def test_a_document_comes_again_by_its_number() -> None:
    for number in range(40):
        assert numbered(5, number) == numbered(5, number)
    assert len({numbered(5, number)[1] for number in range(40)}) > 35


@settings(max_examples=40)
@given(documents.documents(), st.integers(0, 2**32))
def test_a_small_document_gone_wrong_is_read_or_refused(document: str, seed: int) -> None:
    data = mutated_xml(Random(seed), etree.fromstring(document))
    for name in ("configuration", "translation"):
        fed(_BY_NAME[name], data)


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_any_bytes_are_read_or_refused(data: bytes, seed: int) -> None:
    for target in TARGETS:
        fed(target, data)
        fed(target, mutated_bytes(Random(seed), data))


@given(st.text(st.sampled_from("aZ09./:-,*'\"()%& \t\n\u00a0٣"), max_size=60))
def test_any_value_is_read_or_refused(written: str) -> None:
    fed(_BY_NAME["values"], written.encode())


@pytest.mark.skipif(find_spec("atheris") is None, reason="no atheris for this platform")
def test_nothing_is_found_by_branches_in_a_few_seconds() -> None:
    command = [sys.executable, "-m", "tests.fuzz.guided", "answer", "--seconds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Done [1-9]\d* runs", done.stderr)


# --- the campaign itself --------------------------------------------------------------------------


def test_a_reader_that_fails_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> None:
        raise KeyError(data)

    monkeypatch.setattr("tests.fuzz.campaign.numbered", lambda *_: (_target(fails), b"x"))
    (found,) = run(1, [7]).findings
    assert (found.number, found.kind) == (7, "KeyError")
    assert "KeyError: b'x'" in found.told


def test_a_reader_that_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def loops(data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.campaign.numbered", lambda *_: (_target(loops), b""))
    (found,) = run(1, [7], seconds=0.05).findings
    assert found.kind == "_SlowError"


def test_a_reader_that_takes_too_much_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = _target(lambda data: None)
    monkeypatch.setattr("tests.fuzz.campaign.numbered", lambda *_: (target, b""))
    # The most that the process ever had, asked for before and after.
    (found,) = run(1, [7], memory=count(100, GROWTH[0] + 1).__next__).findings
    assert found.kind == "memory"


def _target(read: object) -> Target:
    return Target("any", 1, lambda random: b"", read, ())  # type: ignore[arg-type]  # one of these

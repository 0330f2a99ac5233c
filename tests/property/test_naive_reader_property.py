"""Laws of the naive reader, which other properties compare `sync/` with."""

import ast
import random
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.naive.documents import PROBES, documents, filters, shuffled
from tests.naive.reader import device_groups, naive_groups, satisfies


@given(filters(), st.frozensets(st.sampled_from(("web", "db", "prod", "and", "Web Tier"))))
def test_a_filter_says_the_same_in_python(expression: str, tags: frozenset[str]) -> None:
    """Python's own grammar has the same operators with the same precedence."""
    answer = satisfies(expression, tags)
    if answer is None:
        return
    python = re.sub(
        r"'[^']+'|[^\s()']+",
        lambda m: m[0].lower() if m[0].lower() in ("and", "or", "not") else repr(m[0].strip("'")),
        expression,
    )
    assert python_says(ast.parse(" ".join(python.split()), mode="eval").body, tags) is answer


def python_says(node: ast.expr, tags: frozenset[str]) -> bool:
    match node:
        case ast.Constant():
            return node.value in tags
        case ast.UnaryOp():
            return not python_says(node.operand, tags)
        case ast.BoolOp(op=ast.And()):
            return all(python_says(value, tags) for value in node.values)
        case ast.BoolOp():
            return any(python_says(value, tags) for value in node.values)
    raise AssertionError(ast.dump(node))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25)
@given(documents(), st.integers())
def test_order_changes_nothing(document: str, seed: int) -> None:
    other = shuffled(document, random.Random(seed))
    for device_group in [*device_groups(document), "shared"]:
        assert naive_groups(document, device_group) == naive_groups(other, device_group)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25)
@given(documents())
def test_few_is_exactly_what_is_held(document: str) -> None:
    for device_group in device_groups(document):
        for group in naive_groups(document, device_group).values():
            few = group.few
            for probe in PROBES if few is not None else ():
                assert group.holds(probe) is ((probe.version, int(probe)) in (few or ()))

"""Reading YAML that others wrote."""

from typing import get_args

import pytest

from sync.yaml_documents import RefusedYamlError, Schema, load

SECRET = "hunter2"


@pytest.mark.parametrize("schema", get_args(Schema))
@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "given twice", (4, 3)),
        ("a: &a [x]\nb: *a\n", "aliases", (2, 4)),
        ("1: x\n", "must be text", (1, 1)),
        ("[a]: x\n", "must be text", (1, 1)),
        ("[" * 100_000, "more than 64 levels", (0, 0)),
        ("a: 1\n---\nb: 1\n", "another document", (2, 1)),
        ("a: \x01\n", "control character", (0, 0)),
        (f"{SECRET}: '{SECRET}\nx", "", (2, 2)),
    ],
)
def test_what_is_not_plainly_one_document_is_refused_in_both_schemas(
    schema: Schema, text: str, problem: str, place: tuple[int, int]
) -> None:
    with pytest.raises(RefusedYamlError) as raised:
        load(text, schema)
    assert problem in raised.value.problem
    assert (raised.value.line, raised.value.column) == place
    assert SECRET not in str(raised.value)


def test_each_schema_reads_scalars_as_its_readers_expect() -> None:
    text = "[on, 0o17, 2024, null, 'x', true]"
    assert load(text, "core") == ["on", "0o17", 2024, None, "x", True]
    assert load(text, "kubernetes") == [True, "0o17", 2024, None, "x", True]


@pytest.mark.parametrize("schema", get_args(Schema))
def test_64_levels_are_read_and_an_empty_document_is_none(schema: Schema) -> None:
    assert load("[" * 64 + "]" * 64, schema)
    assert load("# nothing\n", schema) is None

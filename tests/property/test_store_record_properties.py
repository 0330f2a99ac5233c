"""Records against a reference implementation of RFC 8785, projections against their replay."""

import hashlib
import tempfile
from pathlib import Path

import orjson
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Text, func, literal, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute

from sync.calico.manifest import Manifest
from sync.plan.changes import Cause, Change
from sync.plan.origin import Origin
from sync.store import Conclusion, Outcome, Record, open_store
from sync.store.audit import Filter, at, records
from sync.store.models import Records
from sync.store.records import FIRST_PREVIOUS_HASH, canonical, hash_of, now, seal, values
from sync.store.verification import verify
from tests.unit.store.words import exported, intend, recover

# Every character: control characters, those beyond the first plane, and lone surrogates.
texts = st.text(st.characters(codec=None))
lists = st.lists(texts, max_size=3).map(tuple)
drafts = st.builds(
    Record,
    trigger=texts,
    object_name=texts,
    description=texts,
    error=texts,
    administrators=lists,
    rules=lists,
    groups=lists,
    intent=st.integers(0, 2**53 - 1),
)


@given(drafts, st.integers(1, 2**53 - 1))
def test_the_canonical_form_is_that_of_rfc_8785(draft: Record, sequence: int) -> None:
    record = seal(draft, chain="eu", sequence=sequence, time="t", previous_hash=FIRST_PREVIOUS_HASH)
    fields = values(record)
    assert canonical(record) == rfc8785.dumps(fields)
    del fields["hash"]
    assert record.hash == hash_of(record) == hashlib.sha256(rfc8785.dumps(fields)).hexdigest()


@given(drafts)
def test_a_sealed_record_comes_back_from_its_exported_line(draft: Record) -> None:
    record = seal(draft, chain="eu", sequence=1, time="t", previous_hash=FIRST_PREVIOUS_HASH)
    assert exported(canonical(record)) == record


def body(name: str, version: int) -> Manifest:
    return Manifest.of({"kind": "K", "metadata": {"name": name}, "spec": version})


steps = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 2),
    st.sampled_from([*Outcome, "recovered"]),
    st.sampled_from(["before", "after", "other", "nothing"]),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(steps, max_size=12))
def test_the_projection_is_the_replay_of_the_trail(
    taken: list[tuple[str, int, str, str]],
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        open_store(f"sqlite:///{Path(directory)}/store.db") as store,
    ):
        run = store.run("test")
        for name, version, what, found in taken:
            before = store.written("eu").get(("K", name))
            after = body(name, version) if version or before is None else None
            if before == after:
                continue
            [intent] = intend(run, "eu", [Change(before, after, Cause.DRIFT)])
            held = {"before": before, "after": after, "other": body(name, 9)}.get(found)
            if what != "recovered":
                run.conclude([Conclusion(intent, Outcome(what), found=held)])
            if what in ("recovered", Outcome.UNKNOWN):
                recover(run, intent, held)
                assert store.written("eu").get(("K", name)) == held
        assert at(store, "eu", now()) == store.written("eu")
        assert store.open_intents("eu") == []
        verify(store, store.heads())


# Few letters, so that names hold one another; and what JSON, SQL and the store treat in a way of
# its own.
names = st.text(st.sampled_from('ab",\\[]\0\n%_é\u2028'), max_size=4)
named = st.lists(names, max_size=3).map(tuple)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(named, named, named), min_size=1, max_size=4), names.filter(bool))
def test_a_record_is_found_by_the_names_in_its_lists(
    written: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]], wanted: str
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        open_store(f"sqlite:///{Path(directory)}/store.db") as store,
    ):
        run = store.run("test")
        for number, (rules, groups, administrators) in enumerate(written):
            change = Change(None, body(f"o{number}", 1), Cause.CONFIGURATION, rules, groups)
            intend(run, "eu", [change], [Origin("main", "1", administrators, "")])
        trail = list(records(store, Filter()))
        some = {each for lists in written for few in lists for each in few}
        for name in sorted({wanted, *some} - {""}):
            for found, column, field in (
                (Filter(rule=name), Records.rules, "rules"),
                (Filter(group=name), Records.groups, "groups"),
                (Filter(administrator=name), Records.administrators, "administrators"),
            ):
                expected = [each for each in trail if name in getattr(each, field)]
                assert list(records(store, found)) == expected
                # In the text, such a name is also between one that ends in a comma and the next.
                if name.startswith(","):
                    continue
                with store.database.reading() as connection:
                    query = select(Records).where(_holds(column, name)).order_by(Records.sequence)
                    assert [Record._make(row) for row in connection.execute(query)] == expected
        verify(store)


def _holds(column: InstrumentedAttribute[tuple[str, ...]], name: str) -> ColumnElement[bool]:
    """Whether the JSON text of a list, without spaces, holds a name: `,"name"` after `[` or `,`."""
    text = literal(",") + func.substr(type_coerce(column, Text), 2, type_=Text)
    return func.replace(text, f",{orjson.dumps(name).decode()}", "") != text

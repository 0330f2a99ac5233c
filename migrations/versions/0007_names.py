"""The names of rules, groups and administrators in each record: a projection, for searches."""

import hashlib
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from sync.store import triggers

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LISTS = {"rule": "rules", "group": "groups", "administrator": "administrators"}
KEYS = ["kind", "digest", "chain", "sequence"]
AT_ONCE = 500


def upgrade() -> None:
    names = op.create_table(
        "names",
        sa.Column("chain", WORD, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", "kind", "digest", name="pk_names"),
        sa.ForeignKeyConstraint(
            ["chain", "sequence"],
            ["records.chain", "records.sequence"],
            name="fk_names_records",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_names_kind_digest_chain_sequence", "names", KEYS)
    _fill(names)
    triggers.create(op.get_bind())


def downgrade() -> None:
    op.drop_table("names")


def _fill(names: sa.Table) -> None:
    """Index the records that older versions wrote, some at a time."""
    connection = op.get_bind()
    columns = ["chain", "sequence", *LISTS.values()]
    records = sa.table("records", *map(sa.column, columns))
    place = sa.tuple_(records.c.chain, records.c.sequence)
    query = sa.select(records).order_by(records.c.chain, records.c.sequence).limit(AT_ONCE)
    found = connection.execute(query).mappings().all()
    while found:
        rows = [
            {"chain": each["chain"], "sequence": each["sequence"], "kind": kind, "digest": digest}
            for each in found
            for kind, column in LISTS.items()
            for digest in sorted(set(map(_digest, _listed(each[column]))))
        ]
        if rows:
            connection.execute(names.insert(), rows)
        last = found[-1]["chain"], found[-1]["sequence"]
        found = connection.execute(query.where(place > last)).mappings().all()


def _listed(text: Any) -> list[str]:
    """Return the names of a list; none of what is no list, which `audit verify` reports."""
    try:
        listed = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        return []
    if not isinstance(listed, list):
        return []
    return [each for each in listed if isinstance(each, str)]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()

"""The store: its identity, the audit trail, and the projections of the trail."""

import sqlalchemy as sa
from alembic import op

from sync.store import triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BEFORE_THE_LISTS = (
    "time",
    "run",
    "kind",
    "trigger",
    "cluster",
    "object_kind",
    "object_name",
    "action",
    "cause",
    "before",
    "after",
    "found",
    "plan",
    "firewall_version",
)


def upgrade() -> None:  # over 50 lines: a table of columns
    op.create_table(
        "store",
        sa.Column("uuid", WORD, nullable=False),
        sa.Column("created", WORD, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_store"),
    )
    op.create_table(
        "bodies",
        sa.Column("sha256", WORD, nullable=False),
        sa.Column("zlib", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_bodies"),
    )
    op.create_table(
        "heads",
        sa.Column("chain", WORD, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", WORD, nullable=False),
        sa.Column("time", WORD, nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_heads"),
    )
    op.create_table(
        "records",
        sa.Column("chain", WORD, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, WORD, nullable=False) for name in BEFORE_THE_LISTS),
        sa.Column("administrators", sa.Text(), nullable=False),
        sa.Column("description", WORD, nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("intent", sa.BigInteger(), nullable=False),
        sa.Column("outcome", WORD, nullable=False),
        sa.Column("error", WORD, nullable=False),
        sa.Column("detail", WORD, nullable=False),
        sa.Column("previous_hash", WORD, nullable=False),
        sa.Column("hash", WORD, nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", name="pk_records"),
    )
    op.create_index("ix_records_time_chain_sequence", "records", ["time", "chain", "sequence"])
    op.create_table(
        "objects",
        sa.Column("cluster", WORD, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("digest", WORD, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "kind", "name", name="pk_objects"),
        sa.ForeignKeyConstraint(["digest"], ["bodies.sha256"], name="fk_objects_bodies"),
        sa.ForeignKeyConstraint(
            ["cluster", "sequence"],
            ["records.chain", "records.sequence"],
            name="fk_objects_records",
        ),
    )
    op.create_table(
        "open_intents",
        sa.Column("chain", WORD, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", name="pk_open_intents"),
        sa.ForeignKeyConstraint(
            ["chain", "sequence"],
            ["records.chain", "records.sequence"],
            name="fk_open_intents_records",
        ),
    )
    triggers.create(op.get_bind())


def downgrade() -> None:
    triggers.drop(op.get_bind())
    for table in ("open_intents", "objects", "records", "heads", "bodies", "store"):
        op.drop_table(table)

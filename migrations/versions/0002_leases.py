"""Leases of clusters, and how clusters and sources stand."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", WORD, nullable=False),
        sa.Column("holder", WORD, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "standings",
        sa.Column("kind", WORD, nullable=False),
        sa.Column("name", WORD, nullable=False),
        *(
            sa.Column(name, WORD, nullable=False)
            for name in ("attempted", "succeeded", "state", "detail")
        ),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_standings"),
    )


def downgrade() -> None:
    for table in ("standings", "leases"):
        op.drop_table(table)

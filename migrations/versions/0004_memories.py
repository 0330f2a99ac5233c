"""What sources were told: no part of the trail."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "memories",
        *(sa.Column(name, WORD, nullable=False) for name in ("source", "kind", "name", "time")),
        sa.Column("zlib", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", "name", name="pk_memories"),
    )


def downgrade() -> None:
    op.drop_table("memories")

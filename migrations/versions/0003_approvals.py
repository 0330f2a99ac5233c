"""Plans that guards hold back, and their approvals: a projection of the trail."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("cluster", WORD, nullable=False),
        sa.Column("plan", WORD, nullable=False),
        sa.Column("blocked", sa.BigInteger(), nullable=False),
        sa.Column("approved", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "plan", name="pk_approvals"),
        sa.ForeignKeyConstraint(
            ["cluster", "blocked"],
            ["records.chain", "records.sequence"],
            name="fk_approvals_records",
        ),
    )


def downgrade() -> None:
    op.drop_table("approvals")

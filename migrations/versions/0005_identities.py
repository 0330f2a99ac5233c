"""Which cluster each entry of the configuration is: a projection of the trail."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "identities",
        *(sa.Column(name, WORD, nullable=False) for name in ("cluster", "uid", "accepted")),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", name="pk_identities"),
        sa.ForeignKeyConstraint(
            ["cluster", "sequence"],
            ["records.chain", "records.sequence"],
            name="fk_identities_records",
        ),
    )


def downgrade() -> None:
    op.drop_table("identities")

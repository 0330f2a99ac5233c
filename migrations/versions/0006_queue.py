"""The queue of the engine `procrastinate`: that library's own tables, on PostgreSQL alone.

They are as the library published them, in the file beside this one: what a later version of it
changes is another migration.
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SQL = Path(__file__).with_name("0006_queue.sql")

_TABLES = """
    SELECT format('DROP TABLE %I CASCADE', c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r'
    AND n.nspname = current_schema() AND starts_with(c.relname::text, 'procrastinate_')
"""
_FUNCTIONS = """
    SELECT format('DROP FUNCTION %I(%s) CASCADE', p.proname,
                  pg_get_function_identity_arguments(p.oid))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = current_schema() AND starts_with(p.proname::text, 'procrastinate_')
"""
_TYPES = """
    SELECT format('DROP TYPE %I CASCADE', t.typname) FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype = 'e' OR c.relkind = 'c')
    AND n.nspname = current_schema() AND starts_with(t.typname::text, 'procrastinate_')
"""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # With the driver's own cursor: these are many statements, with colons and percent signs.
        with connection.connection.cursor() as cursor:
            cursor.execute(_SQL.read_text(encoding="utf-8"))


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for listed in (_TABLES, _FUNCTIONS, _TYPES):
            for statement in connection.scalars(text(listed)).all():
                connection.exec_driver_sql(statement.replace("%", "%%"))

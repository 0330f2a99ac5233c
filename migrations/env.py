"""Runs the migrations on the connection, and in the transaction, that `sync.store.schema` gives."""

from alembic import context

from sync.store.models import Base
from sync.store.schema import is_ours

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_name=is_ours,
    # SQLite cannot alter most of a table: a migration rebuilds it.
    render_as_batch=True,
)

with context.begin_transaction():
    context.run_migrations()

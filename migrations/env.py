"""Runs the migrations on the connection, and in the transaction, that `sync.store.schema` gives."""

from alembic import context

from sync.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter most of a table: a migration rebuilds it.
    render_as_batch=True,
)

with context.begin_transaction():
    context.run_migrations()

"""`zonebridge db`: the store's schema."""

import click

from sync.cli.context import Context
from sync.settings import store_password
from sync.store import check as check_schema
from sync.store import upgrade as upgrade_schema


@click.group()
def db() -> None:
    """The store's schema: upgrade it, or check it."""


@db.command(short_help="Upgrade the schema, or create the store.")
@click.pass_obj
def upgrade(context: Context) -> None:
    """Upgrade the schema to this version; create the store if there is none."""
    store = context.settings().store
    secret = store_password(store)
    upgrade_schema(store.url, secret.get_secret_value() if secret else None)
    click.echo("The store's schema is up to date.")


@db.command(short_help="Check that the schema is the expected one.")
@click.pass_obj
def check(context: Context) -> None:
    """Check that the schema is the one this version expects; write nothing."""
    store = context.settings().store
    secret = store_password(store)
    check_schema(store.url, secret.get_secret_value() if secret else None)
    click.echo("The store's schema is the one this version expects.")

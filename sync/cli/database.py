"""`zonebridge db`: the store's schema."""

import click

from sync.cli.context import Context
from sync.settings import store_password
from sync.store import check as check_schema
from sync.store import upgrade as upgrade_schema


@click.group()
def db() -> None:
    """The store's schema: upgrade it, or check it."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Bring the schema to this version; a new store is made where there is none."""
    store = context.settings().store
    secret = store_password(store)
    upgrade_schema(store.url, secret.get_secret_value() if secret else None)
    click.echo("The store's schema is up to date.")


@db.command()
@click.pass_obj
def check(context: Context) -> None:
    """Check that the schema is what this version expects; nothing is written."""
    store = context.settings().store
    secret = store_password(store)
    check_schema(store.url, secret.get_secret_value() if secret else None)
    click.echo("The store's schema is what this version expects.")

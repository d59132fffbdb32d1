"""`syncd token`: API tokens."""

import click
from rich.table import Table

from syncd.cli.options import with_settings
from syncd.cli.output import print_table
from syncd.errors import SyncdError
from syncd.settings import Settings
from syncd.store import tokens
from syncd.store.database import Role, engine


@click.group()
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command()
@click.option("--role", type=click.Choice(["admin", "agent"]), required=True)
@click.option("--name", required=True, help="Who or what uses it; shown in the log.")
@with_settings
def create(settings: Settings, role: str, name: str) -> None:
    """Make a token and print it; it is not stored and cannot be shown again."""
    secret = tokens.create(engine(settings.database, Role.API), name, role)
    click.echo(f"token {name!r} of role {role}; keep it, it is not shown again:", err=True)
    click.echo(secret)


@token.command(name="list")
@with_settings
def list_(settings: Settings) -> None:
    """List the tokens, without their secrets."""
    table = Table("name", "role", "created", "revoked")
    for row in tokens.listing(engine(settings.database, Role.API)):
        revoked = "" if row.revoked_at is None else f"{row.revoked_at:%Y-%m-%d %H:%M}"
        table.add_row(row.name, row.role, f"{row.created_at:%Y-%m-%d %H:%M}", revoked)
    print_table(table)


@token.command()
@click.argument("name")
@with_settings
def revoke(settings: Settings, name: str) -> None:
    """Make a token worthless from the next request on."""
    if not tokens.revoke(engine(settings.database, Role.API), name):
        raise SyncdError(f"there is no valid token {name!r}; `syncd token list` shows them")
    click.echo(f"token {name!r} is revoked")

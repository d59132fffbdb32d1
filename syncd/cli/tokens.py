"""`syncd token`: API tokens."""

from datetime import UTC, datetime, timedelta

import click
from rich.table import Table

from syncd.cli.options import length, with_settings
from syncd.cli.output import print_table
from syncd.errors import SyncdError
from syncd.settings import Settings
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine


@click.group()
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command()
@click.option("--role", type=click.Choice(["admin", "agent"]), required=True)
@click.option("--name", required=True, help="Who or what uses it; shown in the log.")
@click.option(
    "--expires", "lasts", callback=length, help="How long it is good for, such as 90d; default: until revoked."
)
@with_settings
def create(settings: Settings, role: str, name: str, lasts: timedelta | None) -> None:
    """Make a token and print it; it is not stored and cannot be shown again."""
    secret = tokens.create(open_engine(settings.database, Role.API), name, role, lasts)
    until = "" if lasts is None else f", good until {datetime.now(UTC) + lasts:%Y-%m-%d %H:%M}"
    click.echo(f"token {name!r} of role {role}{until}; keep it, it is not shown again:", err=True)
    click.echo(secret)


@token.command(name="list")
@with_settings
def list_(settings: Settings) -> None:
    """List the tokens, without their secrets; times are in UTC."""
    table = Table("name", "role", "created", "last used", "expires", "revoked")
    for row in tokens.listing(open_engine(settings.database, Role.API)):
        times = (row.created_at, row.used_at, row.expires_at, row.revoked_at)
        table.add_row(
            row.name, row.role, *("" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in times)
        )
    print_table(table)


@token.command()
@click.argument("name")
@with_settings
def revoke(settings: Settings, name: str) -> None:
    """Make a token worthless from the next request on."""
    if not tokens.revoke(open_engine(settings.database, Role.API), name):
        raise SyncdError(f"there is no valid token {name!r}; `syncd token list` shows them")
    click.echo(f"token {name!r} is revoked")

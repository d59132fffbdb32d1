"""`syncd token`: creation, list and revocation of API tokens."""

from datetime import UTC, datetime, timedelta

import click
from rich.table import Table

from syncd.cli.formatting import print_table
from syncd.cli.options import parse_duration_option, with_settings
from syncd.errors import SyncdError
from syncd.settings import Settings
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine


@click.group()
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command()
@click.option("--role", type=click.Choice(["admin", "agent"]), required=True, help="Role of the token's requests.")
@click.option("--name", required=True, help="Name of the token's user or client, for the log.")
@click.option(
    "--expires",
    "lifetime",
    callback=parse_duration_option,
    help="Lifetime of the token, such as 90d; default: until revoked.",
)
@with_settings
def create(settings: Settings, role: str, name: str, lifetime: timedelta | None) -> None:
    """Create a token and print it; it cannot be shown again."""
    secret = tokens.create(open_engine(settings.database, Role.API), name, role, lifetime)
    expiry = "" if lifetime is None else f", valid until {datetime.now(UTC) + lifetime:%Y-%m-%d %H:%M}"
    click.echo(f"token {name!r} of role {role}{expiry}; keep it, it is not shown again:", err=True)
    click.echo(secret)


@token.command(name="list")
@with_settings
def list_(settings: Settings) -> None:
    """List the tokens, without their secrets; times are in UTC."""
    table = Table("name", "role", "created", "last used", "expires", "revoked")
    for row in tokens.list_tokens(open_engine(settings.database, Role.API)):
        times = (row.created_at, row.used_at, row.expires_at, row.revoked_at)
        table.add_row(
            row.name, row.role, *("" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in times)
        )
    print_table(table)


@token.command()
@click.argument("name")
@with_settings
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token with immediate effect."""
    if not tokens.revoke(open_engine(settings.database, Role.API), name):
        raise SyncdError(f"there is no valid token {name!r}; `syncd token list` shows them")
    click.echo(f"token {name!r} is revoked")

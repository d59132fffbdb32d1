"""`syncd migrate`: the database's schema, checked, planned, brought up to date."""

import click

from syncd.cli.options import with_settings
from syncd.errors import MissingPrivilege
from syncd.settings import Settings
from syncd.store.connection.engine import open_engine
from syncd.store.schema import migrate as migrations
from syncd.store.schema import version


@click.command()
@click.option("--plan", "wanted", flag_value="plan", help="Only say what would be done; 1 when privileges are missing.")
@click.option("--check", "wanted", flag_value="check", help="Only say whether the schema fits; 1 when it does not.")
@with_settings
def migrate(settings: Settings, wanted: str | None) -> None:
    """Bring the database's schema up to date; the version before this one may serve meanwhile and afterwards."""
    database = open_engine(settings.database, None)
    if wanted == "plan":
        _show(migrations.plan(database))
    elif wanted == "check":
        click.echo(f"the schema is {version.check(database)}, as this version needs it")
    else:
        done = migrations.migrate(database)
        click.echo(f"migrated: {', '.join(done)}" if done else "the schema is up to date")


def _show(upgrade: migrations.Upgrade) -> None:
    if not upgrade.steps:
        click.echo(f"the schema is {upgrade.found}, as this version needs it; nothing is to be done")
        return
    click.echo(f"schema {upgrade.found or 'none'}, needed {upgrade.needed}: `syncd migrate` does, in one transaction")
    for number, about in upgrade.steps:
        click.echo(f"  {number}  {about}")
    click.echo("all of it only adds: a version that runs on the schema as it is now keeps working, meanwhile and after")
    if upgrade.grants:
        raise MissingPrivilege(
            "the database user may not do all that; let a database administrator run this in the same database before",
            "\n".join(upgrade.grants),
        )

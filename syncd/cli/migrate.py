"""`syncd migrate`: check, plan and execution of schema migrations."""

import click

from syncd.cli.options import with_settings
from syncd.errors import MissingPrivilege
from syncd.settings import Settings
from syncd.store.connection.engine import open_engine
from syncd.store.schema import migrate as migrations
from syncd.store.schema import version


@click.command()
@click.option("--plan", "mode", flag_value="plan", help="Only show the steps; exit with 1 if privileges are missing.")
@click.option(
    "--check", "mode", flag_value="check", help="Only check the schema's version; exit with 1 if it is not supported."
)
@with_settings
def migrate(settings: Settings, mode: str | None) -> None:
    """Migrate the database schema to this version.

    Migrations only add to the schema, so the previous version can serve during and after them.
    """
    database = open_engine(settings.database, None)
    if mode == "plan":
        _print_upgrade(migrations.plan_upgrade(database))
    elif mode == "check":
        click.echo(f"the schema is {version.check_schema(database)}, as this version needs it")
    else:
        steps = migrations.migrate(database)
        click.echo(f"migrated: {', '.join(steps)}" if steps else "the schema is up to date")


def _print_upgrade(upgrade: migrations.UpgradePlan) -> None:
    if not upgrade.steps:
        click.echo(f"the schema is {upgrade.current}, as this version needs it; nothing is to be done")
        return
    click.echo(
        f"schema {upgrade.current or 'none'}, needed {upgrade.target}; steps of `syncd migrate`, in one transaction:"
    )
    for number, description in upgrade.steps:
        click.echo(f"  {number}  {description}")
    click.echo("all steps only add: a version that runs on the current schema keeps working during and after them")
    if upgrade.grants:
        raise MissingPrivilege(
            "the database user lacks privileges for it; a database administrator has to run this in the database first",
            "\n".join(upgrade.grants),
        )

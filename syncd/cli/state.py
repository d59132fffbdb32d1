"""`syncd status`: how the sources are."""

import sys
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from syncd.cli.exits import EXIT_FAILED
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.core.health import Expected, health
from syncd.settings import Settings
from syncd.store import runs
from syncd.store.database import Role, engine, translated


@click.command()
@with_json
@with_settings
def status(settings: Settings, *, as_json: bool) -> None:
    """Show each source's last run and the age of its contacts; 1 when one is stale."""
    with translated(), engine(settings.database, Role.API).connect() as connection:
        state = runs.state(connection)
    expected = [Expected(source.name, source.type, source.stale_age) for source in settings.source]
    found = health(expected, state, datetime.now(UTC))
    if as_json:
        print_json(found)
    else:
        print_table(_table(found))
    sys.exit(EXIT_FAILED if any(source["stale"] for source in found["sources"]) else 0)


def _table(found: dict[str, Any]) -> Table:
    table = Table("source", "type", "last run", "age", "stale", "held", "rejected", "why", title=f"{found['status']}")
    for source in found["sources"]:
        age = "never" if source["ageSeconds"] is None else f"{source['ageSeconds']} s"
        table.add_row(
            source["name"], source["type"], source["outcome"] or "-", age, "yes" if source["stale"] else "no",
            str(source["held"]), str(source["rejected"]), source["why"],
        )  # fmt: skip
    return table

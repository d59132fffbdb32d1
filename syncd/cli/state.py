"""`syncd status`: how the sources are, why their last reads were believed, and who leaves when."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from syncd.cli.exits import EXIT_FAILED
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.cli.wording import clock
from syncd.core.history import Leaver
from syncd.settings import Settings
from syncd.store import leaving
from syncd.store.database import Role, engine, translated
from syncd.store.status import status as look

_SHOWN = 20


@click.command()
@with_json
@click.option("--leaving", "everybody", is_flag=True, help=f"List all who are missing, not only the first {_SHOWN}.")
@with_settings
def status(settings: Settings, *, as_json: bool, everybody: bool) -> None:
    """Show the sources, their last runs and who leaves when; 1 when one is stale."""
    limit = None if as_json or everybody else _SHOWN
    with translated(), engine(settings.database, Role.API).connect() as connection:
        found = look(connection, settings.expected(), settings.terms())
        leavers = leaving.forecast(connection, settings.terms(), limit)
    if as_json:
        print_json({**found, "leaving": [leaver.facts() for leaver in leavers.items]})
    else:
        print_table(_sources(found))
        for source in found["sources"]:
            click.echo(f"{source['name']}: {'; '.join(_evidence(source))}")
        if leavers.items:
            print_table(_leaving(leavers.items, leavers.total))
    sys.exit(EXIT_FAILED if any(source["stale"] for source in found["sources"]) else 0)


def _sources(found: Mapping[str, Any]) -> Table:
    columns = ("source", "type", "last run", "age", "stale", "missing", "held", "rejected", "why")
    table = Table(*columns, title=f"{found['status']}")
    for source in found["sources"]:
        age = "never" if source["ageSeconds"] is None else f"{source['ageSeconds']} s"
        number = "" if source["run"] is None else f" ({source['run']})"
        table.add_row(
            source["name"], source["type"], f"{source['outcome'] or '-'}{number}", age,
            "yes" if source["stale"] else "no", str(source["missing"]), _held(source), str(source["rejected"]),
            source["why"],
        )  # fmt: skip
    return table


def _held(source: Mapping[str, Any]) -> str:
    kept = [f"{source['kept']} kept"] if source["kept"] else []
    return ", ".join([str(source["held"]), *kept, *source["heldAttributes"]])


def _evidence(source: Mapping[str, Any]) -> Iterator[str]:
    """Why the last read was believed, or why not."""
    evidence = source["evidence"]
    if evidence is None:
        yield "no evidence yet"
        return
    shortfalls = ", ".join(shortfall["code"] for shortfall in evidence["shortfalls"])
    yield "complete" if evidence["complete"] else f"not complete ({shortfalls})"
    identity = f" as {evidence['identity']}" if evidence["identity"] else ""
    yield f"{evidence['server']}{identity}"
    codes = ", ".join(f"{code} ×{count}" for code, count in evidence["resultCodes"].items())
    if codes:
        yield f"{evidence['pages']} pages with result codes {codes}"
    yield f"{evidence['entries']} entries, {evidence['references']} references in {evidence['seconds']} s"


def _leaving(leavers: Sequence[Leaver], total: int) -> Table:
    more = f", the first {len(leavers)} of {total} (--leaving shows all)" if len(leavers) < total else ""
    columns = ("source", "name", "key", "missing since", "leaves not before", "complete runs to go")
    table = Table(*columns, title=f"missing{more}")
    for leaver in leavers:
        since, earliest = clock(leaver.since), clock(leaver.earliest)
        table.add_row(leaver.source, leaver.name, leaver.key, since, earliest, str(leaver.runs))
    return table

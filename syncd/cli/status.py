"""`syncd status`: how the sources are, why their last reads were believed, and who leaves when."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import clock, span
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.core.sync.history import Leaver
from syncd.settings import Settings
from syncd.store.admin import pending_removals
from syncd.store.admin.status import status as look
from syncd.store.connection.engine import Role, open_engine, translated

_SHOWN = 20


@click.command()
@with_json
@click.option("--leaving", "everybody", is_flag=True, help=f"List all who are missing, not only the first {_SHOWN}.")
@with_settings
def status(settings: Settings, *, as_json: bool, everybody: bool) -> None:
    """Show the sources, their last runs and who leaves when; 1 when one is stale."""
    limit = None if as_json or everybody else _SHOWN
    with translated(), open_engine(settings.database, Role.API).connect() as connection:
        found = look(connection, settings.expected(), settings.terms())
        leavers = pending_removals.forecast(connection, settings.terms(), limit)
    if as_json:
        print_json({**found, "leaving": [leaver.facts() for leaver in leavers.items]})
    else:
        for line in _summary(found):
            click.echo(line)
        print_table(_sources(found))
        for source in found["sources"]:
            click.echo(f"{source['name']}: {'; '.join(_evidence(source, found['why']))}")
        if leavers.items:
            print_table(_leaving(leavers.items, leavers.total))
    sys.exit(EXIT_FAILED if any(source["stale"] for source in found["sources"]) else 0)


def _summary(found: Mapping[str, Any]) -> Iterator[str]:
    """How it is, every reason why not better, and what is served."""
    well = found["status"] == "ok"
    yield click.style(found["status"], fg="green" if well else "red", bold=True)
    for why in found["why"]:
        yield f"  - {why}"
    served = [f"{count:,} {type_}" for type_, count in sorted(found["contacts"].items())]
    yield f"{', '.join(served) or 'no'} contacts; revision {found['revision']}"


def _sources(found: Mapping[str, Any]) -> Table:
    table = Table("source", "type", "last run", "age")
    for count in ("missing", "held", "rejected"):
        table.add_column(count, justify="right")
    for source in found["sources"]:
        table.add_row(
            source["name"], source["type"], _last_run(source), _age(source),
            str(source["missing"]), _held(source), str(source["rejected"]),
        )  # fmt: skip
    return table


def _last_run(source: Mapping[str, Any]) -> str:
    number = "" if source["run"] is None else f" ({source['run']})"
    going_on = ", the next is going on" if source["running"] else ""
    return f"{source['outcome'] or 'none'}{number}{going_on}"


def _age(source: Mapping[str, Any]) -> Text:
    age = "never" if source["ageSeconds"] is None else span(source["ageSeconds"])
    return Text(f"{age}, stale", "red") if source["stale"] else Text(age)


def _held(source: Mapping[str, Any]) -> str:
    kept = [f"{source['kept']} kept"] if source["kept"] else []
    return ", ".join([str(source["held"]), *kept, *source["heldAttributes"]])


def _evidence(source: Mapping[str, Any], told: Sequence[str]) -> Iterator[str]:
    """Why the last read was believed, or why not, and what became of it, unless that is told already."""
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
    if source["certificateEnds"]:
        yield f"certificate until {source['certificateEnds'][:10]}"
    if source["why"] and not any(source["why"] in reason for reason in told):
        yield source["why"]


def _leaving(leavers: Sequence[Leaver], total: int) -> Table:
    more = f", the first {len(leavers)} of {total} (--leaving shows all)" if len(leavers) < total else ""
    columns = ("source", "name", "key", "missing since", "leaves not before", "complete runs to go")
    table = Table(*columns, title=f"missing{more}")
    for leaver in leavers:
        since, earliest = clock(leaver.since), clock(leaver.earliest)
        table.add_row(leaver.source, leaver.name, leaver.key, since, earliest, str(leaver.runs))
    return table

"""`syncd status`: state of the sources, evidence of their last reads, and pending removals."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import format_duration, format_time, print_json, print_table
from syncd.cli.options import with_json, with_settings
from syncd.core.sync.history import PendingRemoval
from syncd.settings import Settings
from syncd.store.admin import pending_removals
from syncd.store.admin.status import load_status
from syncd.store.connection.engine import Role, mapped_errors, open_engine

_MAX_LEAVING_ROWS = 20
"""Rows of pending removals without `--leaving`."""


@click.command()
@with_json
@click.option(
    "--leaving", "all_removals", is_flag=True, help=f"List all pending removals, not only {_MAX_LEAVING_ROWS}."
)
@with_settings
def status(settings: Settings, *, as_json: bool, all_removals: bool) -> None:
    """Show sources, last runs and pending removals.

    Exits with 1 if a source is stale.
    """
    limit = None if as_json or all_removals else _MAX_LEAVING_ROWS
    with mapped_errors(), open_engine(settings.database, Role.API).connect() as connection:
        state = load_status(connection, settings.expected_sources(), settings.lifecycles())
        removals = pending_removals.list_pending_removals(connection, settings.lifecycles(), limit)
    if as_json:
        print_json({**state, "leaving": [removal.to_json() for removal in removals.items]})
    else:
        for line in _format_summary(state):
            click.echo(line)
        print_table(_source_table(state))
        for source in state["sources"]:
            click.echo(f"{source['name']}: {'; '.join(_format_evidence(source, state['why']))}")
        if removals.items:
            print_table(_removal_table(removals.items, removals.total))
    sys.exit(EXIT_FAILED if any(source["stale"] for source in state["sources"]) else 0)


def _format_summary(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the overall status, its reasons, and the number of served contacts."""
    is_ok = state["status"] == "ok"
    yield click.style(state["status"], fg="green" if is_ok else "red", bold=True)
    for reason in state["why"]:
        yield f"  - {reason}"
    counts = [f"{count:,} {type_}" for type_, count in sorted(state["contacts"].items())]
    yield f"{', '.join(counts) or 'no'} contacts; revision {state['revision']}"


def _source_table(state: Mapping[str, Any]) -> Table:
    table = Table("source", "type", "last run", "age")
    for count in ("missing", "held", "rejected"):
        table.add_column(count, justify="right")
    for source in state["sources"]:
        table.add_row(
            source["name"], source["type"], _format_last_run(source), _format_age(source),
            str(source["missing"]), _format_held(source), str(source["rejected"]),
        )  # fmt: skip
    return table


def _format_last_run(source: Mapping[str, Any]) -> str:
    number = "" if source["run"] is None else f" ({source['run']})"
    running = ", the next is running" if source["running"] else ""
    return f"{source['outcome'] or 'none'}{number}{running}"


def _format_age(source: Mapping[str, Any]) -> Text:
    age = "never" if source["ageSeconds"] is None else format_duration(source["ageSeconds"])
    return Text(f"{age}, stale", "red") if source["stale"] else Text(age)


def _format_held(source: Mapping[str, Any]) -> str:
    kept = [f"{source['kept']} kept"] if source["kept"] else []
    return ", ".join([str(source["held"]), *kept, *source["heldAttributes"]])


def _format_evidence(source: Mapping[str, Any], printed_reasons: Sequence[str]) -> Iterator[str]:
    """Yield the evidence of the last read, and the reason of the run's outcome unless it was printed already."""
    evidence = source["evidence"]
    if evidence is None:
        yield "no evidence yet"
        return
    codes = ", ".join(reason["code"] for reason in evidence["shortfalls"])
    yield "complete" if evidence["complete"] else f"incomplete ({codes})"
    identity = f" as {evidence['identity']}" if evidence["identity"] else ""
    yield f"{evidence['server']}{identity}"
    result_codes = ", ".join(f"{code} ×{count}" for code, count in evidence["resultCodes"].items())
    if result_codes:
        yield f"{evidence['pages']} pages with result codes {result_codes}"
    yield f"{evidence['entries']} entries, {evidence['references']} references in {evidence['seconds']} s"
    if source["certificateEnds"]:
        yield f"certificate until {source['certificateEnds'][:10]}"
    if source["why"] and not any(source["why"] in reason for reason in printed_reasons):
        yield source["why"]


def _removal_table(removals: Sequence[PendingRemoval], total: int) -> Table:
    more = f", the first {len(removals)} of {total} (--leaving shows all)" if len(removals) < total else ""
    columns = ("source", "name", "key", "missing since", "removed not before", "complete runs to go")
    table = Table(*columns, title=f"missing{more}")
    for removal in removals:
        since, earliest = format_time(removal.since), format_time(removal.earliest)
        table.add_row(removal.source, removal.name, removal.key, since, earliest, str(removal.runs))
    return table

"""Output of the commands: tables, JSON documents, and text forms of runs, changes, times and values."""

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from syncd.core.sync.plan import Change, Report

_SIGNS = {"add": "+", "change": "~", "return": "<", "miss": "?", "remove": "-", "purge": "x"}
"""Kind of a change -> prefix of its line; a held change has `!`."""
_UNWRAPPED_WIDTH = 10_000
"""Columns of a table that is not printed to a terminal."""


def print_table(table: Table) -> None:
    """Print a table to stdout: fitted to a terminal, else with one line per row."""
    console = Console(markup=False, emoji=False, highlight=False)  # cells are printed verbatim
    if not console.is_terminal:
        console.width = _UNWRAPPED_WIDTH
    console.print(table)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def format_run(report: Report) -> str:
    """Format the result of a run or plan: outcome and counts; reason on a second line."""
    applied = report.applied
    text = (
        f"{report.source}: {report.outcome}: {report.entries} entries; {applied.added} added, "
        f"{applied.changed} changed, {applied.missing} missing, {applied.removed} removed, {report.held} held, "
        f"{applied.rejected} rejected in {report.seconds:.1f} s"
    )
    return f"{text}\n  {report.reason}" if report.reason else text


def format_time(at: datetime) -> str:
    """Format a time in the local time zone."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def format_duration(seconds: int) -> str:
    """Format a duration in the largest unit of which it has at least two."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def format_change(change: Change) -> str:
    """Format a change in one line: sign, name, key, differing members, reason."""
    contact = f"{(change.new or change.old)['name']} ({change.key})"
    if change.held:
        return f"! {contact}: {change.kind} is held: {change.held}"
    parts = [contact]
    if change.kind == "add":
        members = {member: value for member, value in change.new.items() if member != "name"}
        parts.append(", ".join(f"{member} {format_value(value)}" for member, value in members.items()))
    if change.kind in {"change", "return"}:
        parts.append(format_difference(change))
    return f"{_SIGNS[change.kind]} {': '.join(filter(None, [*parts, change.reason]))}"


def format_difference(change: Change) -> str:
    """Format each differing member as `member old -> new`."""
    members = [m for m in {**change.old, **change.new} if change.old.get(m) != change.new.get(m)]
    return "; ".join(f"{m} {_format_replacement(change.old.get(m), change.new.get(m))}" for m in members)


def _format_replacement(old: Any, new: Any) -> str:
    """Format an old and a new value; descriptions of numbers are omitted unless only they differ."""
    plain = format_value(old) != format_value(new)
    return f"{format_value(old, plain=plain)} -> {format_value(new, plain=plain)}"


def format_value(value: Any, *, plain: bool = True) -> str:
    """Format the value of a member; `plain` omits the descriptions of numbers."""
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(_format_number(one, plain=plain) if isinstance(one, dict) else str(one) for one in value)
    return repr(value)


def _format_number(number: dict[str, str], *, plain: bool) -> str:
    description = "" if plain else f" ({number.get('description', 'no description')})"
    return f"{number['phoneNumber']}{description}"

"""`syncd held`, `approve`, `reject` and `rejects`: held changes, decisions on them, and rejected records."""

import json
from collections.abc import Sequence

import click
from rich.table import Table

from syncd.cli.formatting import format_time, print_json, print_table
from syncd.cli.options import operator_name, select_sources, with_json, with_settings, with_sources
from syncd.core.sync.history import HeldItem, RejectedRecord
from syncd.settings import Settings
from syncd.store.admin import approvals
from syncd.store.connection.engine import Role, mapped_errors, open_engine
from syncd.store.run import rejects as quarantine


@click.command()
@with_sources
@with_json
@with_settings
def held(settings: Settings, sources: tuple[str, ...], *, as_json: bool) -> None:
    """List the held changes of sources (default: all), with reasons."""
    with mapped_errors(), open_engine(settings.database, Role.API).connect() as connection:
        items = approvals.list_held_items(connection, sources and select_sources(settings, sources)).items
    if as_json:
        print_json({"held": [item.to_json() for item in items]})
    elif items:
        print_table(_held_table(items))
        for run in sorted({item.run for item in items if not (item.kept_by or item.approved_by)}):
            click.echo(f"run {run}: `syncd approve {run}` releases its list, `syncd reject {run}` keeps these contacts")
    else:
        click.echo("nothing is held")


def _held_table(items: Sequence[HeldItem]) -> Table:
    table = Table("source", "run", "name", "key", "since", "code", "reason", "decided")
    for item in items:
        name = f"loss of {item.attribute}" if item.attribute else item.name
        run = f"{item.run}" if item.job == "sync" else f"{item.run} ({item.job})"
        table.add_row(
            item.source, run, name, item.key or "", format_time(item.since), item.code, item.reason,
            _format_decision(item),
        )  # fmt: skip
    return table


def _format_decision(item: HeldItem) -> str:
    if item.kept_by:
        return f"kept by {item.kept_by}"
    return f"approved by {item.approved_by}" if item.approved_by else ""


@click.command()
@click.argument("run", type=int)
@with_settings
def approve(settings: Settings, run: int) -> None:
    """Approve the changes that a run holds, once.

    The approval is valid for this list only, and expires after guard.approval_expires of the source.
    """
    with mapped_errors(), open_engine(settings.database, Role.API).begin() as connection:
        source = settings.find_source(approvals.load_source(connection, run))
        decision = approvals.approve(connection, run, operator_name(), source.guard.approval_expires)
    click.echo(f"approved: {_format_removals(decision)}, as held by run {run}, until {_format_expiry(decision)}")
    click.echo(f"{_describe_applying_run(decision)}; if its list differs, nothing is removed and the approval is void")


@click.command()
@click.argument("run", type=int)
@with_settings
def reject(settings: Settings, run: int) -> None:
    """Reject the changes that a run holds; the contacts stay.

    They are kept, whatever the limits of the guard, until they are back in the source or the removal is approved.
    """
    with mapped_errors(), open_engine(settings.database, Role.API).begin() as connection:
        decision = approvals.reject(connection, run, operator_name())
    click.echo(
        f"rejected: {_format_removals(decision)}; all of it stays, whatever the limits, "
        "until it is back in the source or approved"
    )
    if decision.withdrawn:
        click.echo("an approval of this list is withdrawn")


def _format_expiry(decision: approvals.HoldDecision) -> str:
    return "" if decision.expires_at is None else format_time(decision.expires_at)


def _format_removals(decision: approvals.HoldDecision) -> str:
    removals = [f"{decision.contacts} removals"] if decision.contacts else []
    losses = [f"the loss of {name}" for name in decision.attributes]
    return f"{' and '.join(removals + losses)} of {decision.source}"


def _describe_applying_run(decision: approvals.HoldDecision) -> str:
    """Name the run that applies an approval."""
    if decision.job == "undo":
        return f"`syncd undo {decision.undone}` applies it"
    if decision.job == "purge":
        return "the next purge applies it"
    return f"`syncd sync {decision.source}`, or the next scheduled run, applies it"


@click.command()
@with_sources
@with_json
@with_settings
def rejects(settings: Settings, sources: tuple[str, ...], *, as_json: bool) -> None:
    """List the records that could not be mapped.

    The stored contacts of rejected records stay unchanged.
    """
    with mapped_errors(), open_engine(settings.database, Role.API).connect() as connection:
        records = quarantine.list_rejects(connection, sources and select_sources(settings, sources)).items
    if as_json:
        print_json({"rejects": [record.to_json() for record in records]})
    elif records:
        print_table(_rejects_table(records))
        click.echo("a record that is corrected in its source leaves the list with the next run")
    else:
        click.echo("nothing is rejected")


def _rejects_table(records: Sequence[RejectedRecord]) -> Table:
    table = Table("source", "key", "place", "reason", "values")
    for record in records:
        values = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in record.values.items())
        table.add_row(record.source, record.key or "", record.location, record.reason, values)
    return table

"""`syncd held`, `approve`, `reject`, `rejects`: what did not get into the directory, and a person's word on it."""

import json
from collections.abc import Sequence

import click
from rich.table import Table

from syncd.cli.formatting import clock
from syncd.cli.options import chosen, person, with_json, with_settings, with_sources
from syncd.cli.output import print_json, print_table
from syncd.core.sync.history import HeldItem, Rejected
from syncd.settings import Settings
from syncd.store.admin import approvals
from syncd.store.connection.engine import Role, open_engine, translated
from syncd.store.run import rejects as quarantine


@click.command()
@with_sources
@with_json
@with_settings
def held(settings: Settings, sources: tuple[str, ...], *, as_json: bool) -> None:
    """List what the guard holds back, and why."""
    with translated(), open_engine(settings.database, Role.API).connect() as connection:
        items = approvals.listing(connection, sources and chosen(settings, sources)).items
    if as_json:
        print_json({"held": [item.facts() for item in items]})
    elif items:
        print_table(_held_table(items))
        waiting = sorted({item.run for item in items if not (item.kept_by or item.approved_by)})
        for run in waiting:
            click.echo(f"run {run}: `syncd approve {run}` releases its list, `syncd reject {run}` keeps these contacts")
    else:
        click.echo("nothing is held")


def _held_table(items: Sequence[HeldItem]) -> Table:
    table = Table("source", "run", "name", "key", "since", "code", "reason", "decided")
    for item in items:
        name = f"loss of {item.attribute}" if item.attribute else item.name
        run = f"{item.run}" if item.job == "sync" else f"{item.run} ({item.job})"
        table.add_row(item.source, run, name, item.key or "", clock(item.since), item.code, item.reason, _decided(item))
    return table


def _decided(item: HeldItem) -> str:
    if item.kept_by:
        return f"kept by {item.kept_by}"
    return f"approved by {item.approved_by}" if item.approved_by else ""


@click.command()
@click.argument("run", type=int)
@with_settings
def approve(settings: Settings, run: int) -> None:
    """Release exactly what this run holds, once."""
    with translated(), open_engine(settings.database, Role.API).begin() as connection:
        source = settings.named(approvals.source_of(connection, run))
        word = approvals.approve(connection, run, person(), source.guard.approval_expires)
    click.echo(f"approved: {_list(word)}, as held by run {run}, until {_end(word)}")
    click.echo(f"{_next(word)}; should its list be another by then, nothing of it is removed and the approval is void")


@click.command()
@click.argument("run", type=int)
@with_settings
def reject(settings: Settings, run: int) -> None:
    """Keep what this run holds, until somebody approves it."""
    with translated(), open_engine(settings.database, Role.API).begin() as connection:
        word = approvals.reject(connection, run, person())
    click.echo(f"rejected: {_list(word)}; all of it stays, whatever the limits, until it is back or somebody approves")
    if word.withdrawn:
        click.echo("an approval of this list is withdrawn")


def _end(word: approvals.Word) -> str:
    return "" if word.expires_at is None else clock(word.expires_at)


def _list(word: approvals.Word) -> str:
    removals = [f"{word.contacts} removals"] if word.contacts else []
    return " and ".join([*removals, *(f"the loss of {name}" for name in word.attributes)]) + f" of {word.source}"


def _next(word: approvals.Word) -> str:
    """Which run makes use of an approval."""
    if word.job == "undo":
        return f"`syncd undo {word.undone}` does it"
    if word.job == "purge":
        return "the next purge does it"
    return f"`syncd sync {word.source}`, or the next run by its schedule, does it"


@click.command()
@with_sources
@with_json
@with_settings
def rejects(settings: Settings, sources: tuple[str, ...], *, as_json: bool) -> None:
    """List the records that could not be mapped; their contacts stay as they are."""
    with translated(), open_engine(settings.database, Role.API).connect() as connection:
        found = quarantine.listing(connection, sources and chosen(settings, sources)).items
    if as_json:
        print_json({"rejects": [record.facts() for record in found]})
    elif found:
        print_table(_rejects_table(found))
        click.echo("a record that is mended at its source leaves the list with the next run")
    else:
        click.echo("nothing is rejected")


def _rejects_table(found: Sequence[Rejected]) -> Table:
    table = Table("source", "key", "place", "reason", "values")
    for record in found:
        values = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in record.values.items())
        table.add_row(record.source, record.key or "", record.place, record.reason, values)
    return table

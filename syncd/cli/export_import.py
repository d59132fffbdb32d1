"""`syncd export`, `import`: contacts in files, for spreadsheets and address books."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click
from rich.table import Table

from syncd.app import atomic_file, contact_export, contact_import
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.options import person, with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.core.contacts.contact import TYPES
from syncd.core.contacts.query import FORMATS, Format, parse
from syncd.core.files.contact_import import LARGEST, Outcome
from syncd.settings import Settings


@click.command()
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Default: as the query says, else csv.")
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES, case_sensitive=False), help="Only these.")
@click.option("--query", default="", help="Filters, order and fields as the API takes them: 'name=Jim&sortBy=name'.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file; default stdout.")
@with_settings
def export(settings: Settings, format_: Format | None, types: tuple[str, ...], query: str, out: Path | None) -> None:
    """Write contacts as CSV, vCard or JSON: all, or those that a query finds."""
    asked = parse("&".join([query, *(f"type={type_}" for type_ in types)]).encode())
    asked = replace(asked, format=format_ or asked.format)
    if out is None:
        asyncio.run(contact_export.export(settings, asked, _print))
        return
    with atomic_file.writing(out) as file:
        asyncio.run(contact_export.export(settings, asked, file.write))


def _print(text: str) -> None:
    """As it is: line ends and encoding belong to the form, not to the terminal."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


@click.command(name="import")
@click.argument("file", type=click.File("rb"))
@click.option("--apply", is_flag=True, help="Write what can be imported; without it nothing is written.")
@with_json
@with_settings
def import_(settings: Settings, file: BinaryIO, *, apply: bool, as_json: bool) -> None:
    """Import Custom contacts from CSV or vCard; FILE may be - for stdin. Shows what it would do unless told to --apply.

    Exits with 1 when a row is rejected; the others are imported all the same.
    """
    raw = file.read(LARGEST + 1)
    media = contact_import.media_of(raw)
    outcome = (
        contact_import.apply(settings, raw, media, person()) if apply else contact_import.preview(settings, raw, media)
    )
    if as_json:
        print_json(outcome.facts())
    else:
        _tell(outcome)
    sys.exit(EXIT_FAILED if outcome.count("reject") else 0)


def _tell(outcome: Outcome) -> None:
    """The rows that something happens to, and the sum."""
    table = Table("line", "result", "name", "id", "why")
    for row in outcome.rows:
        if row.result != "unchanged":
            table.add_row(str(row.line), row.result, row.name, row.id, row.why)
    if table.row_count:
        print_table(table)
    would = "" if outcome.applied else "would be "
    click.echo(
        f"{outcome.count('create')} {would}created, {outcome.count('change')} {would}changed, "
        f"{outcome.count('unchanged')} unchanged, {outcome.count('reject')} rejected"
    )
    if not outcome.applied:
        click.echo("nothing is written yet; --apply does it", err=True)

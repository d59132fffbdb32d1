"""`syncd export` and `import`: contacts in files for spreadsheets and address books."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click
from rich.table import Table

from syncd.app import atomic_file, contact_export, contact_import
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import print_json, print_table
from syncd.cli.options import operator_name, with_json, with_settings
from syncd.core.contacts.contact import TYPES
from syncd.core.contacts.query import FORMATS, Format, parse
from syncd.core.files.contact_import import MAX_BYTES, ImportReport
from syncd.settings import Settings


@click.command()
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Default: the format in the query, else csv.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(TYPES, case_sensitive=False),
    help="Export this type only; can be repeated.",
)
@click.option("--query", default="", help="Query string as for the API: 'name=Jim&sortBy=name'.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of stdout.")
@with_settings
def export(settings: Settings, format_: Format | None, types: tuple[str, ...], query: str, out: Path | None) -> None:
    """Export contacts as CSV, vCard or JSON.

    Without --type and --query all contacts are exported.
    """
    selection = parse("&".join([query, *(f"type={type_}" for type_ in types)]).encode())
    selection = replace(selection, format=format_ or selection.format)
    if out is None:
        asyncio.run(contact_export.export(settings, selection, _write_stdout))
        return
    with atomic_file.atomic_write(out) as file:
        asyncio.run(contact_export.export(settings, selection, file.write))


def _write_stdout(text: str) -> None:
    """Write UTF-8 with unchanged line ends, whatever the encoding of the terminal."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


@click.command(name="import")
@click.argument("file", type=click.File("rb"))
@click.option("--apply", is_flag=True, help="Write the importable rows; without it nothing is written.")
@with_json
@with_settings
def import_(settings: Settings, file: BinaryIO, *, apply: bool, as_json: bool) -> None:
    """Import Custom contacts from CSV or vCard.

    FILE can be - for stdin. Without --apply the import is only previewed. Exits with 1 if a row is rejected; the other
    rows are imported.
    """
    raw = file.read(MAX_BYTES + 1)
    media = contact_import.detect_media_type(raw)
    outcome = (
        contact_import.apply(settings, raw, media, operator_name())
        if apply
        else contact_import.preview(settings, raw, media)
    )
    if as_json:
        print_json(outcome.to_json())
    else:
        _print_outcome(outcome)
    sys.exit(EXIT_FAILED if outcome.count_rows("reject") else 0)


def _print_outcome(outcome: ImportReport) -> None:
    """Print the rows that are not unchanged, and the counts."""
    table = Table("line", "result", "name", "id", "why")
    for row in outcome.rows:
        if row.result != "unchanged":
            table.add_row(str(row.line), row.result, row.name, row.id, row.why)
    if table.row_count:
        print_table(table)
    would = "" if outcome.applied else "would be "
    click.echo(
        f"{outcome.count_rows('create')} {would}created, {outcome.count_rows('change')} {would}changed, "
        f"{outcome.count_rows('unchanged')} unchanged, {outcome.count_rows('reject')} rejected"
    )
    if not outcome.applied:
        click.echo("nothing is written yet; --apply does it", err=True)

"""How answers come out: a table for people, one JSON document for programs."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

_ONE_LINE_A_ROW = 10_000


def print_table(table: Table) -> None:
    """Fitted to the terminal; in a pipe each row is one line, however long."""
    console = Console(markup=False, emoji=False, highlight=False)  # what stands in a cell means nothing else
    if not console.is_terminal:
        console.width = _ONE_LINE_A_ROW
    console.print(table)


def print_json(document: Any) -> None:
    """One JSON document and nothing else on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))

"""`syncd drill`: every fault of a table, played on private servers, and the table printed."""

import re
import sys
import time
from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.options import with_json
from syncd.cli.output import print_json, print_table
from syncd.drill.result import Row

_LONGEST = 110
"""Characters of a reason that the table shows; `--json` has it whole."""


@click.command()
@click.option("--only", multiple=True, metavar="FAULT", help="Play this fault only; may be given several times.")
@click.option("--list", "as_list", is_flag=True, help="Name the faults and play none.")
@with_json
def drill(only: tuple[str, ...], *, as_list: bool, as_json: bool) -> None:
    """Play every fault on private servers; show that nothing is lost.

    Needs no settings and touches no server of yours. Exits with 1 when anything is not as promised.
    """
    from syncd.drill import runner  # noqa: PLC0415 - nothing of it is needed by a service

    if as_list:
        print_table(_listed([(fault.name, fault.what) for fault in runner.chosen(only)]))
        return
    began = time.monotonic()
    rows = runner.play(only)
    seconds = time.monotonic() - began
    passed = all(row.passed for row in rows)
    if as_json:
        print_json({"passed": passed, "seconds": round(seconds, 1), "faults": [row.facts() for row in rows]})
    else:
        print_table(_table(rows))
        for sentence in (f"{row.fault}: {sentence}" for row in rows for sentence in row.wrong):
            click.echo(sentence)
        failed = sum(not row.passed for row in rows)
        click.echo(f"{len(rows)} faults in {seconds:.0f} s, {failed or 'none'} not as promised")
    sys.exit(0 if passed else EXIT_FAILED)


def _listed(faults: Sequence[tuple[str, str]]) -> Table:
    table = Table("fault", "what is done")
    for name, what in faults:
        table.add_row(name, what)
    return table


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "fault", "what is done", "what the run said", "contacts lost", "custom contacts changed",
        "directory served throughout", "as promised",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.fault, row.what, Text(_short(str(row.said))), str(row.lost), str(row.custom), Text(row.served),
            "yes" if row.passed else "NO",
        )  # fmt: skip
    return table


def _short(text: str) -> str:
    """Without the private server that it was, and cut."""
    text = re.sub(r"ldap://127\.0\.0\.1:\d+(, |: )|/\S*/(?=[^/\s]+\.toml)", "", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

"""`syncd drill`: inject every fault of the catalog on private servers and print the results."""

import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from syncd.cli.checkout import checkout_required
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import print_json, print_table
from syncd.cli.options import with_json

if TYPE_CHECKING:  # an installed syncd does not contain it
    from syncd.drill.result import FaultResult

_MAX_REASON_LENGTH = 110
"""Characters of a reason in the table; `--json` has the whole reason."""


@click.command()
@click.option("--only", multiple=True, metavar="FAULT", help="Inject this fault only; can be repeated.")
@click.option("--list", "as_list", is_flag=True, help="List the faults and inject none.")
@with_json
def drill(only: tuple[str, ...], *, as_list: bool, as_json: bool) -> None:
    """Inject faults on private servers (in a checkout only).

    Verifies that no contact is lost by any fault. Needs no settings and connects to no other server. Exits with 1 if a
    result is not as expected.
    """
    with checkout_required("drill"):
        from syncd.drill import runner  # noqa: PLC0415 - an installed syncd does not contain it

    if as_list:
        print_table(_fault_list([(fault.name, fault.description) for fault in runner.select_faults(only)]))
        return
    started_at = time.monotonic()
    results = runner.run_drill(only)
    seconds = time.monotonic() - started_at
    failed = [result for result in results if not result.passed]
    if as_json:
        faults = [result.to_json() for result in results]
        print_json({"passed": not failed, "seconds": round(seconds, 1), "faults": faults})
    else:
        print_table(_result_table(results))
        for result in results:
            for problem in result.problems:
                click.echo(f"{result.fault}: {problem}")
        click.echo(f"{len(results)} faults in {seconds:.0f} s, {len(failed) or 'none'} not as expected")
    sys.exit(EXIT_FAILED if failed else 0)


def _fault_list(faults: Sequence[tuple[str, str]]) -> Table:
    table = Table("fault", "description")
    for name, description in faults:
        table.add_row(name, description)
    return table


def _result_table(results: Sequence["FaultResult"]) -> Table:
    table = Table(
        "fault", "description", "result of the run", "contacts lost", "custom contacts changed",
        "directory always served", "as expected",
    )  # fmt: skip
    for result in results:
        table.add_row(
            result.fault,
            result.description,
            Text(_shorten(str(result.run_result))),
            str(result.contacts_lost),
            str(result.custom_changed),
            Text(result.served),
            "yes" if result.passed else "NO",
        )
    return table


def _shorten(text: str) -> str:
    """Remove the URLs of private servers and the folders of settings files, and cut the text."""
    text = re.sub(r"ldap://127\.0\.0\.1:\d+(, |: )|/\S*/(?=[^/\s]+\.toml)", "", text)
    return text if len(text) <= _MAX_REASON_LENGTH else f"{text[: _MAX_REASON_LENGTH - 1]}…"

"""`syncd check`: results of the tests of sources, database and alerting, with remedies."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import click
from rich.markup import escape
from rich.table import Table

from syncd.app.check import check_all
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import print_json, print_table
from syncd.cli.options import with_json, with_settings
from syncd.core.operations.check import Finding, Result, worst_result
from syncd.settings import Settings

_STYLES = {Result.OK: "", Result.WARNING: "yellow", Result.FAILED: "bold red", Result.UNREACHED: "dim"}


@click.command()
@with_json
@with_settings
def check(settings: Settings, *, as_json: bool) -> None:
    """Test every step to sources and database; write nothing.

    Each failed step is listed with its remedy. Exits with 1 if a step fails.
    """
    findings = list(check_all(settings))
    result = worst_result(findings)
    if as_json:
        print_json({"result": result, "steps": [finding.to_json() for finding in findings]})
    else:
        for table in _finding_tables(findings):
            print_table(table)
        counts = Counter(finding.result for finding in findings)
        click.echo(", ".join(f"{counts[one]} {one}" for one in Result if counts[one]))
    sys.exit(EXIT_FAILED if result is Result.FAILED else 0)


def _finding_tables(findings: Sequence[Finding]) -> Iterator[Table]:
    """Yield a table for each server, file or database; separate tables leave room for the reasons and remedies."""
    for title, group in groupby(findings, lambda finding: f"{finding.of} {finding.where}"):
        table = Table("step", "result", title=escape(title), title_justify="left")
        table.add_column("why", overflow="fold")
        table.add_column("remedy", overflow="fold")
        for finding in group:
            cells = (finding.step, str(finding.result), finding.what, finding.remedy)
            table.add_row(*map(escape, cells), style=_STYLES[finding.result])
        yield table

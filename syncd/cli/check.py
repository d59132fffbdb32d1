"""`syncd check`: every step from the settings to what is read and written, each with its remedy."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import click
from rich.markup import escape
from rich.table import Table

from syncd.app.check import examine_all
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.core.operations.check import Finding, Result, worst
from syncd.settings import Settings

_STYLES = {Result.OK: "", Result.WARNING: "yellow", Result.FAILED: "bold red", Result.UNREACHED: "dim"}


@click.command()
@with_json
@with_settings
def check(settings: Settings, *, as_json: bool) -> None:
    """Try every step to the sources and the database, writing nothing; 1 when one is broken."""
    findings = list(examine_all(settings))
    result = worst(findings)
    if as_json:
        print_json({"result": result, "steps": [finding.facts() for finding in findings]})
    else:
        for table in _tables(findings):
            print_table(table)
        counts = Counter(finding.result for finding in findings)
        click.echo(", ".join(f"{counts[one]} {one}" for one in Result if counts[one]))
    sys.exit(EXIT_FAILED if result is Result.FAILED else 0)


def _tables(findings: Sequence[Finding]) -> Iterator[Table]:
    """A table for each place, so that there is room for what was seen and for the remedy."""
    for place, found in groupby(findings, lambda finding: f"{finding.of} {finding.where}"):
        table = Table("step", "result", title=escape(place), title_justify="left")
        table.add_column("why", overflow="fold")
        table.add_column("remedy", overflow="fold")
        for finding in found:
            words = (finding.step, str(finding.result), finding.what, finding.remedy)
            table.add_row(*map(escape, words), style=_STYLES[finding.result])
        yield table

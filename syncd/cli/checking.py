"""`syncd check`: every step from the settings to what is read and written, each with its remedy."""

import sys
from collections import Counter
from collections.abc import Sequence

import click
from rich.markup import escape
from rich.table import Table

from syncd.app.checkup import examine_all
from syncd.cli.exits import EXIT_FAILED
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json, print_table
from syncd.core.checkup import Finding, Result, worst
from syncd.settings import Settings

_STYLES = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "bold red", Result.UNREACHED: "dim"}


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
        print_table(_table(findings))
        counts = Counter(finding.result for finding in findings)
        click.echo(", ".join(f"{counts[one]} {one}" for one in Result if counts[one]))
    sys.exit(EXIT_FAILED if result is Result.FAILED else 0)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("of", "where", "step", "result", "why", "remedy")
    before = ("", "")
    for finding in findings:
        place = (finding.of, finding.where)
        if before != place and table.rows:
            table.add_section()
        before = place
        words = (*place, finding.step, str(finding.result), finding.what, finding.remedy)
        table.add_row(*map(escape, words), style=_STYLES[finding.result] if finding.result is not Result.OK else "")
    return table

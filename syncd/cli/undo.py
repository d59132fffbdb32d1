"""`syncd undo`: a run taken back, or the plan of that."""

import sys
from pathlib import Path

import click

from syncd.app import use_cases
from syncd.cli.exit_codes import status_of
from syncd.cli.options import with_json, with_settings
from syncd.cli.plans import Showing, with_out
from syncd.cli.runs import run_one
from syncd.settings import Settings


@click.command()
@click.argument("run", type=int)
@with_json
@with_out
@with_settings
def undo(settings: Settings, run: int, *, as_json: bool, out: Path | None) -> None:
    """Take a run back; with --out or --json only plan that.

    Members that a later run has changed are kept. Where the cause of the run is still there, the next sync does the
    same again: mend that first.
    """
    if as_json or out:
        show = Showing(as_json=as_json, out=out)
        show.reports.append(use_cases.plan_undo(settings, run, show))
        show.end(run)
        sys.exit(status_of(show.reports[0].outcome))
    sys.exit(run_one(f"undo of run {run}", lambda _: use_cases.undo_run(settings, run)))

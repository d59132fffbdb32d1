"""`syncd undo`: undo of a run, and its plan."""

import sys
from pathlib import Path

import click

from syncd.app import use_cases
from syncd.cli.exit_codes import exit_code_of
from syncd.cli.options import with_json, with_settings
from syncd.cli.plans import PlanPrinter, with_out
from syncd.cli.runs import run_one
from syncd.settings import Settings


@click.command()
@click.argument("run", type=int)
@with_json
@with_out
@with_settings
def undo(settings: Settings, run: int, *, as_json: bool, out: Path | None) -> None:
    """Undo a run; with --out or --json only plan the undo.

    Members that a later run changed keep their values. Correct the cause of the run first: the next sync repeats its
    changes otherwise.
    """
    if as_json or out:
        printer = PlanPrinter(as_json=as_json, out=out)
        printer.reports.append(use_cases.plan_undo(settings, run, printer))
        printer.finish(run)
        sys.exit(exit_code_of(printer.reports[0].outcome))
    source = use_cases.load_source_of(settings, run).name
    sys.exit(run_one("undo", source, lambda _: use_cases.undo_run(settings, run)))

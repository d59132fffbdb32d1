"""`syncd plan` and `apply`: plans of runs, and their application."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click

from syncd.app import planfile, use_cases
from syncd.app.planfile import PlanFile, SourcePlan
from syncd.app.reporting import warn_unencrypted
from syncd.cli.exit_codes import EXIT_CHANGES, exit_code_of, worst_exit_code
from syncd.cli.formatting import format_change, format_run, print_json
from syncd.cli.options import select_sources, with_json, with_settings, with_sources
from syncd.cli.progress import show_progress
from syncd.cli.runs import run_one
from syncd.core.sync.plan import Change, Report
from syncd.errors import PlanUnusable
from syncd.jobs.sync import ReadProgress
from syncd.settings import Settings

with_out = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan to a file for `syncd apply`."
)


@click.command()
@with_sources
@with_json
@with_out
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@with_settings
def plan(
    settings: Settings, sources: tuple[str, ...], *, as_json: bool, out: Path | None, detailed_exitcode: bool
) -> None:
    """Show the changes that a sync would make; write nothing.

    Exits with 1 if a source cannot be read, and with 3 if a read is incomplete or changes are held.
    """
    printer = PlanPrinter(as_json=as_json, out=out)
    for name in select_sources(settings, sources):
        with show_progress(name) as progress:
            printer.reports.append(use_cases.plan_source(settings, name, printer, progress))
    printer.finish()
    status = worst_exit_code([exit_code_of(report.outcome) for report in printer.reports])
    sys.exit(EXIT_CHANGES if detailed_exitcode and status == 0 and printer.changed else status)


class PlanPrinter:
    """Prints plans: as text line by line, as JSON and into a file at the end."""

    def __init__(self, *, as_json: bool, out: Path | None) -> None:
        self._as_json = as_json
        self._out = out
        self._plans: list[SourcePlan] = []
        self.reports: list[Report] = []
        self.changed = False

    def __call__(self, report: Report, changes: Iterator[Change]) -> None:
        """Receive one plan from `use_cases.plan_source` or `plan_undo`; `changes` is consumed."""
        if self._as_json or self._out:
            source_plan = SourcePlan.from_report(report, changes)
            self._plans.append(source_plan)
            changes = iter(source_plan.changes)
        for change in changes:
            self.changed = self.changed or not change.held
            if not self._as_json:
                click.echo(format_change(change))
        if not self._as_json:
            click.echo(format_run(report))

    def finish(self, undone: int | None = None) -> None:
        """Print the JSON document and write the plan file. `undone` is the run that the plans undo."""
        if self._as_json:
            print_json({"plans": [plan.to_json() for plan in self._plans]})
        if self._out:
            planfile.write(self._out, PlanFile(self._plans, "sync" if undone is None else "undo", undone))
            click.echo(f"written to {self._out}; `syncd apply {self._out}` applies exactly this plan", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_settings
def apply(settings: Settings, file: Path) -> None:
    """Apply a plan file exactly, or refuse an outdated one.

    The plan of each source is applied completely, or not at all if its contacts or its records have changed since.
    """
    plan_file = planfile.read(file)
    _check_applicable(settings, file, plan_file)
    warn_unencrypted(settings)
    sys.exit(
        worst_exit_code(
            [
                run_one(plan_file.job, source_plan.source, _make_job(settings, plan_file, source_plan))
                for source_plan in plan_file.plans
            ]
        )
    )


def _check_applicable(settings: Settings, file: Path, plan_file: PlanFile) -> None:
    """Refuse a plan file of which any plan cannot be applied. Raises: PlanUnusable."""
    source_names = {source.name for source in settings.source}
    for source_plan in plan_file.plans:
        source = source_plan.source
        if source not in source_names:
            raise PlanUnusable(f"{file}: is a plan for {source!r}, and the settings have no such source")
        if not source_plan.is_applicable:
            raise PlanUnusable(
                f"{file}: the plan of {source} is {source_plan.outcome} and cannot be applied: {source_plan.reason}"
            )


def _make_job(settings: Settings, plan_file: PlanFile, source_plan: SourcePlan) -> Callable[[ReadProgress], Report]:
    undone, changes = plan_file.undone, source_plan.changes
    if undone is not None:
        return lambda _: use_cases.apply_undo(settings, undone, changes)
    return partial(use_cases.apply_plan, settings, source_plan.source, changes)

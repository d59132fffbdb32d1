"""`syncd plan`, `apply`: what a run would do, and exactly that done."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click

from syncd.app import planfile, use_cases
from syncd.app.planfile import PlanFile, SourcePlan
from syncd.app.reporting import warn_of_clear_text
from syncd.cli.exit_codes import EXIT_CHANGES, status_of, worst
from syncd.cli.formatting import change_line, summary
from syncd.cli.options import chosen, with_json, with_settings, with_sources
from syncd.cli.output import print_json
from syncd.cli.progress import progress
from syncd.cli.runs import run_one
from syncd.core.sync.plan import Change, Report
from syncd.errors import PlanUnusable
from syncd.jobs.sync import Meter
from syncd.settings import Settings

with_out = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan to a file for `syncd apply`."
)


@click.command()
@with_sources
@with_json
@with_out
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes.")
@with_settings
def plan(
    settings: Settings, sources: tuple[str, ...], *, as_json: bool, out: Path | None, detailed_exitcode: bool
) -> None:
    """Show what a sync would do; write nothing."""
    show = Showing(as_json=as_json, out=out)
    for name in chosen(settings, sources):
        with progress(name) as meter:
            show.reports.append(use_cases.plan_source(settings, name, show, meter))
    show.end()
    status = worst([status_of(report.outcome) for report in show.reports])
    sys.exit(EXIT_CHANGES if detailed_exitcode and status == 0 and show.changed else status)


class Showing:
    """Shows plans as they are made: to people line by line, to programs and files at the end."""

    def __init__(self, *, as_json: bool, out: Path | None) -> None:
        self._as_json = as_json
        self._out = out
        self._plans: list[SourcePlan] = []
        self.reports: list[Report] = []
        self.changed = False

    def __call__(self, report: Report, changes: Iterator[Change]) -> None:
        """Take one plan, as `compose.plan_source` hands it out."""
        if self._as_json or self._out:
            kept = SourcePlan.of(report, changes)
            self._plans.append(kept)
            changes = iter(kept.changes)
        for change in changes:
            self.changed = self.changed or not change.held
            if not self._as_json:
                click.echo(change_line(change))
        if not self._as_json:
            click.echo(summary(report))

    def end(self, undone: int | None = None) -> None:
        """Write what waits for the end. `undone`: the run that these plans take back."""
        if self._as_json:
            print_json({"plans": [plan.document() for plan in self._plans]})
        if self._out:
            planfile.write(self._out, PlanFile(self._plans, "sync" if undone is None else "undo", undone))
            click.echo(f"written to {self._out}; `syncd apply {self._out}` does exactly this, or nothing", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_settings
def apply(settings: Settings, file: Path) -> None:
    """Do exactly what a plan file says, or nothing of it where something has moved since."""
    planned = planfile.read(file)
    _check(settings, file, planned)
    warn_of_clear_text(settings)
    sys.exit(worst([run_one(one.source, _work(settings, planned, one)) for one in planned.plans]))


def _check(settings: Settings, file: Path, planned: PlanFile) -> None:
    """Raises PlanUnusable before anything is done."""
    known = {source.name for source in settings.source}
    for one in planned.plans:
        if one.source not in known:
            raise PlanUnusable(f"{file}: is a plan for {one.source!r}, and the settings have no such source")
        if not one.applicable:
            raise PlanUnusable(
                f"{file}: the run that planned {one.source} was {one.outcome}, so it says nothing to apply: {one.why}"
            )


def _work(settings: Settings, planned: PlanFile, one: SourcePlan) -> Callable[[Meter], Report]:
    if planned.undone is not None:
        undone = planned.undone
        return lambda _: use_cases.apply_undo(settings, undone, one.changes)
    return partial(use_cases.apply_plan, settings, one.source, one.changes)

"""`syncd plan`: what a run would do."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from syncd.app import compose
from syncd.cli.exits import EXIT_CHANGES, status_of, worst
from syncd.cli.options import chosen, with_json, with_settings, with_sources
from syncd.cli.output import print_json
from syncd.cli.progress import progress
from syncd.cli.wording import difference, summary
from syncd.core.plan import Change, Report
from syncd.settings import Settings


@click.command()
@with_sources
@with_json
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes.")
@with_settings
def plan(settings: Settings, sources: tuple[str, ...], *, as_json: bool, detailed_exitcode: bool) -> None:
    """Show what a sync would do; write nothing."""
    plans: list[dict[str, Any]] = []

    def collect(report: Report, changes: Iterator[Change]) -> None:
        plans.append(_facts(report) | {"changes": [change._asdict() for change in changes]})

    show = collect if as_json else _print_plan
    reports = []
    for name in chosen(settings, sources):
        with progress(name) as meter:
            reports.append(compose.plan_source(settings, name, show, meter))
    if as_json:
        print_json({"plans": plans})
    status = worst([status_of(report.outcome) for report in reports])
    changed = any(r.counts.added + r.counts.changed + r.counts.removed for r in reports)
    sys.exit(EXIT_CHANGES if detailed_exitcode and changed and status == 0 else status)


def _print_plan(report: Report, changes: Iterator[Change]) -> None:
    """The changes, one line each (`+` added, `~` changed, `-` removed), then the sum."""
    for change in changes:
        name = (change.new or change.old)["name"]
        if change.kind == "change":
            click.echo(f"~ {name}: {difference(change)}")
        else:
            click.echo(f"{'+' if change.kind == 'add' else '-'} {name} ({change.key})")
    click.echo(summary(report))


def _facts(report: Report) -> dict[str, Any]:
    counts = report.counts
    return {
        "source": report.source,
        "outcome": report.outcome,
        "why": report.why,
        "population": counts.population,
        "added": counts.added,
        "changed": counts.changed,
        "removed": counts.removed,
        "held": report.held,
        "rejected": counts.rejected,
        "evidence": None if report.evidence is None else report.evidence.facts(),
    }

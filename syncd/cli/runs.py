"""`syncd sync`, `purge`: runs that write, one source after the other."""

import sys
from collections.abc import Callable
from functools import partial

import click

from syncd.app import use_cases
from syncd.app.reporting import report_failure, report_run, report_skip, warn_of_clear_text
from syncd.cli.exit_codes import EXIT_BUSY, EXIT_FAILED, status_of, worst
from syncd.cli.formatting import summary
from syncd.cli.options import chosen, with_settings, with_sources
from syncd.cli.progress import progress
from syncd.core.sync.plan import Report
from syncd.errors import SourceBusy, SyncdError
from syncd.jobs.sync import Meter
from syncd.settings import Settings


@click.command()
@with_sources
@with_settings
def sync(settings: Settings, sources: tuple[str, ...]) -> None:
    """Run the sources (default: all) once, now."""
    warn_of_clear_text(settings)
    sys.exit(worst([run_one(n, partial(use_cases.run_source, settings, n)) for n in chosen(settings, sources)]))


@click.command()
@with_sources
@with_settings
def purge(settings: Settings, sources: tuple[str, ...]) -> None:
    """Forget the contacts that were removed longer ago than lifecycle.retention; the daemon does it every night."""
    names = chosen(settings, sources)
    sys.exit(worst([run_one(name, partial(_purge, settings, name)) for name in names]))


def _purge(settings: Settings, name: str, _meter: Meter) -> Report:
    return use_cases.purge_source(settings, name)


def run_one(name: str, work: Callable[[Meter], Report]) -> int:
    """Do one run, log it, print what it did, and return its exit status."""
    try:
        with progress(name) as meter:
            report = work(meter)
    except SourceBusy as busy:
        report_skip(name, str(busy))
        return EXIT_BUSY
    except SyncdError as error:
        report_failure(name, str(error))
        return EXIT_FAILED
    report_run(report)
    click.echo(summary(report))
    return status_of(report.outcome)

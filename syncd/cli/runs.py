"""`syncd sync` and `purge`: runs of sources, one after the other."""

import sys
from collections.abc import Callable
from functools import partial

import click

from syncd.app import use_cases
from syncd.app.reporting import report_failure, report_run, report_skip, warn_unencrypted
from syncd.cli.exit_codes import EXIT_BUSY, EXIT_FAILED, exit_code_of, worst_exit_code
from syncd.cli.formatting import format_run
from syncd.cli.options import select_sources, with_settings, with_sources
from syncd.cli.progress import show_progress
from syncd.core.sync.plan import JobKind, Report
from syncd.errors import SourceBusy, SyncdError
from syncd.jobs.sync import ReadProgress
from syncd.settings import Settings


@click.command()
@with_sources
@with_settings
def sync(settings: Settings, sources: tuple[str, ...]) -> None:
    """Synchronize the sources (default: all) once.

    Exits with 1 if a run fails, with 3 if one is incomplete or held, and with 75 if another run holds a source.
    """
    warn_unencrypted(settings)
    names = select_sources(settings, sources)
    sys.exit(worst_exit_code([run_one("sync", name, partial(use_cases.run_source, settings, name)) for name in names]))


@click.command()
@with_sources
@with_settings
def purge(settings: Settings, sources: tuple[str, ...]) -> None:
    """Delete contacts whose removal is older than the retention.

    The retention is the setting lifecycle.retention of each source (default: all sources). The daemon purges every
    night.
    """
    names = select_sources(settings, sources)
    sys.exit(worst_exit_code([run_one("purge", name, partial(_purge_source, settings, name)) for name in names]))


def _purge_source(settings: Settings, name: str, _progress: ReadProgress) -> Report:
    return use_cases.purge_source(settings, name)


def run_one(job: JobKind, source: str, execute: Callable[[ReadProgress], Report]) -> int:
    """Execute one run, log and print its report, and return its exit status; errors are logged."""
    try:
        with show_progress(source) as progress:
            report = execute(progress)
    except SourceBusy as busy:
        report_skip(job, source, str(busy))
        return EXIT_BUSY
    except SyncdError as error:
        report_failure(job, source, str(error))
        return EXIT_FAILED
    report_run(report)
    click.echo(format_run(report))
    return exit_code_of(report.outcome)

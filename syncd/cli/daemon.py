"""`syncd run`, `demo`: the daemon, and all of it shown on private servers."""

import sys
from functools import partial

import click

from syncd.app.daemon import run_daemon
from syncd.cli.options import with_settings
from syncd.observability import log
from syncd.settings import Settings, load


@click.command()
@with_settings
@click.pass_context
def run(context: click.Context, settings: Settings) -> None:
    """Run the daemon until SIGTERM; SIGHUP reads the settings anew."""
    log.configure(settings.log, sys.stdout)
    run_daemon(settings, partial(load, context.find_root().obj))


@click.command()
@click.option("--port", type=int, default=0, help="Port of the demonstration's endpoint; default: a free one.")
def demo(port: int) -> None:
    """Show the whole of it on private servers with sample data."""
    from syncd.demo import tour  # noqa: PLC0415 - nothing of it is needed by a service

    sys.exit(tour.run(port))

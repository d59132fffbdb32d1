"""`syncd run`: the daemon."""

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
    """Run the daemon until SIGTERM; SIGHUP reloads the settings."""
    log.configure(settings.log, sys.stdout)
    run_daemon(settings, partial(load, context.find_root().obj))

"""The command `syncd`: its commands together, and what becomes of their errors."""

import os
import sys

import click

from syncd import __version__
from syncd.cli.drilling import drill
from syncd.cli.exits import EXIT_BUSY, EXIT_FAILED, EXIT_SETTINGS
from syncd.cli.explaining import explain
from syncd.cli.options import with_config
from syncd.cli.plans import apply, plan
from syncd.cli.runs import purge, sync
from syncd.cli.service import demo, migrate, run
from syncd.cli.state import status
from syncd.cli.tokens import token
from syncd.cli.undo import undo
from syncd.cli.withheld import approve, held, reject, rejects
from syncd.errors import MissingPrivilege, SettingsError, SourceBusy, SyncdError

_COMMANDS = (
    run,
    sync,
    plan,
    apply,
    status,
    held,
    approve,
    reject,
    rejects,
    explain,
    undo,
    purge,
    migrate,
    token,
    demo,
    drill,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
@with_config
def syncd() -> None:
    """Keep a contact center's directory in step with its sources, and serve it."""


for command in _COMMANDS:
    syncd.add_command(command)


def main() -> None:
    """Run a command; turn our errors into a sentence on stderr and an exit status."""
    try:
        syncd(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"syncd: {problem}", err=True)
        sys.exit(EXIT_SETTINGS)
    except MissingPrivilege as error:
        click.echo(f"syncd: {error}", err=True)
        click.echo(error.sql)
        sys.exit(EXIT_FAILED)
    except SyncdError as error:
        click.echo(f"syncd: {error}", err=True)
        sys.exit(EXIT_BUSY if isinstance(error, SourceBusy) else EXIT_FAILED)
    except BrokenPipeError:  # `syncd plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)

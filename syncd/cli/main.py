"""The command `syncd`: its commands together, and what becomes of their errors."""

import gc
import os
import sys
from importlib import import_module
from keyword import iskeyword
from types import ModuleType

import click

from syncd import __version__
from syncd.cli.exit_codes import EXIT_BUSY, EXIT_FAILED, EXIT_SETTINGS
from syncd.cli.options import with_config
from syncd.errors import MissingPrivilege, SettingsError, SourceBusy, SyncdError

_COMMANDS = {
    "run": "daemon", "sync": "runs", "plan": "plans", "apply": "plans", "status": "status", "check": "check",
    "held": "holds", "approve": "holds", "reject": "holds", "rejects": "holds", "explain": "explain",
    "undo": "undo", "purge": "runs", "export": "export_import", "import": "export_import", "migrate": "migrate",
    "token": "tokens", "demo": "daemon", "drill": "drill",
}  # fmt: skip
"""Command -> its module in this package, in the order of the help."""


class _Commands(click.Group):
    """Imports a command when it is asked for: what the daemon needs would make each of the others start late."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        # `import` is a word of Python's own
        found: click.Command = getattr(_loaded(f"syncd.cli.{_COMMANDS[name]}"), f"{name}_" if iskeyword(name) else name)
        return found


def _loaded(module: str) -> ModuleType:
    """The module, without a search for garbage among what stays for good: neither meanwhile nor ever after."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
@with_config
def syncd() -> None:
    """Keep a contact center's directory in step with its sources, and serve it."""


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

"""The command `syncd`: command groups, lazy import of the commands, and exit statuses of errors."""

import difflib
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
from syncd.core.operations.error_text import format_traceback
from syncd.errors import MissingPrivilege, SettingsError, SourceBusy, SyncdError

_GROUPS = {
    "Run": {"run": "daemon", "sync": "runs", "plan": "plans", "apply": "plans", "undo": "undo", "purge": "runs"},
    "Inspect": {"status": "status", "check": "check", "explain": "explain", "rejects": "holds"},
    "Decide": {"held": "holds", "approve": "holds", "reject": "holds"},
    "Data": {"export": "export_import", "import": "export_import"},
    "Setup": {"migrate": "migrate", "token": "tokens", "demo": "demo", "drill": "drill"},
}
"""Group of commands -> command -> its module in this package, in the order of the help."""
_MODULES = {name: module for commands in _GROUPS.values() for name, module in commands.items()}


class _Commands(click.Group):
    """Imports a command's module on demand: the imports of the daemon would delay the start of every other command."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _MODULES:
            return None
        module = _load_module(f"syncd.cli.{_MODULES[name]}")
        # `import` is a keyword of Python
        command: click.Command = getattr(module, f"{name}_" if iskeyword(name) else name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        suggestions = () if name in _MODULES else difflib.get_close_matches(name, _MODULES, n=1)
        if suggestions and not context.resilient_parsing:
            context.fail(f"No such command {name!r}; did you mean {suggestions[0]}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        column = max(map(len, _MODULES))
        for group, names in _GROUPS.items():
            commands = {name: self.get_command(context, name) for name in names}
            with formatter.section(group):
                formatter.write_dl(
                    [
                        (name.ljust(column), command.get_short_help_str(formatter.width - column - 6))
                        for name, command in commands.items()
                        if command is not None
                    ]
                )


def _load_module(name: str) -> ModuleType:
    """Import a module without garbage collection, and exempt its objects from later collections."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
@with_config
def syncd() -> None:
    """Synchronize a contact center's directory from its sources, and serve it over HTTP."""


def main() -> None:
    """Run a command; errors become a message on stderr and an exit status."""
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
    except Exception as error:  # noqa: BLE001 - a defect; the interpreter would print texts with data of people
        click.echo(format_traceback(error), err=True, nl=False)
        sys.exit(EXIT_FAILED)

"""What commands take: the settings file before or after their name, sources, whether they answer in JSON; from whom."""

import getpass
import os
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from syncd.errors import SyncdError
from syncd.observability import log
from syncd.settings import Settings, duration, load

P = ParamSpec("P")
R = TypeVar("R")


def length(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """The length of time that an option gives, written as in the settings; at least a second."""
    if value is None:
        return None
    try:
        found = duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not found:
        raise click.BadParameter("must be at least 1s")
    return found


def with_config(command: Callable[P, R]) -> Callable[P, R]:
    """Accept --config after the command as well as before it."""

    def remember(context: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is not None:
            context.find_root().obj = path

    return click.option(
        "--config", type=click.Path(path_type=Path), expose_value=False, callback=remember,
        help="Settings file; default $SYNCD_CONFIG, else /etc/syncd/syncd.toml.",
    )(command)  # fmt: skip


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Load the settings and send the log to stderr before a command runs."""

    @with_config
    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *arguments: Any, **options: Any) -> None:
        settings = load(context.find_root().obj)
        log.configure(settings.log, sys.stderr)
        command(settings, *arguments, **options)

    return run


with_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")

with_sources = click.argument("sources", nargs=-1)


def chosen(settings: Settings, wanted: tuple[str, ...]) -> list[str]:
    """The names of the wanted sources, of all when none is named. Raises SettingsError for one that there is not."""
    if not settings.source:
        raise SyncdError("there is no source to read; add a [[source]] to the settings")
    return [settings.named(name).name for name in wanted] if wanted else [source.name for source in settings.source]


def person() -> str:
    """Who decides, for the record: the login name, also behind sudo, and the host."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"

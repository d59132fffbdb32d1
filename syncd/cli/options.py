"""Options and arguments that several commands share, and the name of the operator."""

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
from syncd.settings import Settings, load, parse_duration

P = ParamSpec("P")
R = TypeVar("R")


def parse_duration_option(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """Parse a duration of at least one second, written as in the settings. Raises: click.BadParameter."""
    if value is None:
        return None
    try:
        length = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not length:
        raise click.BadParameter("must be at least 1s")
    return length


def with_config(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with --config, which is accepted before and after the command's name."""

    def store_path(context: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is not None:
            context.find_root().obj = path

    return click.option(
        "--config", type=click.Path(path_type=Path), expose_value=False, callback=store_path,
        help="Settings file; default $SYNCD_CONFIG, else /etc/syncd/syncd.toml.",
    )(command)  # fmt: skip


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command so that it runs with the loaded settings as its first argument, and logs to stderr."""

    @with_config
    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *arguments: Any, **options: Any) -> None:
        settings = load(context.find_root().obj)
        log.configure(settings.log, sys.stderr)
        command(settings, *arguments, **options)

    return run


with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

with_sources = click.argument("sources", nargs=-1)


def select_sources(settings: Settings, names: tuple[str, ...]) -> list[str]:
    """Return the names of the given sources; without names, of all.

    Raises: SettingsError (unknown source), SyncdError (no source at all).
    """
    if not settings.source:
        raise SyncdError("there is no source to read; add a [[source]] to the settings")
    return [settings.find_source(name).name for name in names] if names else [source.name for source in settings.source]


def operator_name() -> str:
    """Return `login@host` of the operator; with sudo, of the invoking user."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"

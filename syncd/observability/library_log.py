"""Warnings and errors of libraries, of Python's warnings, and of exceptions that the interpreter ignores."""

import logging
import sys
from collections.abc import Callable
from typing import TypeAlias

from syncd.core.operations.error_text import describe_error

EmitRecord: TypeAlias = Callable[[str, str, str, str, BaseException | None], None]
"""Takes the logger, the text before its arguments, the message, the level and the exception of a record."""


def install(emit: EmitRecord) -> None:
    """Pass each record at or above the level warning to `emit`, in place of any handler before."""
    logging.basicConfig(handlers=[_Handler(emit)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)

    def emit_unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        message = "an exception was ignored"
        emit("python", message, message, "error", ignored.exc_value)

    sys.unraisablehook = emit_unraisable


class _Handler(logging.Handler):
    def __init__(self, emit: EmitRecord) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        self._emit(record.name, str(record.msg), _format_message(record), level, error)


def _format_message(record: logging.LogRecord) -> str:
    """Return the first line of a message, with exceptions by `describe_error`: the rest may quote data of people."""
    if record.name == "asyncio":  # the name of a callback is followed by its arguments
        return str(record.msg).partition("\n")[0].partition("(")[0].strip()
    arguments: object = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(describe_error(item) if isinstance(item, BaseException) else item for item in arguments)
    try:
        message = str(record.msg) % arguments if arguments else str(record.msg)
    except (TypeError, ValueError):  # the arguments do not fit the text; the caller of the logger must not fail
        message = str(record.msg)
    return message.partition("\n")[0]

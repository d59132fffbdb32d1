"""Text of exceptions for the log, without the data of people that libraries put into theirs.

A driver's message quotes parameters and rows, a KeyError the key, a ValueError the value. Only texts that cannot quote
data are kept: those of syncd itself, and of classes that name types, attributes or modules. The frames of a traceback
show lines of code, not values.
"""

import re
import traceback
from collections.abc import Iterator

from syncd.errors import SyncdError

_WITHOUT_DATA = (
    SyncdError, AttributeError, ImportError, IndexError, MemoryError, NameError, NotImplementedError, RecursionError,
    TypeError, ZeroDivisionError,
)  # fmt: skip
_NAMES_OF_POSTGRES = ("schema_name", "table_name", "column_name", "constraint_name", "datatype_name")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1).)*+)\1""", re.DOTALL)
_MAX_QUOTED = 2
"""Characters of a quoted sign such as ':' or '\\t', which is no data."""
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def describe_error(error: BaseException) -> str:
    """Return class and, where it holds no data, text of an exception; SQLSTATE and names for one of PostgreSQL."""
    class_ = type(error)
    name = class_.__qualname__ if class_.__module__ == "builtins" else f"{class_.__module__}.{class_.__qualname__}"
    return ": ".join(filter(None, (name, _text_without_data(error))))


def _text_without_data(error: BaseException) -> str:
    if isinstance(error, _WITHOUT_DATA):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or ""
    if (sqlstate := getattr(error, "sqlstate", None)) is not None:
        diagnostics = getattr(error, "diag", None)
        names = {name.removesuffix("_name"): getattr(diagnostics, name, None) for name in _NAMES_OF_POSTGRES}
        return ", ".join([f"SQLSTATE {sqlstate}", *(f"{what} {name}" for what, name in names.items() if name)])
    return ""


def format_traceback(error: BaseException) -> str:
    """Format an exception with its causes as the interpreter does, each with the text of `describe_error`."""
    return "".join(_traceback_parts(error, {id(error)}))


def _traceback_parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yield the parts of a traceback; `seen` has the ids of exceptions that are part of it already."""
    former = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if former is not None and id(former) not in seen:
        seen.add(id(former))
        yield from _traceback_parts(former, seen)
        yield _CAUSE if error.__cause__ is not None else _CONTEXT
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield describe_error(error) + "\n"
    for number, part in enumerate(error.exceptions if isinstance(error, BaseExceptionGroup) else (), 1):
        yield f"\nException {number} of the group:\n\n"
        yield from _traceback_parts(part, seen)


def hide_quoted(message: str) -> str:
    """Replace what a parser quotes from a text, except single characters, by an ellipsis."""
    return _QUOTED.sub(lambda match: match[0] if len(match[2]) <= _MAX_QUOTED else f"{match[1]}…{match[1]}", message)

"""Entries of a file of records, and the error of a file that cannot be parsed completely."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class FormatError(Exception):
    """The text is not a complete file of records. `line` is None where the line is unknown."""

    def __init__(self, code: str, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line
        self.reason = reason


class UnsupportedValue(NamedTuple):
    """A value that is not a text."""

    description: str


Value: TypeAlias = "str | UnsupportedValue | list[str | UnsupportedValue | None] | None"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One object, table or row, as written. A member can occur twice; the caller decides what that means."""

    location: str
    """Suffix of the file's name: `:12` for a line, `[3]` where only the position is known."""
    members: Sequence[tuple[str, Value]]

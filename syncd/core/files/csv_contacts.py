r"""CSV form of contacts: UTF-8 with a header row of JSON member names (RFC 4180).

Spreadsheets open these files. A cell that a spreadsheet would take for a formula, or turn into another number or a date
(0151, 1-2), is therefore written with a leading apostrophe, and read without it. So is each part of a cell that would
be a cell of its own for a spreadsheet with another separator: `x;=1+1` is `x;'=1+1`. Several values in one cell are
separated by commas; `\,` is a comma inside a value, `mobile: 0160 998` a number with its description.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from syncd.core.contacts.contact import MEMBERS, PhoneNumber
from syncd.core.contacts.custom import WRITABLE
from syncd.core.files.contact_import import ImportEntry
from syncd.errors import InvalidParameter

MEDIA_TYPE = "text/csv"
BOM = "\ufeff"
"""Byte order mark, without which spreadsheets assume another encoding than UTF-8."""
COLUMNS = tuple(member for member in MEMBERS if member not in ("uri", "path"))
"""Default columns; addresses are redundant with the id."""
_ADDRESSES = ("uri", "path")
_LISTS = ("roles", "businessUnits")


def select_columns(fields: frozenset[str] | None) -> Sequence[str]:
    """Return the columns of these members, in the order of MEMBERS; the default columns for None."""
    return COLUMNS if fields is None else [member for member in MEMBERS if member in fields]


def encode_header(columns: Sequence[str]) -> str:
    """Encode byte order mark and header row."""
    return BOM + _encode_table([columns])


def encode_rows(contacts: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Encode one row per contact, given as JSON members."""
    return _encode_table(
        [[escape_formula(_encode_cell(contact, member, columns)) for member in columns] for contact in contacts]
    )


def parse_entries(raw: bytes) -> Iterator[ImportEntry]:
    """Parse a file with the delimiter comma, semicolon or tab. Raises InvalidParameter for encoding or header.

    A malformed row is yielded as an entry with an error.
    """
    text = _decode(raw)
    names: list[str] | None = None
    for line, cells, error in _read_rows(text, _detect_delimiter(text)):
        if names is None:
            names = _parse_header(line, cells, error)
        elif error:
            yield ImportEntry(line, {}, error)
        elif len(cells) > len(names):
            yield ImportEntry(line, {}, f"there are {len(cells)} values, but the header names {len(names)} columns")
        elif any(cells):
            yield _parse_row(line, dict(zip(names, map(unescape_formula, cells), strict=False)))


def escape_formula(value: str) -> str:
    """Prepend an apostrophe to a value that a spreadsheet would evaluate, or show as another number or a date.

    A part behind a semicolon, tab or line break gets one as well if it would be evaluated.
    """
    escaped = _FORMULA_PART.sub("'", value)
    return f"'{escaped}" if _NEEDS_ESCAPE.match(value) else escaped


def unescape_formula(cell: str) -> str:
    """Remove the apostrophes of `escape_formula`; other apostrophes stay."""
    value = _ESCAPED_PART.sub("", cell)
    return value[1:] if value.startswith("'") and _NEEDS_ESCAPE.match(value) else value


# what a spreadsheet may skip before a formula: blanks, of any width and of none, and quotation marks
_SKIPPED = r"(?:[^\S\t\r\n]|['\"\u00ad\u200b-\u200f\u2060\ufeff])*+"
_SIGN = r"[=+\-@＝＋－＠﹦﹢﹣﹫−]"
_NEEDS_ESCAPE = re.compile(
    rf"{_SKIPPED}(?:{_SIGN}|[\t\r\n])"  # a formula
    "|'*(?:0[0-9]+$|[0-9]{12,}$"  # a number that loses its first digits, or its last
    "|[0-9]+[-/.:,eE][-/.:,eE0-9]*$)"  # a date, a time, a fraction
)
"""Leading apostrophes match too, so that a value that looks escaped is escaped again and survives the round trip."""
_FORMULA_PART = re.compile(rf"(?<=[;\t\r\n])(?={_SKIPPED}{_SIGN})")
"""The begin of a part that is a formula for a spreadsheet with another separator; apostrophes match as above."""
_ESCAPED_PART = re.compile(rf"(?<=[;\t\r\n])'(?={_SKIPPED}{_SIGN})")


def _encode_table(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _encode_cell(contact: Mapping[str, Any], member: str, columns: Sequence[str]) -> str:
    value = contact.get(member, "")
    if member in _LISTS:
        return ", ".join(map(_escape, value))
    if member != "phoneNumbers":
        return str(value)
    # a copy of phoneNumber would have to be changed together with it
    is_copy = "phoneNumber" in columns and len(value) == 1 and not value[0].get("description")
    return "" if is_copy else ", ".join(map(_encode_number, value))


def _encode_number(number: Mapping[str, str]) -> str:
    label = f"{_escape(number['description'])}: " if number.get("description") else ""
    return label + _escape(number["phoneNumber"])


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _parse_numbers(cell: str) -> Iterator[PhoneNumber]:
    """Yield the numbers of a cell, in order."""
    for item in _split(cell, ","):
        *label, number = _split(item, ": ", 1)
        texts = [_ESCAPED.sub(r"\1", text).strip() for text in (number, *label)]
        if any(texts):
            yield PhoneNumber(*texts)


def _split(text: str, separator: str, max_splits: int = -1) -> list[str]:
    """Split a text at separators that no backslash precedes."""
    parts: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if token == separator and len(parts) != max_splits + 1:
            parts.append([])
        else:
            parts[-1].append(token)
    return ["".join(part) for part in parts]


_SPECIAL = re.compile(r"[,\\]|:(?= )")
_ESCAPED = re.compile(r"\\([,:\\])")
_TOKEN = re.compile(r"\\[,:\\]|: |[^\\,:]+|.", re.DOTALL)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidParameter(f"line {line}: the file is not in UTF-8; save it as «CSV UTF-8»") from error


def _read_rows(text: str, delimiter: str) -> Iterator[tuple[int, Sequence[str], str]]:
    """Yield (first physical line, cells, error) of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line, cells, message = reader.line_num + 1, list[str](), ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            message = next((ours for theirs, ours in _MESSAGES.items() if theirs in str(error)), str(error))
        if cells or message:
            yield line, cells, message


_MESSAGES = {
    "unexpected end of data": "the quotation mark that opens a value here is never closed",
    "expected after": "a value goes on after its closing quotation mark; a quotation mark in a value is written twice",
    "field larger than": "a value is far too long; is there a closing quotation mark?",
}
"""Part of a message of the csv module -> message for users."""


def _detect_delimiter(text: str) -> str:
    """Return the delimiter with which the header has the most names of members."""

    def count_members(delimiter: str) -> int:
        _, cells, _ = next(_read_rows(text, delimiter), (0, [], ""))
        return sum(cell.strip() in MEMBERS for cell in cells)

    return max(",;\t", key=count_members)


def _parse_header(line: int, cells: Sequence[str], error: str) -> list[str]:
    """Return the names of the columns. Raises InvalidParameter for unknown and duplicate ones."""
    if error:
        raise InvalidParameter(f"line {line}: {error}")
    names = [cell.strip() for cell in cells]
    for at, name in enumerate(names):
        if name not in MEMBERS:
            near = difflib.get_close_matches(name[:60], MEMBERS, n=1, cutoff=0.0)[0]
            raise InvalidParameter(
                f"line {line}: a contact has no member {name[:60]!r}; did you mean {near!r}? "
                "The first row names the columns"
            )
        if name in names[:at]:
            raise InvalidParameter(f"line {line}: the column {name!r} is there twice")
    return names


def _parse_row(line: int, cells: Mapping[str, str]) -> ImportEntry:
    """Parse a row. An empty cell is an absent member, except for a required one, which is then missing."""
    members: dict[str, Any] = {
        member: cell.strip()
        for member, cell in cells.items()
        if member not in ("phoneNumbers", *_ADDRESSES) and (cell.strip() or member in WRITABLE)
    }
    if "phoneNumbers" not in cells:
        return ImportEntry(line, members)
    first = members.get("phoneNumber", "")
    numbers = tuple(_parse_numbers(cells["phoneNumbers"])) or ((PhoneNumber(first),) if first else ())
    if first and numbers[0].phone_number != first:
        conflict = f"phoneNumber is {first[:60]!r}, but phoneNumbers begins with {numbers[0].phone_number[:60]!r}"
        return ImportEntry(line, members, f"{conflict}; leave one of the cells empty")
    if numbers:
        members |= {"phoneNumber": numbers[0].phone_number, "phoneNumbers": numbers}
    return ImportEntry(line, members)

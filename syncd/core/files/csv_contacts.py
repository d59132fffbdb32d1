r"""Contacts as a sheet: CSV in UTF-8 with a header row of the members' wire names (RFC 4180).

A sheet is opened in a spreadsheet. A cell that would be taken for a formula, or made another number (0151, 1-2), is
therefore written with an apostrophe before it, and read without. Several values stand in one cell, separated by
commas: `\,` is a comma of the value, and `mobile: 0160 998` a number with its description.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from syncd.core.contacts.contact import MEMBERS, Number
from syncd.core.contacts.custom import WRITABLE
from syncd.core.files.contact_import import Entry
from syncd.errors import InvalidParameter

MEDIA = "text/csv"
BOM = "\ufeff"
"""Without it, spreadsheets take the text for another encoding than UTF-8."""
COLUMNS = tuple(member for member in MEMBERS if member not in ("uri", "path"))
"""The columns of a sheet when nobody chooses; addresses say no more than the id."""
_ADDRESSES = ("uri", "path")
_LISTS = ("roles", "businessUnits")


def columns(fields: frozenset[str] | None) -> Sequence[str]:
    """The columns for the members that were asked for; None: nobody has chosen."""
    return COLUMNS if fields is None else [member for member in MEMBERS if member in fields]


def head(columns: Sequence[str]) -> str:
    """The beginning of a sheet: byte order mark and header row."""
    return BOM + _written([columns])


def rows(contacts: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A row for each contact, given by the wire names of its members."""
    return _written([[guarded(_cell(contact, member, columns)) for member in columns] for contact in contacts])


def entries(raw: bytes) -> Iterator[Entry]:
    """What a sheet says; cells are separated by comma, semicolon or tab. Raises InvalidParameter."""
    text = _decoded(raw)
    names: list[str] | None = None
    for line, cells, why in _records(text, _delimiter(text)):
        if names is None:
            names = _header(line, cells, why)
        elif why:
            yield Entry(line, {}, why)
        elif len(cells) > len(names):
            yield Entry(line, {}, f"there are {len(cells)} values, but the header names {len(names)} columns")
        elif any(cells):
            yield _entry(line, dict(zip(names, map(bare, cells), strict=False)))


def guarded(value: str) -> str:
    """The value, with an apostrophe where a spreadsheet would calculate, or show another number or a date."""
    return f"'{value}" if _CHANGED.match(value) else value


def bare(cell: str) -> str:
    """The value that was guarded; one that merely begins with an apostrophe keeps it."""
    return cell[1:] if cell.startswith("'") and _CHANGED.match(cell) else cell


_CHANGED = re.compile(
    "'*(?:[=+\\-@\t\r\n＝＋－＠]"  # a formula
    "|0[0-9]+$|[0-9]{12,}$"  # a number that loses its first digits, or its last
    "|[0-9]+[-/.:,eE][-/.:,eE0-9]*$)"  # a date, a time, a fraction
)
"""Apostrophes count too: of two values one of which is the other guarded, both come back as they were."""


def _written(table: Iterable[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(table)
    return out.getvalue()


def _cell(contact: Mapping[str, Any], member: str, columns: Sequence[str]) -> str:
    value = contact.get(member, "")
    if member in _LISTS:
        return ", ".join(map(_escaped, value))
    if member != "phoneNumbers":
        return str(value)
    # whoever changes phoneNumber in a sheet should not have to change a copy beside it
    told = "phoneNumber" in columns and len(value) == 1 and not value[0].get("description")
    return "" if told else ", ".join(map(_number, value))


def _number(number: Mapping[str, str]) -> str:
    described = f"{_escaped(number['description'])}: " if number.get("description") else ""
    return described + _escaped(number["phoneNumber"])


def _escaped(text: str) -> str:
    return _SIGN.sub(r"\\\g<0>", text)


def _numbers(cell: str) -> Iterator[Number]:
    """The numbers of a cell, in their order."""
    for item in _parts(cell, ","):
        *described, number = _parts(item, ": ", 1)
        plain = [_ESCAPED.sub(r"\1", text).strip() for text in (number, *described)]
        if any(plain):
            yield Number(*plain)


def _parts(text: str, sign: str, most: int = -1) -> list[str]:
    """The text split at a sign, where no backslash stands before that, into `most` parts and what remains."""
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == sign and len(parts) != most + 1:
            parts.append("")
        else:
            parts[-1] += token
    return parts


_SIGN = re.compile(r"[,\\]|:(?= )")
_ESCAPED = re.compile(r"\\([,:\\])")
_TOKEN = re.compile(r"\\[,:\\]|: |.", re.DOTALL)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidParameter(f"line {line}: the file is not in UTF-8; save it as «CSV UTF-8»") from error


def _records(text: str, delimiter: str) -> Iterator[tuple[int, Sequence[str], str]]:
    """(line, cells, what is wrong) of each record that is not empty; it begins in that physical line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line, cells, why = reader.line_num + 1, list[str](), ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = next((ours for theirs, ours in _SAID.items() if theirs in str(error)), str(error))
        if cells or why:
            yield line, cells, why


_SAID = {
    "unexpected end of data": "the quotation mark that opens a value here is never closed",
    "expected after": "a value goes on after its closing quotation mark; a quotation mark in a value is written twice",
    "field larger than": "a value is far too long; is there a closing quotation mark?",
}
"""The parser's words -> ours."""


def _delimiter(text: str) -> str:
    """Of comma, semicolon and tab the one with which the header names the most members."""
    return max(
        ",;\t", key=lambda one: sum(cell.strip() in MEMBERS for cell in next(_records(text, one), (0, [], ""))[1])
    )


def _header(line: int, cells: Sequence[str], why: str) -> list[str]:
    """The names of the columns. Raises InvalidParameter for one that is no member of a contact, or is there twice."""
    if why:
        raise InvalidParameter(f"line {line}: {why}")
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


def _entry(line: int, cells: Mapping[str, str]) -> Entry:
    """An empty cell says nothing, but where a text is required that it is missing."""
    said: dict[str, Any] = {
        member: cell.strip()
        for member, cell in cells.items()
        if member not in ("phoneNumbers", *_ADDRESSES) and (cell.strip() or member in WRITABLE)
    }
    if "phoneNumbers" not in cells:
        return Entry(line, said)
    first = said.get("phoneNumber", "")
    numbers = tuple(_numbers(cells["phoneNumbers"])) or ((Number(first),) if first else ())
    if first and numbers[0].phone_number != first:
        why = f"phoneNumber is {first[:60]!r}, but phoneNumbers begins with {numbers[0].phone_number[:60]!r}"
        return Entry(line, said, f"{why}; leave one of the cells empty")
    return Entry(line, said | ({"phoneNumber": numbers[0].phone_number, "phoneNumbers": numbers} if numbers else {}))

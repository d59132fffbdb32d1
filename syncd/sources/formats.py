"""Parsers for files of records in TOML, YAML, JSON and CSV; every entry has its location in the file.

A value is accepted only if it is the text that the file contains: no parser may drop signs, zeros or separators of a
phone number. A text that cannot be parsed completely raises FormatError; there are no partial results.
"""

import csv
import difflib
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from syncd.core.operations.error_text import hide_quoted
from syncd.sources import toml_tokens
from syncd.sources.file_entry import FileEntry, FormatError, UnsupportedValue, Value
from syncd.sources.yaml_entries import parse_yaml


def parse_entries(suffix: str, text: str, table: str) -> list[FileEntry]:
    """Parse all entries of a text. `table` is the name of the TOML tables that hold them.

    Raises: FormatError (parse, shape).
    """
    try:
        return _PARSERS[suffix](text, table)
    except RecursionError:
        raise FormatError("parse", None, "is nested too deeply to be a list of records") from None


# TOML

_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


def _parse_toml(text: str, table: str) -> list[FileEntry]:
    try:
        toml_tokens.check_limits(text)
        tables = tomllib.loads(text, parse_float=str)
    except ValueError as error:
        match = _TOML_LINE.search(str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        raise FormatError(
            "parse", line, f"is not TOML: {hide_quoted(_TOML_LINE.sub('', str(error)).strip())}"
        ) from None
    for name, content in tables.items():
        if name != table:
            raise FormatError(
                "shape", _find_toml_line(text, name), f"{name!r} is not known here; {_table_hint(table, name)}"
            )
        if not (isinstance(content, list) and all(isinstance(item, dict) for item in content)):
            raise FormatError(
                "shape", _find_toml_line(text, name), f"{name!r} is no array of tables; write [[{table}]]"
            )
    blocks = _toml_blocks(text, table, tables.get(table, []))
    return [_to_toml_entry(location, integers, item) for location, integers, item in blocks]


def _table_hint(table: str, name: str) -> str:
    is_similar = difflib.get_close_matches(name.lower(), [table], n=1)
    return f"did you mean [[{table}]]?" if is_similar else f"each record is a table [[{table}]]"


def _find_toml_line(text: str, name: str) -> int | None:
    match = re.search(rf"""(?m)^[ \t]*(\[\[?[ \t]*)?["']?{re.escape(name)}["']?[ \t]*[\].=]""", text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def _toml_blocks(
    text: str, table: str, items: list[dict[str, Any]]
) -> Iterator[tuple[str, frozenset[str], dict[str, Any]]]:
    """Yield the location, the integers between this header and the next one, and the parsed table of each item."""
    starts = [match.start() for match in re.finditer(rf"""(?m)^[ \t]*\[\[[ \t]*["']?{table}["']?[ \t]*\]\]""", text)]
    if len(starts) != len(items):  # an inline array, or a header within a text of several lines
        integers = toml_tokens.find_integers(text)
        yield from ((f"[{position}]", integers, item) for position, item in enumerate(items))
        return
    line, counted = 1, 0
    for start, end, item in zip(starts, [*starts[1:], len(text)], items, strict=False):
        line, counted = line + text.count("\n", counted, start), start
        yield f":{line}", toml_tokens.find_integers(text[start:end]), item


def _to_toml_entry(location: str, integers: frozenset[str], item: dict[str, Any]) -> FileEntry:
    def to_value(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool):
            # the parser returns +49… and 1_000 without the sign and the separator of the text
            if value.bit_length() < 256 and str(value) in integers:
                return str(value)
            return UnsupportedValue("a number that would lose its sign, zeros or separators")
        return _to_value(value, to_value)

    return FileEntry(location, [(member, to_value(value)) for member, value in item.items()])


def _to_value(value: object, convert: Callable[[object], Value]) -> Value:
    """Convert a parsed value; `convert` is applied to the elements of a list."""
    match value:
        case None | str():
            return value
        case bool():
            return UnsupportedValue("true or false")
        case dict() | _JsonObject():
            return UnsupportedValue("an object")
        case list():
            nested = UnsupportedValue("a list within a list")
            elements = [nested if isinstance(item, list) else convert(item) for item in value]
            return [element for element in elements if not isinstance(element, list)]
    return UnsupportedValue("a date or time")


# JSON


class _JsonObject(tuple[tuple[str, object], ...]):
    """The members of an object in their order; a dict would drop the first of two with the same name."""

    __slots__ = ()


def _reject_constant(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON value")


_JSON_DECODER = json.JSONDecoder(
    object_pairs_hook=_JsonObject, parse_int=str, parse_float=str, parse_constant=_reject_constant
)
"""Numbers remain the text of the file."""

_JSON_SEPARATOR = re.compile(r"[\s,]*")


def _parse_json(text: str, _table: str) -> list[FileEntry]:
    try:
        items = _JSON_DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise FormatError("parse", error.lineno, f"is not JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:
        raise FormatError("parse", None, f"is not JSON: {error}") from None
    if not isinstance(items, list):
        raise FormatError("shape", 1, "is no list; write [ {…}, {…} ]")
    entries = []
    for line, item in zip(_find_element_lines(text, len(items)), items, strict=True):
        if not isinstance(item, _JsonObject):
            raise FormatError("shape", line, "this element of the list is no object; write { … }")
        entries.append(FileEntry(f":{line}", [(member, _to_json_value(value)) for member, value in item]))
    return entries


def _find_element_lines(text: str, count: int) -> Iterator[int]:
    """Yield the line where each element of the outermost list begins; the text must be a valid JSON list."""
    line, counted, at = 1, 0, text.index("[") + 1
    for _ in range(count):
        gap = _JSON_SEPARATOR.match(text, at)
        start = gap.end() if gap else at
        line, counted = line + text.count("\n", counted, start), start
        yield line
        at = _JSON_DECODER.raw_decode(text, start)[1]


def _to_json_value(value: object) -> Value:
    return _to_value(value, _to_json_value)


# CSV


def _parse_csv(text: str, _table: str) -> list[FileEntry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    entries: list[FileEntry] = []
    while True:
        line = reader.line_num + 1  # first line of this record; a quoted text may span several lines
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise FormatError("parse", line, f"is not CSV: {error}") from None
        if row is None:
            return entries
        if not row:
            continue
        if not header:
            header = _parse_csv_header(row, line)
        elif len(row) != len(header):
            raise FormatError("shape", line, f"has {len(row)} values, but the header names {len(header)} columns")
        else:
            entries.append(FileEntry(f":{line}", list(zip(header, row, strict=True))))


def _parse_csv_header(row: list[str], line: int) -> list[str]:
    names = [name.strip() for name in row]
    lower = [name.lower() for name in names]
    if not all(names):
        raise FormatError("shape", line, "the header has a column without a name")
    duplicates = sorted(name for name, count in Counter(lower).items() if count > 1)
    if duplicates:
        raise FormatError("shape", line, f"the header names the column {duplicates[0]!r} twice")
    return names


_PARSERS: dict[str, Callable[[str, str], list[FileEntry]]] = {
    ".toml": _parse_toml,
    ".yaml": lambda text, _table: parse_yaml(text),
    ".yml": lambda text, _table: parse_yaml(text),
    ".json": _parse_json,
    ".csv": _parse_csv,
}

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import yaml


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
        tables = tomllib.loads(text, parse_float=str)
    except ValueError as error:
        match = _TOML_LINE.search(str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        raise FormatError("parse", line, f"is not TOML: {_TOML_LINE.sub('', str(error)).strip()}") from None
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
    return [_to_toml_entry(location, block, item) for location, block, item in blocks]


def _table_hint(table: str, name: str) -> str:
    is_similar = difflib.get_close_matches(name.lower(), [table], n=1)
    return f"did you mean [[{table}]]?" if is_similar else f"each record is a table [[{table}]]"


def _find_toml_line(text: str, name: str) -> int | None:
    match = re.search(rf"""(?m)^[ \t]*(\[\[?[ \t]*)?["']?{re.escape(name)}["']?[ \t]*[\].=]""", text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def _toml_blocks(text: str, table: str, items: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the location, the text between this header and the next one, and the parsed table of each item."""
    starts = [match.start() for match in re.finditer(rf"""(?m)^[ \t]*\[\[[ \t]*["']?{table}["']?[ \t]*\]\]""", text)]
    if len(starts) != len(items):  # an inline array, or a header within a text of several lines
        yield from ((f"[{position}]", text, item) for position, item in enumerate(items))
        return
    line, counted = 1, 0
    for start, end, item in zip(starts, [*starts[1:], len(text)], items, strict=False):
        line, counted = line + text.count("\n", counted, start), start
        yield f":{line}", text[start:end], item


def _to_toml_entry(location: str, block: str, item: dict[str, Any]) -> FileEntry:
    def to_value(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool):
            # the parser returns +49… and 1_000 without the sign and the separator of the text
            is_verbatim = value.bit_length() < 256 and re.search(rf"(?<![\w+.-]){value}(?![\w.])", block)
            if is_verbatim:
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


# YAML: parsed as nodes, not as Python values, because 0301234 would become an octal number and `no` false

_UNSUPPORTED_YAML_TAGS = {"bool": "true or false", "timestamp": "a date or time"}
_YAML_MERGE_TAG = "tag:yaml.org,2002:merge"


def _parse_yaml(text: str, _table: str) -> list[FileEntry]:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise FormatError("shape", 1, "is no list; begin each record with '- ', or write [] for none")
        return [_to_yaml_entry(loader, node) for node in root.value]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FormatError("parse", mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FormatError("parse", line, f"is not YAML: {error.reason}") from None


def _to_yaml_entry(loader: yaml.SafeLoader, node: yaml.Node) -> FileEntry:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise FormatError("shape", line, "this element of the list is no object; write 'name: …' lines")
    own = [pair for pair in node.value if pair[0].tag != _YAML_MERGE_TAG]
    loader.flatten_mapping(node)  # puts the members that `<<` merges in first
    own_names = {member.value for member, _ in own if isinstance(member, yaml.ScalarNode)}
    merged = dict(_to_yaml_members(node.value[: len(node.value) - len(own)], line))
    members = [(member, value) for member, value in merged.items() if member not in own_names]
    return FileEntry(f":{line}", [*members, *_to_yaml_members(own, line)])


def _to_yaml_members(pairs: Sequence[tuple[yaml.Node, yaml.Node]], line: int) -> Iterator[tuple[str, Value]]:
    for member, value in pairs:
        if not isinstance(member, yaml.ScalarNode):
            raise FormatError("shape", line, "a member's name must be a text")
        yield member.value, _to_yaml_value(value)


def _to_yaml_value(node: yaml.Node) -> Value:
    if isinstance(node, yaml.SequenceNode):
        return [_to_yaml_scalar(item) for item in node.value]
    return _to_yaml_scalar(node)


def _to_yaml_scalar(node: yaml.Node) -> str | UnsupportedValue | None:
    if isinstance(node, yaml.SequenceNode):
        return UnsupportedValue("a list within a list")
    if not isinstance(node, yaml.ScalarNode):
        return UnsupportedValue("an object")
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "null":
        return None
    text: str = node.value
    return (
        text
        if kind in {"str", "int", "float"}
        else UnsupportedValue(_UNSUPPORTED_YAML_TAGS.get(kind, f"of the type {node.tag}"))
    )


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
    duplicates = sorted({name for name in lower if lower.count(name) > 1})
    if duplicates:
        raise FormatError("shape", line, f"the header names the column {duplicates[0]!r} twice")
    return names


_PARSERS: dict[str, Callable[[str, str], list[FileEntry]]] = {
    ".toml": _parse_toml,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".json": _parse_json,
    ".csv": _parse_csv,
}

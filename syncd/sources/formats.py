"""The text of a TOML, YAML, JSON or CSV file becomes entries, each with the place where a person finds it.

What belongs here: what each format looks like and how far its values can be trusted to be what a person wrote. A text
that is not wholly understood raises FormatFault; there is no half of a file.
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


class FormatFault(Exception):
    """The text is not a whole file of records. `line` is None where no line can be told."""

    def __init__(self, code: str, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line
        self.reason = reason


class Odd(NamedTuple):
    """A value that is no text, and what it is instead."""

    what: str


Value: TypeAlias = "str | Odd | list[str | Odd | None] | None"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object, table or row, as written. A member may stand in it twice; who reads it decides."""

    place: str
    """What follows the file's name: `:12` for a line, `[3]` where only the position is known."""
    members: Sequence[tuple[str, Value]]


def entries(suffix: str, text: str, table: str) -> list[Entry]:
    """All entries of a text. `table` is the name of the TOML tables that hold them. Raises FormatFault."""
    try:
        return _READERS[suffix](text, table)
    except RecursionError:
        raise FormatFault("parse", None, "is nested too deeply to be a list of records") from None


# TOML

_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


def _toml(text: str, table: str) -> list[Entry]:
    try:
        tables = tomllib.loads(text, parse_float=str)
    except ValueError as error:
        found = _LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise FormatFault("parse", line, f"is not TOML: {_LINE.sub('', str(error)).strip()}") from None
    for name, content in tables.items():
        if name != table:
            raise FormatFault("shape", _toml_line(text, name), f"{name!r} is not known here; {_expected(table, name)}")
        if not (isinstance(content, list) and all(isinstance(item, dict) for item in content)):
            raise FormatFault("shape", _toml_line(text, name), f"{name!r} is no array of tables; write [[{table}]]")
    return [_toml_entry(place, block, item) for place, block, item in _blocks(text, table, tables.get(table, []))]


def _expected(table: str, name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [table], n=1)
    return f"did you mean [[{table}]]?" if near else f"each record is a table [[{table}]]"


def _toml_line(text: str, name: str) -> int | None:
    found = re.search(rf"""(?m)^[ \t]*(\[\[?[ \t]*)?["']?{re.escape(name)}["']?[ \t]*[\].=]""", text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _blocks(text: str, table: str, items: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each item with its place and the text between its header and the next one."""
    starts = [found.start() for found in re.finditer(rf"""(?m)^[ \t]*\[\[[ \t]*["']?{table}["']?[ \t]*\]\]""", text)]
    if len(starts) != len(items):  # an inline array, or a header within a text of several lines
        yield from ((f"[{position}]", text, item) for position, item in enumerate(items))
        return
    line, counted = 1, 0
    for start, end, item in zip(starts, [*starts[1:], len(text)], items, strict=False):
        line, counted = line + text.count("\n", counted, start), start
        yield f":{line}", text[start:end], item


def _toml_entry(place: str, block: str, item: dict[str, Any]) -> Entry:
    def plain(value: object) -> Value:
        if isinstance(value, int) and not isinstance(value, bool):
            # +49… and 1_000 come out of the parser as other digits than those a person wrote
            written = value.bit_length() < 256 and re.search(rf"(?<![\w+.-]){value}(?![\w.])", block)
            return str(value) if written else Odd("a number that would lose its sign, zeros or separators")
        return _plain(value, plain)

    return Entry(place, [(member, plain(value)) for member, value in item.items()])


def _plain(value: object, inner: Callable[[object], Value]) -> Value:
    match value:
        case None | str():
            return value
        case bool():
            return Odd("true or false")
        case dict() | _JsonObject():
            return Odd("an object")
        case list():
            found = [Odd("a list within a list") if isinstance(item, list) else inner(item) for item in value]
            return [item for item in found if not isinstance(item, list)]
    return Odd("a date or time")


# JSON


class _JsonObject(tuple[tuple[str, object], ...]):
    """The members of an object in their order; a dict would drop the first of two with one name."""

    __slots__ = ()


def _no_number(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_JsonObject, parse_int=str, parse_float=str, parse_constant=_no_number)
"""Numbers stay the text that was written."""

_GAP = re.compile(r"[\s,]*")


def _json(text: str, _table: str) -> list[Entry]:
    try:
        items = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise FormatFault("parse", error.lineno, f"is not JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:
        raise FormatFault("parse", None, f"is not JSON: {error}") from None
    if not isinstance(items, list):
        raise FormatFault("shape", 1, "is no list; write [ {…}, {…} ]")
    found = []
    for line, item in zip(_json_lines(text, len(items)), items, strict=True):
        if not isinstance(item, _JsonObject):
            raise FormatFault("shape", line, "this element of the list is no object; write { … }")
        found.append(Entry(f":{line}", [(member, _json_value(value)) for member, value in item]))
    return found


def _json_lines(text: str, count: int) -> Iterator[int]:
    """The line where each element of the outermost list begins; the text is known to be such a list."""
    line, counted, at = 1, 0, text.index("[") + 1
    for _ in range(count):
        gap = _GAP.match(text, at)
        start = gap.end() if gap else at
        line, counted = line + text.count("\n", counted, start), start
        yield line
        at = _DECODER.raw_decode(text, start)[1]


def _json_value(value: object) -> Value:
    return _plain(value, _json_value)


# YAML: read as nodes, not as Python values, because 0301234 would become an octal number and `no` false

_ODD_TAGS = {"bool": "true or false", "timestamp": "a date or time"}
_MERGE = "tag:yaml.org,2002:merge"


def _yaml(text: str, _table: str) -> list[Entry]:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise FormatFault("shape", 1, "is no list; begin each record with '- ', or write [] for none")
        return [_yaml_entry(loader, node) for node in root.value]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FormatFault("parse", mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FormatFault("parse", line, f"is not YAML: {error.reason}") from None


def _yaml_entry(loader: yaml.SafeLoader, node: yaml.Node) -> Entry:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise FormatFault("shape", line, "this element of the list is no object; write 'name: …' lines")
    own = [pair for pair in node.value if pair[0].tag != _MERGE]
    loader.flatten_mapping(node)  # what `<<` brings in comes first
    named = {member.value for member, _ in own if isinstance(member, yaml.ScalarNode)}
    merged = dict(_yaml_members(node.value[: len(node.value) - len(own)], line))
    members = [(member, value) for member, value in merged.items() if member not in named]
    return Entry(f":{line}", [*members, *_yaml_members(own, line)])


def _yaml_members(pairs: Sequence[tuple[yaml.Node, yaml.Node]], line: int) -> Iterator[tuple[str, Value]]:
    for member, value in pairs:
        if not isinstance(member, yaml.ScalarNode):
            raise FormatFault("shape", line, "a member's name must be a text")
        yield member.value, _yaml_value(value)


def _yaml_value(node: yaml.Node) -> Value:
    if isinstance(node, yaml.SequenceNode):
        return [_yaml_scalar(item) for item in node.value]
    return _yaml_scalar(node)


def _yaml_scalar(node: yaml.Node) -> str | Odd | None:
    if isinstance(node, yaml.SequenceNode):
        return Odd("a list within a list")
    if not isinstance(node, yaml.ScalarNode):
        return Odd("an object")
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "null":
        return None
    text: str = node.value
    return text if kind in {"str", "int", "float"} else Odd(_ODD_TAGS.get(kind, f"of the type {node.tag}"))


# CSV


def _csv(text: str, _table: str) -> list[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    found: list[Entry] = []
    while True:
        line = reader.line_num + 1  # where this record begins; a quoted text may span several lines
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise FormatFault("parse", line, f"is not CSV: {error}") from None
        if row is None:
            return found
        if not row:
            continue
        if not header:
            header = _header(row, line)
        elif len(row) != len(header):
            raise FormatFault("shape", line, f"has {len(row)} values, but the header names {len(header)} columns")
        else:
            found.append(Entry(f":{line}", list(zip(header, row, strict=True))))


def _header(row: list[str], line: int) -> list[str]:
    names = [name.strip() for name in row]
    lower = [name.lower() for name in names]
    if not all(names):
        raise FormatFault("shape", line, "the header has a column without a name")
    twice = sorted({name for name in lower if lower.count(name) > 1})
    if twice:
        raise FormatFault("shape", line, f"the header names the column {twice[0]!r} twice")
    return names


_READERS: dict[str, Callable[[str, str], list[Entry]]] = {
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".csv": _csv,
}

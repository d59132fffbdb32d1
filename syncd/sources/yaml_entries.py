"""Parser for files of records in YAML. The only module that imports yaml.

The text is parsed as nodes, not as Python values, because 0301234 would become an octal number and `no` false.
"""

import yaml

from syncd.core.operations.error_text import hide_quoted
from syncd.sources.file_entry import FileEntry, FormatError, UnsupportedValue, Value

MIN_EXPANSION = 2**17
"""Characters that the aliases of any text may expand to."""
MAX_EXPANSION_RATIO = 10
"""Characters that aliases may expand to, per character of a larger text."""

_UNSUPPORTED_TAGS = {"bool": "true or false", "timestamp": "a date or time"}
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Expansion:
    """Count of characters of members and values: a text of n characters could have n * n of them by its aliases."""

    def __init__(self, text: str) -> None:
        self._limit = self._left = max(MIN_EXPANSION, MAX_EXPANSION_RATIO * len(text))

    def count(self, text: str) -> None:
        """Count a name or value. Raises: FormatError (shape) above the limit."""
        self._left -= len(text) + 1
        if self._left < 0:
            raise FormatError("shape", None, f"its aliases expand to more than {self._limit} characters")


def parse_yaml(text: str) -> list[FileEntry]:
    """Parse a list of objects; merge keys (`<<`) are followed. Raises: FormatError (parse, shape), RecursionError."""
    try:
        root = yaml.SafeLoader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FormatError(
            "parse", mark.line + 1 if mark else None, f"is not YAML: {hide_quoted(error.problem or '')}"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FormatError("parse", line, f"is not YAML: {error.reason}") from None
    if not isinstance(root, yaml.SequenceNode):
        raise FormatError("shape", 1, "is no list; begin each record with '- ', or write [] for none")
    expansion = _Expansion(text)
    return [_to_entry(node, expansion) for node in root.value]


def _to_entry(node: yaml.Node, expansion: _Expansion) -> FileEntry:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise FormatError("shape", line, "this element of the list is no object; write 'name: …' lines")
    own = _own_members(node, expansion)
    own_names = {name for name, _ in own}
    merged = [(name, value) for name, value in _merged_members(node, expansion).items() if name not in own_names]
    return FileEntry(f":{line}", [(name, _to_value(value, expansion)) for name, value in [*merged, *own]])


def _own_members(node: yaml.MappingNode, expansion: _Expansion) -> list[tuple[str, yaml.Node]]:
    """Return the members of a mapping without merged ones; a name can occur twice."""
    members = []
    for name, value in node.value:
        if name.tag == _MERGE_TAG:
            continue
        if not isinstance(name, yaml.ScalarNode):
            raise FormatError("shape", node.start_mark.line + 1, "a member's name must be a text")
        expansion.count(name.value)
        members.append((str(name.value), value))
    return members


def _merged_members(node: yaml.MappingNode, expansion: _Expansion) -> dict[str, yaml.Node]:
    """Return the members that `<<` merges: the first mapping of a list wins, and its own members over merged ones.

    `SafeLoader.flatten_mapping` expands them before anything can be counted.
    """
    merged: dict[str, yaml.Node] = {}
    for _, value in [pair for pair in node.value if pair[0].tag == _MERGE_TAG]:
        for mapping in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(mapping, yaml.MappingNode):
                raise FormatError("shape", node.start_mark.line + 1, "<< merges objects only")
            expansion.count("<<")
            for name, member in dict(_own_members(mapping, expansion)).items():
                merged.setdefault(name, member)
            for name, member in _merged_members(mapping, expansion).items():
                merged.setdefault(name, member)
    return merged


def _to_value(node: yaml.Node, expansion: _Expansion) -> Value:
    if isinstance(node, yaml.SequenceNode):
        return [_to_scalar(item, expansion) for item in node.value]
    return _to_scalar(node, expansion)


def _to_scalar(node: yaml.Node, expansion: _Expansion) -> str | UnsupportedValue | None:
    if isinstance(node, yaml.SequenceNode):
        return UnsupportedValue("a list within a list")
    if not isinstance(node, yaml.ScalarNode):
        return UnsupportedValue("an object")
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "null":
        return None
    text: str = node.value
    expansion.count(text)
    return (
        text
        if kind in {"str", "int", "float"}
        else UnsupportedValue(_UNSUPPORTED_TAGS.get(kind, f"of the type {node.tag}"))
    )

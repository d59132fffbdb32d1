"""SQL conditions and sort keys of a checked query on `contact`. All values of the caller are parameters."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, collate, func, literal, or_
from sqlalchemy.sql import ColumnElement

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS
from syncd.core.contacts.phone_number import lookup_keys
from syncd.core.contacts.query import NamePattern, Query, is_id
from syncd.core.contacts.text import fold
from syncd.store.schema.tables import contact

Condition: TypeAlias = ColumnElement[bool]

columns = contact.c


def build_conditions(query: Query, regions: Collection[str]) -> list[Condition]:
    """Return the conditions that a matching contact fulfils, all of them. Numbers are read in each of these regions."""
    conditions = [_filter(name, values, regions) for name, values in query.filters]
    if query.types:
        conditions.append(_any_of(columns.type, query.types))
    return conditions + [_matches_pattern(pattern) for pattern in query.patterns if pattern != ("", "")]


def build_order(query: Query) -> list[ColumnElement[Any]]:
    """Return the sort keys with direction. As in the contract, NULL is last in ascending, first in descending order."""
    keys = build_sort_keys(query)
    directed = [key.desc() if query.descending else key.asc() for key in keys]
    return [*directed, columns.id.asc()]


def build_sort_keys(query: Query) -> list[ColumnElement[Any]]:
    """Return the sort keys without direction."""
    return [key for member in query.sort for key in _sort_keys(member)]


def has_any_number(numbers: Sequence[str], regions: Collection[str]) -> Condition:
    """Return the condition that a contact has one of these numbers, in any spelling."""
    keys = [lookup_keys(number, regions) for number in numbers]
    # the suffixes select by index, the exact keys decide
    return and_(
        overlaps(columns.tails, [tail for number in keys for tail in number.suffixes]),
        overlaps(columns.dialled, [key for number in keys for key in number.exact_keys]),
    )


def overlaps(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    """Return the condition that an array column contains one of these values."""
    return column.op("&&", is_comparison=True)(bindparam(None, list(values), ARRAY(Text)))


def escape_like(text: str) -> str:
    """Escape a text as a literal part of a LIKE pattern."""
    return _LIKE_SPECIAL.sub(_ESCAPED, text)


def is_selective(pattern: NamePattern) -> bool:
    """Return whether a pattern has a trigram: three word characters, or one or two at a word boundary."""
    anchored = ["\n" + pattern[0], *pattern[1:]] if pattern[0] else list(pattern)
    if pattern[-1]:
        anchored[-1] += "\n"
    return any(map(_TRIGRAM.search, anchored))


def _any_of(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    """Compare with one value (PostgreSQL caches its plan), or with several values as one array parameter."""
    if len(values) == 1:
        return column == bindparam(None, values[0], Text)
    return column == any_(bindparam(None, list(values), ARRAY(Text)))


def _by_id(values: Sequence[str]) -> Condition:
    """Compare the id; a value that is no id matches nothing."""
    ids = [UUID(hex=value) for value in values if is_id(value)]
    return columns.id == any_(bindparam(None, ids, ARRAY(Uuid)))


def _by_name(values: Sequence[str]) -> Condition:
    """Compare name or userName. The folded name selects by index, the exact one decides."""
    folded = _any_of(collate(columns.name_folded, "C"), [fold(value) for value in values])
    return or_(folded & _any_of(columns.name, values), _any_of(columns.user_name, values))


def _by_role(values: Sequence[str]) -> Condition:
    return (columns.type == "User") & overlaps(columns.roles, values)


def _by_unit(values: Sequence[str]) -> Condition:
    return (columns.type != "User") | overlaps(columns.business_units, values)


_SPECIAL_FILTERS: Mapping[str, Callable[[Sequence[str]], Condition]] = {
    "id": _by_id,
    "name": _by_name,
    "roles": _by_role,
    "includeUsersInBusinessUnits": _by_unit,
}


def _filter(name: str, values: Sequence[str], regions: Collection[str]) -> Condition:
    if name == "phoneNumber":
        return func.cardinality(columns.dialled) > 0 if "*" in values else has_any_number(values, regions)
    special = _SPECIAL_FILTERS.get(name)
    return _any_of(columns[TEXT_MEMBERS[name]], values) if special is None else special(values)


def _matches_pattern(pattern: NamePattern) -> Condition:
    """Match one whole value among those between the line feeds of `search`.

    Wildcards at the ends only need LIKE: the literal part has no line feed, so it lies within one value. A pattern that
    is open at both ends could also match behind the values, so the part before the first form feed is compared again.
    A wildcard between literals must not reach into the next value, which only a regular expression can express.
    """
    literals = [part for part in pattern if part]
    if len(literals) > 1:
        inner = "[^\n]*".join(_REGEX_SPECIAL.sub(_ESCAPED, part) for part in pattern)
        return columns.search.regexp_match(f"\n{inner}\n")
    start, end = "\n" if pattern[0] else "", "\n" if pattern[-1] else ""
    like_pattern = f"%{start}{escape_like(''.join(literals))}{end}%"
    match = columns.search.like(like_pattern)
    return match if start or end else match & func.split_part(columns.search, "\f", 1).like(like_pattern)


_ESCAPED = r"\\\g<0>"
_LIKE_SPECIAL = re.compile(r"[%_\\]")
_REGEX_SPECIAL = re.compile(r"[].[{}()*+?^$|\\]")
_TRIGRAM = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")


def _sort_keys(member: str) -> Sequence[ColumnElement[Any]]:
    """Sort by the folded value where it is stored, else ignore ASCII case; in code point order on every platform."""
    if member in _FOLDED_COLUMNS:
        return [collate(_FOLDED_COLUMNS[member], "C")]
    if member in ("id", "uri", "path"):
        return [columns.id]
    column = _SORT_COLUMNS.get(member)
    text = collate(columns[TEXT_MEMBERS[member]] if column is None else column, "C")
    return [func.lower(text), text]


_FIRST_NUMBER = columns.numbers[0]["phoneNumber"].astext
_FOLDED_COLUMNS = {
    "name": columns.name_folded,
    "firstName": columns.first_name_folded,
    "lastName": columns.last_name_folded,
}
_SORT_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "type": columns.type,
    "phoneNumber": _FIRST_NUMBER,
    "phoneNumbers": _FIRST_NUMBER,
    **{
        member: func.nullif(func.array_to_string(columns[column], literal(", ")), literal(""))
        for member, column in LIST_MEMBERS.items()
    },
}

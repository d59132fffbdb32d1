"""Filters and order of a checked query as SQL on `contact`. Everything typed is a parameter."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, collate, func, literal, or_
from sqlalchemy.sql import ColumnElement

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS
from syncd.core.contacts.phone_number import asked
from syncd.core.contacts.query import Query, Wanted, is_identifier
from syncd.core.contacts.text import fold
from syncd.store.schema.tables import contact

Condition: TypeAlias = ColumnElement[bool]

columns = contact.c


def conditions(query: Query, regions: Collection[str]) -> list[Condition]:
    """What a contact must fulfil to match; all of them. A number is understood under each of these regions."""
    found = [_condition(name, values, regions) for name, values in query.filters]
    if query.types:
        found.append(_any_of(columns.type, query.types))
    return found + [_matches(wanted) for wanted in query.wanted if wanted != ("", "")]


def order(query: Query) -> list[ColumnElement[Any]]:
    """The sort keys. As in the contract, PostgreSQL puts NULL last in ascending and first in descending order."""
    keys = sort_keys(query)
    directed = [key.desc() if query.descending else key.asc() for key in keys]
    return [*directed, columns.id.asc()]


def sort_keys(query: Query) -> list[ColumnElement[Any]]:
    """What is sorted by, without a direction."""
    return [key for member in query.sort for key in _sort_keys(member)]


def spelled(numbers: Sequence[str], regions: Collection[str]) -> Condition:
    """The contact has one of these numbers, in whatever spelling."""
    found = [asked(number, regions) for number in numbers]
    # the last digits are there for their index; the keys decide
    return and_(
        overlaps(columns.tails, [tail for number in found for tail in number.tails]),
        overlaps(columns.dialled, [key for number in found for key in number.spellings]),
    )


def overlaps(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    """The array has one of these values."""
    return column.op("&&", is_comparison=True)(bindparam(None, list(values), ARRAY(Text)))


def like(text: str) -> str:
    """The text as a literal part of a pattern of LIKE."""
    return _LIKE.sub(_ESCAPED, text)


def selective(wanted: Wanted) -> bool:
    """Whether an argument of a names-or-number search has a trigram: three characters, or a few at an end of a word."""
    anchored = ["\n" + wanted[0], *wanted[1:]] if wanted[0] else list(wanted)
    if wanted[-1]:
        anchored[-1] += "\n"
    return any(map(_TRIGRAM.search, anchored))


def _any_of(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    """One value as such, for which PostgreSQL keeps a plan; several as one parameter, however many they are."""
    if len(values) == 1:
        return column == bindparam(None, values[0], Text)
    return column == any_(bindparam(None, list(values), ARRAY(Text)))


def _by_id(values: Sequence[str]) -> Condition:
    """A value that is no id matches nothing."""
    ids = [UUID(hex=value) for value in values if is_identifier(value)]
    return columns.id == any_(bindparam(None, ids, ARRAY(Uuid)))


def _by_name(values: Sequence[str]) -> Condition:
    """A user is found by its userName too. The folded name is there for its index; the exact one decides."""
    folded = _any_of(collate(columns.name_folded, "C"), [fold(value) for value in values])
    return or_(folded & _any_of(columns.name, values), _any_of(columns.user_name, values))


def _by_role(values: Sequence[str]) -> Condition:
    return (columns.type == "User") & overlaps(columns.roles, values)


def _by_unit(values: Sequence[str]) -> Condition:
    return (columns.type != "User") | overlaps(columns.business_units, values)


_SPECIAL: Mapping[str, Callable[[Sequence[str]], Condition]] = {
    "id": _by_id,
    "name": _by_name,
    "roles": _by_role,
    "includeUsersInBusinessUnits": _by_unit,
}


def _condition(name: str, values: Sequence[str], regions: Collection[str]) -> Condition:
    if name == "phoneNumber":
        return func.cardinality(columns.dialled) > 0 if "*" in values else spelled(values, regions)
    special = _SPECIAL.get(name)
    return _any_of(columns[TEXT_MEMBERS[name]], values) if special is None else special(values)


def _matches(wanted: Wanted) -> Condition:
    """One whole value among those between the line feeds of `search`.

    A wildcard at the ends needs no more than LIKE: the literal part holds no line feed, so it lies within one value.
    When it is open at both ends it could lie behind the values as well, which has to be looked at once more.
    A wildcard between literals must not reach into the next value, which only a regular expression can say.
    """
    literals = [part for part in wanted if part]
    if len(literals) > 1:
        inner = "[^\n]*".join(_REGULAR.sub(_ESCAPED, part) for part in wanted)
        return columns.search.regexp_match(f"\n{inner}\n")
    start, end = "\n" if wanted[0] else "", "\n" if wanted[-1] else ""
    pattern = f"%{start}{like(''.join(literals))}{end}%"
    found = columns.search.like(pattern)
    return found if start or end else found & func.split_part(columns.search, "\f", 1).like(pattern)


_ESCAPED = r"\\\g<0>"
_LIKE = re.compile(r"[%_\\]")
_REGULAR = re.compile(r"[].[{}()*+?^$|\\]")
_TRIGRAM = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")


def _sort_keys(member: str) -> Sequence[ColumnElement[Any]]:
    """Folded where that is stored, else ASCII case ignored; code point order, so that every build sorts alike."""
    if member in _FOLDED:
        return [collate(_FOLDED[member], "C")]
    if member in ("id", "uri", "path"):
        return [columns.id]
    column = _SORTED_TEXT.get(member)
    text = collate(columns[TEXT_MEMBERS[member]] if column is None else column, "C")
    return [func.lower(text), text]


_NUMBER = columns.numbers[0]["phoneNumber"].astext
_FOLDED = {
    "name": columns.name_folded,
    "firstName": columns.first_name_folded,
    "lastName": columns.last_name_folded,
}
_SORTED_TEXT: Mapping[str, ColumnElement[Any]] = {
    "type": columns.type,
    "phoneNumber": _NUMBER,
    "phoneNumbers": _NUMBER,
    **{
        member: func.nullif(func.array_to_string(columns[column], literal(", ")), literal(""))
        for member, column in LIST_MEMBERS.items()
    },
}

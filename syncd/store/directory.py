"""Reading the directory: a checked query becomes one SELECT on `contact`. Reads only; everything typed is a parameter.

An answer of any length takes the same memory: its first rows come with one plain SELECT, and only when there are more
of them a server-side cursor hands out the rest, in the same snapshot.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, Uuid, any_, bindparam, cast, collate, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ColumnElement

from syncd.core.contact import LIST_MEMBERS, TEXT_MEMBERS
from syncd.core.directory import Page, StoredContact
from syncd.core.query import Query, Wanted, is_identifier
from syncd.core.text import dialled, fold
from syncd.store.session import Sessions
from syncd.store.tables import contact

BATCH = 250
"""Rows that are fetched and encoded at a time: about 64 KiB of answer."""

Condition: TypeAlias = ColumnElement[bool]

columns = contact.c
COLUMNS = (
    func.replace(cast(columns.id, Text), "-", "").label("id"), columns.type, columns.name, columns.numbers,
    columns.user_name, columns.first_name, columns.last_name, columns.employee_id, columns.email_address,
    columns.roles, columns.business_units, columns.channel,
)  # fmt: skip
"""What is selected, in the order of StoredContact."""


_SERVED = select(*COLUMNS).where(columns.served)
_COUNT = select(func.count()).select_from(contact).where(columns.served)


class Directory:
    """The contacts of all types, as they are served."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def one(self, id_: str) -> StoredContact | None:
        """The contact with this id (32 hex digits). Raises StoreUnavailable."""
        async with self._sessions.asking() as connection:
            row = (await connection.execute(by_id(id_))).one_or_none()
        return None if row is None else StoredContact._make(row)

    def page(self, query: Query) -> AbstractAsyncContextManager[Page]:
        """The contacts that match; the page can be read inside the `async with`. Raises StoreUnavailable."""
        return self._page(query)

    @asynccontextmanager
    async def _page(self, query: Query) -> AsyncIterator[Page]:
        matching = conditions(query)
        ordered = _SERVED.where(*matching).order_by(*order(query))
        asked = BATCH if query.limit is None else min(BATCH, query.limit)
        first = ordered.limit(asked).offset(query.offset)
        if query.filters or query.wanted:  # most such answers are short, and a short one needs one statement only
            async with self._sessions.asking() as connection:
                head = await _rows(connection, first)
            if _is_all(head, asked, query):
                yield Page(query.offset + len(head), _one_batch(head))
                return
        async with self._sessions.reading() as connection:
            head = await _rows(connection, first)
            if _is_all(head, asked, query):
                total = query.offset + len(head)
            else:
                total = await connection.scalar(_COUNT.where(*matching)) or 0
            rest = _rest(ordered, query, len(head), total)
            async with aclosing(_batches(connection, head, rest)) as batches:
                yield Page(total, batches)


def by_id(id_: str) -> Select[Any]:
    """The statement for one contact that is served."""
    return _SERVED.where(columns.id == UUID(hex=id_))


def conditions(query: Query) -> list[Condition]:
    """What a contact must fulfil to match; all of them."""
    found = [_condition(name)(values) for name, values in query.filters]
    if query.types:
        found.append(_any_of(columns.type, query.types))
    return found + [_matches(wanted) for wanted in query.wanted if wanted != ("", "")]


def order(query: Query) -> list[ColumnElement[Any]]:
    """The sort keys. As in the contract, PostgreSQL puts NULL last in ascending and first in descending order."""
    keys = [key for member in query.sort for key in _sort_keys(member)]
    directed = [key.desc() if query.descending else key.asc() for key in keys]
    return [*directed, columns.id.asc()]


def _is_all(head: Sequence[StoredContact], asked: int, query: Query) -> bool:
    """True when nothing comes after these rows, and they tell how many match: past the end nobody knows."""
    return len(head) < asked and bool(head or not query.offset)


async def _one_batch(rows: Sequence[StoredContact]) -> AsyncIterator[Sequence[StoredContact]]:
    yield rows


async def _rows(connection: AsyncConnection, statement: Select[Any]) -> Sequence[StoredContact]:
    return list(map(StoredContact._make, await connection.execute(statement)))


def _rest(ordered: Select[Any], query: Query, had: int, total: int) -> Select[Any] | None:
    """The statement for what comes after the rows that are there already; None when nothing does."""
    limit = None if query.limit is None else query.limit - had
    if limit == 0 or not had or query.offset + had >= total:
        return None
    return ordered.limit(limit).offset(query.offset + had)


async def _batches(
    connection: AsyncConnection, head: Sequence[StoredContact], rest: Select[Any] | None
) -> AsyncGenerator[Sequence[StoredContact], None]:
    yield head
    if rest is None:
        return
    async with connection.stream(rest, execution_options={"yield_per": BATCH}) as result:
        async for rows in result.partitions():
            yield list(map(StoredContact._make, rows))


def _any_of(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    """One parameter however many values, so that the statement's text (and its cached plan) stays the same."""
    return column == any_(bindparam(None, list(values), ARRAY(Text)))


def _overlaps(column: ColumnElement[Any], values: Sequence[str]) -> Condition:
    return column.op("&&", is_comparison=True)(bindparam(None, list(values), ARRAY(Text)))


def _by_id(values: Sequence[str]) -> Condition:
    """A value that is no id matches nothing."""
    ids = [UUID(hex=value) for value in values if is_identifier(value)]
    return columns.id == any_(bindparam(None, ids, ARRAY(Uuid)))


def _by_name(values: Sequence[str]) -> Condition:
    """A user is found by its userName too. The folded name is there for its index; the exact one decides."""
    folded = _any_of(collate(columns.name_folded, "C"), [fold(value) for value in values])
    return or_(folded & _any_of(columns.name, values), _any_of(columns.user_name, values))


def _by_number(values: Sequence[str]) -> Condition:
    if "*" in values:
        return func.cardinality(columns.dialled) > 0
    return _overlaps(columns.dialled, [dialled(value) for value in values])


def _by_role(values: Sequence[str]) -> Condition:
    return (columns.type == "User") & _overlaps(columns.roles, values)


def _by_unit(values: Sequence[str]) -> Condition:
    return (columns.type != "User") | _overlaps(columns.business_units, values)


_SPECIAL: Mapping[str, Callable[[Sequence[str]], Condition]] = {
    "id": _by_id,
    "name": _by_name,
    "phoneNumber": _by_number,
    "roles": _by_role,
    "includeUsersInBusinessUnits": _by_unit,
}


def _condition(name: str) -> Callable[[Sequence[str]], Condition]:
    return _SPECIAL.get(name) or (lambda values: _any_of(columns[TEXT_MEMBERS[name]], values))


def _matches(wanted: Wanted) -> Condition:
    """One whole value among those between the line feeds of `search`.

    A wildcard at the ends needs no more than LIKE: the literal part holds no line feed, so it lies within one value.
    A wildcard between literals must not reach into the next value, which only a regular expression can say.
    """
    literals = [part for part in wanted if part]
    if len(literals) <= 1:
        end = "\n" if wanted[-1] else ""
        start = "\n" if wanted[0] else ""
        return columns.search.like(f"%{start}{_LIKE.sub(ESCAPED, ''.join(literals))}{end}%")
    between = "[^\n]*".join(_REGULAR.sub(ESCAPED, part) for part in wanted)
    return columns.search.regexp_match(f"\n{between}\n")


ESCAPED = r"\\\g<0>"
_LIKE = re.compile(r"[%_\\]")
_REGULAR = re.compile(r"[].[{}()*+?^$|\\]")


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

"""Reading the directory: a checked query becomes one SELECT on `contact`. Reads only; everything typed is a parameter.

An answer of any length takes the same memory: its first rows come with one plain SELECT, and only when there are more
of them a server-side cursor hands out the rest, in the same snapshot.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, Uuid, any_, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.core.directory import Page, StoredContact
from syncd.core.query import Query
from syncd.store import search
from syncd.store.filters import columns, conditions, order
from syncd.store.session import Sessions
from syncd.store.tables import contact

BATCH = 250
"""Rows that are fetched and encoded at a time: about 64 KiB of answer."""

COLUMNS = (
    func.replace(cast(columns.id, Text), "-", "").label("id"), columns.type, columns.name, columns.numbers,
    columns.user_name, columns.first_name, columns.last_name, columns.employee_id, columns.email_address,
    columns.roles, columns.business_units, columns.channel,
)  # fmt: skip
"""What is selected, in the order of StoredContact."""


_SERVED = select(*COLUMNS).where(columns.served)
_COUNT = select(func.count()).select_from(contact).where(columns.served)


class Directory:
    """The contacts of all types, as they are served; numbers that are asked for may belong to any of the regions."""

    def __init__(self, engine: AsyncEngine, regions: Collection[str] = ()) -> None:
        self._sessions = Sessions(engine)
        self._regions = regions

    async def one(self, id_: str) -> StoredContact | None:
        """The contact with this id (32 hex digits). Raises StoreUnavailable."""
        async with self._sessions.asking() as connection:
            row = (await connection.execute(by_id(id_))).one_or_none()
        return None if row is None else StoredContact._make(row)

    def page(self, query: Query) -> AbstractAsyncContextManager[Page]:
        """The contacts that match; the page can be read inside the `async with`. Raises StoreUnavailable."""
        return self._found(query) if search.is_indexed(query) else self._page(query)

    @asynccontextmanager
    async def _found(self, query: Query) -> AsyncIterator[Page]:
        async with self._sessions.reading() as connection:
            found = await search.find(connection, query, self._regions)
            async with aclosing(_named(connection, found.ids)) as batches:
                yield Page(found.total, batches)

    @asynccontextmanager
    async def _page(self, query: Query) -> AsyncIterator[Page]:
        matching = conditions(query, self._regions)
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


async def _named(connection: AsyncConnection, ids: Sequence[UUID]) -> AsyncGenerator[Sequence[StoredContact], None]:
    """The contacts with these ids, in this order."""
    for start in range(0, len(ids), BATCH):
        wanted = ids[start : start + BATCH]
        rows = await _rows(connection, _SERVED.where(columns.id == any_(bindparam(None, wanted, ARRAY(Uuid)))))
        found = {row.id: row for row in rows}
        yield [found[id_.hex] for id_ in wanted]


async def _batches(
    connection: AsyncConnection, head: Sequence[StoredContact], rest: Select[Any] | None
) -> AsyncGenerator[Sequence[StoredContact], None]:
    yield head
    if rest is None:
        return
    async with connection.stream(rest, execution_options={"yield_per": BATCH}) as result:
        async for rows in result.partitions():
            yield list(map(StoredContact._make, rows))

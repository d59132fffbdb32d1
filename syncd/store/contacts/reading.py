"""Contact queries: a checked query becomes one SELECT on `contact`. All values of the caller are parameters.

Memory use does not depend on the length of the result: a short one is read by one plain SELECT, a longer one by a
server-side cursor, with its count from the same snapshot.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Select, Text, Uuid, any_, bindparam, case, cast, collate, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ColumnElement

from syncd.core.contacts.models import ContactPage, StoredContact
from syncd.core.contacts.query import Query
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts import search
from syncd.store.contacts.count_cache import Count, CountCache
from syncd.store.contacts.filters import Condition, build_conditions, build_order, build_sort_keys, columns
from syncd.store.schema.tables import contact, directory

BATCH_SIZE = 250
"""Rows that are fetched and encoded at a time: about 64 KiB of response."""

COUNT_FIRST_OFFSET = 1000
"""Offset from which on contacts are counted first, because sorting all of them for an empty page is expensive."""

MAX_CACHED_WEIGHT = 1024
"""Maximum `Query.weight` of a statement that is cached: a cached statement keeps its values."""

COLUMNS = (
    func.replace(cast(columns.id, Text), "-", "").label("id"), columns.type, columns.name, columns.numbers,
    columns.user_name, columns.first_name, columns.last_name, columns.employee_id, columns.email_address,
    columns.roles, columns.business_units, columns.channel,
)  # fmt: skip
"""Selected columns, in the order of StoredContact."""


_SERVED = select(*COLUMNS).where(columns.served)
_COUNT = select(func.count()).select_from(contact).where(columns.served)


class Directory:
    """Served contacts of all types; numbers in a query may be written as in any of the regions."""

    def __init__(
        self, engine: AsyncEngine, regions: Collection[str] = (), count_cache: CountCache | None = None
    ) -> None:
        self._sessions = Sessions(engine)
        self._regions = tuple(regions)
        self._count_cache = count_cache or CountCache()

    async def find_contact(self, id_: str) -> StoredContact | None:
        """Return the contact with this id (32 hex digits); None if it is not served. Raises StoreUnavailable."""
        async with self._sessions.autocommit() as connection:
            row = (await connection.execute(select_by_id(id_))).one_or_none()
        return None if row is None else StoredContact._make(row)

    def open_page(self, query: Query) -> AbstractAsyncContextManager[ContactPage]:
        """Return a context manager for the matching contacts, from one snapshot, in the order of the query.

        The page is read within the `async with`. Raises StoreUnavailable and StoreBusy.
        """
        return self._search_page(query) if search.is_indexed(query) else self._filter_page(query)

    @asynccontextmanager
    async def _search_page(self, query: Query) -> AsyncIterator[ContactPage]:
        async with self._sessions.snapshot() as connection:
            await _limit_compiled(connection, query)
            result = await search.find(connection, query, self._regions)
            async with aclosing(_load_by_ids(connection, result.ids)) as batches:
                yield ContactPage(result.total, batches)

    @asynccontextmanager
    async def _filter_page(self, query: Query) -> AsyncIterator[ContactPage]:
        if query.offset < COUNT_FIRST_OFFSET and (
            query.filters or query.patterns or (query.limit is not None and query.limit <= BATCH_SIZE)
        ):
            # most of these results are short, and a short one needs only one statement
            head, total = await self._load_head(query)
            if total is not None and query.row_count(total) == len(head):
                yield ContactPage(total, _one_batch(head))
                return
        async with self._sessions.snapshot() as connection:
            await _limit_compiled(connection, query)
            conditions = build_conditions(query, self._regions)
            total = await self._load_total(connection, query, conditions)
            if not query.row_count(total):
                yield ContactPage(total, _one_batch([]))
                return
            async with aclosing(_stream_batches(connection, _select_ordered(query, conditions))) as batches:
                yield ContactPage(total, batches)

    async def _load_head(self, query: Query) -> tuple[Sequence[StoredContact], int | None]:
        """Return the first batch and the number of matches; None when no row carries it."""
        max_rows = BATCH_SIZE if query.limit is None else min(BATCH_SIZE, query.limit)
        cached = self._count_cache.find(query.match_key)
        async with self._sessions.autocommit() as connection:
            select_head = _cached_head if _is_light(query) else _select_head
            await _limit_compiled(connection, query)
            rows = (await connection.execute(select_head(query, self._regions, max_rows), cached._asdict())).all()
        if not rows:
            return (), None if query.offset or not max_rows else 0
        *_, revision, total = rows[0]
        self._count_cache.store(query.match_key, Count(revision, total))
        return [StoredContact._make(row[: len(COLUMNS)]) for row in rows], total

    async def _load_total(self, connection: AsyncConnection, query: Query, conditions: Sequence[Condition]) -> int:
        """Return the number of matches in the snapshot of this transaction."""
        cached = self._count_cache.find(query.match_key)
        row = (await connection.execute(select(_REVISION, _select_total(conditions)), cached._asdict())).one()
        self._count_cache.store(query.match_key, count := Count(*row))
        return count.total


def select_by_id(id_: str) -> Select[Any]:
    """Return the SELECT for one served contact by its id (32 hex digits)."""
    return _SERVED.where(columns.id == UUID(hex=id_))


_REVISION = select(directory.c.revision).scalar_subquery()


def _select_total(conditions: Sequence[Condition]) -> ColumnElement[int]:
    """Return the number of matches as SQL; a cached count (parameters `revision`, `total`) is used if still valid."""
    is_valid = bindparam("revision", type_=BigInteger) == _REVISION
    counted = _COUNT.where(*conditions).scalar_subquery()
    return case((is_valid, bindparam("total", type_=BigInteger)), else_=counted)


def _select_head(query: Query, regions: tuple[str, ...], max_rows: int) -> Select[Any]:
    """Return the SELECT for the first `max_rows` rows, each with the revision and the number of matches."""
    conditions = build_conditions(query, regions)
    keys = [key.label(f"key_{number}") for number, key in enumerate(build_sort_keys(query))]
    page = (
        _SERVED.add_columns(*keys)
        .where(*conditions)
        .order_by(*build_order(query))
        .limit(max_rows)
        .offset(query.offset)
        .cte("page")
    )
    size = select(func.count()).select_from(page).scalar_subquery()
    total = case((size < max_rows, size + query.offset), else_=_select_total(conditions))
    order = [page.c[key.name].desc() if query.descending else page.c[key.name].asc() for key in keys]
    members = [page.c[column] for column in StoredContact._fields]
    return select(*members, _REVISION, total).order_by(*order, collate(page.c.id, "C"))


_cached_head = lru_cache(maxsize=1000)(_select_head)
"""Cached, because desktops repeat their queries, and building a statement takes as long as executing it."""


def _select_ordered(query: Query, conditions: Sequence[Condition]) -> Select[Any]:
    """Return the SELECT for all rows of the query."""
    return _SERVED.where(*conditions).order_by(*build_order(query)).limit(query.limit).offset(query.offset)


def _is_light(query: Query) -> bool:
    return query.weight <= MAX_CACHED_WEIGHT


async def _limit_compiled(connection: AsyncConnection, query: Query) -> None:
    """Keep the statements of a heavy query out of the engine's cache, which is limited by number, not by size."""
    if not _is_light(query):
        await connection.execution_options(compiled_cache=None)


async def _one_batch(rows: Sequence[StoredContact]) -> AsyncIterator[Sequence[StoredContact]]:
    yield rows


async def _load_rows(connection: AsyncConnection, statement: Select[Any]) -> Sequence[StoredContact]:
    return list(map(StoredContact._make, await connection.execute(statement)))


async def _load_by_ids(
    connection: AsyncConnection, ids: Sequence[UUID]
) -> AsyncGenerator[Sequence[StoredContact], None]:
    """Yield the contacts with these ids in batches, in this order."""
    for start in range(0, len(ids), BATCH_SIZE):
        batch = ids[start : start + BATCH_SIZE]
        rows = await _load_rows(connection, _SERVED.where(columns.id == any_(bindparam(None, batch, ARRAY(Uuid)))))
        contacts = {row.id: row for row in rows}
        yield [contacts[id_.hex] for id_ in batch]


async def _stream_batches(
    connection: AsyncConnection, statement: Select[Any]
) -> AsyncGenerator[Sequence[StoredContact], None]:
    async with connection.stream(statement, execution_options={"yield_per": BATCH_SIZE}) as result:
        async for rows in result.partitions():
            yield list(map(StoredContact._make, rows))

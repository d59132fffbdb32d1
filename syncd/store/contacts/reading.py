"""Reading the directory: a checked query becomes one SELECT on `contact`. Reads only; everything typed is a parameter.

An answer of any length takes the same memory: a short one comes with one plain SELECT, a longer one by a server-side
cursor, with its count from the same snapshot.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Select, Text, Uuid, any_, bindparam, case, cast, collate, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ColumnElement

from syncd.core.contacts.models import Page, StoredContact
from syncd.core.contacts.query import Query
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts import search
from syncd.store.contacts.count_cache import Counted, Totals
from syncd.store.contacts.filters import Condition, columns, conditions, order, sort_keys
from syncd.store.schema.tables import contact, directory

BATCH = 250
"""Rows that are fetched and encoded at a time: about 64 KiB of answer."""

FAR = 1000
"""The offset from which on it is asked first whether there is anything: to sort all for nothing would be dear."""

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

    def __init__(self, engine: AsyncEngine, regions: Collection[str] = (), totals: Totals | None = None) -> None:
        self._sessions = Sessions(engine)
        self._regions = tuple(regions)
        self._totals = totals or Totals()

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
        if query.offset < FAR and (query.filters or query.wanted or (query.limit is not None and query.limit <= BATCH)):
            # most such answers are short, and a short one needs one statement only
            head, total = await self._head(query)
            if total is not None and query.rows(total) == len(head):
                yield Page(total, _one_batch(head))
                return
        async with self._sessions.reading() as connection:
            matching = conditions(query, self._regions)
            total = await self._count(connection, query, matching)
            if not query.rows(total):
                yield Page(total, _one_batch([]))
                return
            async with aclosing(_batches(connection, _ordered(query, matching))) as batches:
                yield Page(total, batches)

    async def _head(self, query: Query) -> tuple[Sequence[StoredContact], int | None]:
        """The first batch, and how many match in all; None when there is no row to tell it."""
        most = BATCH if query.limit is None else min(BATCH, query.limit)
        known = self._totals.known(query.matching)
        async with self._sessions.asking() as connection:
            rows = (await connection.execute(_head(query, self._regions, most), known._asdict())).all()
        if not rows:
            return (), None if query.offset or not most else 0
        *_, revision, total = rows[0]
        self._totals.keep(query.matching, Counted(revision, total))
        return [StoredContact._make(row[: len(COLUMNS)]) for row in rows], total

    async def _count(self, connection: AsyncConnection, query: Query, matching: Sequence[Condition]) -> int:
        """How many match in all, at the moment of this transaction."""
        known = self._totals.known(query.matching)
        row = (await connection.execute(select(_REVISION, _total(matching)), known._asdict())).one()
        self._totals.keep(query.matching, found := Counted(*row))
        return found.total


def by_id(id_: str) -> Select[Any]:
    """The statement for one contact that is served."""
    return _SERVED.where(columns.id == UUID(hex=id_))


_REVISION = select(directory.c.revision).scalar_subquery()


def _total(matching: Sequence[Condition]) -> ColumnElement[int]:
    """How many match. If what was counted before still holds (parameters `revision`, `total`), nobody counts."""
    holds = bindparam("revision", type_=BigInteger) == _REVISION
    counted = _COUNT.where(*matching).scalar_subquery()
    return case((holds, bindparam("total", type_=BigInteger)), else_=counted)


@lru_cache(maxsize=1000)
def _head(query: Query, regions: tuple[str, ...], most: int) -> Select[Any]:
    """The first rows, each with the revision that they are of, and how many match.

    Desktops ask the same again and again, and to make a statement takes as long as to run it.
    """
    matching = conditions(query, regions)
    keys = [key.label(f"key_{number}") for number, key in enumerate(sort_keys(query))]
    page = (
        _SERVED.add_columns(*keys).where(*matching).order_by(*order(query)).limit(most).offset(query.offset).cte("page")
    )
    size = select(func.count()).select_from(page).scalar_subquery()
    total = case((size < most, size + query.offset), else_=_total(matching))
    by = [page.c[key.name].desc() if query.descending else page.c[key.name].asc() for key in keys]
    shown = [page.c[column] for column in StoredContact._fields]
    return select(*shown, _REVISION, total).order_by(*by, collate(page.c.id, "C"))


def _ordered(query: Query, matching: Sequence[Condition]) -> Select[Any]:
    """Everything that was asked for."""
    return _SERVED.where(*matching).order_by(*order(query)).limit(query.limit).offset(query.offset)


async def _one_batch(rows: Sequence[StoredContact]) -> AsyncIterator[Sequence[StoredContact]]:
    yield rows


async def _rows(connection: AsyncConnection, statement: Select[Any]) -> Sequence[StoredContact]:
    return list(map(StoredContact._make, await connection.execute(statement)))


async def _named(connection: AsyncConnection, ids: Sequence[UUID]) -> AsyncGenerator[Sequence[StoredContact], None]:
    """The contacts with these ids, in this order."""
    for start in range(0, len(ids), BATCH):
        wanted = ids[start : start + BATCH]
        rows = await _rows(connection, _SERVED.where(columns.id == any_(bindparam(None, wanted, ARRAY(Uuid)))))
        found = {row.id: row for row in rows}
        yield [found[id_.hex] for id_ in wanted]


async def _batches(
    connection: AsyncConnection, statement: Select[Any]
) -> AsyncGenerator[Sequence[StoredContact], None]:
    async with connection.stream(statement, execution_options={"yield_per": BATCH}) as result:
        async for rows in result.partitions():
            yield list(map(StoredContact._make, rows))

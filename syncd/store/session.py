"""Connections for one request of the web part: the transaction it needs, and our errors instead of the library's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.errors import StoreUnavailable
from syncd.store.database import translated


@asynccontextmanager
async def asking(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For a single SELECT, which is its own snapshot: no BEGIN, no COMMIT."""
    async with _connected(engine, isolation_level="AUTOCOMMIT") as connection:
        yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For several SELECTs that must see the same moment."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    async with _connected(engine, **options) as connection, connection.begin():
        yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For one change: committed at the end, rolled back by an error."""
    async with _connected(engine) as connection, connection.begin():
        yield connection


@asynccontextmanager
async def _connected(engine: AsyncEngine, **options: object) -> AsyncIterator[AsyncConnection]:
    with translated():
        try:
            async with engine.execution_options(**options).connect() as connection:
                yield connection
        except PoolTimeout as error:
            raise StoreUnavailable("every database connection is in use; raise database.pool_size") from error

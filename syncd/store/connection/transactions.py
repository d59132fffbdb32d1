"""Connections for one request of the web part: the transaction it needs, and our errors instead of the library's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.errors import StoreBusy
from syncd.store.connection.engine import translated


class Sessions:
    """The three kinds of session on one pool. The variants of the engine are made once: each costs event listeners."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._writing = engine
        self._asking = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AsyncConnection]:
        """For a single SELECT, which is its own snapshot: no BEGIN, no COMMIT."""
        async with _connected(self._asking) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """For several SELECTs that must see the same moment."""
        async with _connected(self._reading) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """For one change: committed at the end, rolled back by an error."""
        async with _connected(self._writing) as connection, connection.begin():
            yield connection


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    with translated():
        try:
            async with engine.connect() as connection:
                yield connection
        except PoolTimeout as error:
            raise StoreBusy("too many requests wait for the database; try again in a few seconds") from error

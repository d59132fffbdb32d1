"""Pooled connections with the transaction that a request of the web part needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.errors import StoreBusy
from syncd.store.connection.engine import mapped_errors
from syncd.store.connection.pool import PER_TRANSACTION


class Sessions:
    """Three kinds of session on one pool. The engine variants are created once: each one costs event listeners.

    Every session raises the errors of `mapped_errors`, and StoreBusy when no pooled connection becomes free in time.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._transaction_engine = engine
        is_pooled = engine.get_execution_options().get(PER_TRANSACTION)
        self._autocommit_engine = engine if is_pooled else engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot_engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Open a session for a single SELECT, which is its own snapshot: no BEGIN unless the engine needs one."""
        async with _connect(self._autocommit_engine) as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only REPEATABLE READ transaction for several SELECTs on the same snapshot."""
        async with _connect(self._snapshot_engine) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction for one change: committed at the end, rolled back by an error."""
        async with _connect(self._transaction_engine) as connection, connection.begin():
            yield connection


@asynccontextmanager
async def _connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    with mapped_errors():
        try:
            async with engine.connect() as connection:
                yield connection
        except PoolTimeout as error:
            raise StoreBusy("too many requests wait for the database; try again in a few seconds") from error

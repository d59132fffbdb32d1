"""The pool: connections of the web part, kept, and tried before use when they were idle.

A module of its own, because the library's asynchronous half takes a tenth of a second to load, and a run needs none.
"""

import math
import time
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Dialect, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from syncd.settings import Database
from syncd.store.connection.engine import Role, arguments

_PATIENCE = 3
"""Seconds that a request waits for a connection before it is told to come back."""


def async_engine(settings: Database, role: Role) -> AsyncEngine:
    """An engine with a pool; a connection that was idle and that the server has closed is replaced before use.

    To compile a statement takes longer than any statement of a request, so the server does not. It gives up one that
    takes longer than database.statement_timeout: no question, however it is put, keeps a connection from the others.
    """
    milliseconds = settings.statement_timeout / timedelta(milliseconds=1)
    options = arguments(settings, role, f"-c jit=off -c statement_timeout={milliseconds:.0f}")

    async def connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(**options)

    made = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=_PATIENCE,
    )
    event.listen(made.sync_engine, "checkin", _noted)
    event.listen(made.sync_engine, "checkout", partial(_tried, made.sync_engine.dialect))
    return made


# To try a connection before each use would cost as much as the use itself. One that was used a moment ago is not tried:
# `store.contacts.revision` asks before each request, and when that connection turns out to be dead, all are made anew.
_IDLE = 1.0
_USED = "used"


def _noted(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()


def _tried(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    if time.monotonic() - record.info.get(_USED, -math.inf) < _IDLE:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error  # the pool opens another

"""Connection pool of the web part; idle connections are pinged before use.

Separate from `engine`, because the asynchronous half of SQLAlchemy takes 0.1 s to import, and a run does not need it.
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
from syncd.store.connection.engine import Role, connect_arguments

_POOL_TIMEOUT = 3
"""Seconds that a request waits for a free connection before StoreBusy."""


def open_async_engine(settings: Database, role: Role) -> AsyncEngine:
    """Create an engine with a pool; an idle connection that the server has closed is replaced before use.

    JIT is off, because compiling takes longer than any statement of a request. The server cancels a statement after
    database.statement_timeout, so that no query keeps a connection from the other requests.
    """
    milliseconds = settings.statement_timeout / timedelta(milliseconds=1)
    options = connect_arguments(settings, role, f"-c jit=off -c statement_timeout={milliseconds:.0f}")

    async def connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(**options)

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT,
    )
    event.listen(engine.sync_engine, "checkin", _record_use)
    event.listen(engine.sync_engine, "checkout", partial(_ping_if_idle, engine.sync_engine.dialect))
    return engine


# A ping before each use would cost as much as the use itself. A connection used less than this many seconds ago is not
# pinged: `store.contacts.revision` queries before each request, and replaces all connections when its own is dead.
_PING_AFTER = 1.0
_LAST_USED = "used"


def _record_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_LAST_USED] = time.monotonic()


def _ping_if_idle(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    if time.monotonic() - record.info.get(_LAST_USED, -math.inf) < _PING_AFTER:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error  # the pool opens another

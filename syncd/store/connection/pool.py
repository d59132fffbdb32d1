"""Connection pool of the web part; idle connections are pinged before use.

Separate from `engine`, because the asynchronous half of SQLAlchemy takes 0.1 s to import, and a run does not need it.
"""

import math
import time
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, Dialect, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from syncd.errors import DatabaseUnsuitable
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_connection
from syncd.store.connection.session import POOLER_REMEDY, Session

_POOL_TIMEOUT = 3
"""Seconds that a request waits for a free connection before StoreBusy."""
PER_TRANSACTION = "syncd_per_transaction"
"""Execution option of an engine whose connections have role and time limit only within a transaction."""


def open_async_engine(settings: Database, role: Role) -> AsyncEngine:
    """Create an engine with a pool; an idle connection that the server has closed is replaced before use.

    The server cancels a statement after database.statement_timeout, so that no query keeps a connection from the other
    requests. With database.direct_url, database.url may lead through a transaction pooler: role and time limit are then
    set by each transaction, and no statement is prepared.
    """
    is_pooled = settings.direct_url is not None

    async def connect() -> psycopg.AsyncConnection[Any]:
        session = None if is_pooled else Session.create(role, settings.statement_timeout)
        connection = await open_connection(settings, session)
        await connection.set_autocommit(False)
        if is_pooled:
            connection.prepare_threshold = None
        return connection

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT,
        execution_options={PER_TRANSACTION: is_pooled},
        use_native_hstore=False,  # the search for it would cost a round trip
        hide_parameters=True,
    )
    if is_pooled:
        event.listen(engine.sync_engine, "begin", partial(_begin, Session.create(role, settings.statement_timeout)))
    event.listen(engine.sync_engine, "checkin", _record_use)
    event.listen(engine.sync_engine, "checkout", partial(_ping_if_idle, engine.sync_engine.dialect))
    return engine


def _begin(session: Session, connection: Connection) -> None:
    user = connection.exec_driver_sql(session.select_local()).one()[-1]
    if user != session.role:
        raise DatabaseUnsuitable(f"the role of the transaction is {user}, not {session.role}; {POOLER_REMEDY}")


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

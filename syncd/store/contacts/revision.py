"""Tracker of the directory's revision: one query for simultaneous requests, and notification of waiting ones.

Each request queries the revision instead of trusting the last notification, so that its response contains everything
committed before, whatever the state of the listening connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import psycopg

from syncd.core.contacts.models import DirectoryVersion
from syncd.errors import StoreError
from syncd.settings import Database
from syncd.store.connection.engine import Role, mapped_errors, open_connection
from syncd.store.connection.session import Session

_SELECT_VERSION = "SELECT revision, access FROM directory"
_CHANNEL = "syncd_revision"
_QUERY_TIMEOUT = 10.0
"""Seconds until the version query fails."""
_HEARTBEAT_INTERVAL = 10.0
"""Seconds without notification after which the listening connection is checked."""
_RETRY_INTERVAL = 1.0
"""Seconds between two queries while the listening connection is lost."""


async def _do_nothing() -> None:
    """Default for `on_connection_lost`."""


class RevisionTracker:
    """Current version of the directory.

    `on_change` is called with each newer revision. `on_connection_lost` is called when the database has closed the
    connection of the tracker, and therefore probably others too.
    """

    def __init__(
        self,
        settings: Database,
        on_change: Callable[[int], None] = lambda _: None,
        on_connection_lost: Callable[[], Awaitable[None]] = _do_nothing,
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._on_connection_lost = on_connection_lost
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[DirectoryVersion] | None = None
        self._latest = 0
        self._newer = asyncio.Event()

    async def current(self) -> DirectoryVersion:
        """Return the version as of a moment after this call. Raises StoreUnavailable.

        A running query may have read an earlier version; all calls during it share the next one.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._refresh())
            self._next.add_done_callback(asyncio.Task.exception)  # retrieved, because all waiters may be cancelled
        return await asyncio.shield(self._next)

    async def wait_newer_than(self, revision: int, seconds: float) -> int:
        """Return the newest known revision as soon as it is above `revision`, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._latest <= revision:
                    await self._newer.wait()
        return self._latest

    async def listen(self) -> None:
        """Listen for commits until cancelled; while the connection is lost, query the version once a second."""
        while True:
            with suppress(StoreError, psycopg.Error, TimeoutError):
                await self._listen()
            with suppress(StoreError):
                await self.current()
            await asyncio.sleep(_RETRY_INTERVAL)

    async def close(self) -> None:
        """Close the connection; the next query opens a new one."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _refresh(self) -> DirectoryVersion:
        async with self._lock:
            self._next = None
            with mapped_errors():
                version = await _within_timeout(self._query())
        self._advance(version.revision)
        return version

    async def _query(self) -> DirectoryVersion:
        """Query the version on the open connection; if that is lost, on a new one."""
        if self._connection is not None:
            try:
                return await _load_version(self._connection)
            except psycopg.OperationalError:
                await self.close()
                await self._on_connection_lost()
        self._connection = await open_connection(self._settings, Session.create(Role.API))
        return await _load_version(self._connection)

    async def _listen(self) -> None:
        async with await open_connection(self._settings, Session.create(Role.API)) as listening:
            await listening.execute(f"LISTEN {_CHANNEL}")
            while True:
                version = await _within_timeout(_load_version(listening))
                self._advance(version.revision)
                async for _ in listening.notifies(timeout=_HEARTBEAT_INTERVAL):
                    await self.current()  # only a hint: every login with CONNECT may notify, with any payload

    def _advance(self, revision: int) -> None:
        if revision <= self._latest:
            return
        self._latest = revision
        self._newer.set()
        self._newer = asyncio.Event()
        self._on_change(revision)


async def _load_version(connection: psycopg.AsyncConnection[Any]) -> DirectoryVersion:
    row = await (await connection.execute(_SELECT_VERSION, prepare=True)).fetchone()
    if row is None:
        raise psycopg.OperationalError("the table `directory` has lost its row")
    return DirectoryVersion(*row)


async def _within_timeout(query: Coroutine[Any, Any, DirectoryVersion]) -> DirectoryVersion:
    try:
        async with asyncio.timeout(_QUERY_TIMEOUT):
            return await query
    except TimeoutError as error:
        raise psycopg.OperationalError(f"no answer within {_QUERY_TIMEOUT:.0f} s") from error

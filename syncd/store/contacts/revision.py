"""The revision: asked once for all who want to know it at the same moment, and told to those who wait for the next.

It is asked and not remembered, so that nobody is ever shown less than was committed before they asked, whatever became
of the connection that listens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

from syncd.errors import StoreError
from syncd.settings import Database
from syncd.store.connection.engine import Role, connection, translated

_QUESTION = "SELECT revision, access FROM directory"
_CHANNEL = "syncd_revision"
_PATIENCE = 10.0
"""Seconds in which the database has to answer so small a question."""
_HEARTBEAT = 10.0
"""Seconds of silence after which the listening connection is tried."""
_PAUSE = 1.0
"""Seconds between two questions while nobody listens."""


class Stamp(NamedTuple):
    """A moment of the directory: how often contacts were changed, and how often tokens were."""

    revision: int
    access: int


async def _nothing() -> None:
    """For whom a lost connection is of no matter."""


class Revisions:
    """Where the directory stands.

    `changed` is called when a newer revision is heard of, `lost` when the database has ended our connection: then it
    has ended others too.
    """

    def __init__(
        self,
        settings: Database,
        changed: Callable[[int], None] = lambda _: None,
        lost: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._lost = lost
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Stamp] | None = None
        self._latest = 0
        self._newer = asyncio.Event()

    async def now(self) -> Stamp:
        """The state of a moment after this call. Raises StoreUnavailable.

        A question that is under way may have been put before the caller came; all who come meanwhile share the next.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
            self._next.add_done_callback(asyncio.Task.exception)  # whoever asked may be gone by then
        return await asyncio.shield(self._next)

    async def later_than(self, revision: int, seconds: float) -> int:
        """The newest revision heard of, as soon as it is above `revision`, or when the seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._latest <= revision:
                    await self._newer.wait()
        return self._latest

    async def listen(self) -> None:
        """Hear of each commit until cancelled; while that is not possible, ask again and again."""
        while True:
            with suppress(StoreError, psycopg.Error, TimeoutError):
                await self._listen()
            with suppress(StoreError):
                await self.now()
            await asyncio.sleep(_PAUSE)

    async def close(self) -> None:
        """Close the connection; it is opened again when somebody asks."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _ask(self) -> Stamp:
        async with self._turn:
            self._next = None
            with translated():
                stamp = await _in_time(self._answer())
        self._hear(stamp.revision)
        return stamp

    async def _answer(self) -> Stamp:
        """Ask on the connection that is there; when it turns out to be dead, on a new one."""
        if self._connection is not None:
            try:
                return await _stamp(self._connection)
            except psycopg.OperationalError:
                await self.close()
                await self._lost()
        self._connection = await connection(self._settings, Role.API)
        return await _stamp(self._connection)

    async def _listen(self) -> None:
        async with await connection(self._settings, Role.API) as listening:
            await listening.execute(f"LISTEN {_CHANNEL}")
            while True:
                stamp = await _in_time(_stamp(listening))
                self._hear(stamp.revision)
                async for notice in listening.notifies(timeout=_HEARTBEAT):
                    self._hear(int(notice.payload))

    def _hear(self, revision: int) -> None:
        if revision <= self._latest:
            return
        self._latest = revision
        self._newer.set()
        self._newer = asyncio.Event()
        self._changed(revision)


async def _stamp(asked: psycopg.AsyncConnection[Any]) -> Stamp:
    row = await (await asked.execute(_QUESTION, prepare=True)).fetchone()
    if row is None:
        raise psycopg.OperationalError("the table `directory` has lost its row")
    return Stamp(*row)


async def _in_time(answer: Coroutine[Any, Any, Stamp]) -> Stamp:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await answer
    except TimeoutError as error:
        raise psycopg.OperationalError(f"no answer within {_PATIENCE:.0f} s") from error

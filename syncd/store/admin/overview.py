"""Asynchronous administration queries of the web part; each result is one snapshot.

The commands call the same functions directly.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.operations.health import DirectoryState, ExpectedSource
from syncd.core.sync.history import HeldItem, PastChange, PastRun, PendingRemoval, RejectedRecord, Slice
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.admin import approvals, history, pending_removals
from syncd.store.admin.status import load_state, load_status
from syncd.store.connection.transactions import Sessions
from syncd.store.run import rejects

P = ParamSpec("P")
R = TypeVar("R")


class Overview:
    """Runs, held items, rejects and pending removals. Every method raises StoreUnavailable.

    A `source` of None means all sources.
    """

    def __init__(
        self, engine: AsyncEngine, expected: Sequence[ExpectedSource], lifecycles: Mapping[str, Lifecycle]
    ) -> None:
        self._sessions = Sessions(engine)
        self._expected = expected
        self._lifecycles = lifecycles
        self._last_state: DirectoryState | None = None

    @property
    def sources(self) -> Sequence[str]:
        """Names of the configured sources."""
        return [one.name for one in self._expected]

    async def load_state(self) -> DirectoryState:
        """Return the current state for health checks; cheap, because contacts are only counted at a new revision."""
        self._last_state = await self._query(load_state, self._last_state)
        return self._last_state

    def reset(self) -> None:
        """Drop the last state: in another database the same revision is another state."""
        self._last_state = None

    async def load_status(self) -> dict[str, Any]:
        """Return health, the last runs with their evidence, and the earliest pending removals, as JSON values."""
        return await self._query(load_status, self._expected, self._lifecycles)

    async def list_runs(self, source: str | None, limit: int, offset: int) -> Slice[PastRun]:
        """Return runs, newest first."""
        return await self._query(history.list_runs, source, limit, offset)

    async def load_run(self, number: int) -> PastRun | None:
        """Return a run; None when there is none with this id."""
        return await self._query(history.load_run, number)

    async def list_changes(self, run: int, limit: int, offset: int) -> Slice[PastChange]:
        """Return the changes of a run."""
        return await self._query(history.list_changes, run, limit, offset)

    async def list_held_items(self, source: str | None, limit: int, offset: int) -> Slice[HeldItem]:
        """Return what the guard holds."""
        return await self._query(approvals.list_held_items, [source] if source else [], limit, offset)

    async def list_rejects(self, source: str | None, limit: int, offset: int) -> Slice[RejectedRecord]:
        """Return the records that the last run of each source could not map."""
        return await self._query(rejects.list_rejects, [source] if source else [], limit, offset)

    async def list_pending_removals(self, source: str | None, limit: int, offset: int) -> Slice[PendingRemoval]:
        """Return the missing contacts and the date of their removal."""
        lifecycles = {name: lifecycle for name, lifecycle in self._lifecycles.items() if source in {None, name}}
        return await self._query(pending_removals.list_pending_removals, lifecycles, limit, offset)

    async def _query(self, query: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._sessions.snapshot() as connection:
            return await connection.run_sync(query, *args, **kwargs)

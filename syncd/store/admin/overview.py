"""What the web part looks up, each answer from one moment: the same functions as behind the commands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.operations.health import DirectoryState, Expected
from syncd.core.sync.history import HeldItem, Leaver, Listing, PastChange, PastRun, Rejected
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.admin import approvals, history, pending_removals
from syncd.store.admin.status import state, status
from syncd.store.connection.transactions import Sessions
from syncd.store.run import rejects

P = ParamSpec("P")
R = TypeVar("R")


class Overview:
    """Runs, what is held and rejected, who leaves. Every method raises StoreUnavailable."""

    def __init__(self, engine: AsyncEngine, expected: Sequence[Expected], terms: Mapping[str, Lifecycle]) -> None:
        self._sessions = Sessions(engine)
        self._expected = expected
        self._terms = terms
        self._known: DirectoryState | None = None

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources that are set up."""
        return [one.name for one in self._expected]

    async def state(self) -> DirectoryState:
        """What health is told from; to be asked for again and again."""
        self._known = await self._ask(state, self._known)
        return self._known

    def forget(self) -> None:
        """Count anew: the database may be another one, in which the same revision is another state."""
        self._known = None

    async def status(self) -> dict[str, Any]:
        """Health, with the last runs and their evidence."""
        return await self._ask(status, self._expected, self._terms)

    async def runs(self, source: str | None, limit: int, offset: int) -> Listing[PastRun]:
        """Runs of a source, or of all; the newest first."""
        return await self._ask(history.runs, source, limit, offset)

    async def run(self, number: int) -> PastRun | None:
        """The run of this number."""
        return await self._ask(history.one_run, number)

    async def changes(self, run: int, limit: int, offset: int) -> Listing[PastChange]:
        """What a run changed."""
        return await self._ask(history.changes, run, limit, offset)

    async def held(self, source: str | None, limit: int, offset: int) -> Listing[HeldItem]:
        """What the guard holds."""
        return await self._ask(approvals.listing, [source] if source else [], limit, offset)

    async def rejects(self, source: str | None, limit: int, offset: int) -> Listing[Rejected]:
        """The quarantine."""
        return await self._ask(rejects.listing, [source] if source else [], limit, offset)

    async def leaving(self, source: str | None, limit: int, offset: int) -> Listing[Leaver]:
        """Who is missing and leaves when."""
        terms = {name: term for name, term in self._terms.items() if source in {None, name}}
        return await self._ask(pending_removals.forecast, terms, limit, offset)

    async def _ask(self, question: Callable[Concatenate[Connection, P], R], *values: P.args, **named: P.kwargs) -> R:
        async with self._sessions.reading() as connection:
            return await connection.run_sync(question, *values, **named)

"""The monitor: asks the store how things are, again and again, and remembers the answer for when it is silent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from syncd.core.operations.alerts import Outlook, continued, outlook
from syncd.core.operations.health import Age, DirectoryState, Expected, age, health, source_health
from syncd.core.sync.plan import PROVEN
from syncd.errors import StoreError
from syncd.observability import log, metrics
from syncd.web.access_log import REFUSED

_INTERVAL = 2.0


class Monitor:
    """The health of the daemon, with events when the database is lost and back."""

    def __init__(self, expected: Sequence[Expected], ask: Callable[[], Awaitable[DirectoryState]]) -> None:
        self._ask = ask
        self._expected = expected
        self._state = DirectoryState()
        self._lost: str | None = "the database was not asked yet"
        self._lost_at = time.monotonic()
        self._reported = False
        self._started = datetime.now(UTC)
        self._outlook = self._look_out()

    def expect(self, expected: Sequence[Expected]) -> None:
        """Other sources are set up from now on."""
        for name in {one.name for one in self._expected} - {one.name for one in expected}:
            metrics.SOURCE_STALE.remove(name)
        self._expected = expected

    @property
    def lost(self) -> str | None:
        """Why the database does not answer; None when it does."""
        return self._lost

    @property
    def state(self) -> DirectoryState:
        """The last state that was read."""
        return self._state

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            on_change()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Ask once. A database that is lost or back is reported once."""
        try:
            async with asyncio.timeout(10):
                self._state = await self._ask()
        except (StoreError, TimeoutError) as error:
            self._lose(str(error) or "the database does not answer within 10 s")
        else:
            self._find()
        self._measure_ages()
        self._outlook = continued(self._outlook, self._look_out())

    def _lose(self, why: str) -> None:
        if not self._reported:
            self._lost_at = time.monotonic()
        log.trouble(log.DATABASE_LOST, "database", why)
        self._lost, self._reported = why, True
        metrics.DATABASE_UP.set(0)

    def _find(self) -> None:
        if self._lost is not None and self._reported:
            log.over("database")
            refused = log.over(REFUSED)
            log.emit(
                log.DATABASE_BACK, seconds=round(time.monotonic() - self._lost_at, 1),
                refused=None if refused is None else refused.times,
            )  # fmt: skip
        self._lost, self._reported = None, False
        self._measure()

    def _measure(self) -> None:
        metrics.TASKS.set(len(asyncio.all_tasks()))
        metrics.DATABASE_UP.set(1)
        for type_, count in self._state.contacts.items():
            metrics.CONTACTS.labels(type_).set(count)
        for source in self._state.sources.values():
            metrics.SYNC_HELD.labels(source.source).set(source.held)
            metrics.MISSING.labels(source.source).set(source.missing)
            metrics.SYNC_HELD_ATTRIBUTES.labels(source.source).set(len(source.attributes))
            if source.outcome in PROVEN:  # one that proved nothing may have seen few of them
                metrics.SYNC_REJECTED.labels(source.source).set(source.rejected)
            if source.certificate_ends is not None:
                metrics.CERTIFICATE_EXPIRY.labels(source.source).set(source.certificate_ends.timestamp())
            if source.last_success is not None:
                metrics.SYNC_LAST_SUCCESS.labels(source.source).set(source.last_success.timestamp())

    def _measure_ages(self) -> None:
        """Contacts grow stale also while nobody can be asked."""
        now = datetime.now(UTC)
        for one in self._expected:
            metrics.SOURCE_STALE.labels(one.name).set(source_health(one, self._state, now)["stale"])

    async def health(self) -> dict[str, Any]:
        """What /health answers."""
        return health(self._expected, self._state, datetime.now(UTC), self._lost or "")

    def ages(self) -> Sequence[Age]:
        """How old what each source gave is."""
        now = datetime.now(UTC)
        return [age(one, self._state, now) for one in self._expected]

    async def ready(self) -> bool:
        """Whether requests can be served now."""
        return self._lost is None

    def outlook(self) -> Outlook:
        """What people should be told of; each end of a run was seen for it, also when the next one began at once."""
        return self._outlook

    def _look_out(self) -> Outlook:
        return outlook(self._expected, self._state, datetime.now(UTC), self._started, self._lost or "")

    def line(self) -> str:
        """The state in one line, for the service manager."""
        if self._lost is not None:
            return self._lost
        sources = ", ".join(map(self._word, self.ages()))
        return f"{sum(self._state.contacts.values())} contacts; {sources or 'no sources'}"

    def _word(self, age: Age) -> str:
        """A source in a few words."""
        known = self._state.sources.get(age.source)
        outcome = "not run" if known is None else known.outcome
        return f"{age.source} {outcome} (stale)" if age.stale and age.seconds is not None else f"{age.source} {outcome}"

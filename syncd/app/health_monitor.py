"""Health monitor: polls the state of the directory and keeps the last one for times without a database."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from syncd.core.operations.alerts import Assessment, assess, keep_unclear
from syncd.core.operations.health import (
    DirectoryState,
    ExpectedSource,
    SourceAge,
    compute_age,
    describe_health,
    describe_source,
)
from syncd.core.sync.plan import PROVEN
from syncd.errors import StoreError
from syncd.observability import log, metrics
from syncd.web.access_log import UNAVAILABLE_KEY

_INTERVAL = 2.0
"""Seconds between two polls."""
_POLL_TIMEOUT = 10
"""Seconds for one poll."""


class HealthMonitor:
    """Health of the daemon, with metrics, and with log events when the database is lost and back.

    `read_state` reads the current state and raises StoreError.
    """

    def __init__(self, expected: Sequence[ExpectedSource], read_state: Callable[[], Awaitable[DirectoryState]]) -> None:
        self._read_state = read_state
        self._expected = expected
        self._state = DirectoryState()
        self._outage: str | None = "the database was not asked yet"
        self._outage_began = time.monotonic()
        self._reported = False
        self._started = datetime.now(UTC)
        self._assessment = self._assess()

    def reconfigure(self, expected: Sequence[ExpectedSource]) -> None:
        """Watch these sources from now on."""
        for name in {source.name for source in self._expected} - {source.name for source in expected}:
            metrics.SOURCE_STALE.remove(name)
        self._expected = expected

    @property
    def outage(self) -> str | None:
        """Reason why the database does not answer; None when it does."""
        return self._outage

    @property
    def state(self) -> DirectoryState:
        """Last state that was read."""
        return self._state

    async def poll_forever(self, on_change: Callable[[], None]) -> None:
        """Poll until cancelled, and call `on_change` after each poll."""
        while True:
            await self.poll()
            on_change()
            await asyncio.sleep(_INTERVAL)

    async def poll(self) -> None:
        """Read the state once; log the loss and the return of the database once each."""
        try:
            async with asyncio.timeout(_POLL_TIMEOUT):
                self._state = await self._read_state()
        except (StoreError, TimeoutError) as error:
            self._report_outage(str(error) or f"the database does not answer within {_POLL_TIMEOUT} s")
        else:
            self._report_answer()
        self._update_staleness()
        self._assessment = keep_unclear(self._assessment, self._assess())

    def _report_outage(self, why: str) -> None:
        if not self._reported:
            self._outage_began = time.monotonic()
        log.emit_throttled(log.DATABASE_LOST, "database", why)
        self._outage, self._reported = why, True
        metrics.DATABASE_UP.set(0)

    def _report_answer(self) -> None:
        if self._outage is not None and self._reported:
            log.recovered("database")
            rejected = log.recovered(UNAVAILABLE_KEY)
            log.emit(
                log.DATABASE_BACK, seconds=round(time.monotonic() - self._outage_began, 1),
                refused=None if rejected is None else rejected.times,
            )  # fmt: skip
        self._outage, self._reported = None, False
        self._update_metrics()

    def _update_metrics(self) -> None:
        metrics.EVENT_LOOP_TASKS.set(len(asyncio.all_tasks()))
        metrics.DATABASE_UP.set(1)
        for type_, count in self._state.contacts.items():
            metrics.CONTACTS.labels(type_).set(count)
        for source in self._state.sources.values():
            metrics.SYNC_HELD.labels(source.source).set(source.held)
            metrics.MISSING.labels(source.source).set(source.missing)
            metrics.SYNC_HELD_ATTRIBUTES.labels(source.source).set(len(source.attributes))
            if source.outcome in PROVEN:  # an incomplete read may have seen only few of the rejects
                metrics.SYNC_REJECTED.labels(source.source).set(source.rejected)
            if source.certificate_ends is not None:
                metrics.CERTIFICATE_EXPIRY.labels(source.source).set(source.certificate_ends.timestamp())
            if source.last_success is not None:
                metrics.SYNC_LAST_SUCCESS.labels(source.source).set(source.last_success.timestamp())

    def _update_staleness(self) -> None:
        """Update the staleness of all sources, which grows also during an outage of the database."""
        now = datetime.now(UTC)
        for source in self._expected:
            metrics.SOURCE_STALE.labels(source.name).set(describe_source(source, self._state, now)["stale"])

    async def health(self, *, detailed: bool) -> dict[str, Any]:
        """Return the JSON values of GET /health; with `detailed`, reasons that name addresses and accounts."""
        return describe_health(self._expected, self._state, datetime.now(UTC), self._outage or "", detailed=detailed)

    def ages(self) -> Sequence[SourceAge]:
        """Return the age of the contacts of each source."""
        now = datetime.now(UTC)
        return [compute_age(source, self._state, now) for source in self._expected]

    async def ready(self) -> bool:
        """Tell whether the database answered the last poll."""
        return self._outage is None

    def assessment(self) -> Assessment:
        """Return the current problems; every finished run counts, even when the next one began at once."""
        return self._assessment

    def _assess(self) -> Assessment:
        return assess(self._expected, self._state, datetime.now(UTC), self._started, self._outage or "")

    def summary(self) -> str:
        """Return the state in one line, for the service manager."""
        if self._outage is not None:
            return self._outage
        sources = ", ".join(map(self._source_summary, self.ages()))
        return f"{sum(self._state.contacts.values())} contacts; {sources or 'no sources'}"

    def _source_summary(self, age: SourceAge) -> str:
        state = self._state.sources.get(age.source)
        outcome = "not run" if state is None else state.outcome
        return f"{age.source} {outcome} (stale)" if age.stale and age.seconds is not None else f"{age.source} {outcome}"

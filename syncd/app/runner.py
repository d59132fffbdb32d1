"""Runner: executes each due run in a worker process, one at a time per source, and reports its result."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

from syncd.app.health_monitor import HealthMonitor
from syncd.app.reporting import report_failure, report_run, report_skip
from syncd.app.use_cases import purge_source, record_crash, run_source
from syncd.core.sync.plan import JobKind, Report
from syncd.errors import SourceBusy, StoreError, SyncdError
from syncd.settings import LdapSource, Settings
from syncd.system.worker import Worker, WorkerFailed

_WRITE_TIMEOUT = 1800.0
"""Seconds for a run in addition to the deadline of its read; far more than any run needs that does not hang."""


class Runner:
    """Executes runs for the schedulers and for changed files."""

    def __init__(self, settings: Settings, monitor: HealthMonitor) -> None:
        self._settings = settings
        self._monitor = monitor
        self._workers: dict[Worker, tuple[str, float]] = {}
        self._running = 0
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._queued: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings for new runs; running ones keep theirs."""
        self._settings = settings

    def deadlines(self) -> Mapping[str, float]:
        """Return the deadline of each running source, in seconds of the monotonic clock."""
        return dict(self._workers.values())

    async def run_due(self, name: str) -> None:
        """Sync a source that is due; skip it while a run of it is active or the database does not answer."""
        if self._locks[name].locked():
            report_skip("sync", name, "its last run is still going")
            return
        async with self._locks[name]:
            await self._run("sync", name)

    async def purge(self, name: str) -> None:
        """Purge a source, after an active run of it."""
        async with self._locks[name]:
            await self._run("purge", name)

    async def run_changed(self, name: str) -> None:
        """Sync a source whose file changed, now or once after the active run, which may have read the old content."""
        if name in self._queued:
            return
        self._queued.add(name)
        async with self._locks[name]:
            self._queued.discard(name)
            await self._run("sync", name)

    async def _run(self, job: JobKind, name: str) -> None:
        if self._closed:
            return
        if self._monitor.outage is not None:
            report_skip(job, name, self._monitor.outage)
            return
        self._running += 1
        self._idle.clear()
        try:
            with suppress(WorkerFailed):  # reported when its worker ends
                report_run(await self._run_in_worker(job, name))
        except SourceBusy as error:
            report_skip(job, name, str(error))
        except SyncdError as error:
            report_failure(job, name, str(error))
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        if not self._closed:
            await self._monitor.poll()

    async def _run_in_worker(self, job: JobKind, name: str) -> Report:
        timeout = _run_timeout(self._settings, name)
        settings = self._settings
        use_case = purge_source if job == "purge" else run_source
        worker = await Worker.start(settings.worker.memory_mib, use_case, settings, name)
        self._workers[worker] = name, time.monotonic() + timeout
        try:
            report: Report = await worker.result(timeout)
        except WorkerFailed as error:
            reason = f"the worker process {error}"
            report_failure(job, name, reason, error.traceback)
            if not self._closed:
                with suppress(StoreError):  # the next run closes it then
                    await asyncio.to_thread(record_crash, settings, name, worker.pid, reason)
            raise
        finally:
            del self._workers[worker]
        return report

    async def drain(self, seconds: float) -> None:
        """Start no more runs, let active ones finish within `seconds`, then kill them; the database rolls them back."""
        self._closed = True
        await self._wait_idle(seconds)
        while self._running:  # a worker that is just being started is killed in the next round
            for worker in tuple(self._workers):
                worker.kill()
            await self._wait_idle(0.1)

    async def _wait_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


def _run_timeout(settings: Settings, name: str) -> float:
    """Return the seconds after which a run of this source counts as hanging and is killed."""
    source = settings.find_source(name)
    return _WRITE_TIMEOUT + (source.deadline.total_seconds() if isinstance(source, LdapSource) else 0.0)

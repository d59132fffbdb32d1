"""The runner: starts a worker process for each run that is due, one at a time for a source, and reports its end."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress

from syncd.app.health_monitor import Monitor
from syncd.app.reporting import report_failure, report_run, report_skip
from syncd.app.use_cases import purge_source, run_source
from syncd.core.sync.plan import Report
from syncd.errors import SourceBusy, SyncdError
from syncd.settings import LdapSource, Settings
from syncd.system.worker import WorkDied, Worker

_WRITING = 1800.0
"""Seconds that a run may take besides reading its directory: by far too many, unless it hangs."""


class Runner:
    """Runs on behalf of the scheduler and of changed files."""

    def __init__(self, settings: Settings, monitor: Monitor) -> None:
        self._settings = settings
        self._monitor = monitor
        self._workers: dict[Worker, tuple[str, float]] = {}
        self._running = 0
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def follow(self, settings: Settings) -> None:
        """Other settings for the runs to come; those that are running end under the ones that they began with."""
        self._settings = settings

    def ends(self) -> Mapping[str, float]:
        """Until when each run that is going on is given time, on the monotonic clock."""
        return dict(self._workers.values())

    async def tick(self, name: str) -> None:
        """A source is due: run it, unless a run of it is going on or nothing could be written."""
        if self._locks[name].locked():
            report_skip(name, "its last run is still going")
            return
        async with self._locks[name]:
            await self._run(run_source, name)

    async def purge(self, name: str) -> None:
        """The daily moment to forget who was removed long ago."""
        async with self._locks[name]:
            await self._run(purge_source, name)

    async def changed(self, name: str) -> None:
        """A source's file changed: run it now, or once more after the run that may have read the old content."""
        if name in self._waiting:
            return
        self._waiting.add(name)
        async with self._locks[name]:
            self._waiting.discard(name)
            await self._run(run_source, name)

    async def _run(self, work: Callable[[Settings, str], Report], name: str) -> None:
        if self._closed:
            return
        if self._monitor.lost is not None:
            report_skip(name, self._monitor.lost)
            return
        self._running += 1
        self._idle.clear()
        try:
            report: Report = await self._work(work, name)
            report_run(report)
        except SourceBusy as busy:
            report_skip(name, str(busy))
        except SyncdError as error:
            report_failure(name, str(error))
        except WorkDied as died:
            report_failure(name, f"the worker process {died}")
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        if not self._closed:
            await self._monitor.look()

    async def _work(self, work: Callable[[Settings, str], Report], name: str) -> Report:
        within = _longest(self._settings, name)
        worker = await Worker.start(work, self._settings, name)
        self._workers[worker] = name, time.monotonic() + within
        try:
            report: Report = await worker.result(within)
            return report
        finally:
            del self._workers[worker]

    async def drain(self, seconds: float) -> None:
        """Start nothing more, let what is running finish within the time, then end it: nothing of it is kept."""
        self._closed = True
        await self._become_idle(seconds)
        while self._running:  # one that is only just starting is ended as soon as it can be
            for worker in tuple(self._workers):
                worker.stop()
            await self._become_idle(0.1)

    async def _become_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


def _longest(settings: Settings, name: str) -> float:
    """Seconds after which a run of this source hangs."""
    source = settings.named(name)
    return _WRITING + (source.deadline.total_seconds() if isinstance(source, LdapSource) else 0.0)

"""The daemon: everything that lives from `daemon.started` to `daemon.stopped`, in the order in which it happens."""

import asyncio
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime

import uvloop

from syncd import __version__, log
from syncd.app.compose import sign_ins
from syncd.app.door import Door
from syncd.app.explainer import Explainer
from syncd.app.importer import Importer
from syncd.app.monitor import Monitor
from syncd.app.noticing import channels
from syncd.app.reporting import begin_counting, report_skip, warn_of_clear_text
from syncd.app.runner import Runner
from syncd.errors import StoreUnavailable
from syncd.notify import Notifier
from syncd.schedule import Scheduler
from syncd.settings import FileSource, Settings
from syncd.store.callers import Callers
from syncd.store.custom import CustomContacts
from syncd.store.database import Role, async_engine, engine
from syncd.store.directory import Directory
from syncd.store.lookup import Numbers
from syncd.store.migrate import check
from syncd.store.notices import Notices
from syncd.store.overview import Overview
from syncd.store.revision import Revisions
from syncd.watch import changes
from syncd.web import Cache, application
from syncd.web.server import Server

_LAST_NOTES = 2.0
"""Seconds in which the last use of tokens is stored at the end; a database that does not answer holds nobody up."""


def run_daemon(settings: Settings) -> None:
    """Serve and sync until SIGTERM or SIGINT. Raises SchemaMismatch when the database needs another version."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_Daemon(settings).live())


class _Daemon:
    """The parts of one running daemon."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = async_engine(settings.database, Role.API)
        self._custom = CustomContacts(self._engine)
        self._overview = Overview(self._engine, settings.expected(), settings.terms())
        self._monitor = Monitor(settings.expected(), self._overview.state)
        self._runner = Runner(settings, self._monitor)
        self._scheduler = Scheduler(self._runner.tick, report_skip)
        self._purges = Scheduler(self._runner.purge, report_skip)
        self._cache = Cache(settings.http.cache_mib << 20)
        self._revisions = Revisions(settings.database, self._cache.drop, self._engine.dispose)
        self._callers = Callers(self._engine)
        self._sign_ins = sign_ins(settings)
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._reason = ""

    async def live(self) -> None:
        """Start, wait for a signal, stop. A defect in a part that runs beside the requests ends the whole, loudly."""
        self._listen_to_signals()
        begin_counting(source.name for source in self._settings.source)
        await self._check_schema()
        await self._monitor.look()
        app = application(
            self._settings.http,
            directory=Directory(self._engine, self._settings.regions()),
            custom=self._custom,
            numbers=Numbers(self._engine, self._settings.regions()),
            door=Door(self._callers, self._sign_ins),
            revisions=self._revisions,
            cache=self._cache,
            status=self._monitor,
            overview=self._overview,
            explainer=Explainer(self._settings),
            importer=Importer(self._settings),
        )
        server = Server(app, self._settings.http)
        await server.start()
        warn_of_clear_text(self._settings)
        self._start_schedules()
        log.emit(
            log.DAEMON_STARTED, version=__version__, listen=server.address, pid=os.getpid(),
            sources=[source.name for source in self._settings.source],
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._monitor.watch(lambda: self._notifier.status(self._monitor.line()))),
                group.create_task(self._watch_files(group)),
                group.create_task(self._revisions.listen()),
                group.create_task(self._callers.keep_notes()),
                group.create_task(self._ping()),
                group.create_task(self._reindex()),
            ]
            beside += [
                group.create_task(channel.watch())
                for channel in channels(self._settings.notice, self._monitor.outlook, Notices(self._engine))
            ]
            self._notifier.ready(self._monitor.line())
            await self._stop.wait()
            await self._end(server)
            await _end_all(beside)
        await self._close()

    async def _close(self) -> None:
        if self._sign_ins is not None:
            self._sign_ins.close()
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_NOTES):
                await self._callers.note()
        await self._revisions.close()
        await self._engine.dispose()

    async def _check_schema(self) -> None:
        """Refuse to start on another schema. A database that does not answer is a state, and no reason to end."""
        with suppress(StoreUnavailable):
            await asyncio.to_thread(check, engine(self._settings.database, Role.API))

    async def _reindex(self) -> None:
        """Index the contacts that people keep for the region of the settings, as soon as the database answers."""
        region, done = self._settings.contacts.default_region, False
        while not done:
            with suppress(StoreUnavailable):
                await self._custom.reindex(region)
                done = True
            if not done:
                await asyncio.sleep(5)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, number.name)

    def _ask_to_stop(self, reason: str) -> None:
        self._reason = reason
        self._stop.set()

    def _start_schedules(self) -> None:
        now = datetime.now(UTC)
        for source in self._settings.source:
            known = self._monitor.state.sources.get(source.name)
            self._scheduler.add(source.name, source.schedule, None if known is None else known.started, now)
            self._purges.add(source.name, self._settings.history.purge, now, now)
        self._scheduler.start()
        self._purges.start()

    async def _watch_files(self, group: asyncio.TaskGroup) -> None:
        """Run a file's sources at once when the file changes."""
        files = [(source.path, source.name) for source in self._settings.source if isinstance(source, FileSource)]
        if not files:
            return
        async for changed in changes({path for path, _ in files}):
            for name in (name for path, name in files if path == changed):
                group.create_task(self._runner.changed(name))

    async def _ping(self) -> None:
        """Tell the service manager that the loop makes progress."""
        while self._notifier.watchdog is not None:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog)

    async def _end(self, server: Server) -> None:
        """Take no more requests, let requests and runs finish within the deadline, then close."""
        started = time.monotonic()
        seconds = self._settings.http.stop_within.total_seconds()
        self._notifier.stopping()
        log.emit(log.DAEMON_STOPPING, reason=self._reason)
        self._scheduler.pause()
        self._purges.pause()
        await asyncio.gather(server.stop(seconds), self._runner.drain(seconds))
        self._scheduler.stop()
        self._purges.stop()
        log.emit(log.DAEMON_STOPPED, seconds=round(time.monotonic() - started, 3))


async def _end_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until they are gone: one cancellation can be lost where it meets a library's own at the same moment."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1)

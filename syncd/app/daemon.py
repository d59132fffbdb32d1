"""The daemon: everything that lives from `daemon.started` to `daemon.stopped`, in the order in which it happens."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import uvloop

from syncd import __version__
from syncd.app.components import Parts, end_all
from syncd.app.reload import reload
from syncd.core.operations.watchdog import StallDetector, overdue_runs, overdue_schedules
from syncd.errors import SettingsError, StoreUnavailable
from syncd.observability import log, metrics
from syncd.settings import Settings
from syncd.store.connection.engine import Role, open_engine
from syncd.store.schema.version import check
from syncd.system.sd_notify import Notifier
from syncd.web.http.server import Server

_LOOK = 30.0
"""Seconds between two looks at whether all goes on, when there is no watchdog to be told."""
_STANDSTILL = 60.0
"""Seconds in which a part that stands still may begin to move again."""


def run_daemon(settings: Settings, load: Callable[[], Settings]) -> None:
    """Serve and sync until SIGTERM or SIGINT. Raises SchemaMismatch when the database needs another version.

    `load` reads the settings anew, for SIGHUP.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_Daemon(settings, load).live())


class _Daemon:
    """One running daemon."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self._settings = settings
        self._load = load
        self._parts = Parts(settings)
        self._server = Server(self._parts.application, settings.http)
        self._notifier = Notifier()
        self._pulse = StallDetector(_STANDSTILL)
        self._refused = ""
        self._hangup = asyncio.Event()
        self._stop = asyncio.Event()
        self._reason = ""

    async def live(self) -> None:
        """Start, wait for a signal, stop. A defect in a part that runs beside the requests ends the whole, loudly."""
        self._listen_to_signals()
        metrics.STARTED.set_to_current_time()
        await self._check_schema()
        await self._parts.monitor.look()
        await self._server.start()
        async with asyncio.TaskGroup() as group:
            await self._parts.begin(group)
            log.emit(
                log.DAEMON_STARTED, version=__version__, listen=self._server.address, pid=os.getpid(),
                sources=[source.name for source in self._settings.source],
            )  # fmt: skip
            beside = [
                group.create_task(self._parts.monitor.watch(lambda: self._notifier.status(self._line()))),
                group.create_task(self._look_after_itself()),
                group.create_task(self._reload_on_demand(group)),
            ]
            self._notifier.ready(self._line())
            await self._stop.wait()
            await self._end()
            await end_all(beside)
            await self._parts.close()

    async def _check_schema(self) -> None:
        """Refuse to start on another schema. A database that does not answer is a state, and no reason to end."""
        with suppress(StoreUnavailable):
            await asyncio.to_thread(check, open_engine(self._settings.database, Role.API))

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, number.name)
        if not sys.stdout.isatty():  # on a terminal the signal says that there is none any more
            loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def _ask_to_stop(self, reason: str) -> None:
        self._reason = reason
        self._stop.set()

    def _line(self) -> str:
        """The state in one line, for the service manager."""
        return self._parts.monitor.line() + self._refused

    async def _reload_on_demand(self, group: asyncio.TaskGroup) -> None:
        """Read the settings anew whenever that is asked for."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            self._notifier.reloading()
            await self._reload(group)
            self._notifier.ready(self._line())

    async def _reload(self, group: asyncio.TaskGroup) -> None:
        """Put them in force if all of them are good; else nothing changes."""
        try:
            found = reload(self._settings, await asyncio.to_thread(self._load))
        except SettingsError as error:
            log.emit(log.SETTINGS_REFUSED, problems=list(error.problems))
            self._refused = f"; the last reload was refused: {error.problems[0]}"
            return
        if found.settings.log != self._settings.log:
            log.reconfigure(found.settings.log, sys.stdout)
        await self._parts.follow(found.settings, group)
        self._server.application = self._parts.application
        self._settings, self._refused = found.settings, ""
        log.emit(log.SETTINGS_RELOADED, changed=list(found.changed), needs_restart=list(found.needs_restart))

    async def _look_after_itself(self) -> None:
        """Tell the service manager that the loop turns, as long as schedules and runs make progress too."""
        while True:
            if not self._stands_still():
                self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog or _LOOK)

    def _stands_still(self) -> bool:
        now = time.monotonic()
        late = [*overdue_schedules(self._parts.due(), datetime.now(UTC))]
        if late:
            self._parts.wake()
        stuck = self._pulse.stuck([*late, *overdue_runs(self._parts.runner.ends(), now)], now)
        if stuck:
            log.trouble(log.DAEMON_STUCK, "daemon", "; ".join(stuck))
        return bool(stuck)

    async def _end(self) -> None:
        """Take no more requests, let requests and runs finish within the deadline, then close."""
        started = time.monotonic()
        seconds = self._settings.http.stop_within.total_seconds()
        self._notifier.stopping()
        log.emit(log.DAEMON_STOPPING, reason=self._reason)
        await asyncio.gather(self._server.stop(seconds), self._parts.drain(seconds))
        log.emit(log.DAEMON_STOPPED, seconds=round(time.monotonic() - started, 3))

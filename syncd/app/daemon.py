"""Daemon: start, signals, reload, self-supervision and shutdown, in this order."""

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
from syncd.app.components import Components, cancel_all
from syncd.app.reload import merge_reloaded
from syncd.core.operations.watchdog import StallDetector, overdue_runs, overdue_schedules
from syncd.errors import SettingsError, StoreUnavailable
from syncd.observability import log, metrics
from syncd.settings import Settings
from syncd.store.connection.engine import Role, open_engine
from syncd.store.schema.version import check_schema
from syncd.system.sd_notify import Notifier
from syncd.web.http.server import Server

_CHECK_INTERVAL = 30.0
"""Seconds between two checks for stalls when systemd sets no watchdog."""
_STALL_TIMEOUT = 60.0
"""Seconds after which an overdue schedule or run counts as stalled."""


def run_daemon(settings: Settings, load: Callable[[], Settings]) -> None:
    """Serve and sync until SIGTERM or SIGINT.

    `load` reads the settings again, for SIGHUP; it raises SettingsError. Raises SchemaMismatch when the database has
    another schema version, OSError when the address cannot be bound.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_Daemon(settings, load).run())


class _Daemon:
    """One daemon, from start to stop."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self._settings = settings
        self._load = load
        self._components = Components(settings)
        self._server = Server(self._components.application, settings.http)
        self._notifier = Notifier()
        self._stall_detector = StallDetector(_STALL_TIMEOUT)
        self._reload_error = ""
        self._hangup = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_reason = ""

    async def run(self) -> None:
        """Start, wait for a signal, stop. An unexpected error in a background task ends the daemon with a traceback."""
        self._install_signal_handlers()
        metrics.STARTED.set_to_current_time()
        await self._check_schema()
        await self._components.monitor.poll()
        await self._server.start()
        async with asyncio.TaskGroup() as group:
            await self._components.start(group)
            log.emit(
                log.DAEMON_STARTED, version=__version__, listen=self._server.address, pid=os.getpid(),
                sources=[source.name for source in self._settings.source],
            )  # fmt: skip
            tasks = [
                group.create_task(
                    self._components.monitor.poll_forever(lambda: self._notifier.status(self._status_line()))
                ),
                group.create_task(self._supervise()),
                group.create_task(self._reload_on_signal(group)),
            ]
            self._notifier.ready(self._status_line())
            await self._stop.wait()
            await self._shut_down()
            await cancel_all(tasks)
            await self._components.close()

    async def _check_schema(self) -> None:
        """Raise SchemaMismatch for another schema; start even if the database does not answer."""
        with suppress(StoreUnavailable):
            await asyncio.to_thread(check_schema, open_engine(self._settings.database, Role.API))

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._request_stop, number.name)
        if not sys.stdout.isatty():  # on a terminal SIGHUP means that the terminal was closed
            loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def _request_stop(self, reason: str) -> None:
        self._stop_reason = reason
        self._stop.set()

    def _status_line(self) -> str:
        """Return the state in one line, for the service manager."""
        return self._components.monitor.summary() + self._reload_error

    async def _reload_on_signal(self, group: asyncio.TaskGroup) -> None:
        """Reload the settings after each SIGHUP, until cancelled."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            self._notifier.reloading()
            await self._reload(group)
            self._notifier.ready(self._status_line())

    async def _reload(self, group: asyncio.TaskGroup) -> None:
        """Apply the settings if all are valid; otherwise keep the current ones and log the problems."""
        try:
            reloaded = merge_reloaded(self._settings, await asyncio.to_thread(self._load))
        except SettingsError as error:
            log.emit(log.SETTINGS_REJECTED, problems=list(error.problems))
            self._reload_error = f"; the last reload was rejected: {error.problems[0]}"
            return
        if reloaded.settings.log != self._settings.log:
            log.reconfigure(reloaded.settings.log, sys.stdout)
        await self._components.reconfigure(reloaded.settings, group)
        self._server.application = self._components.application
        self._settings, self._reload_error = reloaded.settings, ""
        log.emit(log.SETTINGS_RELOADED, changed=list(reloaded.changed), needs_restart=list(reloaded.needs_restart))

    async def _supervise(self) -> None:
        """Send watchdog pings as long as the event loop, the schedules and the runs make progress, until cancelled."""
        while True:
            if not self._is_stalled():
                self._notifier.ping_watchdog()
            await asyncio.sleep(self._notifier.watchdog_interval or _CHECK_INTERVAL)

    def _is_stalled(self) -> bool:
        """Tell whether a schedule or run is stalled, and log it; overdue schedules are first woken up."""
        now = time.monotonic()
        overdue = [*overdue_schedules(self._components.next_due(), datetime.now(UTC))]
        if overdue:
            self._components.wake()
        stalled = self._stall_detector.find_stalled(
            [*overdue, *overdue_runs(self._components.runner.deadlines(), now)], now
        )
        if stalled:
            log.emit_throttled(log.DAEMON_STALLED, "daemon", "; ".join(stalled))
        return bool(stalled)

    async def _shut_down(self) -> None:
        """Accept no more requests, and let requests and runs finish within `http.shutdown_timeout`."""
        started = time.monotonic()
        seconds = self._settings.http.shutdown_timeout.total_seconds()
        self._notifier.stopping()
        log.emit(log.DAEMON_STOPPING, reason=self._stop_reason)
        await asyncio.gather(self._server.stop(seconds), self._components.drain(seconds))
        log.emit(log.DAEMON_STOPPED, seconds=round(time.monotonic() - started, 3))

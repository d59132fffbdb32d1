"""Components of the daemon: built at the start, rebuilt or reconfigured by a reload of the settings."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from syncd.app.alerting import build_channels
from syncd.app.authenticator import Authenticator
from syncd.app.health_monitor import HealthMonitor
from syncd.app.offload import Offload
from syncd.app.reporting import initialize_run_metrics, report_skip, warn_unencrypted
from syncd.app.runner import Runner
from syncd.app.use_cases import build_password_checker
from syncd.core.contacts.query import Query
from syncd.core.operations.health import DirectoryState
from syncd.errors import StoreUnavailable
from syncd.settings import Alerts, FileSource, Settings
from syncd.store.admin.alerts import AlertStore
from syncd.store.admin.overview import Overview
from syncd.store.admin.token_cache import TokenCache
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.changes import ChangeFeed
from syncd.store.contacts.count_cache import Count, CountCache
from syncd.store.contacts.custom import CustomContacts
from syncd.store.contacts.lookup import NumberLookup
from syncd.store.contacts.reading import Directory
from syncd.store.contacts.revision import RevisionTracker
from syncd.system.file_watcher import watch
from syncd.system.scheduler import Scheduler
from syncd.web import Application, ResponseCache, StreamLimiter, application

_LAST_FLUSH_TIMEOUT = 2.0
"""Seconds to store the last use of tokens at the end, so that a lost database does not delay the stop."""
_REINDEX_RETRY_DELAY = 5.0
"""Seconds until the next attempt to index Custom contacts while the database does not answer."""


class Components:
    """Components that serve, sync and alert, all according to the settings in force."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = open_async_engine(settings.database, Role.API)
        # a separate connection: a request that waits for one of the pool does not mean a lost database
        self._monitor_engine = open_async_engine(settings.database.model_copy(update={"pool_size": 1}), Role.API)
        self._status_reader = Overview(self._monitor_engine, settings.expected_sources(), settings.lifecycles())
        self.monitor = HealthMonitor(settings.expected_sources(), self._read_state)
        self.runner = Runner(settings, self.monitor)
        self._scheduler = Scheduler(self.runner.run_due, partial(report_skip, "sync"))
        self._purge_scheduler = Scheduler(self.runner.purge, partial(report_skip, "purge"))
        self._cache = ResponseCache(settings.http.cache_mib << 20)
        self._count_cache = CountCache()
        self._stream_limiter = StreamLimiter(settings.database.pool_size)
        self._revisions = RevisionTracker(settings.database, self._cache.invalidate_before, self._on_database_restart)
        self._token_cache = TokenCache(self._engine)
        self._custom = CustomContacts(self._engine)
        self._password_checker = build_password_checker(settings)
        self._authenticator = Authenticator(self._token_cache, self._password_checker)
        self._stopping = asyncio.Event()
        self.application = self._build_app(settings)
        """ASGI application for new requests; a request that has begun ends with its own application."""
        self._background: dict[str, tuple[object, asyncio.Task[None]]] = {}

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start the schedules and the background tasks; the tasks belong to `group`."""
        warn_unencrypted(self._settings)
        self._update_schedules(self._settings)
        self._scheduler.start()
        self._purge_scheduler.start()
        self._background |= {
            "revisions": (None, group.create_task(self._revisions.listen())),
            "token_cache": (None, group.create_task(self._token_cache.flush_loop())),
        }
        await self._start_background(self._settings, group)

    async def reconfigure(self, settings: Settings, group: asyncio.TaskGroup) -> None:
        """Apply new settings, whose `database` is unchanged, without interrupting requests or runs."""
        self.monitor.reconfigure(settings.expected_sources())
        self.runner.reconfigure(settings)
        self._cache.reconfigure(settings.http.cache_mib << 20)
        if _authentication_basis(settings) != _authentication_basis(self._settings):
            # the old checker is not closed: checks under way get their answer, then it is garbage-collected
            self._password_checker = build_password_checker(settings)
            self._authenticator.reconfigure(self._password_checker)
        self.application = self._build_app(settings)
        warn_unencrypted(settings)
        self._update_schedules(settings)
        await self._start_background(settings, group)
        self._settings = settings

    def next_due(self) -> dict[str, datetime]:
        """Return the next due time (UTC) of each source; empty while the scheduler is paused."""
        return self._scheduler.next_runs()

    def wake(self) -> None:
        """Let the schedulers read the clock again, which may have been set forward."""
        self._scheduler.wake()
        self._purge_scheduler.wake()

    async def drain(self, seconds: float) -> None:
        """Stop schedules and change streams, and let runs finish within `seconds`; then end them."""
        self._stopping.set()
        self._scheduler.pause()
        self._purge_scheduler.pause()
        await self.runner.drain(seconds)

    async def close(self) -> None:
        """Stop background tasks, store the last use of tokens, and close all connections."""
        self._scheduler.stop()
        self._purge_scheduler.stop()
        await cancel_all([task for _, task in self._background.values()])
        if self._password_checker is not None:
            self._password_checker.close()
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_FLUSH_TIMEOUT):
                await self._token_cache.flush_last_used()
        await self._revisions.close()
        await self._monitor_engine.dispose()
        await self._engine.dispose()

    async def _read_state(self) -> DirectoryState:
        """Read the state of the directory, and cache its total of contacts for requests without a filter."""
        state = await self._status_reader.load_state()
        self._count_cache.store(Query().match_key, Count(state.revision, sum(state.contacts.values())))
        return state

    async def _on_database_restart(self) -> None:
        """Drop all caches after the database ended our connections.

        Another server may be behind its address after a failover, and may lack the last commits.
        """
        self._cache.clear()
        self._count_cache.clear()
        self._status_reader.reset()
        await self._engine.dispose()

    def _overview(self, settings: Settings) -> Overview:
        return Overview(self._engine, settings.expected_sources(), settings.lifecycles())

    def _build_app(self, settings: Settings) -> Application:
        offload = Offload(settings)
        return application(
            settings.http,
            directory=Directory(self._engine, settings.regions(), self._count_cache),
            custom=self._custom,
            number_lookup=NumberLookup(self._engine, settings.regions()),
            changes=ChangeFeed(self._engine),
            authenticator=self._authenticator,
            accepts_passwords=settings.authentication is not None,
            revisions=self._revisions,
            cache=self._cache,
            stream_limiter=self._stream_limiter,
            status=self.monitor,
            overview=self._overview(settings),
            explainer=offload,
            importer=offload,
            stopping=self._stopping,
        )

    def _update_schedules(self, settings: Settings) -> None:
        initialize_run_metrics(source.name for source in settings.source)
        now = datetime.now(UTC)
        states = self.monitor.state.sources
        last_starts = {name: at for name in states if (at := states[name].started) is not None}
        self._scheduler.reconfigure({source.name: source.schedule for source in settings.source}, last_starts, now)
        purges = {source.name: settings.history.purge for source in settings.source}
        self._purge_scheduler.reconfigure(purges, dict.fromkeys(purges, now), now)

    async def _start_background(self, settings: Settings, group: asyncio.TaskGroup) -> None:
        """Start the background tasks that depend on the settings; restart those whose settings have changed."""
        files = [(source.path, source.name) for source in settings.source if isinstance(source, FileSource)]
        await self._restart_if_changed("files", files, lambda: self._watch(files, group), group)
        region = settings.contacts.default_region
        await self._restart_if_changed("region", [region], lambda: self._reindex(region), group)
        await self._restart_if_changed("alerts", settings.alerts, lambda: self._run_alerting(settings.alerts), group)

    async def _watch(self, files: Collection[tuple[Path, str]], group: asyncio.TaskGroup) -> None:
        """Run the sources of a file as soon as the file changes."""
        async for changed_path in watch({path for path, _ in files}):
            for name in (name for path, name in files if path == changed_path):
                group.create_task(self.runner.run_changed(name))

    async def _run_alerting(self, settings: Alerts) -> None:
        """Send alerts by every configured channel, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for channel in build_channels(settings, self.monitor.assessment, AlertStore(self._engine)):
                group.create_task(channel.run())

    async def _reindex(self, region: str) -> None:
        """Index the numbers of Custom contacts for the default region, as soon as the database answers."""
        while True:
            with suppress(StoreUnavailable):
                await self._custom.reindex(region)
                return
            await asyncio.sleep(_REINDEX_RETRY_DELAY)

    async def _restart_if_changed(
        self, name: str, basis: object, start: Callable[[], Coroutine[None, None, None]], group: asyncio.TaskGroup
    ) -> None:
        """Restart a background task if its `basis`, a value of the settings, has changed; an empty one only ends it."""
        running_basis, task = self._background.get(name, (None, None))
        if basis == running_basis:
            return
        if task is not None:
            await cancel_all([task])
        if basis:
            self._background[name] = basis, group.create_task(start())


async def cancel_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks repeatedly until all have ended.

    One cancellation can be lost when it coincides with one that a library makes itself, such as a timeout.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1)


def _authentication_basis(settings: Settings) -> object:
    """Return the settings that determine the password checker, for comparison."""
    return settings.authentication, settings.authentication and settings.find_source(settings.authentication.source)

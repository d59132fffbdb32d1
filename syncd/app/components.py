"""The parts of the daemon, and which of them follow from the settings: made at the start, exchanged by a reload."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from syncd.app.alerting import channels
from syncd.app.authenticator import Door
from syncd.app.contact_import import Importer
from syncd.app.health_monitor import Monitor
from syncd.app.offload import Explainer
from syncd.app.reporting import begin_counting, report_skip, warn_of_clear_text
from syncd.app.runner import Runner
from syncd.app.use_cases import sign_ins
from syncd.core.contacts.query import Query
from syncd.core.operations.health import DirectoryState
from syncd.errors import StoreUnavailable
from syncd.settings import FileSource, Notice, Settings
from syncd.store.admin.alerts import Notices
from syncd.store.admin.overview import Overview
from syncd.store.admin.token_cache import Callers
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import async_engine
from syncd.store.contacts.changes import Feed
from syncd.store.contacts.count_cache import Counted, Totals
from syncd.store.contacts.custom import CustomContacts
from syncd.store.contacts.lookup import Numbers
from syncd.store.contacts.reading import Directory
from syncd.store.contacts.revision import Revisions
from syncd.system.file_watcher import changes
from syncd.system.scheduler import Scheduler
from syncd.web import Application, Cache, Lanes, application

_LAST_NOTES = 2.0
"""Seconds in which the last use of tokens is stored at the end; a database that does not answer holds nobody up."""
_AGAIN = 5.0
"""Seconds until a database that did not answer is asked again."""


class Parts:
    """All that works in a daemon, the application among it: the one of the settings in force."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = async_engine(settings.database, Role.API)
        # a connection apart: that requests have to wait for one is no sign of a lost database
        self._own_engine = async_engine(settings.database.model_copy(update={"pool_size": 1}), Role.API)
        self._looking = Overview(self._own_engine, settings.expected(), settings.terms())
        self.monitor = Monitor(settings.expected(), self._look)
        self.runner = Runner(settings, self.monitor)
        self._scheduler = Scheduler(self.runner.tick, report_skip)
        self._purges = Scheduler(self.runner.purge, report_skip)
        self._cache = Cache(settings.http.cache_mib << 20)
        self._totals = Totals()
        self._lanes = Lanes(settings.database.pool_size)
        self._revisions = Revisions(settings.database, self._cache.drop, self._begin_anew)
        self._callers = Callers(self._engine)
        self._custom = CustomContacts(self._engine)
        self._sign_ins = sign_ins(settings)
        self._door = Door(self._callers, self._sign_ins)
        self._ending = asyncio.Event()
        self.application = self._made(settings)
        """For requests to come; one that has begun ends with the application it began with."""
        self._beside: dict[str, tuple[object, asyncio.Task[None]]] = {}

    async def begin(self, group: asyncio.TaskGroup) -> None:
        """Run what is due, and all that goes on beside the requests."""
        warn_of_clear_text(self._settings)
        self._arrange(self._settings)
        self._scheduler.start()
        self._purges.start()
        self._beside |= {
            "revisions": (None, group.create_task(self._revisions.listen())),
            "callers": (None, group.create_task(self._callers.keep_notes())),
        }
        await self._attend(self._settings, group)

    async def follow(self, settings: Settings, group: asyncio.TaskGroup) -> None:
        """Exchange what follows from settings; `database` is the same. No request and no run is disturbed."""
        self.monitor.expect(settings.expected())
        self.runner.follow(settings)
        self._cache.limit(settings.http.cache_mib << 20)
        if _signing_in(settings) != _signing_in(self._settings):
            # the former ones are not closed: who waits for their answer gets it, and then they are gone
            self._sign_ins = sign_ins(settings)
            self._door.follow(self._sign_ins)
        self.application = self._made(settings)
        warn_of_clear_text(settings)
        self._arrange(settings)
        await self._attend(settings, group)
        self._settings = settings

    def due(self) -> dict[str, datetime]:
        """When each source is due next."""
        return self._scheduler.due()

    def wake(self) -> None:
        """Let the schedules look at the clock."""
        self._scheduler.wake()
        self._purges.wake()

    async def drain(self, seconds: float) -> None:
        """No more ticks, and nobody who waits for changes; let the runs end within the time."""
        self._ending.set()
        self._scheduler.pause()
        self._purges.pause()
        await self.runner.drain(seconds)

    async def close(self) -> None:
        """The end of all of it."""
        self._scheduler.stop()
        self._purges.stop()
        await end_all([task for _, task in self._beside.values()])
        if self._sign_ins is not None:
            self._sign_ins.close()
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_NOTES):
                await self._callers.note()
        await self._revisions.close()
        await self._own_engine.dispose()
        await self._engine.dispose()

    async def _look(self) -> DirectoryState:
        """The state; whoever asks for everybody after this is told at once how many they are."""
        state = await self._looking.state()
        self._totals.keep(Query().matching, Counted(state.revision, sum(state.contacts.values())))
        return state

    async def _begin_anew(self) -> None:
        """The database has ended our connections; behind its address may be another one, which lacks what came last."""
        self._cache.forget()
        self._totals.forget()
        self._looking.forget()
        await self._engine.dispose()

    def _overview(self, settings: Settings) -> Overview:
        return Overview(self._engine, settings.expected(), settings.terms())

    def _made(self, settings: Settings) -> Application:
        return application(
            settings.http,
            directory=Directory(self._engine, settings.regions(), self._totals),
            custom=self._custom,
            numbers=Numbers(self._engine, settings.regions()),
            changes=Feed(self._engine),
            door=self._door,
            revisions=self._revisions,
            cache=self._cache,
            lanes=self._lanes,
            status=self.monitor,
            overview=self._overview(settings),
            explainer=Explainer(settings),
            importer=Importer(settings),
            ending=self._ending,
        )

    def _arrange(self, settings: Settings) -> None:
        begin_counting(source.name for source in settings.source)
        now = datetime.now(UTC)
        known = self.monitor.state.sources
        started = {name: at for name in known if (at := known[name].started) is not None}
        self._scheduler.arrange({source.name: source.schedule for source in settings.source}, started, now)
        purges = {source.name: settings.history.purge for source in settings.source}
        self._purges.arrange(purges, dict.fromkeys(purges, now), now)

    async def _attend(self, settings: Settings, group: asyncio.TaskGroup) -> None:
        """What goes on beside the requests because of settings."""
        files = [(source.path, source.name) for source in settings.source if isinstance(source, FileSource)]
        await self._go_on("files", files, lambda: self._watch(files, group), group)
        region = settings.contacts.default_region
        await self._go_on("region", [region], lambda: self._reindex(region), group)
        await self._go_on("notices", settings.notice, lambda: self._inform(settings.notice), group)

    async def _watch(self, files: Collection[tuple[Path, str]], group: asyncio.TaskGroup) -> None:
        """Run a file's sources at once when the file changes."""
        async for changed in changes({path for path, _ in files}):
            for name in (name for path, name in files if path == changed):
                group.create_task(self.runner.changed(name))

    async def _inform(self, notice: Notice) -> None:
        """Tell people what is wrong, by every channel."""
        async with asyncio.TaskGroup() as group:
            for channel in channels(notice, self.monitor.outlook, Notices(self._engine)):
                group.create_task(channel.watch())

    async def _reindex(self, region: str) -> None:
        """Index the contacts that people keep for the region of the settings, as soon as the database answers."""
        done = False
        while not done:
            with suppress(StoreUnavailable):
                await self._custom.reindex(region)
                done = True
            if not done:
                await asyncio.sleep(_AGAIN)

    async def _go_on(
        self, name: str, basis: object, work: Callable[[], Coroutine[None, None, None]], group: asyncio.TaskGroup
    ) -> None:
        """Have this done beside the requests, and begun anew when what it is based on is not as it was."""
        known, task = self._beside.get(name, (None, None))
        if basis == known:
            return
        if task is not None:
            await end_all([task])
        if basis:
            self._beside[name] = basis, group.create_task(work())


async def end_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until they are gone: one cancellation can be lost where it meets a library's own at the same moment."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1)


def _signing_in(settings: Settings) -> object:
    """What sign-ins are made of."""
    return settings.sign_in, settings.sign_in and settings.named(settings.sign_in.source)

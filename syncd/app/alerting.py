"""Noticing: compares what people were told with what is, again and again, and has the difference sent."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from syncd.core.operations.alerts import Message, Outlook, Told, absences, after, due
from syncd.errors import StoreError, SyncdError
from syncd.observability import log, metrics
from syncd.settings import Notice
from syncd.store.admin.alerts import Notices
from syncd.system.alert_delivery import send
from syncd.system.worker import WorkDied, Worker

_INTERVAL = 2.0
_LONGEST = 300.0
_ENOUGH = 60
"""Seconds after which a process that sends is ended."""


class Channel:
    """One way to people. It waits for nobody but itself, and nobody waits for it."""

    def __init__(self, name: str, settings: Notice, look: Callable[[], Outlook], notices: Notices) -> None:
        self._name = name
        self._settings = settings
        self._look = look
        self._notices = notices
        self._told: dict[str, Told] = {}
        self._absent: dict[str, datetime] = {}
        self._recalled = False
        self._remembered = True

    async def watch(self) -> None:
        """Keep people informed until cancelled; after a failure wait twice as long each time."""
        wait = _INTERVAL
        while True:
            wait = _INTERVAL if await self._tell() else min(2 * wait, _LONGEST)
            with suppress(StoreError):
                await self._keep()
            await asyncio.sleep(wait)

    async def _tell(self) -> bool:
        """Send what is due; False when something could not be sent."""
        with suppress(StoreError):
            await self._recall()
        now = datetime.now(UTC)
        seen = self._look()
        self._absent = absences(self._absent, self._told, seen, now)
        for message in list(due(self._told, seen, self._absent, now, self._settings.settle)):
            try:
                await self._send(message)
            except (SyncdError, WorkDied, OSError) as error:
                self._report(message, str(error) or f"it was not sent within {_ENOUGH} s")
                return False
            self._report(message)
            self._told, self._remembered = after(self._told, message), False
        return True

    async def _recall(self) -> None:
        """Once, as soon as the database can be asked: what was told before this daemon was started."""
        if not self._recalled:
            self._told = await self._notices.told(self._name) | self._told
            self._recalled = True

    async def _keep(self) -> None:
        if self._recalled and not self._remembered:
            await self._notices.remember(self._name, self._told)
            self._remembered = True

    async def _send(self, message: Message) -> None:
        worker = await Worker.start(send, self._settings, self._name, message)
        async with asyncio.timeout(_ENOUGH):
            await worker.result()

    def _report(self, message: Message, failure: str | None = None) -> None:
        metrics.NOTICES.labels(self._name, "sent" if failure is None else "failed").inc()
        facts: dict[str, Any] = {"channel": self._name, "kind": message.kind, "about": message.key}
        if failure is not None:
            log.trouble(log.NOTICE_FAILED, f"notice.{self._name}", failure, **facts)
            return
        log.over(f"notice.{self._name}")
        log.emit(log.NOTICE_SENT, **facts)


def channels(settings: Notice, look: Callable[[], Outlook], notices: Notices) -> list[Channel]:
    """Those that are set up."""
    named = {"webhook": settings.webhook, "mail": settings.mail}
    return [Channel(name, settings, look, notices) for name, there in named.items() if there is not None]

"""Alerting: periodic comparison of sent alerts with the current state, and delivery of the difference."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from syncd.core.operations.alerts import AlertMessage, Assessment, SentAlert, cleared_since, due_messages, record_sent
from syncd.errors import StoreError, SyncdError
from syncd.observability import log, metrics
from syncd.settings import Alerts
from syncd.store.admin.alerts import AlertStore
from syncd.system.alert_delivery import send
from syncd.system.worker import Worker, WorkerFailed

_INTERVAL = 2.0
"""Seconds between two comparisons."""
_MAX_RETRY_INTERVAL = 300.0
"""Maximum seconds between two attempts to send, which double from `_INTERVAL`."""
_SEND_TIMEOUT = 60
"""Seconds after which a sending process is killed."""
_MEMORY_MIB = 256
"""Memory limit of a sending process in mebibytes."""


class AlertChannel:
    """Delivery of alerts by one channel, independent of the others.

    `assess` returns the current problems; `store` stores the sent alerts.
    """

    def __init__(self, name: str, settings: Alerts, assess: Callable[[], Assessment], store: AlertStore) -> None:
        self._name = name
        self._settings = settings
        self._assess = assess
        self._store = store
        self._sent: dict[str, SentAlert] = {}
        self._cleared_since: dict[str, datetime] = {}
        self._loaded = False
        self._saved = True

    async def run(self) -> None:
        """Send due alerts until cancelled; the interval doubles after each failure."""
        interval = _INTERVAL
        while True:
            interval = _INTERVAL if await self._send_due() else min(2 * interval, _MAX_RETRY_INTERVAL)
            with suppress(StoreError):
                await self._save_sent()
            await asyncio.sleep(interval)

    async def _send_due(self) -> bool:
        """Send the due messages; return False when one could not be sent."""
        with suppress(StoreError):
            await self._load_sent()
        now = datetime.now(UTC)
        assessment = self._assess()
        self._cleared_since = cleared_since(self._cleared_since, self._sent, assessment, now)
        for message in list(
            due_messages(self._sent, assessment, self._cleared_since, now, self._settings.resolve_after)
        ):
            try:
                await self._send(message)
            except (SyncdError, WorkerFailed, OSError) as error:
                self._log_delivery(message, str(error) or f"it was not sent within {_SEND_TIMEOUT} s")
                return False
            self._log_delivery(message)
            self._sent, self._saved = record_sent(self._sent, message), False
        return True

    async def _load_sent(self) -> None:
        """Load the alerts that an earlier daemon sent, once, as soon as the database answers."""
        if not self._loaded:
            self._sent = await self._store.load(self._name) | self._sent
            self._loaded = True

    async def _save_sent(self) -> None:
        if self._loaded and not self._saved:
            await self._store.save(self._name, self._sent)
            self._saved = True

    async def _send(self, message: AlertMessage) -> None:
        worker = await Worker.start(_MEMORY_MIB, send, self._settings, self._name, message)
        async with asyncio.timeout(_SEND_TIMEOUT):
            await worker.result()

    def _log_delivery(self, message: AlertMessage, failure: str | None = None) -> None:
        metrics.ALERTS.labels(self._name, "sent" if failure is None else "failed").inc()
        fields: dict[str, Any] = {"channel": self._name, "kind": message.kind, "about": message.key}
        if failure is not None:
            log.emit_throttled(log.ALERT_FAILED, f"alert.{self._name}", failure, **fields)
            return
        log.recovered(f"alert.{self._name}")
        log.emit(log.ALERT_SENT, **fields)


def build_channels(settings: Alerts, assess: Callable[[], Assessment], store: AlertStore) -> list[AlertChannel]:
    """Build the configured channels."""
    targets = {"webhook": settings.webhook, "mail": settings.mail}
    return [AlertChannel(name, settings, assess, store) for name, target in targets.items() if target is not None]

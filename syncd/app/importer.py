"""Importing a file of Custom contacts: read, judged, written if asked to. For callers in a process of its own."""

import asyncio
from collections.abc import Callable, Iterator

from syncd.core import card, sheet
from syncd.core.intake import Entry, Outcome, limited
from syncd.settings import Settings
from syncd.store import intake
from syncd.store.database import Role, engine, translated
from syncd.worker import Worker

READERS: dict[str, Callable[[bytes], Iterator[Entry]]] = {sheet.MEDIA: sheet.entries, card.MEDIA: card.entries}
"""Media type -> what reads it."""


def preview(settings: Settings, raw: bytes, media: str) -> Outcome:
    """What importing this file would do. Raises InvalidParameter when it cannot be read, StoreUnavailable."""
    entries = list(limited(READERS[media](raw)))
    with translated(), engine(settings.database, Role.API).connect() as connection:
        return intake.preview(connection, entries)


def apply(settings: Settings, raw: bytes, media: str, caller: str) -> Outcome:
    """Import what can be of this file, and tell of the rest. Raises InvalidParameter, StoreUnavailable."""
    entries = list(limited(READERS[media](raw)))
    with translated(), engine(settings.database, Role.API).begin() as connection:
        return intake.apply(connection, entries, caller)


class Importer:
    """Does the same for those who ask over HTTP; one file at a time, for each may take some seconds of a processor."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(1)

    async def preview(self, raw: bytes, media: str) -> Outcome:
        """What importing this file would do."""
        return await self._done(preview, raw, media)

    async def apply(self, raw: bytes, media: str, caller: str) -> Outcome:
        """Import what can be of this file."""
        return await self._done(apply, raw, media, caller)

    async def _done(self, work: Callable[..., Outcome], *values: object) -> Outcome:
        async with self._room:
            worker = await Worker.start(work, self._settings, *values)
            outcome: Outcome = await worker.result()
        return outcome

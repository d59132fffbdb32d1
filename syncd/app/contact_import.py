"""Importing a file of Custom contacts: read, judged, written if asked to. For callers in a process of its own."""

import asyncio
from collections.abc import Callable, Iterator

from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import LARGEST, Entry, Outcome, limited
from syncd.errors import TooLarge
from syncd.settings import Settings
from syncd.store.connection.engine import Role, open_engine, translated
from syncd.store.contacts import contact_import
from syncd.system.worker import Worker

READERS: dict[str, Callable[[bytes], Iterator[Entry]]] = {
    csv_contacts.MEDIA: csv_contacts.entries,
    vcard_contacts.MEDIA: vcard_contacts.entries,
}
"""Media type -> what reads it."""


def media_of(raw: bytes) -> str:
    """The media type of a file, told by how it begins: cards, else a sheet."""
    begins = raw.removeprefix(b"\xef\xbb\xbf").lstrip()[:11].upper()
    return vcard_contacts.MEDIA if begins == b"BEGIN:VCARD" else csv_contacts.MEDIA


def preview(settings: Settings, raw: bytes, media: str) -> Outcome:
    """What importing this file would do. Raises InvalidParameter when it cannot be read, StoreUnavailable."""
    entries = _read(raw, media)
    with translated(), open_engine(settings.database, Role.API).connect() as connection:
        return contact_import.preview(connection, entries)


def apply(settings: Settings, raw: bytes, media: str, caller: str) -> Outcome:
    """Import what can be of this file, and tell of the rest. Raises InvalidParameter, StoreUnavailable."""
    entries = _read(raw, media)
    with translated(), open_engine(settings.database, Role.API).begin() as connection:
        return contact_import.apply(connection, entries, caller)


def _read(raw: bytes, media: str) -> list[Entry]:
    if len(raw) > LARGEST:
        raise TooLarge(f"the file is larger than {LARGEST} bytes; import it in parts")
    return list(limited(READERS[media](raw)))


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

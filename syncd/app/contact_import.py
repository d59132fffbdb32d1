"""Import of Custom contacts from a CSV or vCard file, in the calling process; see `offload` for HTTP requests."""

from collections.abc import Callable, Iterator

from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import MAX_BYTES, ImportEntry, ImportReport, check_limits
from syncd.errors import TooLarge
from syncd.settings import Settings
from syncd.store.connection.engine import Role, mapped_errors, open_engine
from syncd.store.contacts import contact_import

READERS: dict[str, Callable[[bytes], Iterator[ImportEntry]]] = {
    csv_contacts.MEDIA_TYPE: csv_contacts.parse_entries,
    vcard_contacts.MEDIA_TYPE: vcard_contacts.parse_entries,
}
"""Media type -> parser of its files."""


def detect_media_type(raw: bytes) -> str:
    """Return the media type of a file by its first bytes: vCard, else CSV."""
    start = raw.removeprefix(b"\xef\xbb\xbf").lstrip()[:11].upper()
    return vcard_contacts.MEDIA_TYPE if start == b"BEGIN:VCARD" else csv_contacts.MEDIA_TYPE


def preview(settings: Settings, raw: bytes, media: str) -> ImportReport:
    """Return what an import of this file would do; write nothing.

    `media` is a key of READERS. Raises InvalidParameter when the file cannot be parsed, TooLarge, StoreUnavailable.
    """
    entries = _read(raw, media)
    with mapped_errors(), open_engine(settings.database, Role.API).connect() as connection:
        return contact_import.preview(connection, entries)


def apply(settings: Settings, raw: bytes, media: str, caller: str) -> ImportReport:
    """Import the valid entries of this file in one transaction; the outcome lists the rejected ones.

    `caller` is recorded in the change log. Raises InvalidParameter, TooLarge, StoreUnavailable.
    """
    entries = _read(raw, media)
    with mapped_errors(), open_engine(settings.database, Role.API).begin() as connection:
        return contact_import.apply(connection, entries, caller)


def _read(raw: bytes, media: str) -> list[ImportEntry]:
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"the file is larger than {MAX_BYTES} bytes; import it in parts")
    return list(check_limits(READERS[media](raw)))

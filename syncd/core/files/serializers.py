"""Serializers of lists of contacts, batch by batch: JSON, CSV and vCard."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from syncd.core.contacts.contact_json import encode, select_members
from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import Format
from syncd.core.files import csv_contacts, vcard_contacts


class Serializer:
    """Serializer of one list: its output is the head, the batches and the foot.

    `base` is the public URL of this server, `fields` the members to write; None for all.
    """

    media_type: ClassVar[str]
    """Content-Type (RFC 9110, 8.3)."""
    file_extension: ClassVar[str]
    """With its dot."""

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        self._base = base
        self._fields = fields

    def head(self, total: int) -> str:  # noqa: ARG002 - only JSON has the total
        """Return the beginning. `total` is the number of matches before limit and offset."""
        return ""

    def encode_batch(self, contacts: Sequence[StoredContact]) -> str:
        """Encode some contacts."""
        raise NotImplementedError

    def foot(self) -> str:
        """Return the end."""
        return ""


class JsonSerializer(Serializer):
    """Response of the contacts API."""

    media_type = "application/json"
    file_extension = ".json"
    _comma = ""

    def head(self, total: int) -> str:
        """Return the object up to the bracket of the list."""
        return f'{{"statusCode":0,"totalCount":{total},"contacts":['

    def encode_batch(self, contacts: Sequence[StoredContact]) -> str:
        """Encode contacts as list items; one call of the encoder for all of them."""
        if not contacts:
            return ""
        comma, self._comma = self._comma, ","
        return comma + encode([select_members(stored, self._base, self._fields) for stored in contacts])[1:-1]

    def foot(self) -> str:
        """Close list and object."""
        return "]}"


class CsvSerializer(Serializer):
    """CSV for spreadsheets (RFC 4180)."""

    media_type = f"{csv_contacts.MEDIA_TYPE}; charset=utf-8; header=present"
    file_extension = ".csv"

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        super().__init__(base, fields)
        self._columns = csv_contacts.select_columns(fields)

    def head(self, total: int) -> str:  # noqa: ARG002 - as above
        """Return byte order mark and header row."""
        return csv_contacts.encode_header(self._columns)

    def encode_batch(self, contacts: Sequence[StoredContact]) -> str:
        """Encode one row per contact."""
        return csv_contacts.encode_rows(
            (select_members(stored, self._base, None) for stored in contacts), self._columns
        )


class VcardSerializer(Serializer):
    """vCards for address books (RFC 6350). `name` is always written, because FN is mandatory."""

    media_type = f"{vcard_contacts.MEDIA_TYPE}; charset=utf-8"
    file_extension = ".vcf"

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        super().__init__(base, fields and fields | {"name"})

    def encode_batch(self, contacts: Sequence[StoredContact]) -> str:
        """Encode one card per contact."""
        return "".join(
            [vcard_contacts.encode_contact(select_members(stored, self._base, self._fields)) for stored in contacts]
        )


SERIALIZERS: Mapping[Format, type[Serializer]] = {
    "json": JsonSerializer,
    "csv": CsvSerializer,
    "vcard": VcardSerializer,
}
"""Format -> serializer; the first is the default."""

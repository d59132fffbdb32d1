"""The forms in which contacts are handed out: JSON, CSV and vCard, each written batch by batch. Pure."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from syncd.core.contacts.contact_json import encode, selected
from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import Format
from syncd.core.files import csv_contacts, vcard_contacts


class Form:
    """One list of contacts in the making: its head, its batches and its foot are the whole. `fields`: None for all."""

    media: ClassVar[str]
    """The Content-Type (RFC 9110, 8.3)."""
    ending: ClassVar[str]
    """What the name of a file of this form ends with."""

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        self._base = base
        self._fields = fields

    def head(self, total: int) -> str:  # noqa: ARG002 - not every form says how many there are
        """What comes first. `total`: how many contacts match, before limit and offset."""
        return ""

    def batch(self, contacts: Sequence[StoredContact]) -> str:
        """Some contacts."""
        raise NotImplementedError

    def foot(self) -> str:
        """What comes last."""
        return ""


class Json(Form):
    """The contract's answer to a list."""

    media = "application/json"
    ending = ".json"
    _comma = ""

    def head(self, total: int) -> str:
        """Up to the bracket."""
        return f'{{"statusCode":0,"totalCount":{total},"contacts":['

    def batch(self, contacts: Sequence[StoredContact]) -> str:
        """As they stand between the brackets; the encoder is called once for all of them."""
        if not contacts:
            return ""
        comma, self._comma = self._comma, ","
        return comma + encode([selected(stored, self._base, self._fields) for stored in contacts])[1:-1]

    def foot(self) -> str:
        """The only place where the object ends."""
        return "]}"


class Sheet(Form):
    """A table for spreadsheets (RFC 4180)."""

    media = f"{csv_contacts.MEDIA}; charset=utf-8; header=present"
    ending = ".csv"

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        super().__init__(base, fields)
        self._columns = csv_contacts.columns(fields)

    def head(self, total: int) -> str:  # noqa: ARG002 - as above
        """The names of the columns."""
        return csv_contacts.head(self._columns)

    def batch(self, contacts: Sequence[StoredContact]) -> str:
        """A row for each."""
        return csv_contacts.rows((selected(stored, self._base, None) for stored in contacts), self._columns)


class Cards(Form):
    """Cards for address books (RFC 6350). A card cannot be without a name, whatever the fields."""

    media = f"{vcard_contacts.MEDIA}; charset=utf-8"
    ending = ".vcf"

    def __init__(self, base: str, fields: frozenset[str] | None) -> None:
        super().__init__(base, fields and fields | {"name"})

    def batch(self, contacts: Sequence[StoredContact]) -> str:
        """A card for each."""
        return "".join([vcard_contacts.card(selected(stored, self._base, self._fields)) for stored in contacts])


FORMS: Mapping[Format, type[Form]] = {"json": Json, "csv": Sheet, "vcard": Cards}
"""Name -> form. The first is what is sent when nobody asks for another."""

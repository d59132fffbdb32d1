"""Plan of an import of Custom contacts: comparison of the entries of a file with the stored contacts.

`csv_contacts` and `vcard_contacts` parse the entries, `store.contacts.contact_import` selects the stored contacts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from syncd.core.contacts.contact import Contact, PhoneNumber
from syncd.core.contacts.custom import apply_update, parse_new_contact, parse_text
from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import is_id
from syncd.errors import InvalidParameter, RequestError, TooLarge

MAX_BYTES = 5 * 1024 * 1024
"""Maximum size of a file."""
MAX_ENTRIES = 20_000
"""Maximum of entries in a file."""
MAX_NUMBERS = 100
"""Maximum of numbers of one contact."""

ImportResult: TypeAlias = Literal["create", "change", "unchanged", "reject"]


class ImportEntry(NamedTuple):
    """Parsed entry of a file: a CSV row or a vCard."""

    line: int
    """First physical line of the entry in the file, from 1."""
    members: Mapping[str, Any]
    """JSON name of a member -> value; of `phoneNumbers` a sequence of PhoneNumber."""
    error: str = ""
    """Why the entry is malformed; empty for a valid one."""
    ignores_unknown_id: bool = False
    """Whether an unknown id means a new contact, because address books assign ids of their own."""


class ImportRow(NamedTuple):
    """Result of one entry."""

    line: int
    result: ImportResult
    id: str = ""
    name: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values, without empty ones."""
        return {name: value for name, value in self._asdict().items() if value != ""}


class ImportAction(NamedTuple):
    """Planned result of one entry, with the contact to write."""

    row: ImportRow
    contact: Contact | None = None
    """Contact to write; None to write nothing."""
    stored: StoredContact | None = None
    """Contact to replace; None for a new one."""


class ImportReport(NamedTuple):
    """Report of an import or of its preview."""

    applied: bool
    rows: Sequence[ImportRow]

    def count_rows(self, result: ImportResult) -> int:
        """Return the number of rows with this result."""
        return sum(row.result == result for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "applied": self.applied,
            "created": self.count_rows("create"),
            "changed": self.count_rows("change"),
            "unchanged": self.count_rows("unchanged"),
            "rejected": self.count_rows("reject"),
            "rows": [row.to_json() for row in self.rows],
        }


def check_limits(entries: Iterable[ImportEntry]) -> Iterator[ImportEntry]:
    """Yield the entries of a file. Raises TooLarge for too many, InvalidParameter for none."""
    number = 0
    for number, entry in enumerate(entries, 1):
        if number > MAX_ENTRIES:
            raise TooLarge(f"line {entry.line}: more than {MAX_ENTRIES} contacts; import the file in parts")
        yield entry
    if not number:
        raise InvalidParameter("the file holds no contact")


def plan_import(
    entries: Sequence[ImportEntry], stored: Mapping[str, StoredContact], namesakes: Iterable[StoredContact]
) -> list[ImportAction]:
    """Return the action of each entry, in order.

    `stored` has the contacts of all types whose ids occur in the entries, by id; `namesakes` are the Custom contacts
    whose names occur in the entries.
    """
    planner = _ImportPlanner(stored, namesakes)
    # updates come first, so that a new contact is compared with the contacts after the import
    order = sorted(range(len(entries)), key=lambda at: not planner.is_update(entries[at]))
    actions = {at: planner.plan_entry(entries[at]) for at in order}
    return [actions[at] for at in range(len(entries))]


class _ImportPlanner:
    """Plans entry after entry, and keeps track of the contacts as they will be."""

    def __init__(self, stored: Mapping[str, StoredContact], namesakes: Iterable[StoredContact]) -> None:
        self._stored = stored
        self._ids: dict[Contact, set[str]] = {}
        self._lines: dict[str, int] = {}
        for contact in namesakes:
            self._ids.setdefault(to_contact(contact), set()).add(contact.id)

    def is_update(self, entry: ImportEntry) -> bool:
        """Whether the entry has the id of a stored contact."""
        return entry.members.get("id") in self._stored

    def plan_entry(self, entry: ImportEntry) -> ImportAction:
        """Return the action of an entry; an invalid one is rejected."""
        try:
            if entry.error:
                raise InvalidParameter(entry.error)
            stored = self._find_stored(entry)
            contact = _parse_contact(entry.members, stored)
        except RequestError as error:
            name, id_ = (str(entry.members.get(member, "")).strip()[:60] for member in ("name", "id"))
            return ImportAction(ImportRow(entry.line, "reject", id_ if is_id(id_) else "", name, str(error)))
        if stored is None:
            return self._plan_new(entry.line, contact)
        return self._plan_update(entry.line, stored, contact)

    def _find_stored(self, entry: ImportEntry) -> StoredContact | None:
        """Return the contact with the id of the entry; None for a new one. Raises InvalidParameter."""
        id_ = entry.members.get("id", "")
        stored = self._stored.get(id_)
        if stored is None:
            if id_ and not entry.ignores_unknown_id:
                raise InvalidParameter(f"there is no contact {id_[:60]!r}; leave id empty to make a new one")
            return None
        if stored.type != "Custom":
            raise InvalidParameter(f"contact {id_} is a {stored.type}: the synchronization keeps it, not an import")
        if id_ in self._lines:
            raise InvalidParameter(f"line {self._lines[id_]} is about this contact already")
        self._lines[id_] = entry.line
        return stored

    def _plan_new(self, line: int, contact: Contact) -> ImportAction:
        ids = self._ids.get(contact)
        if ids is not None:
            return ImportAction(ImportRow(line, "unchanged", min(ids), contact.name))
        self._ids[contact] = {""}
        return ImportAction(ImportRow(line, "create", "", contact.name), contact)

    def _plan_update(self, line: int, stored: StoredContact, contact: Contact) -> ImportAction:
        before = to_contact(stored)
        if contact == before:
            return ImportAction(ImportRow(line, "unchanged", stored.id, contact.name))
        if self._ids.get(before) == {stored.id}:
            del self._ids[before]
        self._ids.setdefault(contact, set()).add(stored.id)
        return ImportAction(ImportRow(line, "change", stored.id, contact.name), contact, stored)


def to_contact(stored: StoredContact) -> Contact:
    """Return the writable members of a stored Custom contact."""
    return Contact(name=stored.name, numbers=stored.phone_numbers())


def _parse_contact(members: Mapping[str, Any], stored: StoredContact | None) -> Contact:
    """Return the contact of an entry, by the rules of POST and PUT. Raises RequestError."""
    body = {member: value for member, value in members.items() if member not in ("id", "phoneNumbers")}
    contact = parse_new_contact(body) if stored is None else apply_update(stored, body, {"type": "Custom"})
    return contact._replace(numbers=_check_numbers(members["phoneNumbers"])) if "phoneNumbers" in members else contact


def _check_numbers(numbers: Sequence[PhoneNumber]) -> tuple[PhoneNumber, ...]:
    if len(numbers) > MAX_NUMBERS:
        raise InvalidParameter(f"{len(numbers)} numbers, at most {MAX_NUMBERS} are allowed")
    return tuple(
        PhoneNumber(parse_text("phoneNumber", number), description and parse_text("description", description))
        for number, description in numbers
    )

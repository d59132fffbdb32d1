"""What a file says about Custom contacts, and what becomes of each of its entries. Pure.

`csv_contacts` and `vcard_contacts` parse entries, the store knows the stored contacts; this module compares them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from syncd.core.contacts.contact import Contact, Number
from syncd.core.contacts.custom import changed, created, text_of
from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.query import is_identifier
from syncd.errors import InvalidParameter, RequestError, TooLarge

LARGEST = 5 * 1024 * 1024
"""Bytes of a file."""
MOST = 20_000
"""Entries of a file."""
MOST_NUMBERS = 100
"""Numbers of one contact."""

Result: TypeAlias = Literal["create", "change", "unchanged", "reject"]


class Entry(NamedTuple):
    """One contact as a file says it."""

    line: int
    """Where it begins: a physical line of the file, counted from 1."""
    members: Mapping[str, Any]
    """What is said, by the members' wire names; `phoneNumbers`, if given, as Numbers."""
    why: str = ""
    """Why it cannot be read; empty when it can."""
    foreign: bool = False
    """True when an id that no contact has stands for a new contact: address books give their cards ids of their own."""


class Row(NamedTuple):
    """What becomes, or would become, of one entry."""

    line: int
    result: Result
    id: str = ""
    name: str = ""
    why: str = ""

    def facts(self) -> dict[str, Any]:
        """For JSON: what there is to say."""
        return {name: value for name, value in self._asdict().items() if value != ""}


class Verdict(NamedTuple):
    """A row with what it takes to bring it about."""

    row: Row
    contact: Contact | None = None
    """As it is to be; None when nothing is written."""
    stored: StoredContact | None = None
    """As it is; None for a new one."""


class Outcome(NamedTuple):
    """What an import did, or would do."""

    applied: bool
    rows: Sequence[Row]

    def count(self, result: Result) -> int:
        """How many rows have this result."""
        return sum(row.result == result for row in self.rows)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "applied": self.applied,
            "created": self.count("create"),
            "changed": self.count("change"),
            "unchanged": self.count("unchanged"),
            "rejected": self.count("reject"),
            "rows": [row.facts() for row in self.rows],
        }


def limited(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries of a file. Raises TooLarge after too many, InvalidParameter when there is none."""
    number = 0
    for number, entry in enumerate(entries, 1):
        if number > MOST:
            raise TooLarge(f"line {entry.line}: more than {MOST} contacts; import the file in parts")
        yield entry
    if not number:
        raise InvalidParameter("the file holds no contact")


def judged(
    entries: Sequence[Entry], stored: Mapping[str, StoredContact], like: Iterable[StoredContact]
) -> list[Verdict]:
    """What becomes of each entry, in their order.

    `stored`: the contacts whose ids are named, of any type. `like`: the Custom contacts that have a name of the file.
    """
    bench = _Bench(stored, like)
    # who is changed first, so that a new contact is compared with what will be there
    first = sorted(range(len(entries)), key=lambda at: not bench.is_known(entries[at]))
    verdicts = {at: bench.verdict(entries[at]) for at in first}
    return [verdicts[at] for at in range(len(entries))]


class _Bench:
    """What is there, kept up to date while entry after entry is judged."""

    def __init__(self, stored: Mapping[str, StoredContact], like: Iterable[StoredContact]) -> None:
        self._stored = stored
        self._ids: dict[Contact, set[str]] = {}
        self._lines: dict[str, int] = {}
        for one in like:
            self._ids.setdefault(before(one), set()).add(one.id)

    def is_known(self, entry: Entry) -> bool:
        """True when the entry is about a contact that is there."""
        return entry.members.get("id") in self._stored

    def verdict(self, entry: Entry) -> Verdict:
        """What becomes of an entry."""
        try:
            if entry.why:
                raise InvalidParameter(entry.why)
            stored = self._meant(entry)
            contact = _described(entry.members, stored)
        except RequestError as error:
            name, id_ = (str(entry.members.get(member, "")).strip()[:60] for member in ("name", "id"))
            return Verdict(Row(entry.line, "reject", id_ if is_identifier(id_) else "", name, str(error)))
        return self._new(entry.line, contact) if stored is None else self._changed(entry.line, stored, contact)

    def _meant(self, entry: Entry) -> StoredContact | None:
        """The contact that an entry is about; None for a new one. Raises InvalidParameter."""
        id_ = entry.members.get("id", "")
        stored = self._stored.get(id_)
        if stored is None:
            if id_ and not entry.foreign:
                raise InvalidParameter(f"there is no contact {id_[:60]!r}; leave id empty to make a new one")
            return None
        if stored.type != "Custom":
            raise InvalidParameter(f"contact {id_} is a {stored.type}: the synchronization keeps it, not an import")
        if id_ in self._lines:
            raise InvalidParameter(f"line {self._lines[id_]} is about this contact already")
        self._lines[id_] = entry.line
        return stored

    def _new(self, line: int, contact: Contact) -> Verdict:
        ids = self._ids.get(contact)
        if ids is not None:
            return Verdict(Row(line, "unchanged", min(ids), contact.name))
        self._ids[contact] = {""}
        return Verdict(Row(line, "create", "", contact.name), contact)

    def _changed(self, line: int, stored: StoredContact, contact: Contact) -> Verdict:
        was = before(stored)
        if contact == was:
            return Verdict(Row(line, "unchanged", stored.id, contact.name))
        if self._ids.get(was) == {stored.id}:
            del self._ids[was]
        self._ids.setdefault(contact, set()).add(stored.id)
        return Verdict(Row(line, "change", stored.id, contact.name), contact, stored)


def before(stored: StoredContact) -> Contact:
    """A stored Custom contact as a person could have said it."""
    return Contact(name=stored.name, numbers=stored.all_numbers())


def _described(members: Mapping[str, Any], stored: StoredContact | None) -> Contact:
    """The contact after an entry, by the rules for one that comes over HTTP. Raises RequestError."""
    said = {member: value for member, value in members.items() if member not in ("id", "phoneNumbers")}
    contact = created(said) if stored is None else changed(stored, said, {"type": "Custom"})
    return contact._replace(numbers=_checked(members["phoneNumbers"])) if "phoneNumbers" in members else contact


def _checked(numbers: Sequence[Number]) -> tuple[Number, ...]:
    if len(numbers) > MOST_NUMBERS:
        raise InvalidParameter(f"{len(numbers)} numbers, at most {MOST_NUMBERS} are allowed")
    return tuple(
        Number(text_of("phoneNumber", number), description and text_of("description", description))
        for number, description in numbers
    )

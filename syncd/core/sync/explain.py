"""Explaining: why a contact is as it is, or is not there, from what its source and the directory say of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact
from syncd.core.sync.history import HeldItem, Leaver, PastChange, moment
from syncd.core.sync.mapping import Mapper, Origin
from syncd.core.sync.record import Found, Record, Reject, Search


class Known(NamedTuple):
    """One contact that the directory has, or had and still remembers."""

    id: str
    """32 hex digits."""
    type: str
    source: str | None
    """None for a Custom contact."""
    key: str | None
    state: str
    """active, missing, removed; purged when only the change log remembers it."""
    served: bool
    since: datetime
    """When the state began."""
    gone_run: int | None
    """The complete run that first found it missing."""
    members: Mapping[str, Any]
    history: Sequence[PastChange] = ()
    """Its lines of the change log, the newest first."""
    held: HeldItem | None = None
    leaver: Leaver | None = None

    def facts(self) -> dict[str, Any]:
        """The contact as JSON values."""
        return {
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "key": self.key,
            "state": self.state,
            "served": self.served,
            "since": moment(self.since),
            "goneRun": self.gone_run,
            "members": self.members,
            "held": self.held and self.held.facts(),
            "leaving": self.leaver and self.leaver.facts(),
            "history": [line.facts() for line in self.history],
        }


class Answer(NamedTuple):
    """What can be said about one key of one source."""

    source: str
    key: str | None
    code: str
    """found, differs, new, returning, rejected, outside, kept, held, leaving, missing, removed, purged, unreachable,
    unknown.
    """
    sentence: str
    place: str = ""
    server: str = ""
    origins: Mapping[str, Sequence[Origin]] = {}
    """Member -> the rules, attributes and raw values that give it now."""
    contact: str | None = None
    """The id of the contact in the directory."""

    def facts(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "source": self.source,
            "key": self.key,
            "code": self.code,
            "sentence": self.sentence,
            "place": self.place,
            "server": self.server,
            "contact": self.contact,
            "members": {member: [origin._asdict() for origin in origins] for member, origins in self.origins.items()},
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of what a person asked for."""

    asked: str
    contacts: Sequence[Known] = ()
    answers: Sequence[Answer] = field(default_factory=tuple)

    def facts(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        return {
            "asked": self.asked,
            "contacts": [contact.facts() for contact in self.contacts],
            "sources": [answer.facts() for answer in self.answers],
        }


def answers(source: str, mapper: Mapper, search: Search, known: Sequence[Known]) -> Iterator[Answer]:
    """One answer for each key that the source or the directory has for what was asked."""
    own = {contact.key: contact for contact in known if contact.source == source and contact.key is not None}
    keyed = {found.item.key: found for found in search.found if found.item.key is not None}
    for found in search.found:
        if found.item.key is None:
            yield _rejected(source, found, found.item.reason if isinstance(found.item, Reject) else "", None)
    for key in dict.fromkeys([*keyed, *own]):
        found_now, contact = keyed.get(key), own.get(key)
        if found_now is not None:
            yield _there(source, mapper, found_now, contact)
        elif contact is not None:
            yield _absent(source, contact, search.fault)
    if not keyed and not own and not search.found:
        yield _nobody(source, search.fault)


def _there(source: str, mapper: Mapper, found: Found, contact: Known | None) -> Answer:
    """The source has it, somewhere."""
    item = found.item
    mapped = mapper.contact(item) if isinstance(item, Record) else item
    if found.outside:
        left = "; it is no contact" if contact is None else f"; its contact is {_state(contact)}"
        return _answer(source, found, contact, "outside", f"{found.outside}{left}")
    if isinstance(mapped, Reject) or isinstance(item, Reject):
        reason = mapped.reason if isinstance(mapped, Reject) else ""
        return _rejected(source, found, reason, contact)
    origins = mapper.trace(item)
    if contact is None or contact.state == "purged":
        said = _answer(source, found, contact, "new", "it is there and not in the directory yet; the next run adds it")
    elif contact.state != "active":
        why = f"it is there again, its contact is still {_state(contact)}; the next run brings it back"
        said = _answer(source, found, contact, "returning", why)
    elif differing := sorted(_differing(mapped, contact.members)):
        why = f"{', '.join(differing)} is not what the source says now: the next run changes it, or the guard holds it"
        said = _answer(source, found, contact, "differs", why)
    else:
        said = _answer(
            source, found, contact, "found", "the source has it, and the directory has it as the source does"
        )
    return said._replace(origins=origins)


def _answer(source: str, found: Found, contact: Known | None, code: str, sentence: str) -> Answer:
    id_ = None if contact is None else contact.id
    return Answer(source, found.item.key, code, sentence, found.item.place, found.server, contact=id_)


def _rejected(source: str, found: Found, reason: str, contact: Known | None) -> Answer:
    kept = "" if contact is None else "; its contact stays as it was"
    return _answer(source, found, contact, "rejected", f"its record cannot be used: {reason}{kept}")


def _absent(source: str, contact: Known, fault: str) -> Answer:
    """The directory has it or had it, the source does not show it."""
    code, sentence = _absence(contact)
    if fault and code not in {"removed", "purged"}:
        code, sentence = "unreachable", f"the source cannot be asked: {fault}; its contact is {_state(contact)}"
    return Answer(source, contact.key, code, sentence, contact=contact.id)


def _absence(contact: Known) -> tuple[str, str]:
    """Why a contact that its source does not have is in the directory, or is not."""
    if contact.held is not None and contact.held.kept_by:
        return "kept", f"the source does not have it; it stays because {contact.held.kept_by} decided so"
    if contact.held is not None:
        return "held", f"the source does not have it; run {contact.held.run} held its removal: {contact.held.reason}"
    if contact.state == "active":
        return "leaving", "the source does not have it now; the next complete run takes that up"
    if contact.leaver is not None:
        leaver = contact.leaver
        return "missing", (
            f"missing since {moment(contact.since)} (run {contact.gone_run}); it is removed not before "
            f"{moment(leaver.earliest)} and {leaver.runs} more complete runs without it"
        )
    return contact.state, _state(contact)


def _state(contact: Known) -> str:
    """The state of a contact with its beginning, for a sentence."""
    last = next((line for line in contact.history if line.kind in {"miss", "remove", "purge"}), None)
    by = ""
    if contact.state != "active" and last is not None:
        by = f" by run {last.run}" + (f" ({last.reason})" if last.reason else "")
    shown = " and still served" if contact.state == "missing" and contact.served else ""
    return f"{contact.state}{by} since {moment(contact.since)}{shown}"


def _nobody(source: str, fault: str) -> Answer:
    if fault:
        return Answer(source, None, "unreachable", f"the source cannot be asked: {fault}")
    return Answer(source, None, "unknown", "neither the source nor the directory knows of it")


def _differing(mapped: Contact, members: Mapping[str, Any]) -> Iterator[str]:
    """The members that the directory has otherwise than the source gives them now."""
    for member, column in (TEXT_MEMBERS | LIST_MEMBERS).items():
        if (getattr(mapped, column) or None) != _plain(members.get(member)):
            yield member
    stored = tuple(number["phoneNumber"] for number in members.get("phoneNumbers", ()))
    if tuple(number.phone_number for number in mapped.numbers) != stored:
        yield "phoneNumber"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

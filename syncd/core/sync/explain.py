"""Explanation of the state of a contact, from its source, its stored state and its history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact
from syncd.core.sync.history import HeldItem, PastChange, PendingRemoval, rfc3339
from syncd.core.sync.mapping import Mapper, Origin
from syncd.core.sync.record import Record, Reject, SearchResult, SourceMatch


class KnownContact(NamedTuple):
    """Stored contact, or a purged one that is still in the change log."""

    id: str
    """32 hex digits."""
    type: str
    source: str | None
    """None for a Custom contact."""
    key: str | None
    state: str
    """active, missing, removed or purged."""
    served: bool
    since: datetime
    """Beginning of the state."""
    gone_run: int | None
    """First complete run that did not contain it."""
    members: Mapping[str, Any]
    history: Sequence[PastChange] = ()
    """Lines of the change log, newest first."""
    held: HeldItem | None = None
    pending_removal: PendingRemoval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the contact as JSON values."""
        return {
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "key": self.key,
            "state": self.state,
            "served": self.served,
            "since": rfc3339(self.since),
            "goneRun": self.gone_run,
            "members": self.members,
            "held": self.held and self.held.to_json(),
            "leaving": self.pending_removal and self.pending_removal.to_json(),
            "history": [line.to_json() for line in self.history],
        }


class SourceAnswer(NamedTuple):
    """Explanation of one key of one source."""

    source: str
    key: str | None
    code: str
    """found, differs, new, returning, rejected, outside, kept, held, leaving, missing, removed, purged, unreachable or
    unknown.
    """
    sentence: str
    location: str = ""
    server: str = ""
    origins: Mapping[str, Sequence[Origin]] = {}
    """Member -> origins of its current value in the source."""
    contact_id: str | None = None
    """Id of the stored contact."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {
            "source": self.source,
            "key": self.key,
            "code": self.code,
            "sentence": self.sentence,
            "place": self.location,
            "server": self.server,
            "contact": self.contact_id,
            "members": {member: [origin._asdict() for origin in origins] for member, origins in self.origins.items()},
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Result of `syncd explain`."""

    text: str
    """Text that was searched for."""
    contacts: Sequence[KnownContact] = ()
    answers: Sequence[SourceAnswer] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {
            "asked": self.text,
            "contacts": [contact.to_json() for contact in self.contacts],
            "sources": [answer.to_json() for answer in self.answers],
        }


def explain_source(
    source: str, mapper: Mapper, result: SearchResult, contacts: Sequence[KnownContact]
) -> Iterator[SourceAnswer]:
    """Yield an answer for each key in the search result of a source, or of a stored contact of this source.

    Without any key, yields one answer that tells so.
    """
    contacts_by_key = {
        contact.key: contact for contact in contacts if contact.source == source and contact.key is not None
    }
    matches_by_key = {match.item.key: match for match in result.matches if match.item.key is not None}
    for match in result.matches:
        if match.item.key is None:
            yield _explain_reject(source, match, match.item.reason if isinstance(match.item, Reject) else "", None)
    for key in dict.fromkeys([*matches_by_key, *contacts_by_key]):
        key_match, contact = matches_by_key.get(key), contacts_by_key.get(key)
        if key_match is not None:
            yield _explain_match(source, mapper, key_match, contact)
        elif contact is not None:
            yield _explain_absence(source, contact, result.error)
    if not matches_by_key and not contacts_by_key and not result.matches:
        yield _explain_unknown(source, result.error)


def _explain_match(source: str, mapper: Mapper, match: SourceMatch, contact: KnownContact | None) -> SourceAnswer:
    """Explain an entry of the source, inside or outside of base and filter."""
    item = match.item
    mapped = mapper.to_contact(item) if isinstance(item, Record) else item
    if match.excluded_reason:
        state = "; it is no contact" if contact is None else f"; its contact is {_describe_state(contact)}"
        return _answer(source, match, contact, "outside", f"{match.excluded_reason}{state}")
    if isinstance(mapped, Reject) or isinstance(item, Reject):
        reason = mapped.reason if isinstance(mapped, Reject) else ""
        return _explain_reject(source, match, reason, contact)
    code, sentence = _compare(mapped, contact)
    return _answer(source, match, contact, code, sentence)._replace(origins=mapper.trace_origins(item))


def _compare(mapped: Contact, contact: KnownContact | None) -> tuple[str, str]:
    """Return code and sentence for an entry that a run would map to this contact."""
    if contact is None or contact.state == "purged":
        return "new", "the source has it, and the directory does not have it yet; the next run adds it"
    if contact.state != "active":
        state = _describe_state(contact)
        return "returning", f"the source has it again, its contact is still {state}; the next run brings it back"
    if differing := sorted(_differing_members(mapped, contact.members)):
        return (
            "differs",
            f"{', '.join(differing)} differs from the source: the next run changes it, or the guard holds it",
        )
    return "found", "the source has it, and the directory has the same values"


def _answer(source: str, match: SourceMatch, contact: KnownContact | None, code: str, sentence: str) -> SourceAnswer:
    id_ = None if contact is None else contact.id
    return SourceAnswer(source, match.item.key, code, sentence, match.item.location, match.server, contact_id=id_)


def _explain_reject(source: str, match: SourceMatch, reason: str, contact: KnownContact | None) -> SourceAnswer:
    effect = "" if contact is None else "; its contact stays as it was"
    return _answer(source, match, contact, "rejected", f"its record cannot be used: {reason}{effect}")


def _explain_absence(source: str, contact: KnownContact, error: str) -> SourceAnswer:
    """Explain a stored or purged contact that the search in the source did not find."""
    code, sentence = _describe_absence(contact)
    if error and code not in {"removed", "purged"}:
        code = "unreachable"
        sentence = f"the source cannot be searched: {error}; its contact is {_describe_state(contact)}"
    return SourceAnswer(source, contact.key, code, sentence, contact_id=contact.id)


def _describe_absence(contact: KnownContact) -> tuple[str, str]:
    """Return code and sentence for a contact that its source does not have."""
    if contact.held is not None and contact.held.kept_by:
        return "kept", f"the source does not have it; it stays because {contact.held.kept_by} rejected its removal"
    if contact.held is not None:
        return "held", f"the source does not have it; run {contact.held.run} held its removal: {contact.held.reason}"
    if contact.state == "active":
        return "leaving", "the source does not have it now; the next complete run decides on its removal"
    if contact.pending_removal is not None:
        removal = contact.pending_removal
        return "missing", (
            f"missing since {rfc3339(contact.since)} (run {contact.gone_run}); it is removed not before "
            f"{rfc3339(removal.earliest)} and {removal.runs} more complete runs without it"
        )
    return contact.state, _describe_state(contact)


def _describe_state(contact: KnownContact) -> str:
    """Return the state, its run and its beginning, as part of a sentence."""
    last = next((line for line in contact.history if line.kind in {"miss", "remove", "purge"}), None)
    by = ""
    if contact.state != "active" and last is not None:
        by = f" by run {last.run}" + (f" ({last.reason})" if last.reason else "")
    served = " and still served" if contact.state == "missing" and contact.served else ""
    return f"{contact.state}{by} since {rfc3339(contact.since)}{served}"


def _explain_unknown(source: str, error: str) -> SourceAnswer:
    if error:
        return SourceAnswer(source, None, "unreachable", f"the source cannot be searched: {error}")
    return SourceAnswer(source, None, "unknown", "neither the source nor the directory has it")


def _differing_members(mapped: Contact, members: Mapping[str, Any]) -> Iterator[str]:
    """Yield the members whose stored values differ from the source."""
    for member, column in (TEXT_MEMBERS | LIST_MEMBERS).items():
        if (getattr(mapped, column) or None) != _to_tuple(members.get(member)):
            yield member
    stored = tuple(number["phoneNumber"] for number in members.get("phoneNumbers", ()))
    if tuple(number.phone_number for number in mapped.numbers) != stored:
        yield "phoneNumber"


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

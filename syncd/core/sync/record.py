"""What a source hands out: a stream of records and rejects, and at its end the evidence of its completeness."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

Values: TypeAlias = Mapping[str, Sequence[str]]
"""Attribute name in lower case -> its values in the order the source sent them."""


class Record(NamedTuple):
    """One entry of a source, decoded but not yet mapped."""

    key: str
    """The immutable identity of the entry within its source."""
    place: str
    """Where a person finds it: a DN, or file and line."""
    digest: bytes
    """16 bytes over the entry as the source sent it, see `Recognition`."""
    values: Values


class Reject(NamedTuple):
    """An entry that cannot become a contact; the stored contact of its key, if any, stays as it is."""

    key: str | None
    """None when not even the key could be read."""
    place: str
    reason: str
    values: Values


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One reason why a read does not count as complete."""

    code: str
    """Short and stable, for logs and tests: `size-limit`, `cut`, `bind`, … (each source lists its own)."""
    sentence: str
    """What happened, where, and the next step."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a read counts as complete, or why not. Removals are only ever inferred from a complete one."""

    server: str
    """URL or path that was read."""
    identity: str = ""
    """Who the server says we are; empty where a source knows no identities."""
    key_attribute: str = ""
    """The attribute (or member) that identified the records of this read."""
    directory: str = ""
    """Which directory it was, whatever server holds it: the immutable key of the base entry; empty if unknown."""
    pages: int = 0
    entries: int = 0
    """Everything received: recognised, handed out and rejected."""
    result_codes: Mapping[int, int] = field(default_factory=dict)
    """LDAP result code -> how often a page ended with it."""
    references: int = 0
    seconds: float = 0.0
    certificate_ends: datetime | None = None
    """Until when the server's certificate is good; None where there was none."""
    shortfalls: tuple[Shortfall, ...] = ()
    elsewhere: bool = False
    """True when the fault is this server's: a read from another one may succeed."""

    @property
    def complete(self) -> bool:
        """True when nothing speaks against taking an absent entry as gone."""
        return not self.shortfalls

    @property
    def why(self) -> str:
        """The shortfalls in one line; empty when complete."""
        return "; ".join(shortfall.sentence for shortfall in self.shortfalls)

    def facts(self) -> dict[str, Any]:
        """The evidence as plain JSON values, as it is stored with the run."""
        return {
            "server": self.server,
            "identity": self.identity,
            "keyAttribute": self.key_attribute,
            "directory": self.directory,
            "complete": self.complete,
            "pages": self.pages,
            "entries": self.entries,
            "resultCodes": {str(code): count for code, count in self.result_codes.items()},
            "references": self.references,
            "seconds": round(self.seconds, 3),
            "certificateEnds": self.certificate_ends and self.certificate_ends.isoformat(),
            "shortfalls": [{"code": s.code, "sentence": s.sentence} for s in self.shortfalls],
        }


@dataclass(slots=True)
class Recognition:
    """The digests of the entries that the store already holds, crossed off as they are met.

    A source hashes each entry as received (`hashlib.blake2b(data, digest_size=16, person=seal)`). A digest in
    `unseen` is discarded from it and the entry is passed over; any other entry is handed out as a Record. What is
    left in `unseen` at the end belongs to contacts that changed or left. `seal` (16 bytes) is the fingerprint of all
    that shapes a row, so that another mapping recognises nothing.
    """

    seal: bytes
    unseen: set[bytes]


class Attempt(Protocol):
    """One read from the first entry to the last, on one server."""

    def read(self, known: Recognition) -> Generator[Record | Reject, None, Evidence]:
        """Yield what is not recognised, then return the evidence. A fault of the source never raises: it is told
        by the evidence, and everything yielded before it has to be dropped.
        """
        ...


class Sight(StrEnum):
    """What became of an entry that a read did not bring, as a direct question found it."""

    GONE = "gone"
    """On no server that could be asked."""
    ELSEWHERE = "elsewhere"
    """It exists, but not where or as the source looks for it: moved out of the base, or the filter leaves it out."""
    PRESENT = "present"
    """It is where the source looks for it: the read, or the server that was read, missed it."""
    UNKNOWN = "unknown"
    """Nobody could be asked, or the answer was an error."""


class Sighting(NamedTuple):
    """The answer about one key."""

    key: str
    sight: Sight
    place: str = ""
    """Where it was found (DN, or file and line; with the server where that matters), or why nobody could say."""


class Found(NamedTuple):
    """One entry that a person asked for by a name, a number or a key."""

    item: Record | Reject
    server: str
    outside: str = ""
    """Why the source does not read it, as a sentence; empty when it does."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a source has for a text that a person asks for."""

    found: tuple[Found, ...] = ()
    fault: str = ""
    """Why the source could not be asked, as a sentence; empty when it could."""


class Source(Protocol):
    """Where users or queues come from."""

    def attempts(self) -> Iterator[Attempt]:
        """One attempt for each server worth trying, in order, within the source's deadline."""
        ...

    def look(self, keys: Sequence[str], evidence: Evidence) -> Sequence[Sighting]:
        """Ask for each of these keys directly, after the read of this evidence did not bring them: first where it
        read, in the whole of it, then on another server. Every key gets one answer. Never raises for a fault.
        """
        ...

    def search(self, text: str, keys: Sequence[str]) -> Search:
        """Entries that bear this text as a mapped value or as their key, or one of these keys, whether the source
        reads them or not; at most fifty. Never raises for a fault.
        """
        ...

"""Interface of sources: records and rejects of a read, the evidence of its completeness, and searches for entries."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

Values: TypeAlias = Mapping[str, Sequence[str]]
"""Attribute name in lower case -> its values in the order the source sent them."""


class Record(NamedTuple):
    """Entry of a source, decoded and not yet mapped."""

    key: str
    """Immutable identity of the entry within its source."""
    location: str
    """DN, or file and line."""
    digest: bytes
    """16 bytes over the entry as the source sent it; see `KnownDigests`."""
    values: Values


class Reject(NamedTuple):
    """Entry that cannot become a contact; the stored contact of its key, if any, is kept unchanged."""

    key: str | None
    """None if even the key is unreadable."""
    location: str
    reason: str
    values: Values


MAX_FLAWS = 10
"""Flaws of a record that its reason lists."""


def join_flaws(flaws: Iterable[str]) -> str:
    """Join the different flaws of a record to its reason; those beyond MAX_FLAWS are counted."""
    unique = list(dict.fromkeys(flaws))
    more = [f"and {len(unique) - MAX_FLAWS} more"] if len(unique) > MAX_FLAWS else []
    return "; ".join([*unique[:MAX_FLAWS], *more])


@dataclass(frozen=True, slots=True)
class IncompleteReason:
    """Reason why a read is not complete."""

    code: str
    """Stable identifier for logs and tests, such as `size-limit`, `cut` or `bind`; each source defines its own."""
    sentence: str
    """Event, place and next step."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof that a read is complete, or the reasons why it is not. Removals are inferred from complete reads only."""

    server: str
    """URL or path."""
    identity: str = ""
    """Authenticated identity according to the server (RFC 4532); empty for sources without one."""
    key_attribute: str = ""
    """Attribute or member that identified the records."""
    directory: str = ""
    """Immutable key of the base entry, equal on all servers of one directory; empty if unknown."""
    pages: int = 0
    entries: int = 0
    """Number of all entries received: unchanged, yielded and rejected."""
    result_codes: Mapping[int, int] = field(default_factory=dict)
    """LDAP result code -> number of pages that ended with it."""
    references: int = 0
    seconds: float = 0.0
    certificate_ends: datetime | None = None
    """End of validity of the server's certificate; None without TLS."""
    incomplete_reasons: tuple[IncompleteReason, ...] = ()
    retry_other_server: bool = False
    """True when the fault is one of this server, so that another one may succeed."""

    @property
    def complete(self) -> bool:
        """Whether an absent entry may be taken as gone."""
        return not self.incomplete_reasons

    @property
    def reason(self) -> str:
        """Sentences of all `incomplete_reasons`; empty for a complete read."""
        return "; ".join(reason.sentence for reason in self.incomplete_reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the evidence as JSON values, as it is stored with the run."""
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
            "shortfalls": [{"code": r.code, "sentence": r.sentence} for r in self.incomplete_reasons],
        }


@dataclass(slots=True)
class KnownDigests:
    """Digests of the stored entries, by which a source recognizes unchanged entries.

    A source hashes each entry as received (`hashlib.blake2b(data, digest_size=16, person=fingerprint)`). It discards a
    digest in `remaining` from the set and does not yield the entry; any other entry is yielded as a Record. Digests
    that are left at the end belong to changed and absent entries.
    """

    fingerprint: bytes
    """16 bytes over everything that determines a row, so that a changed mapping recognizes no entry."""
    remaining: set[bytes]


class Attempt(Protocol):
    """Read from the first entry to the last, on one server."""

    def read(self, digests: KnownDigests) -> Generator[Record | Reject, None, Evidence]:
        """Yield changed and new entries, then return the evidence.

        Never raises for a fault of the source: the evidence reports it, and everything yielded has to be dropped.
        """
        ...


class Presence(StrEnum):
    """Result of verifying the absence of an entry by a direct search."""

    GONE = "gone"
    """The entry is on no server that answered."""
    ELSEWHERE = "elsewhere"
    """The entry exists outside the base, or the filter does not match it any longer."""
    PRESENT = "present"
    """The entry is in base and filter: the read, or the server that was read, missed it."""
    UNKNOWN = "unknown"
    """No server answered, or the answer was an error."""


class PresenceCheck(NamedTuple):
    """Result for one key."""

    key: str
    presence: Presence
    location: str = ""
    """Where the entry was found (DN or file and line, with the server where it matters), or why the check failed."""


class SourceMatch(NamedTuple):
    """Entry that matches a search."""

    item: Record | Reject
    server: str
    excluded_reason: str = ""
    """Why a run does not read the entry, as a sentence; empty when it does."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Result of a search for a text in a source."""

    matches: tuple[SourceMatch, ...] = ()
    error: str = ""
    """Why the source could not be searched, as a sentence; empty for success."""


class Source(Protocol):
    """Source of users or queues."""

    def attempts(self) -> Iterator[Attempt]:
        """Yield one attempt for each server to try, in order, within the source's deadline."""
        ...

    def verify_absent(self, keys: Sequence[str], evidence: Evidence) -> Sequence[PresenceCheck]:
        """Search for each of the keys that the read of this evidence did not contain.

        The server that was read is searched first, in the whole naming context, then another server. Returns one result
        per key. Never raises for a fault of the source.
        """
        ...

    def search(self, text: str, keys: Sequence[str]) -> SearchResult:
        """Search for entries with this text as a mapped value or key, or with one of these keys; at most fifty.

        Entries outside of base and filter are included. Never raises for a fault of the source.
        """
        ...

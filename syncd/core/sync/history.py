"""Read models of runs, changes, held removals, rejected records and pending removals.

`to_json` of each returns the form of command line and HTTP; times are RFC 3339 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Part of a list."""

    total: int
    """Length of the whole list."""
    items: Sequence[T]


def rfc3339(at: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC, to the second; None for None."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


class PastRun(NamedTuple):
    """Run, running or ended. The fields are the columns of the table `run`."""

    id: int
    source: str
    job: str
    outcome: str
    why: str
    started_at: datetime
    finished_at: datetime | None
    host: str
    pid: int
    entries: int
    population: int
    added: int
    changed: int
    missing: int
    removed: int
    held: int
    rejected: int
    complete: bool
    settled: bool
    """Whether absences of this run are confirmed, so that it counts for the grace."""
    undone: int | None
    """Run that this run reversed."""
    revision: int | None
    evidence: Mapping[str, Any] | None
    """`Evidence.to_json` of the read; None before its end."""

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        ended = self.finished_at
        return {
            "run": self.id,
            "source": self.source,
            "job": self.job,
            "outcome": self.outcome,
            "why": self.why,
            "startedAt": rfc3339(self.started_at),
            "finishedAt": rfc3339(ended),
            "seconds": None if ended is None else round((ended - self.started_at).total_seconds(), 3),
            "host": self.host,
            "pid": self.pid,
            "counts": {
                "entries": self.entries,
                "population": self.population,
                "added": self.added,
                "changed": self.changed,
                "missing": self.missing,
                "removed": self.removed,
                "held": self.held,
                "rejected": self.rejected,
            },
            "complete": self.complete,
            "settled": self.settled,
            "undone": self.undone,
            "revision": self.revision,
            "evidence": self.evidence,
        }


class PastChange(NamedTuple):
    """Change of one contact."""

    revision: int
    at: datetime
    run: int | None
    caller: str | None
    contact: str
    """Id, 32 hex digits."""
    type: str
    key: str | None
    kind: str
    reason: str | None
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {
            "revision": self.revision,
            "at": rfc3339(self.at),
            "run": self.run,
            "caller": self.caller,
            "id": self.contact,
            "type": self.type,
            "key": self.key,
            "kind": self.kind,
            "reason": self.reason,
            "old": self.old,
            "new": self.new,
        }


class HeldItem(NamedTuple):
    """Held removal of a contact, or held loss of an attribute."""

    source: str
    job: str
    run: int
    item: str
    """Id of a contact with hyphens, or `attribute NAME`."""
    key: str | None
    name: str
    code: str
    reason: str
    since: datetime
    kept_by: str | None
    """Operator who rejected the removal."""
    kept_at: datetime | None
    approved_by: str | None
    """Operator who approved it, while the approval is valid."""
    expires_at: datetime | None

    @property
    def attribute(self) -> str | None:
        """Attribute whose loss is held; None for a contact."""
        return self.name if self.item.startswith(ATTRIBUTE_PREFIX) else None

    def to_json(self) -> dict[str, Any]:
        """Return the item as JSON values."""
        return {
            "source": self.source,
            "job": self.job,
            "run": self.run,
            "id": None if self.attribute else self.item.replace("-", ""),
            "key": self.key,
            "name": None if self.attribute else self.name,
            "attribute": self.attribute,
            "since": rfc3339(self.since),
            "code": self.code,
            "reason": self.reason,
            "keptBy": self.kept_by,
            "keptAt": rfc3339(self.kept_at),
            "approvedBy": self.approved_by,
            "approvalExpiresAt": rfc3339(self.expires_at),
        }


ATTRIBUTE_PREFIX = "attribute "
"""Prefix of `HeldItem.item` for the loss of an attribute."""


class RejectedRecord(NamedTuple):
    """Record in quarantine."""

    source: str
    run: int
    key: str | None
    location: str
    reason: str
    values: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {
            "source": self.source,
            "run": self.run,
            "key": self.key,
            "place": self.location,
            "reason": self.reason,
            "values": self.values,
        }


class PendingRemoval(NamedTuple):
    """Missing contact, and the forecast of its removal."""

    source: str
    id: str
    key: str
    name: str
    since: datetime
    earliest: datetime
    """End of the grace period."""
    runs: int
    """Number of further complete runs without the contact, including the one that removes it."""

    def to_json(self) -> dict[str, Any]:
        """Return the contact as JSON values."""
        return {
            "source": self.source,
            "id": self.id,
            "key": self.key,
            "name": self.name,
            "missingSince": rfc3339(self.since),
            "earliest": rfc3339(self.earliest),
            "runsToGo": self.runs,
        }

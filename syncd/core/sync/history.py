"""What people look up: runs, changes, what is held, rejected records, and who leaves when. Plain values.

`facts()` of each is what the command line and HTTP show as JSON; times are RFC 3339 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Some of a list, and how long the whole is."""

    total: int
    items: Sequence[T]


def moment(at: datetime | None) -> str | None:
    """A point in time as it is shown everywhere."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


class PastRun(NamedTuple):
    """One run, from its start to all that is known of its end."""

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
    undone: int | None
    revision: int | None
    evidence: Mapping[str, Any] | None
    """Why the read was taken as complete or not, as `Evidence.facts` tells it; None before there is any."""

    def facts(self) -> dict[str, Any]:
        """The run as JSON values."""
        ended = self.finished_at
        return {
            "run": self.id,
            "source": self.source,
            "job": self.job,
            "outcome": self.outcome,
            "why": self.why,
            "startedAt": moment(self.started_at),
            "finishedAt": moment(ended),
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
    """One change of one contact."""

    revision: int
    at: datetime
    run: int | None
    caller: str | None
    contact: str
    """The id, 32 hex digits."""
    type: str
    key: str | None
    kind: str
    reason: str | None
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {
            "revision": self.revision,
            "at": moment(self.at),
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
    """One removal, or the loss of one attribute, that the guard holds back."""

    source: str
    job: str
    run: int
    item: str
    """The id of a contact with hyphens, or `attribute NAME`."""
    key: str | None
    name: str
    code: str
    reason: str
    since: datetime
    kept_by: str | None
    kept_at: datetime | None
    approved_by: str | None
    """Who released it, when the next run may make use of that."""
    expires_at: datetime | None

    @property
    def attribute(self) -> str | None:
        """The attribute whose loss is held; None for a contact."""
        return self.name if self.item.startswith(ATTRIBUTE) else None

    def facts(self) -> dict[str, Any]:
        """The item as JSON values."""
        return {
            "source": self.source,
            "job": self.job,
            "run": self.run,
            "id": None if self.attribute else self.item.replace("-", ""),
            "key": self.key,
            "name": None if self.attribute else self.name,
            "attribute": self.attribute,
            "since": moment(self.since),
            "code": self.code,
            "reason": self.reason,
            "keptBy": self.kept_by,
            "keptAt": moment(self.kept_at),
            "approvedBy": self.approved_by,
            "approvalExpiresAt": moment(self.expires_at),
        }


ATTRIBUTE = "attribute "
"""What an item of what is held begins with when it is an attribute and no contact."""


class Rejected(NamedTuple):
    """One record in quarantine."""

    source: str
    run: int
    key: str | None
    place: str
    reason: str
    values: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """The record as JSON values."""
        return self._asdict()


class Leaver(NamedTuple):
    """A missing contact, and when it is removed if it stays away."""

    source: str
    id: str
    key: str
    name: str
    since: datetime
    earliest: datetime
    """When its grace by the clock ends."""
    runs: int
    """Complete runs without it that are still to come, the one that removes it included."""

    def facts(self) -> dict[str, Any]:
        """The contact as JSON values."""
        return {
            "source": self.source,
            "id": self.id,
            "key": self.key,
            "name": self.name,
            "missingSince": moment(self.since),
            "earliest": moment(self.earliest),
            "runsToGo": self.runs,
        }

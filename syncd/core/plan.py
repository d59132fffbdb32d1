"""The plan of a run: what it would do to each contact, and the report of what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from syncd.core.contact import Contact
from syncd.core.record import Evidence, Reject


class Outcome(StrEnum):
    """How a run ended; the values are stored, logged and counted under these names."""

    COMPLETED = "completed"
    HELD = "held"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CRASHED = "crashed"


PROVEN = frozenset({Outcome.COMPLETED, Outcome.HELD})
"""The outcomes after which the directory is as the source says, removals that are held aside."""


class Staged(NamedTuple):
    """One mapped record on its way into the plan."""

    key: str
    place: str
    digest: bytes
    contact: Contact


Item: TypeAlias = Staged | Reject

ChangeKind: TypeAlias = Literal["add", "change", "remove"]


class Change(NamedTuple):
    """One row of a plan. `old` and `new` are members by their wire names; empty where there is no such side."""

    kind: ChangeKind
    id: str
    key: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a plan amounts to."""

    population: int = 0
    """Contacts that the source has in the directory now."""
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    """Records that could not be mapped; their contacts stay."""
    keyless: int = 0
    """Those of the rejected whose contact cannot be told, because not even the key could be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run, from start to end: what is stored of it, logged in one line and shown to whoever asked for it."""

    source: str
    outcome: Outcome
    why: str = ""
    run: int | None = None
    counts: Counts = Counts()
    held: int = 0
    revision: int | None = None
    evidence: Evidence | None = None
    tried: tuple[str, ...] = ()
    """What went wrong on the servers before the one that answered, in order."""
    seconds: float = 0.0
    fresh_rejects: tuple[Reject, ...] = ()
    """Records that this run rejected and the last complete one did not; the first twenty."""

    @property
    def entries(self) -> int:
        """Entries that were received."""
        return 0 if self.evidence is None else self.evidence.entries

    @property
    def applied(self) -> Counts:
        """What was really done to the directory: nothing unless the run proved something, and no held removal."""
        if self.outcome not in PROVEN:
            return replace(self.counts, added=0, changed=0, removed=0)
        return replace(self.counts, removed=self.counts.removed - self.held)

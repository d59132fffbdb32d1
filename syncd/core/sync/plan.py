"""Plans and reports of runs: changes, their counts, outcomes and the fingerprint of a plan."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from syncd.core.contacts.contact import Contact
from syncd.core.sync.record import Evidence, Reject


class Outcome(StrEnum):
    """Outcome of a run; the values are used in database, log and metrics."""

    COMPLETED = "completed"
    HELD = "held"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CRASHED = "crashed"


PROVEN = frozenset({Outcome.COMPLETED, Outcome.HELD})
"""Outcomes after which the directory equals the source, except for held changes."""

JobKind: TypeAlias = Literal["sync", "undo", "purge"]
"""Kind of run: synchronize with the source, reverse an earlier run, delete contacts past their retention."""


class Staged(NamedTuple):
    """Mapped record, before it is compared with the stored contact."""

    key: str
    location: str
    digest: bytes
    """Empty when the next run must not recognize the entry as unchanged."""
    contact: Contact
    attribute_mask: int = 0
    """Mapped attributes with a value: bit n is set for the n-th attribute of the source."""


Item: TypeAlias = Staged | Reject

ChangeKind: TypeAlias = Literal["add", "change", "return", "miss", "remove", "purge"]
"""`return`: a missing or removed contact reappears. `miss`: an active contact is absent, and its grace begins.
`remove`: the grace has ended, or there is none. `purge`: a removed contact is deleted.
"""


class Change(NamedTuple):
    """Row of a plan. `old` and `new` map JSON names of members to values; empty for an absent side."""

    kind: ChangeKind
    id: str
    """32 hex digits; random for an addition, other in each plan."""
    key: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    held: str = ""
    """Why the guard holds it; empty for a change that is applied."""
    reason: str = ""
    """Further information, such as where an entry out of scope was found."""


def fingerprint(changes: Iterable[Change]) -> str:
    """Return the SHA-256 (hex) of the changes, independent of their order, ids and reasons."""
    lines = sorted(
        json.dumps([c.kind, c.key, c.old, c.new, bool(c.held)], ensure_ascii=False, sort_keys=True) for c in changes
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe_drift(planned: Iterable[Change], now: Iterable[Change]) -> Iterator[str]:
    """Yield a sentence per contact whose changes differ between two plans of a source."""
    before, after = ({(c.key, c.kind): c for c in changes} for changes in (planned, now))
    for at in sorted(before.keys() | after.keys()):
        first, second = before.get(at), after.get(at)
        if first is None and second is not None:
            yield f"{_format_name(second)}: {second.kind} was not planned"
        elif second is None and first is not None:
            yield f"{_format_name(first)}: {first.kind} was planned and is no longer due"
        elif first and second and fingerprint([first]) != fingerprint([second]):
            yield f"{_format_name(second)}: {_describe_difference(first, second)}"


def _format_name(change: Change) -> str:
    return f"{(change.new or change.old).get('name')} ({change.key})"


def _describe_difference(first: Change, second: Change) -> str:
    if bool(first.held) != bool(second.held):
        return f"{second.kind} is {'now held' if second.held else 'no longer held'}"
    differences = [
        f"{side} {member} was {before.get(member)!r}, is {after.get(member)!r}"
        for side, before, after in (("old", first.old, second.old), ("new", first.new, second.new))
        for member in sorted(before.keys() | after.keys())
        if before.get(member) != after.get(member)
    ]
    return "; ".join(differences)


class AttributeLoss(NamedTuple):
    """Mapped attribute that entries have lost since the last run."""

    attribute: str
    before: int
    """Number of active contacts whose entries had it."""
    lost: int
    """Number of those whose entries lack it in this run."""


class MissingSentinel(NamedTuple):
    """Sentinel with too few matching contacts."""

    sentinel: str
    expected: int
    present: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a plan; held changes are not included."""

    population: int = 0
    """Active contacts of the source before the run."""
    added: int = 0
    """New and returning contacts."""
    changed: int = 0
    missing: int = 0
    """Absent active contacts whose grace begins."""
    removed: int = 0
    """Contacts whose grace has ended, or which have none."""
    purged: int = 0
    """Removed contacts that are deleted."""
    leaving: int = 0
    """Active contacts among `missing` and `removed`; the limits of removals apply to this number."""
    rekeyed: int = 0
    """Contacts among `leaving` whose user name or name also appears under a new key."""
    kept: int = 0
    """Absent contacts that an operator decided to keep."""
    rejected: int = 0
    """Records that could not be mapped; their contacts are kept."""
    keyless: int = 0
    """Rejected records without a readable key, so that they match no contact."""
    doubled: int = 0
    """Rejected records that could be mapped, but have the key of another record."""
    losses: tuple[AttributeLoss, ...] = ()
    missing_sentinels: tuple[MissingSentinel, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a run, for the database, the log and the command line."""

    job: JobKind
    source: str
    outcome: Outcome
    reason: str = ""
    run: int | None = None
    counts: Counts = Counts()
    held: int = 0
    """Number of held removals."""
    held_attributes: tuple[str, ...] = ()
    """Attributes whose loss is held."""
    absences_confirmed: bool = False
    """Whether the run counts for the grace of missing contacts."""
    approved: int | None = None
    """Run whose approval this run used."""
    invalid_approval: str = ""
    """Why the approval of an earlier run did not apply."""
    active_removed: int = 0
    """Number of contacts that ceased to be active without an approval."""
    scope: Mapping[str, str] = field(default_factory=dict)
    """How the source was read; see `core.sync.guard.GuardInput`."""
    undone: int | None = None
    """Run that this run reverses."""
    proof_run: int | None = None
    """Complete run that proves the absences of this run; None for this run itself."""
    revision: int | None = None
    evidence: Evidence | None = None
    failed_servers: tuple[str, ...] = ()
    """Faults of the servers that were tried before the last one, in order."""
    seconds: float = 0.0
    new_rejects: tuple[Reject, ...] = ()
    """Records that this run rejected and the last complete run did not; the first twenty."""

    @property
    def entries(self) -> int:
        """Number of entries received."""
        return 0 if self.evidence is None else self.evidence.entries

    @property
    def applied(self) -> Counts:
        """Counts of the changes that were applied; zero unless the outcome is in PROVEN."""
        if self.outcome not in PROVEN:
            return replace(self.counts, added=0, changed=0, missing=0, removed=0, purged=0, leaving=0)
        return self.counts

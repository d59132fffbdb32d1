"""The plan of a run: what it would do to each contact, and the report of what it did."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from syncd.core.contacts.contact import Contact
from syncd.core.sync.record import Evidence, Reject


class Outcome(StrEnum):
    """How a run ended; the values are stored, logged and counted under these names."""

    COMPLETED = "completed"
    HELD = "held"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CRASHED = "crashed"


PROVEN = frozenset({Outcome.COMPLETED, Outcome.HELD})
"""The outcomes after which the directory is as the source says, what is held aside."""

JobKind: TypeAlias = Literal["sync", "undo", "purge"]
"""What a run is for: to follow the source, to take a run back, to forget those who left long ago."""


class Staged(NamedTuple):
    """One mapped record on its way into the plan."""

    key: str
    place: str
    digest: bytes
    """Empty when the entry must be looked at again next time."""
    contact: Contact
    had: int = 0
    """Which mapped attributes the entry had: bit n stands for the n-th of the source's attributes."""


Item: TypeAlias = Staged | Reject

ChangeKind: TypeAlias = Literal["add", "change", "return", "miss", "remove", "purge"]
"""`return`: it was missing or removed and is back. `miss`: the source no longer has it and its grace begins. `remove`:
the grace is over (or there is none). `purge`: the removed contact is forgotten.
"""


class Change(NamedTuple):
    """One row of a plan. `old` and `new` are members by their wire names; empty where there is no such side."""

    kind: ChangeKind
    id: str
    """Of an addition it is made up anew for each plan."""
    key: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    held: str = ""
    """Why the guard holds it back; empty when it does not."""
    reason: str = ""
    """What else is known, such as where an entry out of scope was found."""


def fingerprint(changes: Iterable[Change]) -> str:
    """SHA-256 (hex) of what these changes do, whatever their order; made-up ids and reasons are no part of it."""
    lines = sorted(
        json.dumps([c.kind, c.key, c.old, c.new, bool(c.held)], ensure_ascii=False, sort_keys=True) for c in changes
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def drift(planned: Iterable[Change], now: Iterable[Change]) -> Iterator[str]:
    """What moved between two plans of a source, one sentence for each contact."""
    before, after = ({(c.key, c.kind): c for c in changes} for changes in (planned, now))
    for at in sorted(before.keys() | after.keys()):
        first, second = before.get(at), after.get(at)
        if first is None and second is not None:
            yield f"{_name(second)}: {second.kind} was not planned"
        elif second is None and first is not None:
            yield f"{_name(first)}: {first.kind} was planned and is no longer due"
        elif first and second and fingerprint([first]) != fingerprint([second]):
            yield f"{_name(second)}: {_moved(first, second)}"


def _name(change: Change) -> str:
    return f"{(change.new or change.old).get('name')} ({change.key})"


def _moved(first: Change, second: Change) -> str:
    if bool(first.held) != bool(second.held):
        return f"{second.kind} is {'now held' if second.held else 'no longer held'}"
    moved = [
        f"{side} {member} was {before.get(member)!r}, is {after.get(member)!r}"
        for side, before, after in (("old", first.old, second.old), ("new", first.new, second.new))
        for member in sorted(before.keys() | after.keys())
        if before.get(member) != after.get(member)
    ]
    return "; ".join(moved)


class Loss(NamedTuple):
    """A mapped attribute that entries had and no longer have."""

    attribute: str
    had: int
    """Active contacts whose entries had it."""
    lost: int
    """Those of them that came without it in this run."""


class Absent(NamedTuple):
    """A sentinel that is not there, or too few of them."""

    what: str
    wanted: int
    found: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a plan amounts to."""

    population: int = 0
    """Active contacts that the source has in the directory now."""
    added: int = 0
    """New contacts, and those that are back."""
    changed: int = 0
    missing: int = 0
    """Active contacts that the source no longer has and whose grace begins."""
    removed: int = 0
    """Contacts whose grace is over, or who have none."""
    purged: int = 0
    """Removed contacts that are forgotten."""
    leaving: int = 0
    """Active contacts among the missing and the removed, without those that a person decided to keep."""
    rekeyed: int = 0
    """Those of the leaving whose user name or name arrives again under another key."""
    kept: int = 0
    """Contacts that the source no longer has and a person decided to keep."""
    rejected: int = 0
    """Records that could not be mapped; their contacts stay."""
    keyless: int = 0
    """Those of the rejected whose contact cannot be told, because not even the key could be read."""
    doubled: int = 0
    """Those of the rejected that could be mapped, but bear a key that another record bears too."""
    losses: tuple[Loss, ...] = ()
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One run, from start to end: what is stored of it, logged in one line and shown to whoever asked for it."""

    source: str
    outcome: Outcome
    why: str = ""
    job: JobKind = "sync"
    run: int | None = None
    counts: Counts = Counts()
    held: int = 0
    """Removals that the guard holds back."""
    attributes: tuple[str, ...] = ()
    """Attributes whose loss is held back."""
    settled: bool = False
    """Whether absences in this run count for the grace of those who are missing."""
    approved: int | None = None
    """The run whose list a person had approved, when this run made use of it."""
    void: str = ""
    """Why an approval was of no use for this run."""
    left_active: int = 0
    """Contacts that stopped being active without a person's word."""
    scope: Mapping[str, str] = field(default_factory=dict)
    """Where and how the source was read, see `core.sync.guard`."""
    undone: int | None = None
    """The run that this one takes back."""
    witness: int | None = None
    """The complete run that proves the absences which this one writes, when that is not itself."""
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
        """What was really done to the directory: nothing unless the run proved something. `counts` holds no row that is
        held, so that is all there is to it.
        """
        if self.outcome not in PROVEN:
            return replace(self.counts, added=0, changed=0, missing=0, removed=0, purged=0, leaving=0)
        return self.counts

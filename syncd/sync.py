"""One run: read -> map -> stage -> plan -> guard -> apply -> report. Rehearsal and run part only at the last step."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from syncd.core.contact import MAX_LENGTH
from syncd.core.guard import Action, Decision, Limits, decide
from syncd.core.mapping import Mapper
from syncd.core.plan import Change, Counts, Item, Outcome, Report, Staged
from syncd.core.record import Attempt, Evidence, Recognition, Record, Reject, Shortfall, Source
from syncd.core.text import has_control
from syncd.errors import KeyChanged


class Writer(Protocol):
    """What a run needs of the store; see `store.writer`."""

    def claim(self) -> int:
        """Take the source's lock and open a run."""
        ...

    def pinned_key(self) -> str | None:
        """The attribute that the stored contacts are identified by."""
        ...

    def recognition(self, seal: bytes) -> Recognition:
        """The digests of the stored contacts."""
        ...

    def stage(self, items: Iterable[Item]) -> None:
        """Keep these items, and only these, for the plan."""
        ...

    def plan(self, unseen: set[bytes]) -> Counts:
        """Compare what is staged with what is stored."""
        ...

    def changes(self) -> Iterator[Change]:
        """The rows of the plan."""
        ...

    def apply(self, report: Report, *, removals: bool) -> Report:
        """Write plan and run in one transaction."""
        ...

    def close(self, report: Report) -> None:
        """Write the run and nothing else."""
        ...


@dataclass(slots=True)
class Meter:
    """How far a read has come; whoever shows it looks when it likes."""

    handed_out: int = 0
    known: Recognition | None = None
    _stored: int = 0

    def begin(self, known: Recognition) -> None:
        """Start again from nothing: another attempt has begun."""
        self.handed_out, self.known, self._stored = 0, known, len(known.unseen)

    def entries(self) -> int:
        """Entries met so far, recognised ones included."""
        return self.handed_out + (0 if self.known is None else self._stored - len(self.known.unseen))


@dataclass(frozen=True, slots=True)
class Job:
    """One source as a run needs it."""

    name: str
    source: Source
    mapper: Mapper
    limits: Limits
    seal: bytes
    """16 bytes over everything that shapes a row; see `core.record.Recognition`."""
    meter: Meter = field(default_factory=Meter)


def synchronize(job: Job, writer: Writer) -> Report:
    """Run the source once and write what the guard allows.

    Raises SourceBusy when another run holds the source, StoreUnavailable when the database goes away: the directory
    is then as it was, and the next run closes this one as crashed.
    """
    started = time.monotonic()
    blank = Report(job.name, Outcome.FAILED, run=writer.claim())
    try:
        report, decision = _prepare(job, writer, blank)
    except KeyChanged as error:
        report, decision = replace(blank, why=str(error)), Decision(Action.REFUSE)
    report = replace(report, seconds=time.monotonic() - started)
    if decision.action is Action.REFUSE:
        writer.close(report)
        return report
    done = writer.apply(report, removals=decision.action is Action.APPLY)
    return replace(done, seconds=time.monotonic() - started)


def rehearse(job: Job, writer: Writer, show: Callable[[Report, Iterator[Change]], None]) -> Report:
    """The same run without its last step: `show` gets the report and the changes; nothing is written."""
    started = time.monotonic()
    report, decision = _prepare(job, writer, Report(job.name, Outcome.FAILED))
    report = replace(report, seconds=time.monotonic() - started)
    show(report, iter(()) if decision.action is Action.REFUSE else writer.changes())
    return report


def _prepare(job: Job, writer: Writer, report: Report) -> tuple[Report, Decision]:
    """Everything up to the decision. The plan is made only of a complete read."""
    pinned = writer.pinned_key()
    evidence, unseen, tried = _read(job, writer)
    counts = Counts()
    if evidence.complete:
        if pinned is not None and evidence.key_attribute != pinned:
            raise KeyChanged(
                f"{job.name}: records are now identified by {evidence.key_attribute}, the stored contacts by {pinned}; "
                f'set key = "{pinned}", or every contact would be removed and made anew under another id'
            )
        counts = writer.plan(unseen)
    decision = decide(evidence, counts, job.limits)
    return (
        replace(
            report,
            outcome=_OUTCOMES[decision.action],
            why=decision.why,
            counts=counts,
            held=counts.removed if decision.action is Action.HOLD else 0,
            evidence=evidence,
            tried=tried,
        ),
        decision,
    )


_OUTCOMES = {
    Action.APPLY: Outcome.COMPLETED,
    Action.HOLD: Outcome.HELD,
    Action.REFUSE: Outcome.INCOMPLETE,
}


def _read(job: Job, writer: Writer) -> tuple[Evidence, set[bytes], tuple[str, ...]]:
    """Read from one server after the other until one answers completely; nothing of a broken read is kept."""
    tried: list[str] = []
    evidence = Evidence("", shortfalls=(Shortfall("deadline", "the deadline passed before a server was asked"),))
    known = Recognition(job.seal, set())
    for attempt in job.source.attempts():
        known = writer.recognition(job.seal)
        job.meter.begin(known)
        reading = _Reading(attempt, known, job)
        writer.stage(reading)
        evidence = reading.evidence
        if evidence.complete or not evidence.elsewhere:
            break
        tried.append(evidence.why)
    if not evidence.complete and evidence.elsewhere:
        tried.pop()  # the last server's words are the run's own reason
    return evidence, known.unseen, tuple(tried)


class _Reading:
    """One attempt as a stream of mapped items, which keeps the evidence that comes at its end."""

    def __init__(self, attempt: Attempt, known: Recognition, job: Job) -> None:
        self._attempt = attempt
        self._known = known
        self._job = job
        self.evidence: Evidence

    def __iter__(self) -> Generator[Item, None, None]:
        stream = self._attempt.read(self._known)
        meter = self._job.meter
        while True:
            try:
                item = next(stream)
            except StopIteration as end:
                self.evidence = end.value
                return
            meter.handed_out += 1
            yield _mapped(item, self._job.mapper)


def _mapped(item: Record | Reject, mapper: Mapper) -> Item:
    if isinstance(item, Reject):
        return item
    if not 0 < len(item.key) <= MAX_LENGTH or has_control(item.key):
        return Reject(None, item.place, "its key is empty, too long or holds a control character", item.values)
    contact = mapper.contact(item)
    return contact if isinstance(contact, Reject) else Staged(item.key, item.place, item.digest, contact)

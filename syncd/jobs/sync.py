"""One run: read -> map -> stage -> plan -> guard -> apply -> report. Rehearsal and run part only at the last step."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from syncd.core.contacts.contact import MAX_LENGTH
from syncd.core.contacts.text import has_control
from syncd.core.sync.guard import Action, Case, Decision, Limits, Past, decide
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import PROVEN, Change, Counts, Item, Outcome, Report, Staged, drift, fingerprint
from syncd.core.sync.record import Attempt, Evidence, Recognition, Record, Reject, Shortfall, Sighting, Source
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import KeyChanged, NothingToUndo, PlanMoved


class Writing(Protocol):
    """What every run needs of the store, whatever it makes its plan of; see `store.run.writer`."""

    def claim(self) -> int:
        """Take the source's lock and open a run."""
        ...

    def settle(self, report: Report, decision: Decision, sightings: Mapping[str, Sighting]) -> Report:
        """Mark what is held, unless a person approved exactly that; return the report with what is left to do."""
        ...

    def changes(self) -> Iterator[Change]:
        """The rows of the plan."""
        ...

    def apply(self, report: Report) -> Report:
        """Write plan and run in one transaction."""
        ...

    def close(self, report: Report) -> None:
        """Write the run and nothing else."""
        ...


class Writer(Writing, Protocol):
    """What a run needs that follows a source."""

    def pinned_key(self) -> str | None:
        """The attribute that the stored contacts are identified by."""
        ...

    def past(self) -> Past:
        """What the earlier runs left for the guard."""
        ...

    def recognition(self, seal: bytes) -> Recognition:
        """The digests of the stored contacts."""
        ...

    def stage(self, items: Iterable[Item]) -> None:
        """Keep these items, and only these, for the plan."""
        ...

    def plan(
        self, unseen: set[bytes], mapper: Mapper, lifecycle: Lifecycle, sentinels: Sequence[Sentinel] = ()
    ) -> Counts:
        """Compare what is staged with what is stored, and look for what must be there."""
        ...

    def missing_keys(self) -> list[str]:
        """The keys of the contacts that the plan calls missing or removed."""
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
    lifecycle: Lifecycle
    sentinels: Sequence[Sentinel]
    scope: Mapping[str, str]
    """What of its settings decides which entries it reads, and as what."""
    seal: bytes
    """16 bytes over everything that shapes a row; see `core.sync.record.Recognition`."""
    meter: Meter = field(default_factory=Meter)


def synchronize(job: Job, writer: Writer) -> Report:
    """Run the source once and write what the guard allows.

    Raises SourceBusy when another run holds the source, StoreUnavailable when the database goes away: the directory
    is then as it was, and the next run closes this one as crashed.
    """
    return carry_out(job.name, writer, lambda report: _prepare(job, writer, report), lambda: None)


def apply_planned(job: Job, writer: Writer, planned: Iterable[Change]) -> Report:
    """Run the source once and write what it brings, provided that it is exactly what was planned.

    If it is not, the run fails, its reason lists what moved, and no contact is written.
    """
    check = matches(job.name, writer, planned)
    return carry_out(job.name, writer, lambda report: _prepare(job, writer, report), check)


def matches(source: str, writer: Writing, planned: Iterable[Change]) -> Callable[[], None]:
    """A check that raises PlanMoved unless the plan of the writer makes exactly these changes."""
    expected = list(planned)

    def check() -> None:
        now = list(writer.changes())
        if fingerprint(now) != fingerprint(expected):
            raise PlanMoved(source, list(drift(expected, now)))

    return check


def rehearse(job: Job, writer: Writer, show: Callable[[Report, Iterator[Change]], None]) -> Report:
    """The same run without its last step: `show` gets the report and the changes; nothing is written."""
    started = time.monotonic()
    report = _prepare(job, writer, Report(job.name, Outcome.FAILED))
    report = replace(report, seconds=time.monotonic() - started)
    show(report, writer.changes() if report.outcome in PROVEN else iter(()))
    return report


def carry_out(source: str, writer: Writing, prepare: Callable[[Report], Report], check: Callable[[], None]) -> Report:
    """A run from its lock to its commit. `prepare` plans and decides, `check` may refuse what would be written."""
    started = time.monotonic()
    report = Report(source, Outcome.FAILED, run=writer.claim())
    try:
        report = prepare(report)
        if report.outcome in PROVEN:
            check()
    except (KeyChanged, NothingToUndo, PlanMoved) as error:
        report = replace(report, outcome=Outcome.FAILED, why=str(error))
    report = replace(report, seconds=time.monotonic() - started)
    if report.outcome not in PROVEN:
        writer.close(report)
        return report
    return replace(writer.apply(report), seconds=time.monotonic() - started)


def _prepare(job: Job, writer: Writer, report: Report) -> Report:
    """Everything up to the last step. The plan is made only of a complete read."""
    pinned = writer.pinned_key()
    evidence, unseen, tried = _read(job, writer)
    report = replace(report, evidence=evidence, tried=tried)
    if not evidence.complete:
        return replace(report, outcome=Outcome.INCOMPLETE, why=evidence.why)
    if pinned is not None and evidence.key_attribute != pinned:
        raise KeyChanged(
            f"{job.name}: records are now identified by {evidence.key_attribute}, the stored contacts by {pinned}; "
            f'set key = "{pinned}", or every contact would be removed and made anew under another id'
        )
    counts = writer.plan(unseen, job.mapper, job.lifecycle, job.sentinels)
    case = Case(evidence, counts, job.limits, writer.past(), _scope(job, evidence))
    report = replace(report, counts=counts, scope=case.scope)
    decision = decide(case)
    sightings: dict[str, Sighting] = {}
    if decision.action is Action.LOOK:
        sightings = {sighting.key: sighting for sighting in job.source.look(writer.missing_keys(), evidence)}
        decision = decide(replace(case, sightings=sightings))
    if decision.action is Action.REFUSE:
        return replace(report, outcome=Outcome.INCOMPLETE, why=decision.why)
    return writer.settle(report, decision, sightings)


def _scope(job: Job, evidence: Evidence) -> Mapping[str, str]:
    """Where and how this read was made, settings and server taken together; what is empty says nothing."""
    found = {"key": evidence.key_attribute, "identity": evidence.identity, "directory": evidence.directory}
    return {name: value for name, value in (*job.scope.items(), *found.items()) if value}


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
    if isinstance(contact, Reject):
        return contact
    return Staged(item.key, item.place, item.digest, contact, mapper.had(item.values))

"""Sync: read, map, stage, plan, guard and apply one source; a dry run differs only in the last step."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from syncd.core.contacts.contact import MAX_LENGTH
from syncd.core.contacts.text import has_control
from syncd.core.sync.guard import Action, GuardInput, Limits, decide
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Change, Item, Outcome, Report, Staged
from syncd.core.sync.record import (
    Attempt,
    Evidence,
    IncompleteReason,
    KnownDigests,
    PresenceCheck,
    Record,
    Reject,
    Source,
)
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import KeyChanged
from syncd.jobs.run import RunStore, ShowPlan, execute_dry_run, execute_run


@dataclass(slots=True)
class ReadProgress:
    """Progress of a read, to be polled from another thread."""

    yielded: int = 0
    """Records and rejects that the attempt has handed out."""
    digests: KnownDigests | None = None
    _stored: int = 0

    def restart(self, digests: KnownDigests) -> None:
        """Count from zero, for another attempt."""
        self.yielded, self.digests, self._stored = 0, digests, len(digests.remaining)

    def count_entries(self) -> int:
        """Return the number of entries received so far, recognised ones included."""
        return self.yielded + (0 if self.digests is None else self._stored - len(self.digests.remaining))


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a sync needs of one source."""

    name: str
    source: Source
    mapper: Mapper
    limits: Limits
    lifecycle: Lifecycle
    sentinels: Sequence[Sentinel]
    scope: Mapping[str, str]
    """Settings that determine which entries are read, and how; see `core.sync.guard`."""
    fingerprint: bytes
    """16 bytes over everything that determines a row; see `app.fingerprint` and `core.sync.record.KnownDigests`."""
    progress: ReadProgress = field(default_factory=ReadProgress)


def synchronize(job: Job, store: RunStore, expected: Sequence[Change] | None = None) -> Report:
    """Run the source once and write what the guard allows; with `expected`, only if these are exactly the changes.

    If they are not, the run fails, its reason lists the differences, and no contact is written. Raises SourceBusy when
    another run holds the source. Raises StoreUnavailable when the database goes away: the directory is then as it was,
    and the next run closes this one as crashed.
    """
    return execute_run("sync", job.name, store, lambda report: _prepare(job, store, report), expected)


def dry_run(job: Job, store: RunStore, show: ShowPlan) -> Report:
    """Pass report and changes of the same run to `show`; write nothing. Raises KeyChanged, StoreUnavailable."""
    return execute_dry_run("sync", job.name, store, lambda report: _prepare(job, store, report), show)


def _prepare(job: Job, store: RunStore, report: Report) -> Report:
    """Read, plan and decide. A plan is made only of a complete read. Raises KeyChanged."""
    pinned = store.load_pinned_key()
    evidence, remaining, failures = _read(job, store)
    report = replace(report, evidence=evidence, failed_servers=failures)
    if not evidence.complete:
        return replace(report, outcome=Outcome.INCOMPLETE, reason=evidence.reason)
    if pinned is not None and evidence.key_attribute != pinned:
        raise KeyChanged(
            f"{job.name}: records are now identified by {evidence.key_attribute}, the stored contacts by {pinned}; "
            f'set key = "{pinned}", or every contact would be removed and made anew under another id'
        )
    counts = store.plan(remaining, job.mapper, job.lifecycle, job.sentinels)
    guard_input = GuardInput(evidence, counts, job.limits, store.load_history(), _read_scope(job, evidence))
    report = replace(report, counts=counts, scope=guard_input.scope)
    decision = decide(guard_input)
    presence_checks: dict[str, PresenceCheck] = {}
    if decision.action is Action.VERIFY:
        presence_checks = {check.key: check for check in job.source.verify_absent(store.load_missing_keys(), evidence)}
        decision = decide(replace(guard_input, presence_checks=presence_checks))
    if decision.action is Action.REFUSE:
        return replace(report, outcome=Outcome.INCOMPLETE, reason=decision.reason)
    return store.mark_held(report, decision, presence_checks)


def _read_scope(job: Job, evidence: Evidence) -> Mapping[str, str]:
    """Return where and how this read was made, by the settings and by the server, without empty values."""
    server = {"key": evidence.key_attribute, "identity": evidence.identity, "directory": evidence.directory}
    return {name: value for name, value in (*job.scope.items(), *server.items()) if value}


def _read(job: Job, store: RunStore) -> tuple[Evidence, set[bytes], tuple[str, ...]]:
    """Read from one server after the other until one answers completely; nothing of a broken read is kept.

    Returns the evidence of the last attempt, the digests that were not met, and the failures of earlier attempts.
    """
    failures: list[str] = []
    evidence = Evidence(
        "", incomplete_reasons=(IncompleteReason("deadline", "the deadline passed before a server was asked"),)
    )
    digests = KnownDigests(job.fingerprint, set())
    for attempt in job.source.attempts():
        digests = store.load_digests(job.fingerprint)
        job.progress.restart(digests)
        items = _MappedItems(attempt, digests, job)
        store.stage(items)
        evidence = items.evidence
        if evidence.complete or not evidence.retry_other_server:
            break
        failures.append(evidence.reason)
    if not evidence.complete and evidence.retry_other_server:
        failures.pop()  # the last server's failure is the reason of the run
    return evidence, digests.remaining, tuple(failures)


class _MappedItems:
    """Mapped items of one attempt, to be iterated once; `evidence` is set at the end of the iteration."""

    def __init__(self, attempt: Attempt, digests: KnownDigests, job: Job) -> None:
        self._attempt = attempt
        self._digests = digests
        self._job = job
        self.evidence: Evidence

    def __iter__(self) -> Generator[Item, None, None]:
        stream = self._attempt.read(self._digests)
        progress = self._job.progress
        while True:
            try:
                item = next(stream)
            except StopIteration as end:
                self.evidence = end.value
                return
            progress.yielded += 1
            yield _to_staged(item, self._job.mapper)


def _to_staged(item: Record | Reject, mapper: Mapper) -> Item:
    if isinstance(item, Reject):
        return item
    if not 0 < len(item.key) <= MAX_LENGTH or has_control(item.key):
        return Reject(None, item.location, "its key is empty, too long or holds a control character", item.values)
    contact = mapper.to_contact(item)
    if isinstance(contact, Reject):
        return contact
    return Staged(item.key, item.location, item.digest, contact, mapper.attribute_mask(item.values))

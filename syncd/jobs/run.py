"""Parts that every run shares: the store it writes to, its course from lock to commit, and its dry run."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol, TypeAlias

from syncd.core.sync.guard import GuardDecision, RunHistory
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import PROVEN, Change, Counts, Item, JobKind, Outcome, Report, describe_drift, fingerprint
from syncd.core.sync.record import KnownDigests, PresenceCheck
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import KeyChanged, NothingToUndo, PlanOutdated


class RunStore(Protocol):
    """Store as the runs of one source use it; implemented by `store.run.writer.Writer`.

    Every run calls `claim` first and `apply` or `close` last. All methods raise StoreUnavailable.
    """

    def claim(self) -> int:
        """Take the source's lock and insert a run; return its number. Raises SourceBusy."""
        ...

    def load_pinned_key(self) -> str | None:
        """Return the attribute that identifies the stored contacts; None before the first complete run."""
        ...

    def load_history(self) -> RunHistory:
        """Return what the guard needs to know of the earlier runs."""
        ...

    def load_last_outcome(self) -> Outcome | None:
        """Return the outcome of the last sync of the source."""
        ...

    def load_digests(self, fingerprint: bytes) -> KnownDigests:
        """Return the digests of the stored contacts, for an attempt that hashes under this fingerprint (16 bytes)."""
        ...

    def stage(self, items: Iterable[Item]) -> None:
        """Stage these items in place of any staged before."""
        ...

    def plan(
        self, remaining: set[bytes], mapper: Mapper, lifecycle: Lifecycle, sentinels: Sequence[Sentinel] = ()
    ) -> Counts:
        """Plan a sync: compare the staged items with the stored contacts, and look for the sentinels."""
        ...

    def plan_undo(self, number: int) -> tuple[int, int, Counts]:
        """Plan the reversal of a run; return the run that proves it, its number of change log lines, and the counts.

        Raises NothingToUndo.
        """
        ...

    def plan_purge(self, retention: timedelta) -> tuple[int, int]:
        """Plan the purge; return the numbers of stored contacts (any state) and of contacts to purge."""
        ...

    def load_missing_keys(self) -> list[str]:
        """Return the keys of the contacts that the plan calls missing or removed."""
        ...

    def mark_held(
        self, report: Report, decision: GuardDecision, presence_checks: Mapping[str, PresenceCheck]
    ) -> Report:
        """Mark the held changes, unless an approval covers exactly these; return the report without them."""
        ...

    def read_changes(self) -> Iterator[Change]:
        """Yield the changes of the plan."""
        ...

    def apply(self, report: Report) -> Report:
        """Write plan and run in one transaction; return the report with the new revision."""
        ...

    def close(self, report: Report) -> None:
        """Write the run and drop the plan."""
        ...


_OUT_OF_MEMORY = "it needed more memory than it may have; look at the size of the source, or raise worker.memory_mib"

Prepare: TypeAlias = Callable[[Report], Report]
"""Makes the plan and decides on it: takes the report of a run that has begun, returns the report to write."""

ShowPlan: TypeAlias = Callable[[Report, Iterator[Change]], None]
"""Takes the report and the changes of a dry run; the changes are read from the database while it runs."""


def execute_run(
    job: JobKind, source: str, store: RunStore, prepare: Prepare, expected: Sequence[Change] | None = None
) -> Report:
    """Execute a run from lock to commit; with `expected`, write only if the plan has exactly these changes.

    KeyChanged, NothingToUndo, PlanOutdated and MemoryError give the outcome `failed`, and no contact is written. Raises
    SourceBusy when another run holds the source. Raises StoreUnavailable when the database goes away: the directory is
    then as it was, and the next run closes this one as crashed.
    """
    started = time.monotonic()
    report = Report(job, source, Outcome.FAILED, run=store.claim())
    try:
        report = prepare(report)
        if report.outcome in PROVEN and expected is not None:
            _compare_plan(source, store, expected)
    except (KeyChanged, NothingToUndo, PlanOutdated) as error:
        report = replace(report, outcome=Outcome.FAILED, reason=str(error))
    except MemoryError:
        report = Report(job, source, Outcome.FAILED, run=report.run, reason=_OUT_OF_MEMORY)
    report = replace(report, seconds=time.monotonic() - started)
    if report.outcome not in PROVEN:
        store.close(report)
        return report
    return replace(store.apply(report), seconds=time.monotonic() - started)


def execute_dry_run(job: JobKind, source: str, store: RunStore, prepare: Prepare, show: ShowPlan) -> Report:
    """Execute a run without lock and commit, and pass report and changes to `show`.

    Raises KeyChanged, NothingToUndo, StoreUnavailable.
    """
    started = time.monotonic()
    report = prepare(Report(job, source, Outcome.FAILED))
    report = replace(report, seconds=time.monotonic() - started)
    show(report, store.read_changes() if report.outcome in PROVEN else iter(()))
    return report


def _compare_plan(source: str, store: RunStore, expected: Sequence[Change]) -> None:
    """Raise PlanOutdated unless the plan in the store has exactly the expected changes."""
    changes = list(store.read_changes())
    if fingerprint(changes) != fingerprint(expected):
        raise PlanOutdated(source, list(describe_drift(expected, changes)))

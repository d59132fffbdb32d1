"""Writer of a run: one connection, which holds the lock of the source and writes its contacts.

When the connection is lost, so are the lock and the ability to write: two runs of a source never overlap, whatever
their threads, processes or hosts. Each writing transaction checks that its session still holds the lock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from syncd.core.contacts.contact import ContactType
from syncd.core.sync.guard import Action, GuardDecision, RunHistory
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Change, Counts, Item, JobKind, Outcome, Report
from syncd.core.sync.record import KnownDigests, PresenceCheck
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import DatabaseUnsuitable, SourceBusy
from syncd.store.connection.engine import mapped_errors
from syncd.store.connection.session import POOLER_REMEDY
from syncd.store.run import apply, attribute_loss, holds, plan, purge, rejects, runs, source_baseline, staging, undo

_LOCK_KEY = "hashtextextended('syncd source ' || :source, 0)"
_LOCK = text(f"SELECT pg_try_advisory_lock({_LOCK_KEY}), pg_backend_pid()")
# the view shows the key (bigint) as two oids
_HOLDS_LOCK = text(f"""
    SELECT pg_backend_pid() = :pid AND EXISTS (
           SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid = pg_backend_pid()
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND classid::bigint << 32 | objid::bigint = {_LOCK_KEY})
""")  # noqa: S608 - an expression of ours
_UNLOCK = text("SELECT pg_advisory_unlock_all()")


class Writer:
    """Store access of one run. Every method raises the errors that `open_writer` maps."""

    def __init__(
        self, connection: Connection, source: str, type_: ContactType, job: JobKind = "sync", region: str = ""
    ) -> None:
        self._connection = connection
        self._source = source
        self._type: ContactType = type_
        self._job: JobKind = job
        self._region = region
        self._baseline = source_baseline.Baseline()
        self._mapper: Mapper | None = None
        self._serve_missing = False
        self._backend_pid = 0

    def claim(self) -> int:
        """Lock the source and insert a run; return its id. Raises SourceBusy."""
        is_locked, self._backend_pid = self._connection.execute(_LOCK, {"source": self._source}).one()
        if not is_locked:
            raise SourceBusy(f"another run of {self._source} is still going, here or on another host")
        return runs.start(self._connection, self._source, self._job)

    def _check_lock(self) -> None:
        """Raise DatabaseUnsuitable unless the session of this transaction holds the lock that `claim` took."""
        if not self._connection.scalar(_HOLDS_LOCK, {"source": self._source, "pid": self._backend_pid}):
            raise DatabaseUnsuitable(
                f"the run no longer holds the lock of {self._source}, and nothing was written; {POOLER_REMEDY}"
            )

    def load_pinned_key(self) -> str | None:
        """Return the attribute that identifies the stored contacts; None before the first complete run."""
        self._baseline = source_baseline.load(self._connection, self._source)
        return self._baseline.key_attribute

    def load_last_outcome(self) -> Outcome | None:
        """Return the outcome of the last sync of the source; None when there was none."""
        return purge.load_last_outcome(self._connection, self._source)

    def plan_undo(self, number: int) -> tuple[int, int, Counts]:
        """Plan the reversal of a run; return (run that proves it, its number of change log lines, counts of the plan).

        Raises NothingToUndo.
        """
        target = undo.find_target(self._connection, number)
        lines = undo.plan_undo(self._connection, self._type, self._region, target)
        return target.proof_run, lines, plan.count(self._connection, self._source, self._type)

    def plan_purge(self, retention: timedelta) -> tuple[int, int]:
        """Plan the purge of contacts removed longer ago than `retention`; return (contacts stored, to purge)."""
        return purge.plan_purge(self._connection, self._source, self._type, retention)

    def load_history(self) -> RunHistory:
        """Return the recent removals and the last accepted scope of the source, for the guard."""
        day, week = runs.count_recent_removals(self._connection, self._source)
        return RunHistory(day, week, self._baseline.scope)

    def load_digests(self, fingerprint: bytes) -> KnownDigests:
        """Return the digests of the stored contacts, for one attempt to read. `fingerprint`: 16 bytes."""
        return staging.load_digests(self._connection, self._source, self._type, fingerprint)

    def stage(self, items: Iterable[Item]) -> None:
        """Stage these items in place of any staged before."""
        staging.stage(self._connection, self._type, self._region, items)

    def plan(
        self, remaining: set[bytes], mapper: Mapper, lifecycle: Lifecycle, sentinels: Sequence[Sentinel] = ()
    ) -> Counts:
        """Plan a sync; the plan lasts until `apply`, `close` or the end of the connection.

        `remaining`: digests of stored contacts that the read did not match.
        """
        self._mapper, self._serve_missing = mapper, lifecycle.serve_missing
        connection, source, type_ = self._connection, self._source, self._type
        plan.make(connection, source, type_, remaining, lifecycle)
        counts = plan.count(connection, source, type_)
        return replace(
            counts,
            rekeyed=plan.count_rekeyed(connection, type_) if counts.leaving and counts.added else 0,
            losses=attribute_loss.count_losses(connection, source, type_, self._baseline.attributes, mapper),
            missing_sentinels=plan.find_missing_sentinels(connection, source, type_, sentinels),
        )

    def load_missing_keys(self) -> list[str]:
        """Return the keys of the contacts that the plan marks as missing or removed."""
        return plan.select_missing_keys(self._connection)

    def mark_held(
        self, report: Report, decision: GuardDecision, presence_checks: Mapping[str, PresenceCheck]
    ) -> Report:
        """Mark what the guard holds, unless an approval covers exactly that; return the report without held changes."""
        connection, counts = self._connection, report.counts
        if not (counts.missing or counts.removed or counts.purged or counts.kept or decision.held_attributes):
            return self._complete_without_holds(report, decision)
        holds.note_moved(connection, presence_checks.values())
        holds.mark_holds(connection, decision)
        items = holds.select_held_items(connection) + holds.to_attribute_items(decision.held_attributes)
        approval = holds.find_approval(connection, self._source, self._job)
        # the guard may hold nothing now, when fewer contacts leave than its limit: the approval covers that list too
        candidates = items or holds.select_leaving_items(connection)
        if approval is not None and candidates and approval.list == holds.digest_items(candidates):
            holds.release(connection, candidates, approval.approved_by)
            report = replace(report, approved=approval.run_id, absences_confirmed=True)
            reason = f"removed what run {approval.run_id} held, as approved by {approval.approved_by}"
            return self._complete_report(report, reason, ())
        if approval is not None:
            report = replace(report, invalid_approval=holds.explain_void(approval, items))
        if decision.held_attributes and self._mapper is not None:
            probes = attribute_loss.build_probes(self._baseline.attributes, self._mapper)
            attribute_loss.restore_values(
                connection, self._source, self._type, self._region, [probes[name] for name in decision.held_attributes]
            )
        report = replace(report, absences_confirmed=decision.action is not Action.HOLD)
        return self._complete_report(
            report, "; ".join(filter(None, (decision.reason, report.invalid_approval))), decision.held_attributes
        )

    def _complete_without_holds(self, report: Report, decision: GuardDecision) -> Report:
        """Complete the report of a run without removals (the most frequent case): nothing to hold or to approve."""
        approval = holds.find_approval(self._connection, self._source, self._job)
        void = holds.explain_void(approval, ()) if approval else ""
        reason = "; ".join(filter(None, (decision.reason, void)))
        return replace(report, outcome=Outcome.COMPLETED, reason=reason, invalid_approval=void, absences_confirmed=True)

    def _complete_report(self, report: Report, reason: str, attributes: tuple[str, ...]) -> Report:
        before = report.counts
        counts = plan.count(self._connection, self._source, self._type)
        counts = replace(
            counts, rekeyed=before.rekeyed, losses=before.losses, missing_sentinels=before.missing_sentinels
        )
        held = holds.count_held(self._connection)
        if counts.kept:
            reason = "; ".join(filter(None, (reason, f"{counts.kept} contacts stay because a person decided so")))
        return replace(
            report,
            outcome=Outcome.HELD if held > counts.kept or attributes else Outcome.COMPLETED,
            reason=reason,
            counts=counts,
            held=held,
            held_attributes=attributes,
            active_removed=holds.count_unapproved_removals(self._connection),
        )

    def read_changes(self) -> Iterator[Change]:
        """Yield the changes of the plan."""
        return plan.select_changes(self._connection, self._type)

    def apply(self, report: Report) -> Report:
        """Write the plan and the run in one transaction; return the report with its revision and new rejects.

        Raises ValueError for a report without run or evidence.
        """
        if report.run is None or report.evidence is None:
            raise ValueError("only a run with evidence can be applied")
        connection = self._connection
        self._check_lock()
        runs.mark_complete(connection, report)
        if self._job == "sync":
            new_rejects = rejects.save(connection, self._source, report.run)
            attributes = () if self._mapper is None else self._mapper.ordered_attributes
            source_baseline.save(connection, self._baseline, self._type, report, attributes)
            report = replace(report, new_rejects=new_rejects)
        revision = apply.apply_plan(connection, report, self._type, serve_missing=self._serve_missing)
        report = replace(report, revision=revision)
        holds.save_holds(connection, report, self._type)
        runs.finish(connection, report)
        connection.commit()
        if revision is not None:
            apply.settle_indexes(connection)
        return report

    def prune(self, retention: timedelta) -> None:
        """Delete runs and change log lines older than `retention`."""
        self._check_lock()
        purge.prune(self._connection, self._source, retention)
        self._connection.commit()

    def close(self, report: Report) -> None:
        """Drop the plan; write only the run, and the rejects of a complete read."""
        proven = self._job == "sync" and report.evidence is not None and report.evidence.complete
        rows = rejects.select_staged(self._connection) if proven else ()
        self._connection.rollback()
        self._check_lock()
        if proven and report.run is not None:
            rejects.replace(self._connection, self._source, report.run, rows)
        runs.finish(self._connection, report)
        self._connection.commit()


@contextmanager
def open_writer(
    engine: Engine, source: str, type_: ContactType, job: JobKind = "sync", region: str = ""
) -> Iterator[Writer]:
    """Open a writer for one run; `region` is the region of the source's numbers without country code.

    Raises StoreUnavailable when the database does not answer or goes away, and SchemaMismatch.
    """
    with mapped_errors(), engine.connect() as connection:
        yield Writer(connection, source, type_, job, region)
        # after a disconnect the server releases the locks with a delay, and the next run may already be waiting
        connection.rollback()
        connection.execute(_UNLOCK)

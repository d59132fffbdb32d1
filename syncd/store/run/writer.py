"""The writer: the one connection of a run, which holds its source's lock and is the only way to write its contacts.

If the connection dies, the lock is gone and so is the ability to write: two runs of a source cannot overlap, in
whatever threads, processes or hosts they are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from syncd.core.contacts.contact import Type
from syncd.core.sync.guard import Action, Decision, Past
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Change, Counts, Item, JobKind, Outcome, Report
from syncd.core.sync.record import Recognition, Sighting
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import SourceBusy
from syncd.store.connection.engine import translated
from syncd.store.run import apply, attribute_loss, holds, plan, purge, rejects, runs, source_baseline, staging, undo

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('syncd source ' || :source, 0))")

_UNLOCK = text("SELECT pg_advisory_unlock_all()")


class Writer:
    """What one run does to the store, in the order of its methods."""

    def __init__(
        self, connection: Connection, source: str, type_: Type, job: JobKind = "sync", region: str = ""
    ) -> None:
        self._connection = connection
        self._source = source
        self._type: Type = type_
        self._job: JobKind = job
        self._region = region
        self._pins = source_baseline.Pins()
        self._mapper: Mapper | None = None
        self._shown = False

    def claim(self) -> int:
        """Take the source's lock and open a run; return its number. Raises SourceBusy."""
        if not self._connection.scalar(_LOCK, {"source": self._source}):
            raise SourceBusy(f"another run of {self._source} is still going, here or on another host")
        return runs.start(self._connection, self._source, self._job)

    def pinned_key(self) -> str | None:
        """The attribute that identifies this source's stored contacts; None before the first complete run."""
        self._pins = source_baseline.load(self._connection, self._source)
        return self._pins.key_attribute

    def last_outcome(self) -> Outcome | None:
        """How the last sync of the source ended."""
        return purge.last_outcome(self._connection, self._source)

    def plan_undo(self, number: int) -> tuple[int, int, Counts]:
        """Plan the contrary of a run; the run that proves it, the lines of the log that it has, the plan's counts."""
        done = undo.find(self._connection, number)
        lines = undo.make(self._connection, self._type, self._region, done)
        return done.witness, lines, plan.count(self._connection, self._source, self._type)

    def plan_purge(self, age: timedelta) -> tuple[int, int]:
        """Plan the end of those removed for so long; how many contacts the source has or had, and how many end."""
        return purge.make(self._connection, self._source, self._type, age)

    def past(self) -> Past:
        """What the earlier runs of the source left for the guard."""
        day, week = runs.departures(self._connection, self._source)
        return Past(day, week, self._pins.scope)

    def recognition(self, seal: bytes) -> Recognition:
        """The digests of the stored contacts, for one attempt at reading."""
        return staging.recognition(self._connection, self._source, self._type, seal)

    def stage(self, items: Iterable[Item]) -> None:
        """Stage these items in place of any staged before."""
        staging.stage(self._connection, self._type, self._region, items)

    def plan(
        self, unseen: set[bytes], mapper: Mapper, lifecycle: Lifecycle, sentinels: Sequence[Sentinel] = ()
    ) -> Counts:
        """Make the plan; it lasts until `apply`, `close` or the end of the connection."""
        self._mapper, self._shown = mapper, lifecycle.shown
        connection, source, type_ = self._connection, self._source, self._type
        plan.make(connection, source, type_, unseen, lifecycle)
        counts = plan.count(connection, source, type_)
        return replace(
            counts,
            rekeyed=plan.rekeyed(connection, type_) if counts.leaving and counts.added else 0,
            losses=attribute_loss.count(connection, source, type_, self._pins.attributes, mapper),
            absent=plan.absent(connection, source, type_, sentinels),
        )

    def missing_keys(self) -> list[str]:
        """The keys of the contacts that the plan calls missing or removed."""
        return plan.missing_keys(self._connection)

    def settle(self, report: Report, decision: Decision, sightings: Mapping[str, Sighting]) -> Report:
        """Mark what the guard holds, unless a person approved exactly that; return the report of what is left to do."""
        connection, counts = self._connection, report.counts
        if not (counts.missing or counts.removed or counts.purged or counts.kept or decision.attributes):
            return self._nothing_withheld(report, decision)
        holds.remark(connection, sightings.values())
        holds.hold(connection, decision)
        items = holds.held_items(connection) + holds.attribute_items(decision.attributes)
        approval = holds.pending(connection, self._source, self._job)
        # what was held then may be few enough now not to be held at all: the word is for the list all the same
        fitting = items or holds.leaving_items(connection)
        if approval is not None and fitting and approval.list == holds.list_digest(fitting):
            holds.release(connection, fitting, approval.approved_by)
            report = replace(report, approved=approval.run_id, settled=True)
            why = f"removed what run {approval.run_id} held, as approved by {approval.approved_by}"
            return self._settled(report, why, ())
        if approval is not None:
            void = f"the approval of run {approval.run_id} is void: {holds.difference(approval, items)}"
            report = replace(report, void=void)
        if decision.attributes and self._mapper is not None:
            traces = attribute_loss.traces(self._pins.attributes, self._mapper)
            attribute_loss.keep(
                connection, self._source, self._type, self._region, [traces[name] for name in decision.attributes]
            )
        report = replace(report, settled=decision.action is not Action.HOLD)
        return self._settled(report, "; ".join(filter(None, (decision.why, report.void))), decision.attributes)

    def _nothing_withheld(self, report: Report, decision: Decision) -> Report:
        """Most runs: nobody leaves, so that there is nothing to hold and no approval to use."""
        approval = holds.pending(self._connection, self._source, self._job)
        void = f"the approval of run {approval.run_id} is void: {holds.difference(approval, ())}" if approval else ""
        why = "; ".join(filter(None, (decision.why, void)))
        return replace(report, outcome=Outcome.COMPLETED, why=why, void=void, settled=True)

    def _settled(self, report: Report, why: str, attributes: tuple[str, ...]) -> Report:
        before = report.counts
        counts = plan.count(self._connection, self._source, self._type)
        counts = replace(counts, rekeyed=before.rekeyed, losses=before.losses, absent=before.absent)
        held = holds.held_count(self._connection)
        if counts.kept:
            why = "; ".join(filter(None, (why, f"{counts.kept} contacts stay because a person decided so")))
        return replace(
            report,
            outcome=Outcome.HELD if held > counts.kept or attributes else Outcome.COMPLETED,
            why=why,
            counts=counts,
            held=held,
            attributes=attributes,
            left_active=holds.unapproved_leavers(self._connection),
        )

    def changes(self) -> Iterator[Change]:
        """The rows of the plan."""
        return plan.changes(self._connection, self._type)

    def apply(self, report: Report) -> Report:
        """Write the plan and the run in one transaction; return the report with its revision and new rejects."""
        if report.run is None or report.evidence is None:
            raise ValueError("only a run with evidence can be applied")
        connection = self._connection
        runs.prove(connection, report)
        if self._job == "sync":
            fresh = rejects.keep(connection, self._source, report.run)
            attributes = () if self._mapper is None else self._mapper.ordered
            source_baseline.store(connection, self._pins, self._type, report, attributes)
            report = replace(report, fresh_rejects=fresh)
        revision = apply.apply(connection, report, self._type, shown=self._shown)
        report = replace(report, revision=revision)
        holds.store(connection, report, self._type)
        runs.finish(connection, report)
        connection.commit()
        if revision is not None:
            apply.settle(connection)
        return report

    def prune(self, keep: timedelta) -> None:
        """Forget runs and lines of the change log that are older."""
        purge.prune(self._connection, self._source, keep)
        self._connection.commit()

    def close(self, report: Report) -> None:
        """Drop the plan and write nothing but the run, and what a complete read could not map."""
        proven = self._job == "sync" and report.evidence is not None and report.evidence.complete
        rejected = rejects.found(self._connection) if proven else ()
        self._connection.rollback()
        if proven and report.run is not None:
            rejects.replace(self._connection, self._source, report.run, rejected)
        runs.finish(self._connection, report)
        self._connection.commit()


@contextmanager
def open_writer(engine: Engine, source: str, type_: Type, job: JobKind = "sync", region: str = "") -> Iterator[Writer]:
    """A writer for one run; `region` is where the source's numbers without country code belong.

    Raises StoreUnavailable when the database does not answer or goes away.
    """
    with translated(), engine.connect() as connection:
        yield Writer(connection, source, type_, job, region)
        # a server that ends a session by itself frees its locks a moment late; the next run may already be waiting
        connection.rollback()
        connection.execute(_UNLOCK)

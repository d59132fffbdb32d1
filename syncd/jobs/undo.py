"""Undo: taking a run back is a plan like any other, made of the change log instead of a source."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from syncd.core.sync.guard import Case, Limits, Past, decide
from syncd.core.sync.plan import Change, Counts, Outcome, Report
from syncd.core.sync.record import Evidence
from syncd.jobs.sync import Writing, carry_out, matches


class Undoer(Writing, Protocol):
    """What an undo needs of the store, besides what every run does."""

    def plan_undo(self, number: int) -> tuple[int, int, Counts]:
        """Plan the contrary of a run; its witness, the lines of the log that it has, and the plan's counts."""
        ...

    def past(self) -> Past:
        """What the earlier runs left for the guard."""
        ...


def undo(source: str, number: int, limits: Limits, writer: Undoer) -> Report:
    """Take a run back, as far as the guard lets it. Raises SourceBusy, NothingToUndo."""
    return carry_out(source, writer, lambda report: _prepare(number, limits, writer, report), lambda: None)


def undo_planned(source: str, number: int, limits: Limits, writer: Undoer, planned: Iterable[Change]) -> Report:
    """The same, provided that it makes exactly the planned changes."""
    check = matches(source, writer, planned)
    return carry_out(source, writer, lambda report: _prepare(number, limits, writer, report), check)


def rehearse_undo(
    source: str, number: int, limits: Limits, writer: Undoer, show: Callable[[Report, Iterator[Change]], None]
) -> Report:
    """The same without its last step."""
    started = time.monotonic()
    report = _prepare(number, limits, writer, Report(source, Outcome.FAILED, job="undo"))
    report = replace(report, seconds=time.monotonic() - started)
    show(report, writer.changes())
    return report


def _prepare(number: int, limits: Limits, writer: Undoer, report: Report) -> Report:
    witness, lines, counts = writer.plan_undo(number)
    evidence = Evidence(server=f"change log of run {number}", entries=lines)
    decision = decide(Case(evidence, counts, limits, replace(writer.past(), scope=None), sightings={}))
    report = replace(report, job="undo", evidence=evidence, counts=counts, undone=number, witness=witness)
    return writer.settle(report, decision, {})

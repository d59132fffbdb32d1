"""Undo: reversal of an earlier run, planned from the change log instead of a source."""

from collections.abc import Sequence
from dataclasses import replace

from syncd.core.sync.guard import GuardInput, Limits, decide
from syncd.core.sync.plan import Change, Report
from syncd.core.sync.record import Evidence
from syncd.jobs.run import RunStore, ShowPlan, execute_dry_run, execute_run


def undo(source: str, number: int, limits: Limits, store: RunStore, expected: Sequence[Change] | None = None) -> Report:
    """Reverse the run `number`, as far as the guard allows; with `expected`, only if it makes exactly these changes.

    A run that cannot be reversed, or another plan than the expected one, gives the outcome `failed`. Raises SourceBusy,
    StoreUnavailable.
    """
    return execute_run("undo", source, store, lambda report: _prepare(number, limits, store, report), expected)


def dry_run_undo(source: str, number: int, limits: Limits, store: RunStore, show: ShowPlan) -> Report:
    """Pass report and changes of the same undo to `show`; write nothing. Raises NothingToUndo, StoreUnavailable."""
    return execute_dry_run("undo", source, store, lambda report: _prepare(number, limits, store, report), show)


def _prepare(number: int, limits: Limits, store: RunStore, report: Report) -> Report:
    proof_run, lines, counts = store.plan_undo(number)
    evidence = Evidence(server=f"change log of run {number}", entries=lines)
    history = replace(store.load_history(), scope=None)
    decision = decide(GuardInput(evidence, counts, limits, history, presence_checks={}))
    report = replace(report, evidence=evidence, counts=counts, undone=number, proof_run=proof_run)
    return store.mark_held(report, decision, {})

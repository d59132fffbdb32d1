"""Purge: deletion of contacts that were removed longer ago than the retention, under a guard of its own."""

from dataclasses import replace
from datetime import timedelta

from syncd.core.sync.guard import Limits, decide_purge
from syncd.core.sync.plan import Report
from syncd.core.sync.record import Evidence
from syncd.jobs.run import RunStore, execute_run


def purge(source: str, retention: timedelta, limits: Limits, store: RunStore) -> Report:
    """Delete contacts that were removed longer ago than `retention`, as far as the guard allows.

    Raises SourceBusy, StoreUnavailable.
    """
    return execute_run("purge", source, store, lambda report: _prepare(retention, limits, store, report))


def _prepare(retention: timedelta, limits: Limits, store: RunStore, report: Report) -> Report:
    last = store.load_last_outcome()
    population, purged = store.plan_purge(retention)
    evidence = Evidence(server="the directory itself", entries=population)
    decision = decide_purge(last, population, purged, limits)
    counts = replace(report.counts, population=population, purged=purged)
    return store.mark_held(replace(report, evidence=evidence, counts=counts), decision, {})

"""Purge: contacts that were removed long ago are forgotten, under a guard of their own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from syncd.core.sync.guard import Limits, decide_purge
from syncd.core.sync.plan import Outcome, Report
from syncd.core.sync.record import Evidence
from syncd.jobs.sync import Writing, carry_out


class Purger(Writing, Protocol):
    """What a purge needs of the store, besides what every run does."""

    def last_outcome(self) -> Outcome | None:
        """How the last sync of the source ended."""
        ...

    def plan_purge(self, retention: timedelta) -> tuple[int, int]:
        """Plan the purge; how many contacts the source has or had, and how many are forgotten."""
        ...


def purge(source: str, retention: timedelta, limits: Limits, writer: Purger) -> Report:
    """Forget who has been removed for longer than `retention`, as far as the guard lets it. Raises SourceBusy."""
    return carry_out(source, writer, _preparation(retention, limits, writer), lambda: None)


def _preparation(retention: timedelta, limits: Limits, writer: Purger) -> Callable[[Report], Report]:
    def prepare(report: Report) -> Report:
        last = writer.last_outcome()
        known, purged = writer.plan_purge(retention)
        evidence = Evidence(server="the directory itself", entries=known)
        decision = decide_purge(last, known, purged, limits)
        counts = replace(report.counts, population=known, purged=purged)
        return writer.settle(replace(report, job="purge", evidence=evidence, counts=counts), decision, {})

    return prepare

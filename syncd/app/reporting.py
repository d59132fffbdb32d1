"""Telling of a run: its one wide line in the log, its rejects, and its counts in the metrics."""

from collections.abc import Iterable
from typing import Any

from syncd.core.sync.plan import PROVEN, Outcome, Report
from syncd.observability import log, metrics
from syncd.settings import LdapSource, Settings

_EVENTS = {
    Outcome.COMPLETED: log.SYNC_COMPLETED,
    Outcome.HELD: log.SYNC_HELD,
    Outcome.INCOMPLETE: log.SYNC_INCOMPLETE,
    Outcome.FAILED: log.SYNC_FAILED,
    Outcome.CRASHED: log.SYNC_FAILED,
}
_SKIPPED = "skipped"


def warn_of_clear_text(settings: Settings) -> None:
    """Say which sources cross a network without TLS; a Unix socket is no network."""
    for source in settings.source:
        if isinstance(source, LdapSource) and source.tls == "none":
            urls = [url for url in source.urls if not url.startswith("ldapi:")]
            if urls:
                log.emit(log.SOURCE_UNENCRYPTED, source=source.name, urls=urls)


def begin_counting(sources: Iterable[str]) -> None:
    """Show every count of these sources from zero: what appears at one is no increase to those who watch."""
    for source in sources:
        for outcome in (*Outcome, _SKIPPED):
            metrics.SYNC_RUNS.labels(source, outcome)


def report_run(report: Report) -> None:
    """Log and count a run that came to an end of its own."""
    done = report.applied
    for reject in report.fresh_rejects:
        log.emit(
            log.SYNC_REJECTED_RECORD, source=report.source, run=report.run, key=reject.key, place=reject.place,
            reason=reject.reason,
        )  # fmt: skip
    if report.void:
        log.emit(log.APPROVAL_VOID, source=report.source, run=report.run, why=report.void)
    _tell(report)
    for change, number in (("added", done.added), ("changed", done.changed), ("removed", done.removed)):
        metrics.SYNC_CHANGES.labels(report.source, change).inc(number)
    if report.job == "sync":
        metrics.SYNC_RUNS.labels(report.source, report.outcome).inc()
        metrics.SYNC_SECONDS.labels(report.source).observe(report.seconds)


def _tell(report: Report) -> None:
    """The wide line; while runs of a source fail again and again, only now and then."""
    line = {**_counted(report), **_read(report)}
    if report.outcome not in PROVEN:
        log.trouble(_EVENTS[report.outcome], report.source, report.why, **line)
        return
    log.emit(_EVENTS[report.outcome], **line, why=report.why or None)
    ended = log.over(report.source) if report.job == "sync" else None
    if ended is not None and ended.kinds != {log.SYNC_SKIPPED.name}:
        log.emit(
            log.SYNC_RECOVERED, source=report.source, run=report.run, times=ended.times, seconds=round(ended.seconds)
        )


def _counted(report: Report) -> dict[str, Any]:
    """What the run did; None where there is nothing to tell."""
    done = report.applied
    return {
        "source": report.source,
        "run": report.run,
        "job": report.job,
        "entries": report.entries,
        "added": done.added,
        "changed": done.changed,
        "missing": done.missing,
        "removed": done.removed,
        "purged": done.purged if report.job == "purge" else None,
        "held": report.held,
        "attributes": list(report.attributes) or None,
        "rejected": done.rejected,
        "settled": report.settled,
        "approved": report.approved,
        "undone": report.undone,
        "revision": report.revision,
        "seconds": round(report.seconds, 3),
        "tried": list(report.tried) or None,
    }


def _read(report: Report) -> dict[str, Any]:
    """What the read proved."""
    evidence = report.evidence
    if evidence is None:
        return {}
    return {
        "complete": evidence.complete,
        "server": evidence.server,
        "identity": evidence.identity,
        "pages": evidence.pages,
        "codes": {str(code): count for code, count in evidence.result_codes.items()} or None,
        "references": evidence.references,
    }


def report_failure(source: str, why: str) -> None:
    """Log and count a run that could not tell its own end."""
    log.trouble(log.SYNC_FAILED, source, why, source=source)
    metrics.SYNC_RUNS.labels(source, Outcome.FAILED).inc()


def report_skip(source: str, why: str) -> None:
    """Log and count a run that does not take place: an event, not silence."""
    log.trouble(log.SYNC_SKIPPED, source, why, source=source)
    metrics.SYNC_RUNS.labels(source, _SKIPPED).inc()

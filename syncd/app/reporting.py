"""Reporting of runs: one wide log event per run, events for new rejects, and metrics."""

from collections.abc import Iterable
from typing import Any

from syncd.core.sync.plan import PROVEN, JobKind, Outcome, Report
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


def warn_unencrypted(settings: Settings) -> None:
    """Log the sources that use LDAP without TLS over a network, which a Unix socket (ldapi) is not."""
    for source in settings.source:
        if isinstance(source, LdapSource) and source.tls == "none":
            urls = [url for url in source.urls if not url.startswith("ldapi:")]
            if urls:
                log.emit(log.SOURCE_UNENCRYPTED, source=source.name, urls=urls)


def initialize_run_metrics(sources: Iterable[str]) -> None:
    """Create the counters of these sources at 0: a counter that appears at 1 is no increase in Prometheus."""
    for source in sources:
        for outcome in (*Outcome, _SKIPPED):
            metrics.SYNC_RUNS.labels(source, outcome)


def report_run(report: Report) -> None:
    """Log a finished run, its new rejects and an invalidated approval, and count it."""
    counts = report.applied
    for reject in report.new_rejects:
        log.emit(
            log.SYNC_REJECTED_RECORD, source=report.source, run=report.run, key=reject.key, place=reject.location,
            reason=reject.reason,
        )  # fmt: skip
    if report.invalid_approval:
        log.emit(log.APPROVAL_INVALIDATED, source=report.source, run=report.run, why=report.invalid_approval)
    _log_run(report)
    for change, number in (("added", counts.added), ("changed", counts.changed), ("removed", counts.removed)):
        metrics.SYNC_CHANGES.labels(report.source, change).inc(number)
    if report.job == "sync":
        metrics.SYNC_RUNS.labels(report.source, report.outcome).inc()
        metrics.SYNC_SECONDS.labels(report.source).observe(report.seconds)


def _log_run(report: Report) -> None:
    """Log one wide event; repeated failures of a source are rate-limited."""
    fields = {**_count_fields(report), **_evidence_fields(report)}
    if report.outcome not in PROVEN:
        log.emit_throttled(_EVENTS[report.outcome], _throttle_key(report.job, report.source), report.reason, **fields)
        return
    log.emit(_EVENTS[report.outcome], **fields, why=report.reason or None)
    recovered = log.recovered(_throttle_key(report.job, report.source))
    if report.job == "sync" and recovered is not None and recovered.kinds != {log.SYNC_SKIPPED.name}:
        log.emit(
            log.SYNC_RECOVERED,
            source=report.source,
            run=report.run,
            times=recovered.times,
            seconds=round(recovered.seconds),
        )


def _count_fields(report: Report) -> dict[str, Any]:
    """Return the counts of a run; a field that does not apply is None."""
    counts = report.applied
    return {
        "source": report.source,
        "run": report.run,
        "job": report.job,
        "entries": report.entries,
        "added": counts.added,
        "changed": counts.changed,
        "missing": counts.missing,
        "removed": counts.removed,
        "purged": counts.purged if report.job == "purge" else None,
        "held": report.held,
        "attributes": list(report.held_attributes) or None,
        "rejected": counts.rejected,
        "settled": report.absences_confirmed,
        "approved": report.approved,
        "undone": report.undone,
        "revision": report.revision,
        "seconds": round(report.seconds, 3),
        "tried": list(report.failed_servers) or None,
    }


def _evidence_fields(report: Report) -> dict[str, Any]:
    """Return the evidence of the read; empty without one."""
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


def report_failure(job: JobKind, source: str, why: str, traceback: str = "") -> None:
    """Log a run that ended without a report, with the traceback of a defect; count it if it is a sync."""
    _report_without_run(log.SYNC_FAILED, job, source, why, Outcome.FAILED, exception=traceback or None)


def report_skip(job: JobKind, source: str, why: str) -> None:
    """Log a run that does not take place; count it if it is a sync."""
    _report_without_run(log.SYNC_SKIPPED, job, source, why, _SKIPPED)


def _report_without_run(event: log.Event, job: JobKind, source: str, why: str, outcome: str, **fields: Any) -> None:
    log.emit_throttled(event, _throttle_key(job, source), why, source=source, job=job, **fields)
    if job == "sync":
        metrics.SYNC_RUNS.labels(source, outcome).inc()


def _throttle_key(job: JobKind, source: str) -> str:
    """Return the key by which failures are rate-limited: another job of a source neither repeats nor ends them."""
    return source if job == "sync" else f"{job} of {source}"

"""Telling of a run: its one wide line in the log, its rejects, and its counts in the metrics."""

from syncd import log, metrics
from syncd.core.plan import Outcome, Report
from syncd.settings import LdapSource, Settings

_EVENTS = {
    Outcome.COMPLETED: log.SYNC_COMPLETED,
    Outcome.HELD: log.SYNC_HELD,
    Outcome.INCOMPLETE: log.SYNC_INCOMPLETE,
    Outcome.FAILED: log.SYNC_FAILED,
    Outcome.CRASHED: log.SYNC_FAILED,
}


def warn_of_clear_text(settings: Settings) -> None:
    """Say which sources cross a network without TLS; a Unix socket is no network."""
    for source in settings.source:
        if isinstance(source, LdapSource) and source.tls == "none":
            urls = [url for url in source.urls if not url.startswith("ldapi:")]
            if urls:
                log.emit(log.SOURCE_UNENCRYPTED, source=source.name, urls=urls)


def report_run(report: Report) -> None:
    """Log and count a run that came to an end of its own."""
    done, evidence = report.applied, report.evidence
    for reject in report.fresh_rejects:
        log.emit(
            log.SYNC_REJECTED_RECORD, source=report.source, run=report.run, key=reject.key, place=reject.place,
            reason=reject.reason,
        )  # fmt: skip
    log.emit(
        _EVENTS[report.outcome],
        source=report.source,
        run=report.run,
        entries=report.entries,
        added=done.added,
        changed=done.changed,
        removed=done.removed,
        held=report.held,
        rejected=done.rejected,
        revision=report.revision,
        seconds=round(report.seconds, 3),
        server=None if evidence is None else evidence.server,
        identity=None if evidence is None else evidence.identity,
        pages=None if evidence is None else evidence.pages,
        tried=list(report.tried) or None,
        why=report.why or None,
    )
    metrics.SYNC_RUNS.labels(report.source, report.outcome).inc()
    metrics.SYNC_SECONDS.labels(report.source).observe(report.seconds)
    for change, number in (("added", done.added), ("changed", done.changed), ("removed", done.removed)):
        metrics.SYNC_CHANGES.labels(report.source, change).inc(number)


def report_failure(source: str, why: str) -> None:
    """Log and count a run that could not tell its own end."""
    log.emit(log.SYNC_FAILED, source=source, why=why)
    metrics.SYNC_RUNS.labels(source, Outcome.FAILED).inc()

"""Reports of runs: the job in each log line, and which runs the metrics count."""

import io
import json
from typing import Any

import pytest

from syncd.app.reporting import report_failure, report_run, report_skip
from syncd.core.sync.plan import JobKind, Outcome, Report
from syncd.observability import log, metrics
from syncd.settings import Log
from tests.unit.test_log import _restore_logging  # noqa: F401 - an automatic fixture

OTHER_JOBS: list[JobKind] = ["undo", "purge"]


@pytest.fixture
def stream() -> io.StringIO:
    """Provide the stream of a JSON log."""
    output = io.StringIO()
    log.configure(Log(format="json"), output)
    return output


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def count_runs(source: str) -> float:
    """Return the number of runs of a source by the metrics, whatever their outcome."""
    samples = [sample for metric in metrics.SYNC_RUNS.collect() for sample in metric.samples]
    return sum(s.value for s in samples if s.name == "syncd_sync_runs_total" and s.labels["source"] == source)


def report_all(job: JobKind, source: str) -> None:
    """Report a skipped run, a run without report and a completed run."""
    report_skip(job, source, "another run is active")
    report_failure(job, source, "it failed")
    report_run(Report(job, source, Outcome.COMPLETED, run=7))


@pytest.mark.parametrize("job", OTHER_JOBS)
def test_other_jobs_are_no_syncs(stream: io.StringIO, job: JobKind) -> None:
    """Each line has the job; the number of syncs is unchanged."""
    report_all(job, f"corp-{job}")

    assert [(line["event"], line["job"]) for line in lines(stream)] == [
        ("sync.skipped", job), ("sync.failed", job), ("sync.completed", job)
    ]  # fmt: skip
    assert count_runs(f"corp-{job}") == 0


def test_every_sync_is_counted(stream: io.StringIO) -> None:
    """Without a report, skipped and completed."""
    report_all("sync", "corp-sync")

    assert {line.get("job") for line in lines(stream)} == {"sync", None}  # sync.recovered has none
    assert count_runs("corp-sync") == 3


@pytest.mark.parametrize("job", OTHER_JOBS)
def test_failures_of_jobs_are_throttled_apart(stream: io.StringIO, job: JobKind) -> None:
    """A failed undo or purge neither suppresses nor ends the failure of the syncs of its source."""
    source = f"corp-apart-{job}"
    report_failure("sync", source, "no answer")
    report_failure(job, source, "no answer")
    report_run(Report(job, source, Outcome.COMPLETED, run=8))
    report_run(Report("sync", source, Outcome.COMPLETED, run=9))

    assert [(line["event"], line.get("job")) for line in lines(stream)] == [
        ("sync.failed", "sync"), ("sync.failed", job), ("sync.completed", job), ("sync.completed", "sync"),
        ("sync.recovered", None),
    ]  # fmt: skip

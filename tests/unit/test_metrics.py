"""Metrics: every series that dashboards use, with its fixed name, type and labels."""

import re
from typing import Any

import pytest

from syncd.observability import metrics

FIXED = {
    "syncd_contacts": ("gauge", ["type"]),
    "syncd_missing_contacts": ("gauge", ["source"]),
    "syncd_sync_runs_total": ("counter", ["source", "outcome"]),
    "syncd_sync_duration_seconds": ("histogram", ["source"]),
    "syncd_sync_last_success_timestamp_seconds": ("gauge", ["source"]),
    "syncd_sync_changes_total": ("counter", ["source", "change"]),
    "syncd_sync_held_removals": ("gauge", ["source"]),
    "syncd_sync_rejected_records": ("gauge", ["source"]),
    "syncd_sync_held_attributes": ("gauge", ["source"]),
    "syncd_source_stale": ("gauge", ["source"]),
    "syncd_certificate_expiry_timestamp_seconds": ("gauge", ["source"]),
    "syncd_start_time_seconds": ("gauge", []),
    "syncd_alerts_total": ("counter", ["channel", "outcome"]),
    "syncd_database_up": ("gauge", []),
    "syncd_auth_attempts_total": ("counter", ["outcome"]),
    "syncd_http_streams": ("gauge", []),
    "syncd_http_requests_total": ("counter", ["method", "status"]),
    "syncd_http_request_duration_seconds": ("histogram", []),
    "syncd_event_loop_tasks": ("gauge", []),
}


def rendered() -> str:
    return metrics.render()[0].decode()


def test_every_fixed_series_has_its_type() -> None:
    """Each series of the contract exists with its type before a first value; no other series begins with syncd_."""
    types = dict(re.findall(r"^# TYPE (syncd_\w+) (\w+)$", rendered(), re.MULTILINE))

    assert types == {name: kind for name, (kind, _) in FIXED.items()}


@pytest.mark.parametrize("name", FIXED)
def test_every_fixed_series_has_its_labels(name: str) -> None:
    """A sample of each series has the labels of the contract in the rendered text."""
    labels = FIXED[name][1]
    series = {
        "syncd_contacts": metrics.CONTACTS,
        "syncd_missing_contacts": metrics.MISSING,
        "syncd_sync_runs_total": metrics.SYNC_RUNS,
        "syncd_sync_duration_seconds": metrics.SYNC_SECONDS,
        "syncd_sync_last_success_timestamp_seconds": metrics.SYNC_LAST_SUCCESS,
        "syncd_sync_changes_total": metrics.SYNC_CHANGES,
        "syncd_sync_held_removals": metrics.SYNC_HELD,
        "syncd_sync_rejected_records": metrics.SYNC_REJECTED,
        "syncd_sync_held_attributes": metrics.SYNC_HELD_ATTRIBUTES,
        "syncd_source_stale": metrics.SOURCE_STALE,
        "syncd_certificate_expiry_timestamp_seconds": metrics.CERTIFICATE_EXPIRY,
        "syncd_start_time_seconds": metrics.STARTED,
        "syncd_alerts_total": metrics.ALERTS,
        "syncd_database_up": metrics.DATABASE_UP,
        "syncd_auth_attempts_total": metrics.AUTH_ATTEMPTS,
        "syncd_http_streams": metrics.HTTP_STREAMS,
        "syncd_http_requests_total": metrics.HTTP_REQUESTS,
        "syncd_http_request_duration_seconds": metrics.HTTP_SECONDS,
        "syncd_event_loop_tasks": metrics.EVENT_LOOP_TASKS,
    }[name]
    child: Any = series.labels(**{label: f"test-{label}" for label in labels}) if labels else series
    match FIXED[name][0]:
        case "gauge":
            child.set(7)
            sample = (name, "7.0")
        case "counter":
            child.inc(2)
            sample = (name, "2.0")
        case _:
            child.observe(0.02)
            sample = (f"{name}_count", "1.0")

    text = ",".join(f'{label}="test-{label}"' for label in sorted(labels))
    assert f"{sample[0]}{{{text}}} {sample[1]}\n".replace("{}", "") in rendered()


def test_bounds_of_histograms() -> None:
    """Requests: 1 ms to 10 s; runs: 0.1 s to 30 min."""
    metrics.SYNC_SECONDS.labels("bounds").observe(120)
    text = rendered()

    requests = re.findall(r'^syncd_http_request_duration_seconds_bucket{le="([0-9.]+)"}', text, re.MULTILINE)
    runs = re.findall(r'^syncd_sync_duration_seconds_bucket{le="([0-9.]+)",source="bounds"}', text, re.MULTILINE)
    assert (requests[0], requests[-1]) == ("0.001", "10.0")
    assert (runs[0], runs[-1]) == ("0.1", "1800.0")


def test_metrics_of_the_process() -> None:
    """Memory and CPU time of the daemon are rendered beside our own series."""
    assert "process_resident_memory_bytes" in rendered()
    assert "process_cpu_seconds_total" in rendered()


def test_the_media_type_is_prometheus_text() -> None:
    """The media type is returned with the text."""
    assert metrics.render()[1].startswith("text/plain; version=")

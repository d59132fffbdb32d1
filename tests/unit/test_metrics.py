"""The metrics: every series that dashboards rely on, under its fixed name, type and labels."""

import re

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
    "syncd_notices_total": ("counter", ["channel", "outcome"]),
    "syncd_database_up": ("gauge", []),
    "syncd_sign_ins_total": ("counter", ["outcome"]),
    "syncd_http_feeds": ("gauge", []),
    "syncd_http_requests_total": ("counter", ["method", "status"]),
    "syncd_http_request_duration_seconds": ("histogram", []),
    "syncd_tasks": ("gauge", []),
}


def shown() -> str:
    return metrics.text()[0].decode()


def test_every_fixed_series_has_its_type() -> None:
    """Each name of the contract is there with its type before anything was counted; nothing else bears our name."""
    types = dict(re.findall(r"^# TYPE (syncd_\w+) (\w+)$", shown(), re.MULTILINE))

    assert types == {name: kind for name, (kind, _) in FIXED.items()}


@pytest.mark.parametrize("name", FIXED)
def test_every_fixed_series_has_its_labels(name: str) -> None:
    """A sample of each series carries the labels of the contract, in the text that is scraped."""
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
        "syncd_notices_total": metrics.NOTICES,
        "syncd_database_up": metrics.DATABASE_UP,
        "syncd_sign_ins_total": metrics.SIGN_INS,
        "syncd_http_feeds": metrics.HTTP_FEEDS,
        "syncd_http_requests_total": metrics.HTTP_REQUESTS,
        "syncd_http_request_duration_seconds": metrics.HTTP_SECONDS,
        "syncd_tasks": metrics.TASKS,
    }[name]
    child = series.labels(**{label: f"test-{label}" for label in labels}) if labels else series
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
    assert f"{sample[0]}{{{text}}} {sample[1]}\n".replace("{}", "") in shown()


def test_histograms_tell_fast_from_slow() -> None:
    """The bounds of requests lie round milliseconds to seconds, those of runs round a second to half an hour."""
    metrics.SYNC_SECONDS.labels("bounds").observe(120)
    text = shown()

    requests = re.findall(r'^syncd_http_request_duration_seconds_bucket{le="([0-9.]+)"}', text, re.MULTILINE)
    runs = re.findall(r'^syncd_sync_duration_seconds_bucket{le="([0-9.]+)",source="bounds"}', text, re.MULTILINE)
    assert (requests[0], requests[-1]) == ("0.001", "10.0")
    assert (runs[0], runs[-1]) == ("0.1", "1800.0")


def test_the_process_itself_is_measured() -> None:
    """Memory and processor time of the daemon are beside our own series."""
    assert "process_resident_memory_bytes" in shown()
    assert "process_cpu_seconds_total" in shown()


def test_the_media_type_is_prometheus_text() -> None:
    """A scraper is told what it gets."""
    assert metrics.text()[1].startswith("text/plain; version=")

"""Metrics: every series of /metrics. The only module that imports prometheus_client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# otherwise each counter has a second series with the time of its creation
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own annotations stop here
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CONTACTS = Gauge("syncd_contacts", "Contacts served", ["type"], registry=REGISTRY)
MISSING = Gauge(
    "syncd_missing_contacts", "Contacts absent from their source, within their grace", ["source"],
    registry=REGISTRY,
)  # fmt: skip
EVENT_LOOP_TASKS = Gauge(
    "syncd_event_loop_tasks", "Tasks of the event loop: requests and background work", registry=REGISTRY
)
SYNC_RUNS = Counter("syncd_sync_runs", "Runs by outcome", ["source", "outcome"], registry=REGISTRY)
SYNC_SECONDS = Histogram(
    "syncd_sync_duration_seconds", "Duration of a run", ["source"], registry=REGISTRY,
    buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800),
)  # fmt: skip
SYNC_LAST_SUCCESS = Gauge(
    "syncd_sync_last_success_timestamp_seconds", "End of the last complete run, Unix time", ["source"],
    registry=REGISTRY,
)  # fmt: skip
SYNC_CHANGES = Counter("syncd_sync_changes", "Contacts changed by runs", ["source", "change"], registry=REGISTRY)
SYNC_HELD = Gauge("syncd_sync_held_removals", "Held removals that wait for a decision", ["source"], registry=REGISTRY)
SYNC_HELD_ATTRIBUTES = Gauge(
    "syncd_sync_held_attributes", "Attributes whose held loss waits for a decision", ["source"],
    registry=REGISTRY,
)  # fmt: skip
SYNC_REJECTED = Gauge("syncd_sync_rejected_records", "Records rejected by the last run", ["source"], registry=REGISTRY)
SOURCE_STALE = Gauge(
    "syncd_source_stale", "Whether the last complete run is older than stale_after: 1 or 0", ["source"],
    registry=REGISTRY,
)  # fmt: skip
CERTIFICATE_EXPIRY = Gauge(
    "syncd_certificate_expiry_timestamp_seconds", "End of the directory server's certificate, Unix time", ["source"],
    registry=REGISTRY,
)  # fmt: skip
STARTED = Gauge("syncd_start_time_seconds", "Start of the daemon, Unix time", registry=REGISTRY)
DATABASE_UP = Gauge("syncd_database_up", "Whether the database answers: 1 or 0", registry=REGISTRY)
AUTH_ATTEMPTS = Counter("syncd_auth_attempts", "Sign-ins and wrong tokens, by outcome", ["outcome"], registry=REGISTRY)
ALERTS = Counter("syncd_alerts", "Alerts, by channel and outcome", ["channel", "outcome"], registry=REGISTRY)
HTTP_REQUESTS = Counter("syncd_http_requests", "Requests answered", ["method", "status"], registry=REGISTRY)
HTTP_STREAMS = Gauge("syncd_http_streams", "Streams and long polls that wait for changes", registry=REGISTRY)
HTTP_SECONDS = Histogram(
    "syncd_http_request_duration_seconds", "Time to answer a request", registry=REGISTRY,
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)  # fmt: skip


def render() -> tuple[bytes, str]:
    """Render all series in the Prometheus text format; return them with the media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST

"""The metrics: every series that /metrics shows. The only home of prometheus_client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# each counter would be shown twice, the second time as the moment of its making
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own annotations stop here
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CONTACTS = Gauge("syncd_contacts", "Contacts that are served", ["type"], registry=REGISTRY)
MISSING = Gauge(
    "syncd_missing_contacts", "Contacts that the source no longer has and whose grace runs", ["source"],
    registry=REGISTRY,
)  # fmt: skip
TASKS = Gauge("syncd_tasks", "Tasks of the event loop: requests under way and what runs beside them", registry=REGISTRY)
SYNC_RUNS = Counter("syncd_sync_runs", "Runs by outcome", ["source", "outcome"], registry=REGISTRY)
SYNC_SECONDS = Histogram(
    "syncd_sync_duration_seconds", "Duration of a run", ["source"], registry=REGISTRY,
    buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800),
)  # fmt: skip
SYNC_LAST_SUCCESS = Gauge(
    "syncd_sync_last_success_timestamp_seconds", "End of the last complete run, Unix time", ["source"],
    registry=REGISTRY,
)  # fmt: skip
SYNC_CHANGES = Counter("syncd_sync_changes", "Contacts that runs changed", ["source", "change"], registry=REGISTRY)
SYNC_HELD = Gauge(
    "syncd_sync_held_removals", "Removals that are held and wait for a decision", ["source"], registry=REGISTRY
)
SYNC_HELD_ATTRIBUTES = Gauge(
    "syncd_sync_held_attributes", "Attributes whose loss is held and waits for a decision", ["source"],
    registry=REGISTRY,
)  # fmt: skip
SYNC_REJECTED = Gauge("syncd_sync_rejected_records", "Records the last run rejected", ["source"], registry=REGISTRY)
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
SIGN_INS = Counter(
    "syncd_sign_ins", "Sign-ins, and wrong tokens, by what became of them", ["outcome"], registry=REGISTRY
)
NOTICES = Counter("syncd_notices", "Messages to people", ["channel", "outcome"], registry=REGISTRY)
HTTP_REQUESTS = Counter("syncd_http_requests", "Requests answered", ["method", "status"], registry=REGISTRY)
HTTP_FEEDS = Gauge("syncd_http_feeds", "Callers that wait for changes", registry=REGISTRY)
HTTP_SECONDS = Histogram(
    "syncd_http_request_duration_seconds", "Time to answer a request", registry=REGISTRY,
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)  # fmt: skip


def text() -> tuple[bytes, str]:
    """All series in the Prometheus text format, and its media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST

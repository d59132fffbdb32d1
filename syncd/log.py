"""The log: every event that syncd can report, and the one way to report it. The only home of structlog.

One wide line for each sync run and each request. README's table of events is made from `EVENTS`; a test compares them.
"""

import io
import logging
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from syncd.settings import Log


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line: its name, its level, the fields it may carry, and what an operator makes of it."""

    name: str
    level: str
    fields: tuple[str, ...]
    meaning: str
    action: str


_RUN = (
    "source", "run", "job", "entries", "added", "changed", "missing", "removed", "purged", "held", "attributes",
    "rejected", "complete", "settled", "approved", "undone", "revision", "seconds", "server", "identity", "pages",
    "codes", "references", "tried", "why",
)  # fmt: skip

DAEMON_STARTED = Event(
    "daemon.started", "info", ("version", "listen", "sources", "pid"), "serving requests; schedules are running", "none"
)
DAEMON_STOPPING = Event("daemon.stopping", "info", ("reason",), "no new requests or runs; draining", "none")
DAEMON_STOPPED = Event("daemon.stopped", "info", ("seconds",), "everything is closed", "none")
SOURCE_UNENCRYPTED = Event(
    "source.unencrypted", "warning", ("source", "urls"),
    'tls = "none": names and passwords cross the network in clear', "set tls to ldaps or starttls",
)  # fmt: skip
SYNC_COMPLETED = Event(
    "sync.completed", "info", _RUN, "what a complete read brings was applied, or an undo or purge was", "none"
)
SYNC_HELD = Event(
    "sync.held",
    "warning",
    _RUN,
    "additions and changes applied; removals, or the loss of attributes, held by the guard",
    "see why; `syncd held` lists them, `syncd approve RUN` releases exactly that list, `syncd reject RUN` keeps them",
)
SYNC_INCOMPLETE = Event(
    "sync.incomplete", "error", _RUN, "the read proves nothing; the directory stays as it was", "see why"
)
SYNC_FAILED = Event(
    "sync.failed",
    "error",
    (*_RUN, "exception"),
    "the run ended with an error; the directory stays as it was",
    "see why",
)
SYNC_SKIPPED = Event(
    "sync.skipped", "info", ("source", "why"), "another run of this source is still going", "raise `every` if frequent"
)
SYNC_REJECTED_RECORD = Event(
    "sync.rejected_record", "warning", ("source", "run", "key", "place", "reason"),
    "a record could not be mapped; its stored contact stays", "mend the record at its source",
)  # fmt: skip
APPROVAL_VOID = Event(
    "approval.void", "warning", ("source", "run", "why"),
    "a person's approval did not fit what this run would remove, so it was not used and is void",
    "`syncd held`; approve the new list if it is right",
)  # fmt: skip
DATABASE_LOST = Event(
    "database.lost", "error", ("why",), "the database does not answer; requests get 503, no run starts", "see why"
)
DATABASE_BACK = Event("database.back", "info", ("seconds",), "the database answers again", "none")
HTTP_REQUEST = Event(
    "http.request", "info",
    ("method", "path", "status", "seconds", "bytes", "caller", "role", "request_id", "exception"),
    "one request was answered", "level error and status 500: report the traceback",
)  # fmt: skip
LIBRARY = Event("library", "warning", ("logger", "message", "exception"), "a library reports something", "see message")

EVENTS = (
    DAEMON_STARTED, DAEMON_STOPPING, DAEMON_STOPPED, SOURCE_UNENCRYPTED, SYNC_COMPLETED, SYNC_HELD, SYNC_INCOMPLETE,
    SYNC_FAILED, SYNC_SKIPPED, SYNC_REJECTED_RECORD, APPROVAL_VOID, DATABASE_LOST, DATABASE_BACK, HTTP_REQUEST, LIBRARY,
)  # fmt: skip


def configure(settings: Log, stream: TextIO) -> None:
    """Send every event at or above the level to the stream: JSON, or a readable form when that is a terminal."""
    readable = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    renderer: list[Any] = (
        # its own tracebacks would show local variables, secrets among them
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # a strange name must not end a run
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    # libraries speak only when something is wrong, through the same form
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def _ordered(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What every line has comes first, so that lines can be read one below the other."""
    return {name: line.pop(name) for name in ("timestamp", "level", "event")} | dict(line)


def emit(event: Event, *, level: str | None = None, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line. `fields` are among the event's own; `error` adds a traceback; None values are left out."""
    unknown = set(fields) - set(event.fields)
    if unknown:
        raise TypeError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    facts = {name: fields[name] for name in event.fields if fields.get(name) is not None}
    if error is not None:
        facts["exc_info"] = error
    getattr(structlog.get_logger(), level or event.level)(event.name, **facts)


class _Libraries(logging.Handler):
    """Carries what libraries log into our stream."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its text; whoever logs must not fail by it
            message = str(record.msg)
        emit(LIBRARY, level=level, error=error, logger=record.name, message=message)

"""Log events and their output. The only module that imports structlog.

One wide line for each sync run and each request. syncd-events(7) is generated from `EVENTS`.
"""

import io
import logging
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from syncd.core.operations.error_text import format_traceback
from syncd.core.operations.log_throttle import LogThrottle, Recovered
from syncd.observability import journal, library_log
from syncd.settings import Log


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of log line: its name, level and allowed fields, with meaning and action for operators."""

    name: str
    level: str
    fields: tuple[str, ...]
    meaning: str
    action: str


_RUN_FIELDS = (
    "source", "run", "job", "entries", "added", "changed", "missing", "removed", "purged", "held", "attributes",
    "rejected", "complete", "settled", "approved", "undone", "revision", "seconds", "server", "identity", "pages",
    "codes", "references", "tried", "repeated", "why",
)  # fmt: skip

DAEMON_STARTED = Event(
    "daemon.started", "info", ("version", "listen", "sources", "pid"), "serving requests; schedules are running", "none"
)
DAEMON_STOPPING = Event("daemon.stopping", "info", ("reason",), "no new requests or runs; draining", "none")
DAEMON_STOPPED = Event("daemon.stopped", "info", ("seconds",), "everything is closed", "none")
DAEMON_STALLED = Event(
    "daemon.stalled", "error", ("why", "repeated"),
    "a component makes no progress; the watchdog of systemd is no longer notified and restarts the daemon",
    "report it, with the lines before",
)  # fmt: skip
SETTINGS_RELOADED = Event(
    "settings.reloaded", "info", ("changed", "needs_restart"),
    "the settings were reloaded and are in force, except the keys under needs_restart",
    "restart for the keys under needs_restart",
)  # fmt: skip
SETTINGS_REJECTED = Event(
    "settings.rejected", "error", ("problems",),
    "the reloaded settings are invalid; the former ones stay in force", "correct each problem, reload",
)  # fmt: skip
SOURCE_UNENCRYPTED = Event(
    "source.unencrypted", "warning", ("source", "urls"),
    'tls = "none": names and passwords cross the network unencrypted', "set tls to ldaps or starttls",
)  # fmt: skip
SYNC_COMPLETED = Event(
    "sync.completed", "info", _RUN_FIELDS, "the changes of a complete read, an undo or a purge were applied", "none"
)
SYNC_HELD = Event(
    "sync.held",
    "warning",
    _RUN_FIELDS,
    "additions and changes applied; removals, or the loss of attributes, held by the guard",
    "see why; `syncd held` lists them, `syncd approve RUN` releases exactly that list, `syncd reject RUN` keeps them",
)
SYNC_INCOMPLETE = Event(
    "sync.incomplete", "error", _RUN_FIELDS, "the read was incomplete; the directory is unchanged", "see why"
)
SYNC_FAILED = Event(
    "sync.failed",
    "error",
    (*_RUN_FIELDS, "exception"),
    "the run ended with an error; the directory is unchanged",
    "see why",
)
SYNC_SKIPPED = Event(
    "sync.skipped", "info", ("source", "job", "repeated", "why"),
    "no run took place: the previous one has not ended, or the database is lost", "raise `every` if frequent",
)  # fmt: skip
SYNC_RECOVERED = Event(
    "sync.recovered", "info", ("source", "run", "times", "seconds"),
    "a source is read again after runs that failed, were incomplete or did not take place; times is their number",
    "none",
)  # fmt: skip
SYNC_REJECTED_RECORD = Event(
    "sync.rejected_record", "warning", ("source", "run", "key", "place", "reason"),
    "a record could not be mapped; its stored contact is unchanged", "correct the record at its source",
)  # fmt: skip
APPROVAL_INVALIDATED = Event(
    "approval.invalidated", "warning", ("source", "run", "why"),
    "an approval did not match the removals of this run; it was not used and is no longer valid",
    "`syncd held`; approve the new list if it is right",
)  # fmt: skip
DATABASE_LOST = Event(
    "database.lost", "error", ("repeated", "why"), "the database does not answer; requests get 503, no run starts",
    "see why",
)  # fmt: skip
DATABASE_BACK = Event(
    "database.back", "info", ("seconds", "refused"),
    "the database answers again; refused is the number of requests refused meanwhile", "none",
)  # fmt: skip
AUTH_FAILED = Event(
    "auth.failed", "warning",
    ("kind", "account", "client", "failures", "client_failures", "unchecked", "seconds", "why"),
    "a wrong password or token, or a user in none of the groups; unchecked is the number of earlier attempts "
    "that were not checked, seconds the time without further checks",
    "many failures: examine that client; none of the groups: `admin_groups`, `agent_groups`",
)  # fmt: skip
AUTH_UNAVAILABLE = Event(
    "auth.unavailable", "error", ("repeated", "why"),
    "no directory server can check passwords; tokens and recent sign-ins are still accepted", "see why",
)  # fmt: skip
AUTH_RESTORED = Event("auth.restored", "info", ("seconds",), "passwords are checked again", "none")
AUTH_GROUP_MISSING = Event(
    "auth.group_missing", "warning", ("group", "repeated"),
    "the directory server has no such group, or does not show it to the bind DN of the source",
    "correct the group's DN in [authentication]",
)  # fmt: skip
ALERT_SENT = Event(
    "alert.sent", "info", ("channel", "kind", "about"),
    "an alert was sent: a new problem (kind problem), a doubled number (worse) or a resolved problem (recovery)",
    "none",
)  # fmt: skip
ALERT_FAILED = Event(
    "alert.failed", "warning", ("channel", "kind", "about", "repeated", "why"),
    "an alert could not be sent; it is retried, the delay doubles up to five minutes", "see why",
)  # fmt: skip
HTTP_REQUEST = Event(
    "http.request", "info",
    ("method", "path", "status", "seconds", "bytes", "client", "caller", "role", "repeated", "exception"),
    "a request was answered", "level error and status 500: report the traceback",
)  # fmt: skip
HTTP_LIMITED = Event(
    "http.limited", "warning", ("setting", "connections"),
    "the limit of open files is too low for http.max_connections; connections is the limit in force",
    "raise LimitNOFILE= in the unit, or lower the setting",
)  # fmt: skip
LIBRARY = Event(
    "library", "warning", ("logger", "message", "repeated", "exception"), "a library reports a problem", "see message"
)

EVENTS = (
    DAEMON_STARTED, DAEMON_STOPPING, DAEMON_STOPPED, DAEMON_STALLED, SETTINGS_RELOADED, SETTINGS_REJECTED,
    SOURCE_UNENCRYPTED, SYNC_COMPLETED, SYNC_HELD, SYNC_INCOMPLETE,
    SYNC_FAILED, SYNC_SKIPPED, SYNC_RECOVERED, SYNC_REJECTED_RECORD, APPROVAL_INVALIDATED, DATABASE_LOST, DATABASE_BACK,
    AUTH_FAILED, AUTH_UNAVAILABLE, AUTH_RESTORED, AUTH_GROUP_MISSING, ALERT_SENT, ALERT_FAILED, HTTP_REQUEST,
    HTTP_LIMITED, LIBRARY,
)  # fmt: skip


request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current HTTP request; each line that is written in its context has it as `request_id`."""

_throttle = LogThrottle(3600)


def configure(settings: Log, stream: TextIO) -> None:
    """Write every event at or above the level to a stream: as JSON, or in a readable form on a terminal.

    If the stream leads to the systemd journal, entries go to the journal instead: the JSON as MESSAGE, beside fields.
    """
    global _throttle  # noqa: PLW0603 - the log is the process's, as structlog's own configuration is
    _throttle = LogThrottle(settings.repeat_interval.total_seconds())
    reconfigure(settings, stream)


def reconfigure(settings: Log, stream: TextIO) -> None:
    """Apply new settings; the state of the throttle is kept."""
    _throttle.interval = settings.repeat_interval.total_seconds()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(
            encoding="utf-8", errors="backslashreplace"
        )  # a name that is not valid text must not end a run
    renderer, factory = _select_output(settings, stream)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    library_log.install(_emit_library)


def _select_output(settings: Log, stream: TextIO) -> tuple[list[Any], Any]:
    """Return the last structlog processors, and the factory of the logger that writes what they return."""
    if settings.format == "console" or (settings.format == "auto" and stream.isatty()):
        plain = structlog.dev.plain_traceback  # other formatters announce that they do not format
        readable = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
        return [_format_error, readable], structlog.PrintLoggerFactory(stream)
    facts = [_format_error, _order_fields]
    if journal.is_journal(stream):
        logger = _JournalLogger(stream)
        return [*facts, _to_journal_entry], lambda: logger
    return [*facts, _render_json], structlog.PrintLoggerFactory(stream)


_render_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def _format_error(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace an exception by its traceback without local variables and data: see `error_text`."""
    error = line.pop("exc_info", None)
    if error is not None:
        line["exception"] = format_traceback(error).rstrip("\n")
    return line


def _order_fields(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put the fields of every line first, so that lines can be compared by eye."""
    return {name: line.pop(name) for name in ("timestamp", "level", "event")} | dict(line)


_MESSAGE_NAMESPACE = uuid.UUID("8d7a3f0e-4c55-4b1e-9a53-6f2a1f0c7d11")


def message_id(event: str) -> str:
    """Return the MESSAGE_ID of an event in the journal: 32 hex digits, derived from its name and therefore constant."""
    return uuid.uuid5(_MESSAGE_NAMESPACE, event).hex


_PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3"}  # syslog(3)
_JOURNAL_FIELDS = {
    "event": "SYNCD_EVENT",
    "source": "SYNCD_SOURCE",
    "run": "SYNCD_RUN",
    "request_id": "SYNCD_REQUEST_ID",
}


def _to_journal_entry(
    logger: Any, method: str, line: structlog.typing.EventDict
) -> tuple[tuple[dict[str, str]], dict[str, Any]]:
    """Convert a line into a journal entry: the arguments for the logger, as a structlog processor returns them."""
    fields = {
        "MESSAGE": str(_render_json(logger, method, line)),
        "PRIORITY": _PRIORITIES[line["level"]],
        "SYSLOG_IDENTIFIER": "syncd",
        "MESSAGE_ID": message_id(line["event"]),
    }
    return (fields | {field: str(line[name]) for name, field in _JOURNAL_FIELDS.items() if name in line},), {}


class _JournalLogger:
    """A logger for structlog that writes journal entries: one method for each level."""

    def __init__(self, stream: TextIO) -> None:
        self.debug = self.info = self.warning = self.error = journal.Journal(stream).write


def emit(event: Event, *, level: str | None = None, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line; `error` adds a traceback, fields that are None are omitted.

    Raises TypeError for a field that the event does not have.
    """
    unknown = set(fields) - set(event.fields)
    if unknown:
        raise TypeError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    facts = {name: fields[name] for name in event.fields if fields.get(name) is not None}
    if (current := request_id.get()) is not None:
        facts["request_id"] = current
    if error is not None:
        facts["exc_info"] = error
    getattr(structlog.get_logger(), level or event.level)(event.name, **facts)


def emit_throttled(event: Event, subject: str, reason: str, /, **fields: Any) -> None:
    """Write the line of a failure that may last for hours, unless it was logged less than `log.repeat_interval` ago.

    A second reason is logged at once, but the reason of an event of level info is ignored. The field `repeated` counts
    the lines that were suppressed. Raises TypeError as `emit` does.
    """
    repeated = _throttle.admit(subject, event.name, None if event.level == "info" else reason, time.monotonic())
    if repeated is None:
        return
    if "why" in event.fields:
        fields["why"] = reason
    emit(event, repeated=repeated or None, **fields)


def recovered(subject: str) -> Recovered | None:
    """End the failure of a subject that `emit_throttled` has logged, and return its summary; None without a failure.

    The caller logs the recovery.
    """
    return _throttle.recover(subject, time.monotonic())


def _emit_library(logger: str, text: str, message: str, level: str, error: BaseException | None) -> None:
    """Write the record of a library as an event; records with the same text, before its arguments, are repetitions."""
    emit_throttled(LIBRARY, f"{logger} {text}", message, level=level, error=error, logger=logger, message=message)

"""The log: every event that syncd can report, and the one way to report it. The only home of structlog.

One wide line for each sync run and each request. README's table of events is made from `EVENTS`; a test compares them.
"""

import io
import logging
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from syncd.core.operations.log_throttle import Ended, Repetition
from syncd.observability import journal
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
    "codes", "references", "tried", "repeated", "why",
)  # fmt: skip

DAEMON_STARTED = Event(
    "daemon.started", "info", ("version", "listen", "sources", "pid"), "serving requests; schedules are running", "none"
)
DAEMON_STOPPING = Event("daemon.stopping", "info", ("reason",), "no new requests or runs; draining", "none")
DAEMON_STOPPED = Event("daemon.stopped", "info", ("seconds",), "everything is closed", "none")
DAEMON_STUCK = Event(
    "daemon.stuck", "error", ("why", "repeated"),
    "a part makes no progress; the service manager is told nothing more, so that its watchdog starts the daemon again",
    "report it, with the lines before",
)  # fmt: skip
SETTINGS_RELOADED = Event(
    "settings.reloaded", "info", ("changed", "needs_restart"),
    "the settings were read anew and are in force, but for what is listed under needs_restart",
    "restart for what is listed there",
)  # fmt: skip
SETTINGS_REFUSED = Event(
    "settings.refused", "error", ("problems",),
    "the settings were read anew and cannot be used; the former ones stay in force", "correct each problem, reload",
)  # fmt: skip
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
    "sync.skipped", "info", ("source", "repeated", "why"),
    "no run took place: the last one is still going, or the database is lost", "raise `every` if frequent",
)  # fmt: skip
SYNC_RECOVERED = Event(
    "sync.recovered", "info", ("source", "run", "times", "seconds"),
    "a source is read again after runs that failed, were incomplete or did not take place, so many times", "none",
)  # fmt: skip
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
    "database.lost", "error", ("repeated", "why"), "the database does not answer; requests get 503, no run starts",
    "see why",
)  # fmt: skip
DATABASE_BACK = Event(
    "database.back", "info", ("seconds", "refused"),
    "the database answers again; so many requests were refused meanwhile", "none",
)  # fmt: skip
ACCESS_REFUSED = Event(
    "access.refused", "warning",
    ("kind", "account", "client", "failures", "client_failures", "unchecked", "seconds", "why"),
    "a wrong password or token, or somebody in none of the groups; for so many seconds nothing new is checked, and so "
    "many attempts before were not",
    "many failures: ask who is at that address; none of the groups: `admin_groups`, `agent_groups`",
)  # fmt: skip
SIGN_IN_LOST = Event(
    "sign_in.lost", "error", ("repeated", "why"),
    "no directory server can check passwords; tokens, and who signed in not long ago, get in all the same", "see why",
)  # fmt: skip
SIGN_IN_BACK = Event("sign_in.back", "info", ("seconds",), "passwords are checked again", "none")
SIGN_IN_GROUP_MISSING = Event(
    "sign_in.group_missing", "warning", ("group", "repeated"),
    "the directory server has no such group, or does not show it to the bind DN of the source",
    "correct the group's DN in [sign_in]",
)  # fmt: skip
NOTICE_SENT = Event(
    "notice.sent", "info", ("channel", "kind", "about"),
    "people were told that something is wrong (kind problem, or worse when it has doubled) or over (recovery)", "none",
)  # fmt: skip
NOTICE_FAILED = Event(
    "notice.failed", "warning", ("channel", "kind", "about", "repeated", "why"),
    "people could not be told; it is tried again, after twice the time up to five minutes", "see why",
)  # fmt: skip
HTTP_REQUEST = Event(
    "http.request", "info",
    ("method", "path", "status", "seconds", "bytes", "client", "caller", "role", "repeated", "exception"),
    "one request was answered", "level error and status 500: report the traceback",
)  # fmt: skip
HTTP_LIMITED = Event(
    "http.limited", "warning", ("setting", "connections"),
    "the system lets this process have too few open files for http.max_connections; so many connections are served",
    "raise LimitNOFILE= in the unit, or lower the setting",
)  # fmt: skip
LIBRARY = Event(
    "library", "warning", ("logger", "message", "repeated", "exception"), "a library reports something", "see message"
)

EVENTS = (
    DAEMON_STARTED, DAEMON_STOPPING, DAEMON_STOPPED, DAEMON_STUCK, SETTINGS_RELOADED, SETTINGS_REFUSED,
    SOURCE_UNENCRYPTED, SYNC_COMPLETED, SYNC_HELD, SYNC_INCOMPLETE,
    SYNC_FAILED, SYNC_SKIPPED, SYNC_RECOVERED, SYNC_REJECTED_RECORD, APPROVAL_VOID, DATABASE_LOST, DATABASE_BACK,
    ACCESS_REFUSED, SIGN_IN_LOST, SIGN_IN_BACK, SIGN_IN_GROUP_MISSING, NOTICE_SENT, NOTICE_FAILED, HTTP_REQUEST,
    HTTP_LIMITED, LIBRARY,
)  # fmt: skip


request: ContextVar[str | None] = ContextVar("request", default=None)
"""The id of the request that is being answered; every line that is written meanwhile carries it as `request_id`."""

_repetition = Repetition(3600)


def configure(settings: Log, stream: TextIO) -> None:
    """Send every event at or above the level to the stream: JSON, or a readable form when that is a terminal.

    A stream that leads to the journal is passed by: the journal gets the JSON as MESSAGE, and facts as its fields.
    """
    global _repetition  # noqa: PLW0603 - the log is the process's, as structlog's own configuration is
    _repetition = Repetition(settings.repeat.total_seconds())
    reconfigure(settings, stream)


def reconfigure(settings: Log, stream: TextIO) -> None:
    """The same in the midst of things: which troubles are going on is not forgotten."""
    _repetition.period = settings.repeat.total_seconds()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # a strange name must not end a run
    renderer, factory = _form(settings, stream)
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
    # libraries speak only when something is wrong, through the same form
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def _form(settings: Log, stream: TextIO) -> tuple[list[Any], Any]:
    """How lines are made, and where they go."""
    if settings.format == "console" or (settings.format == "auto" and stream.isatty()):
        # its own tracebacks would show local variables, secrets among them
        plain = structlog.dev.plain_traceback
        readable = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)
        return [readable], structlog.PrintLoggerFactory(stream)
    facts = [structlog.processors.format_exc_info, _ordered]
    if journal.receives(stream):
        logger = _Journalled(stream)
        return [*facts, _entry], lambda: logger
    return [*facts, _json], structlog.PrintLoggerFactory(stream)


_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def _ordered(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What every line has comes first, so that lines can be read one below the other."""
    return {name: line.pop(name) for name in ("timestamp", "level", "event")} | dict(line)


_MESSAGES = uuid.UUID("8d7a3f0e-4c55-4b1e-9a53-6f2a1f0c7d11")


def message_id(event: str) -> str:
    """The journal's MESSAGE_ID of an event: 32 hex digits that follow from its name and so never change."""
    return uuid.uuid5(_MESSAGES, event).hex


_PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3"}  # syslog(3)
_FIELDS = {"event": "SYNCD_EVENT", "source": "SYNCD_SOURCE", "run": "SYNCD_RUN", "request_id": "SYNCD_REQUEST_ID"}


def _entry(logger: Any, method: str, line: structlog.typing.EventDict) -> tuple[tuple[dict[str, str]], dict[str, Any]]:
    """A line as an entry of the journal; the arguments of the logger that follows."""
    fields = {
        "MESSAGE": str(_json(logger, method, line)),
        "PRIORITY": _PRIORITIES[line["level"]],
        "SYSLOG_IDENTIFIER": "syncd",
        "MESSAGE_ID": message_id(line["event"]),
    }
    return (fields | {field: str(line[name]) for name, field in _FIELDS.items() if name in line},), {}


class _Journalled:
    """The last link of the chain, as structlog wants it: a method for each level."""

    def __init__(self, stream: TextIO) -> None:
        self.debug = self.info = self.warning = self.error = journal.Journal(stream).write


def emit(event: Event, *, level: str | None = None, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line. `fields` are among the event's own; `error` adds a traceback; None values are left out."""
    unknown = set(fields) - set(event.fields)
    if unknown:
        raise TypeError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    facts = {name: fields[name] for name in event.fields if fields.get(name) is not None}
    if (request_id := request.get()) is not None:
        facts["request_id"] = request_id
    if error is not None:
        facts["exc_info"] = error
    getattr(structlog.get_logger(), level or event.level)(event.name, **facts)


def trouble(event: Event, about: str, why: str, /, **fields: Any) -> None:
    """Write the line of something that may go on for hours, unless the same was told less than `log.repeat` ago.

    `about` is what is in trouble, `why` tells one reason from another, except that of an event which by itself is no
    trouble; `repeated` counts what was passed over.
    """
    repeated = _repetition.admit(about, event.name, None if event.level == "info" else why, time.monotonic())
    if repeated is None:
        return
    if "why" in event.fields:
        fields["why"] = why
    emit(event, repeated=repeated or None, **fields)


def over(about: str) -> Ended | None:
    """What is told by `trouble` about this is over; None when nothing was. The caller knows the line for it."""
    return _repetition.end(about, time.monotonic())


class _Libraries(logging.Handler):
    """Carries what libraries log into our stream."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its text; whoever logs must not fail by it
            message = str(record.msg)
        about = f"{record.name} {record.msg}"
        trouble(LIBRARY, about, message, level=level, error=error, logger=record.name, message=message)

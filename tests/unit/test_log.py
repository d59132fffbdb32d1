"""The log: one line per event, fields in a fixed order, no secret, for every output."""

import ast
import asyncio
import gc
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.observability import log
from syncd.settings import Log

PACKAGE = Path(log.__file__).parents[1]
FIXED = {
    "daemon.started", "daemon.stopping", "sync.completed", "sync.incomplete", "sync.held", "sync.failed",
    "sync.skipped", "sync.rejected_record", "http.request", "database.lost", "database.back", "daemon.stalled",
    "settings.rejected", "settings.reloaded", "auth.failed", "auth.unavailable", "auth.restored", "alert.sent",
    "alert.failed", "approval.invalidated",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Logging is global to the process: restore it for the next test."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.unraisablehook
    yield
    sys.unraisablehook = hook
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    """The stream of a JSON log with every level."""
    output = io.StringIO()
    log.configure(Log(format="json", level="debug"), output)
    return output


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_begins_with_time_level_and_event(stream: io.StringIO) -> None:
    """The fields follow in the order of the event."""
    log.emit(log.SYNC_HELD, why="too many", source="corp", removed=0, held=7)

    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "source", "removed", "held", "why"]
    assert (line["level"], line["event"], line["held"]) == ("warning", "sync.held", 7)


def test_the_time_is_utc_as_in_rfc_3339(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with Z in any time zone of the machine, and it is the current time."""
    log.emit(log.DAEMON_STOPPED, seconds=1)

    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=1)


def test_a_field_that_the_event_does_not_have_is_an_error(stream: io.StringIO) -> None:
    """The table of events is complete, because other fields cannot be written."""
    with pytest.raises(TypeError, match=r"^sync\.skipped has no field password, user$"):
        log.emit(log.SYNC_SKIPPED, source="corp", user="x", password="y")

    assert stream.getvalue() == ""


def test_a_field_without_a_value_is_left_out(stream: io.StringIO) -> None:
    """None is omitted; zero and an empty text are written."""
    log.emit(log.SYNC_COMPLETED, source="corp", why=None, added=0, server="")

    assert list(lines(stream)[0])[3:] == ["source", "added", "server"]


def test_an_error_has_its_traceback(stream: io.StringIO) -> None:
    """The traceback is one field of the same line, with the cause and without values of local variables."""
    try:
        fail("hunter2")
    except RuntimeError as error:
        log.emit(log.HTTP_REQUEST, level="error", error=error, path="/x")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError" in line["exception"]
    assert line["exception"].endswith("RuntimeError")
    assert "hunter2" not in line["exception"].replace('fail("hunter2")', "")


def fail(password: str) -> None:
    try:
        1 / (len(password) * 0)
    except ZeroDivisionError as error:
        raise RuntimeError("broken") from error


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_lines_below_the_level_are_not_written(level: str, expected: int) -> None:
    """At the level error only errors are written."""
    stream = io.StringIO()
    log.configure(Log.model_validate({"format": "json", "level": level}), stream)

    log.emit(log.SYNC_COMPLETED, source="corp")
    log.emit(log.SYNC_HELD, source="corp")
    log.emit(log.SYNC_FAILED, source="corp")

    assert len(lines(stream)) == expected


def test_warnings_of_libraries_are_events(stream: io.StringIO) -> None:
    """A warning, an error with its traceback and a Python warning are logged; lines of level info are not."""
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("pool of %d is %s", 5, "full")
    try:
        fail("x")
    except RuntimeError:
        library.exception("it broke")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old name", DeprecationWarning, stacklevel=1)

    first, second, third = lines(stream)
    assert list(first) == ["timestamp", "level", "event", "logger", "message"]
    assert (first["level"], first["event"], first["logger"]) == ("warning", "library", "some.library")
    assert first["message"] == "pool of 5 is full"
    assert (second["level"], second["message"]) == ("error", "it broke")
    assert second["exception"].endswith("\nRuntimeError")
    assert (third["logger"], "old name" in third["message"]) == ("py.warnings", True)


def test_an_invalid_log_call_of_a_library_does_not_fail() -> None:
    """Arguments that do not fit the text are a defect of the library, not an error of its caller."""
    output = child(
        "import logging", "log.configure(Log(), sys.stdout)", 'logging.getLogger("a.library").error("%d of %d", "x")'
    )

    assert json.loads(output)["message"] == "%d of %d"


def test_every_line_of_a_request_carries_its_id(stream: io.StringIO) -> None:
    """Lines of libraries and other modules, too; lines outside of a request have none."""
    token = log.request_id.set("r-1")
    logging.getLogger("some.library").warning("slow")
    log.emit(log.SYNC_HELD, source="corp")
    log.request_id.reset(token)
    log.emit(log.SYNC_HELD, source="corp")

    assert [line.get("request_id") for line in lines(stream)] == ["r-1", "r-1", None]


def test_a_repeated_failure_is_logged_once_and_its_end_has_the_count(stream: io.StringIO) -> None:
    """A thousand equal failures are one line; another reason and another source are lines of their own."""
    for _ in range(1000):
        log.emit_throttled(log.SYNC_FAILED, "corp", "no route after 3 s", source="corp")
        log.emit_throttled(log.SYNC_FAILED, "acd", "no file", source="acd")
    log.emit_throttled(log.SYNC_FAILED, "corp", "refused", source="corp")

    recovery = log.recovered("corp")

    assert [(line["source"], line["why"]) for line in lines(stream)] == [
        ("corp", "no route after 3 s"), ("acd", "no file"), ("corp", "refused"),
    ]  # fmt: skip
    assert lines(stream)[2]["repeated"] == 999
    assert recovery is not None
    assert (recovery.times, recovery.kinds) == (1001, frozenset({"sync.failed"}))
    assert log.recovered("corp") is None


def test_repeated_lines_of_a_library_are_logged_once(stream: io.StringIO) -> None:
    """A failure of a day is logged once an hour; another line is logged at once."""
    for number in range(100):
        logging.getLogger("some.library").warning("connection %d is lost", number)
    logging.getLogger("some.library").warning("the pool is closed")

    assert [line["message"] for line in lines(stream)] == ["connection 0 is lost", "the pool is closed"]


@pytest.mark.parametrize("text", ["Zoë 李 👩‍👩‍👧", "a\nb\r\u2028c", '"}{', "\x1b[31m", "\0"])
def test_one_event_is_one_line_for_any_value(stream: io.StringIO, text: str) -> None:
    """No value can forge a second line."""
    log.emit(log.SYNC_SKIPPED, source="corp", why=text)

    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["why"] == text


def test_text_is_not_escaped(stream: io.StringIO) -> None:
    """Names outside of ASCII stay readable."""
    log.emit(log.SYNC_SKIPPED, source="corp", why="Zoë")

    assert '"Zoë"' in stream.getvalue()


def child(*statements: str, **environment: str) -> bytes:
    """Run statements in a process that logs to its stdout, and return its output."""
    code = "; ".join(
        ("import sys", "from syncd.observability import log", "from syncd.settings import Log", *statements)
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, **environment}, timeout=60
    )
    assert run.stderr == b""
    return run.stdout


def test_a_log_is_utf_8_in_any_locale() -> None:
    """A name outside of the locale's character set, or one that is not valid text, is no error."""
    output = child(
        "log.configure(Log(), sys.stdout)",
        'log.emit(log.SYNC_SKIPPED, source="corp", why="Łódź")',
        r'log.emit(log.SYNC_SKIPPED, source="corp", why="a\udc80b")',
        PYTHONIOENCODING="latin-1:strict",
    ).decode("utf-8")

    first, second = output.splitlines()
    assert json.loads(first)["why"] == "Łódź"
    assert json.loads(second)["why"] == "a\udc80b"


def test_away_from_a_terminal_auto_is_json() -> None:
    """Under systemd and in a pipe, the format is JSON."""
    output = child("log.configure(Log(), sys.stdout)", "log.emit(log.DAEMON_STOPPED, seconds=1)")

    assert json.loads(output)["event"] == "daemon.stopped"


def on_terminal(settings: Log, password: str = "hunter2") -> str:
    """Log to a real terminal, an error included, and return its output."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        log.configure(settings, terminal)
        log.emit(log.SYNC_COMPLETED, source="corp", added=3)
        try:
            fail(password)
        except RuntimeError as error:
            log.emit(log.SYNC_FAILED, error=error, source="corp")
    output = b""
    with suppress(OSError):  # a terminal reports the end of its other side as an error
        while data := os.read(reader, 65536):
            output += data
    os.close(reader)
    return output.decode()


def test_on_a_terminal_auto_is_readable() -> None:
    """Coloured and aligned, with a plain traceback: local variables may hold a secret."""
    output = on_terminal(Log())

    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert plain != output
    assert re.search(r"^\S+Z \[info +\] sync\.completed +added=3 source=corp", plain, re.MULTILINE)
    assert "Traceback (most recent call last)" in plain
    assert plain.rstrip().endswith("RuntimeError")
    assert "hunter2" not in plain


def test_json_on_a_terminal() -> None:
    """`format = "json"` applies to terminals, too."""
    assert [json.loads(line)["event"] for line in on_terminal(Log(format="json")).splitlines()] == [
        "sync.completed",
        "sync.failed",
    ]


def test_console_away_from_a_terminal_has_no_colours() -> None:
    """`format = "console"` in a file is text without escape sequences."""
    stream = io.StringIO()
    log.configure(Log(format="console"), stream)

    log.emit(log.SYNC_COMPLETED, source="corp", added=3)

    assert "sync.completed" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_every_event_of_the_contract_exists() -> None:
    """Dashboards and alerts rely on these names."""
    assert {event.name for event in log.EVENTS} >= FIXED


def test_every_event_is_listed_once_with_meaning_and_action() -> None:
    """Each event has a valid level, a meaning and an action."""
    events = [value for value in vars(log).values() if isinstance(value, log.Event)]

    assert set(log.EVENTS) == set(events)
    assert len({event.name for event in log.EVENTS}) == len(log.EVENTS) == len(events)
    for event in log.EVENTS:
        assert event.level in {"info", "warning", "error"}
        assert event.meaning
        assert event.action
        assert len(set(event.fields)) == len(event.fields)
        assert not {"timestamp", "level", "event"} & set(event.fields)


def test_every_event_is_used() -> None:
    """No event is listed without a module that writes it."""
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log"
    }
    names = {name for name, value in vars(log).items() if isinstance(value, log.Event)}

    assert names - used == {"LIBRARY"}  # written by the log module


NAME = "Zacharias Quillfeather"


def raise_error(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_errors_of_libraries_show_no_data(format_: str) -> None:
    """Neither as the exception of a record, nor as an argument, nor in the further lines of asyncio."""
    stream = io.StringIO()
    log.configure(Log.model_validate({"format": format_}), stream)
    library = logging.getLogger("some.library")
    try:
        raise_error(NAME)
    except ValueError as error:
        library.warning("ignored %s on %s", error, 5)
        library.warning("repeated %(error)s times", {"error": 3})
        library.exception(f"it broke\n{NAME}")
        log.emit(log.HTTP_REQUEST, level="error", error=error, path="/x")

    async def run_callback() -> None:
        asyncio.get_running_loop().call_soon(raise_error, NAME)
        await asyncio.sleep(0)

    asyncio.run(run_callback())
    text = stream.getvalue()

    assert NAME not in text
    for part in ("ignored ValueError on 5", "repeated 3 times", "it broke", "Exception in callback raise_error"):
        assert part in text
    assert text.count("Traceback") == 3


class Broken:
    """An object whose destructor fails."""

    def __del__(self) -> None:
        raise_error(NAME)


def test_an_ignored_exception_is_an_event(stream: io.StringIO) -> None:
    """The interpreter would print it with its text."""
    Broken()
    gc.collect()

    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["message"]) == ("library", "python", "an exception was ignored")
    assert "in raise_error" in line["exception"]
    assert NAME not in line["exception"]

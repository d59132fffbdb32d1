"""The log: one line an event, in a fixed order, without a secret, whatever happens and wherever it goes."""

import ast
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
    "sync.skipped", "sync.rejected_record", "http.request", "database.lost", "database.back",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's: the next test finds it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    """Where a log in JSON goes, with every level."""
    made = io.StringIO()
    log.configure(Log(format="json", level="debug"), made)
    return made


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_begins_with_time_level_and_event(stream: io.StringIO) -> None:
    """Then its fields in the order of the event, so that lines read one below the other."""
    log.emit(log.SYNC_HELD, why="too many", source="corp", removed=0, held=7)

    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "source", "removed", "held", "why"]
    assert (line["level"], line["event"], line["held"]) == ("warning", "sync.held", 7)


def test_the_time_is_utc_as_in_rfc_3339(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Z, whatever the zone of the machine, and it is now."""
    log.emit(log.DAEMON_STOPPED, seconds=1)

    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=1)


def test_a_field_that_the_event_does_not_have_is_an_error(stream: io.StringIO) -> None:
    """The table of events is complete, because nothing else can be written."""
    with pytest.raises(TypeError, match=r"^sync\.skipped has no field password, user$"):
        log.emit(log.SYNC_SKIPPED, source="corp", user="x", password="y")

    assert stream.getvalue() == ""


def test_a_field_without_a_value_is_left_out(stream: io.StringIO) -> None:
    """None is nothing to tell; zero and empty are."""
    log.emit(log.SYNC_COMPLETED, source="corp", why=None, added=0, server="")

    assert list(lines(stream)[0])[3:] == ["source", "added", "server"]


def test_an_error_brings_its_traceback(stream: io.StringIO) -> None:
    """In one field of the one line, with the cause, and without the values of local variables."""
    try:
        fail("hunter2")
    except RuntimeError as error:
        log.emit(log.HTTP_REQUEST, level="error", error=error, path="/x")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError" in line["exception"]
    assert line["exception"].endswith("RuntimeError: broken")
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
def test_the_level_is_the_least_that_is_written(level: str, expected: int) -> None:
    """An operator who asks for errors gets errors."""
    stream = io.StringIO()
    log.configure(Log.model_validate({"format": "json", "level": level}), stream)

    log.emit(log.SYNC_COMPLETED, source="corp")
    log.emit(log.SYNC_HELD, source="corp")
    log.emit(log.SYNC_FAILED, source="corp")

    assert len(lines(stream)) == expected


def test_what_libraries_say_is_an_event(stream: io.StringIO) -> None:
    """A warning, an error with its traceback and a Python warning arrive; chatter does not."""
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
    assert "RuntimeError: broken" in second["exception"]
    assert (third["logger"], "old name" in third["message"]) == ("py.warnings", True)


def test_a_library_that_logs_badly_does_not_fail_by_it() -> None:
    """Arguments that do not fit the text are a library's defect, and no reason for its caller to fail."""
    written = child(
        "import logging", "log.configure(Log(), sys.stdout)", 'logging.getLogger("a.library").error("%d of %d", "x")'
    )

    assert json.loads(written)["message"] == "%d of %d"


def test_every_line_of_a_request_carries_its_id(stream: io.StringIO) -> None:
    """Whoever writes it, a library or a module that knows no requests; and none outside of one."""
    token = log.request.set("r-1")
    logging.getLogger("some.library").warning("slow")
    log.emit(log.SYNC_HELD, source="corp")
    log.request.reset(token)
    log.emit(log.SYNC_HELD, source="corp")

    assert [line.get("request_id") for line in lines(stream)] == ["r-1", "r-1", None]


def test_a_trouble_is_told_once_and_its_end_has_the_count(stream: io.StringIO) -> None:
    """The same failure a thousand times is one line; another reason, and another source, are lines of their own."""
    for _ in range(1000):
        log.trouble(log.SYNC_FAILED, "corp", "no route after 3 s", source="corp")
        log.trouble(log.SYNC_FAILED, "acd", "no file", source="acd")
    log.trouble(log.SYNC_FAILED, "corp", "refused", source="corp")

    ended = log.over("corp")

    assert [(line["source"], line["why"]) for line in lines(stream)] == [
        ("corp", "no route after 3 s"), ("acd", "no file"), ("corp", "refused"),
    ]  # fmt: skip
    assert lines(stream)[2]["repeated"] == 999
    assert ended is not None
    assert (ended.times, ended.kinds) == (1001, {"sync.failed"})
    assert log.over("corp") is None


def test_a_library_that_repeats_itself_is_told_once(stream: io.StringIO) -> None:
    """A pool that fails for a day says so once an hour; something else that it says is told at once."""
    for number in range(100):
        logging.getLogger("some.library").warning("connection %d is lost", number)
    logging.getLogger("some.library").warning("the pool is closed")

    assert [line["message"] for line in lines(stream)] == ["connection 0 is lost", "the pool is closed"]


@pytest.mark.parametrize("text", ["Zoë 李 👩‍👩‍👧", "a\nb\r\u2028c", '"}{', "\x1b[31m", "\0"])
def test_one_event_is_one_line_whatever_its_values(stream: io.StringIO, text: str) -> None:
    """No value can forge a second line, and text stays readable."""
    log.emit(log.SYNC_SKIPPED, source="corp", why=text)

    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["why"] == text


def test_text_is_written_as_it_is(stream: io.StringIO) -> None:
    """Names are read by people, not as escapes."""
    log.emit(log.SYNC_SKIPPED, source="corp", why="Zoë")

    assert '"Zoë"' in stream.getvalue()


def child(*statements: str, **environment: str) -> bytes:
    """What a process that logs to its stdout writes."""
    code = "; ".join(
        ("import sys", "from syncd.observability import log", "from syncd.settings import Log", *statements)
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, **environment}, timeout=60
    )
    assert run.stderr == b""
    return run.stdout


def test_a_log_is_utf_8_whatever_the_locale() -> None:
    """A name beyond the machine's character set, or one that is no text at all, does not end a run."""
    written = child(
        "log.configure(Log(), sys.stdout)",
        'log.emit(log.SYNC_SKIPPED, source="corp", why="Łódź")',
        r'log.emit(log.SYNC_SKIPPED, source="corp", why="a\udc80b")',
        PYTHONIOENCODING="latin-1:strict",
    ).decode("utf-8")

    first, second = written.splitlines()
    assert json.loads(first)["why"] == "Łódź"
    assert json.loads(second)["why"] == "a\udc80b"


def test_away_from_a_terminal_auto_is_json() -> None:
    """Under systemd and in a pipe, lines are for machines."""
    written = child("log.configure(Log(), sys.stdout)", "log.emit(log.DAEMON_STOPPED, seconds=1)")

    assert json.loads(written)["event"] == "daemon.stopped"


def on_terminal(settings: Log, password: str = "hunter2") -> str:
    """What is written to a real terminal, with an error among it."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        log.configure(settings, terminal)
        log.emit(log.SYNC_COMPLETED, source="corp", added=3)
        try:
            fail(password)
        except RuntimeError as error:
            log.emit(log.SYNC_FAILED, error=error, source="corp")
    written = b""
    with suppress(OSError):  # how the other side of a terminal tells its end
        while more := os.read(ours, 65536):
            written += more
    os.close(ours)
    return written.decode()


def test_on_a_terminal_auto_is_for_people() -> None:
    """Coloured and aligned, with the traceback as Python prints it: local variables may hold a secret."""
    written = on_terminal(Log())

    plain = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert plain != written
    assert re.search(r"^\S+Z \[info +\] sync\.completed +added=3 source=corp", plain, re.MULTILINE)
    assert "Traceback (most recent call last)" in plain
    assert "RuntimeError: broken" in plain
    assert "hunter2" not in plain


def test_on_a_terminal_json_can_be_asked_for() -> None:
    """`format = "json"` is JSON everywhere."""
    assert [json.loads(line)["event"] for line in on_terminal(Log(format="json")).splitlines()] == [
        "sync.completed",
        "sync.failed",
    ]


def test_console_away_from_a_terminal_has_no_colours() -> None:
    """`format = "console"` in a file is text without escapes."""
    stream = io.StringIO()
    log.configure(Log(format="console"), stream)

    log.emit(log.SYNC_COMPLETED, source="corp", added=3)

    assert "sync.completed" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_every_event_of_the_contract_exists() -> None:
    """Dashboards and alerts rely on these names."""
    assert {event.name for event in log.EVENTS} >= FIXED


def test_every_event_is_listed_once_and_says_what_to_do() -> None:
    """What can be written is in the list, has a level we know, and a meaning and an action for its reader."""
    made = [value for value in vars(log).values() if isinstance(value, log.Event)]

    assert set(log.EVENTS) == set(made)
    assert len({event.name for event in log.EVENTS}) == len(log.EVENTS) == len(made)
    for event in log.EVENTS:
        assert event.level in {"info", "warning", "error"}
        assert event.meaning
        assert event.action
        assert len(set(event.fields)) == len(event.fields)
        assert not {"timestamp", "level", "event"} & set(event.fields)


def test_every_event_is_used() -> None:
    """An event that nothing writes is a promise that nothing keeps."""
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log"
    }
    names = {name for name, value in vars(log).items() if isinstance(value, log.Event)}

    assert names - used == {"LIBRARY"}  # written by the log itself

"""Journal entries in the native protocol; entries that cannot be sent go to stdout."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.observability import log

CHILD = """
import os, sys
from syncd.observability import journal, log
from syncd.settings import Log
journal.ADDRESS = sys.argv[1]
status = os.fstat(1)
os.environ["JOURNAL_STREAM"] = sys.argv[2] or f"{status.st_dev}:{status.st_ino}"
log.configure(Log(format=sys.argv[3]), sys.stdout)
log.emit(log.SYNC_HELD, source="corp", run=7, why="a\\nb" + "x" * int(sys.argv[4]))
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket like the journal's, and its address."""
    address = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(60)
        yield address, server


def child(address: str, stream: str = "", form: str = "auto", size: int = 0) -> str:
    """Log in a process whose stdout leads to the journal as under systemd, and return its stdout."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, address, stream, form, str(size)],
        capture_output=True, check=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.stderr == ""
    return run.stdout


def fields(data: bytes) -> dict[str, str]:
    """Parse an entry: name -> value."""
    values = {}
    while data:
        name, data = data.split(b"\n", 1)
        if b"=" in name:
            name, value = name.split(b"=", 1)
        else:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[9 + size :]
        values[name.decode()] = value.decode()
    return values


def test_an_event_has_fields_to_select_it_by(receiver: tuple[str, socket.socket]) -> None:
    """MESSAGE is the JSON line; event, source and run are fields beside it, with the priority of the level."""
    address, journal = receiver
    assert child(address) == ""

    entry = fields(journal.recv(65536))
    line = json.loads(entry.pop("MESSAGE"))
    assert (line["event"], line["why"]) == ("sync.held", "a\nb")
    assert entry == {
        "PRIORITY": "4", "SYSLOG_IDENTIFIER": "syncd", "SYNCD_EVENT": "sync.held", "SYNCD_SOURCE": "corp",
        "SYNCD_RUN": "7", "MESSAGE_ID": log.message_id("sync.held"),
    }  # fmt: skip


def test_an_entry_of_any_size_arrives(receiver: tuple[str, socket.socket]) -> None:
    """An entry too large for a datagram is sent as a sealed file."""
    address, journal = receiver
    assert child(address, size=1_000_000) == ""

    message, files, _, _ = socket.recv_fds(journal, 10, 1)
    assert message == b""
    with os.fdopen(files[0], "rb") as file:
        file.seek(0)
        entry = fields(file.read())
    assert len(json.loads(entry["MESSAGE"])["why"]) == 1_000_003


def test_an_entry_that_cannot_be_sent_goes_to_stdout(tmp_path: Path) -> None:
    """The line begins with its priority (sd-daemon(3))."""
    output = child(str(tmp_path / "nobody"))

    assert output.startswith("<4>{")
    assert json.loads(output[3:])["event"] == "sync.held"


@pytest.mark.parametrize(("stream", "form"), [("1:2", "auto"), ("", "console")])
def test_without_journal_or_in_console_format_lines_go_to_stdout(
    receiver: tuple[str, socket.socket], stream: str, form: str
) -> None:
    """The journal is not used if stdout leads elsewhere, or if the console format is set."""
    address, journal = receiver
    output = child(address, stream, form)

    assert "sync.held" in output
    assert not output.startswith("<")
    journal.setblocking(False)
    with pytest.raises(BlockingIOError):
        journal.recv(10)


def test_a_message_id_never_changes() -> None:
    """Catalogs and alerts depend on it; each event has its own."""
    assert log.message_id("sync.held") == "d340f289840b5c4cb71ff579e4403b8e"
    assert len({log.message_id(event.name) for event in log.EVENTS}) == len(log.EVENTS)

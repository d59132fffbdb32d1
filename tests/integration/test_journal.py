"""A real journald stores our entries, and `journalctl` selects them by their fields."""

import json
import subprocess
import sys

from syncd.observability import log

# a private journald, in a mount namespace with its own /run
SCRIPT = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal || exit 1
/lib/systemd/systemd-journald >&2 & journald=$!
until [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
"$0" -c "$1" >&2 && journalctl --sync && journalctl --no-pager --all -o json SYNCD_EVENT=sync.held SYNCD_SOURCE=corp
kill $journald
"""
SERVICE = """
import os, sys
from syncd.observability import log
from syncd.settings import Log
status = os.fstat(sys.stdout.fileno())
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
log.configure(Log(), sys.stdout)
log.emit(log.SYNC_HELD, source="corp", run=7, why="too many")
log.emit(log.SYNC_HELD, source="other", run=8, why="of another source")
log.emit(log.SYNC_COMPLETED, source="corp", run=9)
log.emit(log.SYNC_HELD, source="corp", run=10, why="x" * 300_000)
"""


def test_journalctl_finds_an_event_by_name_and_source() -> None:
    """`journalctl SYNCD_EVENT=sync.held SYNCD_SOURCE=corp` returns exactly these, with a MESSAGE of any length."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT, sys.executable, SERVICE]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    entries = [json.loads(line) for line in run.stdout.splitlines()]
    assert [entry["SYNCD_RUN"] for entry in entries] == ["7", "10"], run.stderr
    assert {entry["MESSAGE_ID"] for entry in entries} == {log.message_id("sync.held")}
    assert {entry["PRIORITY"] for entry in entries} == {"4"}
    line = json.loads(entries[0]["MESSAGE"])
    assert (line["event"], line["level"], line["why"]) == ("sync.held", "warning", "too many")
    assert len(json.loads(entries[1]["MESSAGE"])["why"]) == 300_000

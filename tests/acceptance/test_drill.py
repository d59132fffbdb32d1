"""The drill as its reader starts it: the whole table, single faults, and its end by Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncd.demo.bootstrap import CHECKOUT
from syncd.drill.catalog import CATALOG
from tests.acceptance.test_demo import alive, descendants
from tests.scripted_ldap import wait_until

WANTED = {
    "size-limit", "total-paging-limit", "time-limit", "acl-entries", "acl-attribute", "empty-replica",
    "replica-lacks-10", "narrowed-filter", "renamed-attribute", "moved-subtree", "modrdn-storm", "cut-page-1",
    "cut-page-2", "cut-page-3", "stall", "drip", "reset", "repeated-cookie", "no-paging-control", "wrong-result-code",
    "referral", "clock-jump", "database-killed-before-commit", "database-killed-during-commit", "worker-killed",
    "two-daemons", "sigstop",
}  # fmt: skip
"""What has to be in the table, whatever else is."""


def drill(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`syncd drill` to its end."""
    command = [sys.executable, "-m", "syncd", "drill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=1200, **options)


@pytest.mark.timeout(1500)
def test_nothing_is_lost_by_any_fault() -> None:
    """Each row: no contact lost, no Custom contact changed, served throughout, and the run says what is the matter."""
    done = drill("--json")

    rows = json.loads(done.stdout)["faults"]
    assert [row["fault"] for row in rows if not row["passed"]] == [], json.dumps(
        [row for row in rows if not row["passed"]], indent=1, ensure_ascii=False
    )
    assert {row["fault"] for row in rows} >= WANTED
    assert [row["fault"] for row in rows] == [fault.name for fault in CATALOG]
    assert {(row["contactsLost"], row["customChanged"]) for row in rows} == {(0, 0)}
    away = {row["fault"] for row in rows if row["served"] != "yes"}
    assert away <= {fault.name for fault in CATALOG if fault.unavailable}
    assert all(row["why"] for row in rows if row["outcome"] in {"incomplete", "held", "failed"})
    assert done.returncode == 0


@pytest.mark.timeout(600)
def test_one_fault_is_played_and_printed() -> None:
    """The table has the columns that were promised, and the row says what the run said."""
    done = drill("--only", "cut-page-2")

    header, row = [line for line in done.stdout.splitlines() if "lost" in line or "cut-page-2" in line]
    assert [re.sub(r"\s+", " ", cell.strip()) for cell in re.split("[┃│]", header)[1:-1]] == [
        "fault", "what is done", "what the run said", "contacts lost", "custom contacts changed",
        "directory served throughout", "as promised",
    ]  # fmt: skip
    cells = [cell.strip() for cell in re.split("[┃│]", row)[1:-1]]
    assert cells[3:] == ["0", "0", "yes", "yes"]
    assert cells[2].startswith("incomplete: after 1 pages with 10 entries: the connection broke")
    assert done.returncode == 0


def test_the_faults_are_named_without_being_played() -> None:
    """`--list` starts nothing, and an unknown name is told with where the known ones are."""
    listed = drill("--list")
    wrong = drill("--only", "earthquake")

    assert all(fault.name in listed.stdout and fault.what in listed.stdout for fault in CATALOG)
    assert (listed.returncode, wrong.returncode) == (0, 1)
    assert "'earthquake'" in wrong.stderr
    assert "syncd drill --list" in wrong.stderr


@pytest.mark.timeout(600)
def test_ctrl_c_leaves_nothing(server_folder: Path) -> None:
    """In the middle of a fault: every process is gone, and every file."""
    folder = server_folder / "drill-that-is-stopped"
    folder.mkdir(mode=0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", "drill", "--only", "sigstop", "--only", "drip"], cwd=CHECKOUT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert process.stderr is not None
    with process.stderr as said:
        while "playing" not in said.readline():
            assert process.poll() is None
        wait_until(lambda: (found := list(folder.glob("*/fault-sigstop.toml"))) != [] and found[0].exists())
        everything = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130

    assert len(everything) > 3
    assert list(folder.iterdir()) == []
    wait_until(lambda: not any(alive(pid) for pid in everything))

"""The command `syncd drill`: the whole catalog, single faults, and Ctrl-C."""

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
from tests.acceptance.test_demo import descendants, is_alive
from tests.waiting import wait_until

REQUIRED_FAULTS = {
    "size-limit", "total-paging-limit", "time-limit", "acl-entries", "acl-attribute", "empty-replica",
    "replica-lacks-10", "narrowed-filter", "renamed-attribute", "moved-subtree", "modrdn-storm", "cut-page-1",
    "cut-page-2", "cut-page-3", "stall", "drip", "reset", "repeated-cookie", "no-paging-control", "wrong-result-code",
    "referral", "clock-jump", "database-killed-before-commit", "database-killed-during-commit", "worker-killed",
    "two-daemons", "sigstop",
}  # fmt: skip
"""Names that the catalog must contain."""


def run_drill(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `syncd drill` to its end."""
    command = [sys.executable, "-m", "syncd", "drill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=1200, **options)


@pytest.mark.timeout(1500)
def test_nothing_is_lost_by_any_fault() -> None:
    """Each row: no contact lost, no Custom contact changed, always served, and the run has the expected reason."""
    result = run_drill("--json")

    rows = json.loads(result.stdout)["faults"]
    failed = [row for row in rows if not row["passed"]]
    assert [row["fault"] for row in failed] == [], json.dumps(failed, indent=1, ensure_ascii=False)
    assert {row["fault"] for row in rows} >= REQUIRED_FAULTS
    assert [row["fault"] for row in rows] == [fault.name for fault in CATALOG]
    assert {(row["contactsLost"], row["customChanged"]) for row in rows} == {(0, 0)}
    interrupted = {row["fault"] for row in rows if row["served"] != "yes"}
    assert interrupted <= {fault.name for fault in CATALOG if fault.stops_database}
    assert all(row["why"] for row in rows if row["outcome"] in {"incomplete", "held", "failed"})
    assert result.returncode == 0


@pytest.mark.timeout(600)
def test_one_fault_is_printed_as_a_table() -> None:
    """The table has all columns, and the row has outcome and reason of the run."""
    result = run_drill("--only", "cut-page-2")

    header, row = [line for line in result.stdout.splitlines() if "lost" in line or "cut-page-2" in line]
    assert [re.sub(r"\s+", " ", cell.strip()) for cell in re.split("[┃│]", header)[1:-1]] == [
        "fault", "description", "result of the run", "contacts lost", "custom contacts changed",
        "directory always served", "as expected",
    ]  # fmt: skip
    cells = [cell.strip() for cell in re.split("[┃│]", row)[1:-1]]
    assert cells[3:] == ["0", "0", "yes", "yes"]
    assert cells[2].startswith("incomplete: after 1 pages with 10 entries: the connection broke")
    assert result.returncode == 0


def test_faults_are_listed() -> None:
    """`--list` starts nothing; an unknown name is rejected with a reference to it."""
    listed = run_drill("--list")
    unknown = run_drill("--only", "earthquake")

    assert all(fault.name in listed.stdout and fault.description in listed.stdout for fault in CATALOG)
    assert (listed.returncode, unknown.returncode) == (0, 1)
    assert "'earthquake'" in unknown.stderr
    assert "syncd drill --list" in unknown.stderr


@pytest.mark.timeout(600)
def test_ctrl_c_leaves_nothing(server_folder: Path) -> None:
    """During a fault, Ctrl-C ends every process and removes every file."""
    folder = server_folder / "stopped-drill"
    folder.mkdir(mode=0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", "drill", "--only", "sigstop", "--only", "drip"], cwd=CHECKOUT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert process.stderr is not None
    with process.stderr as progress:
        while "injecting" not in progress.readline():
            assert process.poll() is None
        wait_until(lambda: bool(list(folder.glob("*/fault-sigstop.toml"))))
        pids = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130

    assert len(pids) > 3
    assert list(folder.iterdir()) == []
    wait_until(lambda: not any(is_alive(pid) for pid in pids))

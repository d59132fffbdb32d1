"""The systemd unit is one that systemd itself accepts without a word."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "syncd.service"


def verify(unit: Path) -> str:
    """What systemd-analyze says of a unit; misspellings are mere warnings to it, so any word counts."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    return done.stderr + (f"status {done.returncode}" if done.returncode else "")


def installed(folder: Path, text: str) -> Path:
    """The unit with a program that exists on this machine in place of the installed one."""
    program = shutil.which("syncd") or sys.executable
    path = folder / "syncd.service"
    path.write_text(re.sub(r"^ExecStart=/opt/syncd/bin/syncd", f"ExecStart={program}", text, flags=re.MULTILINE))
    return path


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` prints nothing."""
    assert verify(installed(tmp_path, UNIT.read_text())) == ""


def test_a_misspelt_unit_would_be_noticed(tmp_path: Path) -> None:
    """The check sees a typo, so its silence means something."""
    assert "Notfy" in verify(installed(tmp_path, UNIT.read_text().replace("Type=notify", "Type=Notfy")))


def test_the_stop_deadline_is_longer_than_ours() -> None:
    """systemd waits longer than `http.stop_within` before it kills."""
    from syncd.settings import Http

    found = re.search(r"^TimeoutStopSec=(\d+)s$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) > Http().stop_within.total_seconds()

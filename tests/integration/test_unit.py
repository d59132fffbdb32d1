"""The systemd units: accepted without warnings, with a low exposure, consistent with the settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE = (UNITS / "syncd.service").read_text()
EXPOSURE = 1.2
"""Highest exposure level of `systemd-analyze security`, of 10."""


def analyze(*words: str) -> str:
    """Return the messages of systemd-analyze. Misspellings are only warnings to it, so no message is allowed."""
    result = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    return result.stderr + (f"status {result.returncode}" if result.returncode else "")


def verify(unit: Path) -> str:
    return analyze("verify", "--man=no", str(unit))


def exposure(unit: Path) -> str:
    """Return an empty text, or a status when the unit is more exposed than EXPOSURE."""
    return analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(unit))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with an existing program in place of the installed one."""
    program = shutil.which("syncd") or sys.executable
    text = re.sub(r"(?<==)/opt/syncd/bin/syncd", program, SERVICE)
    (tmp_path / "syncd.service").write_text(text)
    shutil.copy(UNITS / "syncd.socket", tmp_path)
    return tmp_path


def test_systemd_accepts_the_units(installed: Path) -> None:
    """`systemd-analyze verify` prints nothing."""
    assert verify(installed / "syncd.service") == ""
    assert verify(installed / "syncd.socket") == ""


def test_systemd_accepts_the_example_of_a_drop_in(installed: Path) -> None:
    """Added to the unit as by an administrator, without a higher exposure."""
    shutil.copytree(UNITS / "examples", installed / "syncd.service.d")

    assert verify(installed / "syncd.service") == ""
    assert exposure(installed / "syncd.service") == ""


def test_verify_notices_a_misspelled_unit(installed: Path) -> None:
    """Otherwise an empty output would prove nothing."""
    unit = installed / "syncd.service"
    unit.write_text(unit.read_text().replace("Type=notify", "Type=Notfy"))

    assert "Notfy" in verify(unit)


def test_the_service_has_a_low_exposure(installed: Path) -> None:
    """`systemd-analyze security` rates it 1.2 or less, of 10."""
    assert exposure(installed / "syncd.service") == ""


@pytest.mark.parametrize("line", ["CapabilityBoundingSet=", "SystemCallFilter=@system-service"])
def test_security_notices_an_exposed_service(installed: Path, line: str) -> None:
    """Without one of its stronger restrictions the rating is too high."""
    unit = installed / "syncd.service"
    assert f"\n{line}\n" in unit.read_text()
    unit.write_text(unit.read_text().replace(f"\n{line}\n", "\n"))

    assert "status" in exposure(unit)


def test_the_stop_timeout_of_systemd_is_longer() -> None:
    """systemd waits longer than `http.shutdown_timeout` before it kills."""
    from syncd.settings import Http

    timeout = re.search(r"^TimeoutStopSec=(\d+)s$", SERVICE, re.MULTILINE)
    assert timeout is not None
    assert int(timeout[1]) > Http().shutdown_timeout.total_seconds()


def test_the_unit_passes_all_credentials_of_the_example() -> None:
    """Every secret that config/syncd.toml names without a path is a LoadCredential of the unit."""
    example = (UNITS.parent / "config" / "syncd.toml").read_text()
    named = re.findall(r'^\w*password_file = "([^"/]+)"', example, re.MULTILINE)

    assert named
    assert set(named) <= set(re.findall(r"^LoadCredential=([^:]+):", SERVICE, re.MULTILINE))

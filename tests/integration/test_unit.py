"""The systemd units are ones that systemd itself accepts without a word, and finds well locked up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE = (UNITS / "syncd.service").read_text()
EXPOSURE = 1.2


def analyze(*words: str) -> str:
    """What systemd-analyze says of a unit; misspellings are mere warnings to it, so any word counts."""
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    return done.stderr + (f"status {done.returncode}" if done.returncode else "")


def verify(unit: Path) -> str:
    return analyze("verify", "--man=no", str(unit))


def exposure(unit: Path) -> str:
    """Nothing, or a status when the unit is more exposed than it may be."""
    return analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(unit))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with a program that exists on this machine in place of the installed one."""
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
    """It is added to the unit as an administrator would, and lowers the exposure if anything."""
    shutil.copytree(UNITS / "examples", installed / "syncd.service.d")

    assert verify(installed / "syncd.service") == ""
    assert exposure(installed / "syncd.service") == ""


def test_a_misspelt_unit_would_be_noticed(installed: Path) -> None:
    """The check sees a typo, so its silence means something."""
    unit = installed / "syncd.service"
    unit.write_text(unit.read_text().replace("Type=notify", "Type=Notfy"))

    assert "Notfy" in verify(unit)


def test_the_service_is_hardly_exposed(installed: Path) -> None:
    """`systemd-analyze security` rates it 1.2 or less, of 10."""
    assert exposure(installed / "syncd.service") == ""


@pytest.mark.parametrize("line", ["CapabilityBoundingSet=", "SystemCallFilter=@system-service"])
def test_an_exposed_service_would_be_noticed(installed: Path, line: str) -> None:
    """One of its stronger limits less, and the rating says so."""
    unit = installed / "syncd.service"
    assert f"\n{line}\n" in unit.read_text()
    unit.write_text(unit.read_text().replace(f"\n{line}\n", "\n"))

    assert "status" in exposure(unit)


def test_the_stop_deadline_is_longer_than_ours() -> None:
    """systemd waits longer than `http.stop_within` before it kills."""
    from syncd.settings import Http

    found = re.search(r"^TimeoutStopSec=(\d+)s$", SERVICE, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > Http().stop_within.total_seconds()


def test_the_example_needs_no_other_credentials() -> None:
    """Every secret that config/syncd.toml names by a bare name is passed by the unit."""
    example = (UNITS.parent / "config" / "syncd.toml").read_text()
    named = re.findall(r'^\w*password_file = "([^"/]+)"', example, re.MULTILINE)

    assert named
    assert set(named) <= set(re.findall(r"^LoadCredential=([^:]+):", SERVICE, re.MULTILINE))

"""Packaging: one version, a complete man page, and an installed syncd without demo and drill."""

import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from syncd import __version__, cli

ROOT = Path(__file__).parents[2]


def test_there_is_one_version() -> None:
    """In the code, in the project's metadata and in the changelog of the Debian package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changelog = (ROOT / "systemd" / "debian" / "changelog").read_text()

    assert project["version"] == __version__
    assert changelog.startswith(f"syncd ({__version__}) ")


def run_installed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run syncd where `syncd.demo` and `syncd.drill` cannot be imported, as in an installed package."""
    code = (
        "import sys; sys.modules.update({'syncd.demo': None, 'syncd.drill': None}); import syncd.cli; syncd.cli.main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", ["demo", "drill"])
def test_installed_syncd_refers_to_a_checkout(command: str) -> None:
    """The commands `demo` and `drill` end with status 1 and the command for a checkout."""
    result = run_installed(command)

    assert (result.returncode, result.stdout) == (1, "")
    assert f"run it from a checkout: python3 -m syncd.{command}\n" in result.stderr


def test_installed_syncd_has_a_complete_help() -> None:
    """`syncd --help` and the help of every command work without demo and drill."""
    result = run_installed("--help")

    assert result.returncode == 0
    for name in cli.syncd.list_commands(click.Context(cli.syncd)):
        assert f"  {name} " in result.stdout
    assert [run_installed(name, "--help").returncode for name in ("demo", "drill")] == [0, 0]

"""What surrounds the program agrees with it: versions, man page."""

import re
import tomllib
from pathlib import Path

import click

from syncd import __version__, cli

ROOT = Path(__file__).parents[2]


def test_there_is_one_version() -> None:
    """In the code, in the project's metadata and in the changelog of the Debian package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changelog = (ROOT / "systemd" / "debian" / "changelog").read_text()

    assert project["version"] == __version__
    assert changelog.startswith(f"syncd ({__version__}) ")


def test_the_man_page_names_every_command() -> None:
    """And none that is not there."""
    page = (ROOT / "systemd" / "syncd.8").read_text()
    chapter = page.partition(".SH COMMANDS")[2].partition(".SH")[0]
    named = re.findall(r"^\.TP\n\.B[RI]? (.+)$", chapter, re.MULTILINE)

    assert {word for line in named for word in re.findall(r"[a-z]+", line)} == set(
        cli.syncd.list_commands(click.Context(cli.syncd))
    )

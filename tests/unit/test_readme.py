"""README: its size, and its tables against the code that they describe."""

import re
from pathlib import Path

import click
import yaml

from syncd import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def read_section(title: str) -> str:
    """Return the text below a heading of the second level."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[1]


def test_the_size_is_limited() -> None:
    """A newcomer reads at most 14 KB."""
    assert len(README.encode()) <= 14 * 1024


def test_the_layout_lists_every_package() -> None:
    """Each package and module at the top of `syncd` has a place in the table of the layout."""
    listed = set(re.findall(r"`syncd/([a-z_]+)(?:\.py)?`", read_section("Layout")))
    packages = {
        path.stem for path in (ROOT / "syncd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert listed == packages - {"__init__", "__main__"}


def test_ten_commands_exist() -> None:
    """The table of daily operation has ten rows, each with commands that exist."""
    rows = re.findall(r"^\| (`syncd .*?) \|", read_section("Daily operation"), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`syncd ([a-z]+)", row)}
    assert len(rows) == 10
    assert names <= set(cli.syncd.list_commands(click.Context(cli.syncd)))


def test_five_alerts_exist() -> None:
    """Each alert of the table is a rule of the monitoring example."""
    rules = yaml.safe_load((ROOT / "config" / "monitoring" / "syncd.rules.yml").read_text("utf-8"))["groups"][0][
        "rules"
    ]
    listed = re.findall(r"^\| (Syncd\w+) \|", read_section("Alerts"), re.MULTILINE)
    assert len(listed) == 5
    assert set(listed) <= {rule["alert"] for rule in rules}


def test_the_supported_python_versions_are_those_of_the_package() -> None:
    """The row of Python lists what pyproject.toml accepts."""
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in pyproject
    assert "| Python | 3.11, 3.12, 3.13 |" in read_section("Supported versions")

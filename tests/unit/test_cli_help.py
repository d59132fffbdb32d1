"""Help and usage errors of the command line."""

import re
import subprocess
import sys

import pytest

GROUPS = {
    "Run": ["run", "sync", "plan", "apply", "undo", "purge"],
    "Inspect": ["status", "check", "explain", "rejects"],
    "Decide": ["held", "approve", "reject"],
    "Data": ["export", "import"],
    "Setup": ["migrate", "token", "demo", "drill"],
}


def run_syncd(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syncd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "80"})


def test_help_lists_the_commands_by_group() -> None:
    """`syncd --help` needs no settings; every command is listed once, with a complete sentence."""
    result = run_syncd("--help")

    assert result.returncode == 0
    sections = dict(re.findall(r"^(\w+):\n((?:  .*\n?)+)", result.stdout, re.MULTILINE))
    sections.pop("Options")
    assert {name: [line.split()[0] for line in text.splitlines()] for name, text in sections.items()} == GROUPS
    lines = "".join(sections.values()).splitlines()
    assert [line for line in lines if line.endswith("...")] == []
    assert len({re.search(r"  \w+ +", line).end() for line in lines}) == 1  # type: ignore[union-attr]  # one column


@pytest.mark.parametrize(("typo", "command"), [("stauts", "status"), ("helt", "held"), ("imports", "import")])
def test_a_mistyped_command_gets_a_suggestion(typo: str, command: str) -> None:
    """The exit status is the one of other usage errors."""
    result = run_syncd(typo)

    assert result.returncode == 2
    assert f"No such command {typo!r}; did you mean {command}?" in result.stderr
    assert result.stdout == ""


def test_an_unknown_command_without_a_similar_one() -> None:
    """No suggestion is better than a wrong one."""
    result = run_syncd("frobnicate")

    assert result.returncode == 2
    assert "No such command 'frobnicate'." in result.stderr
    assert "did you mean" not in result.stderr

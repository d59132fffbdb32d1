"""The tables of README equal the code that they describe."""

import re
from pathlib import Path

import click

from syncd import cli
from syncd.observability import log, metrics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_table_of_events_is_complete() -> None:
    """Name, level, fields, meaning and action of each event, in the order of the module."""
    rows = [
        f"| `{event.name}` | {event.level} | {', '.join(event.fields)} | {event.meaning} | {event.action} |"
        for event in log.EVENTS
    ]
    assert "\n".join(rows) in README
    assert len(re.findall(r"^\| `[a-z._]+` \| (?:info|warning|error) \|", README, re.MULTILINE)) == len(rows)


def test_every_command_is_listed() -> None:
    """Each command of the command line has a row."""
    for name in cli.syncd.list_commands(click.Context(cli.syncd)):
        assert re.search(rf"^\| `syncd {name}\b", README, re.MULTILINE), name


def test_every_series_is_listed() -> None:
    """Each metric is listed under Metrics by the name that /metrics shows."""
    for family in metrics.REGISTRY.collect():
        if family.name.startswith("syncd_"):
            shown = f"{family.name}_total" if family.type == "counter" else family.name
            assert f"`{shown}" in README, shown


def test_the_exit_statuses_are_complete() -> None:
    """They are the constants of the command line."""
    line = re.search(r"\*\*Exit statuses\.\*\*(.*?)\n\n", README, re.DOTALL)
    assert line is not None
    statuses = {int(number) for number in re.findall(r"(?:^|·)\s*(\d+) ", line[1])}
    known = {cli.EXIT_FAILED, cli.EXIT_CHANGES, cli.EXIT_HELD, cli.EXIT_BUSY, cli.EXIT_SETTINGS}
    assert statuses == {0} | known

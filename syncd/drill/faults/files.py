"""Faults in a queue file that the daemon watches."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from syncd.drill.environment import QUEUES, write_queues
from syncd.drill.result import RunResult
from syncd.drill.scenario import Fault, Scenario


def _damage_file(scenario: Scenario, damage: Callable[[Path], None]) -> None:
    """Damage the file and wait for the run that the daemon starts then."""
    path = scenario.environment.queue_file(scenario.name)
    scenario.undo.callback(_restore_file, scenario, path)
    damage(path)
    scenario.wait_until(lambda: bool(finished_runs(scenario)), "the daemon reads the file")
    last = finished_runs(scenario)[-1]
    scenario.result.run_result = RunResult(last["outcome"], last["why"])


def finished_runs(scenario: Scenario) -> list[dict[str, Any]]:
    """Return the rows of the finished runs since the start of the fault."""
    return [run for run in scenario.stored_runs() if run["finished_at"] is not None]


def _restore_file(scenario: Scenario, path: Path) -> None:
    """Write the file as it was and wait for the run that reads it."""
    before = len(finished_runs(scenario))
    write_queues(path, scenario.name, QUEUES)
    scenario.wait_until(lambda: len(finished_runs(scenario)) > before, "the daemon reads the restored file")


def _replace_file(path: Path, text: str) -> None:
    """Replace the file by rename, so that the daemon reads no partial content."""
    replacement = path.with_suffix(".damaged")
    replacement.write_text(text, encoding="utf-8")
    replacement.replace(path)


def _cut_in_line(path: Path) -> None:
    text = path.read_text()
    _replace_file(path, text[: text.rindex('"')])


def _cut_between_queues(path: Path) -> None:
    text = path.read_text()
    _replace_file(path, text[: text.index("[[queue]]", len(text) // 2)])


def _empty_file(path: Path) -> None:
    _replace_file(path, "")


def _remove_queues(path: Path) -> None:
    _replace_file(path, "queue = []\n")


def _double(path: Path) -> None:
    _replace_file(path, path.read_text() * 2)


_EMPTY_IS_VALID = {"guard": {"on_empty": "remove"}}
"""An empty source removes all contacts here, therefore an unreadable file must not count as an empty one."""

FAULTS = (
    Fault(
        "queue-file-half-written",
        "the file ends in the middle of a line",
        partial(_damage_file, damage=_cut_in_line),
        "incomplete",
        "nothing was changed",
        kind="queues",
        settings=_EMPTY_IS_VALID,
    ),
    Fault(
        "queue-file-cut-between-queues",
        "the file ends early, and is valid",
        partial(_damage_file, damage=_cut_between_queues),
        "completed",
        kind="queues",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 3, "missing": "show"}},
    ),
    Fault(
        "queue-file-emptied",
        "the file has no content",
        partial(_damage_file, damage=_empty_file),
        "incomplete",
        "has no content",
        kind="queues",
        settings=_EMPTY_IS_VALID,
    ),
    Fault(
        "queue-file-missing",
        "the file is deleted",
        partial(_damage_file, damage=Path.unlink),
        "incomplete",
        "no such file",
        kind="queues",
        settings=_EMPTY_IS_VALID,
    ),
    Fault(
        "queue-file-no-queues",
        "the file is valid and has no queue",
        partial(_damage_file, damage=_remove_queues),
        "held",
        "no entry at all",
        kind="queues",
    ),
    Fault(
        "queue-file-doubled",
        "the file is appended to itself",
        partial(_damage_file, damage=_double),
        "incomplete",
        "already listed",
        kind="queues",
    ),
)

"""What happens to a queue file while the daemon watches it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncd.drill.environment import QUEUES, write_queues
from syncd.drill.result import Said
from syncd.drill.scenario import Fault, Stage


def _spoilt(stage: Stage, spoil: Callable[[Path], None]) -> None:
    """Do something to the file, and wait for the run by which the daemon answers."""
    path = stage.site.queue_file(stage.name)
    stage.undo.callback(_mended, stage, path)
    spoil(path)
    stage.until(lambda: bool(finished(stage)), "the daemon reads the file")
    last = finished(stage)[-1]
    stage.row.said = Said(last["outcome"], last["why"])


def finished(stage: Stage) -> list[dict[str, Any]]:
    """The runs since the fault began that have come to an end."""
    return [run for run in stage.runs() if run["finished_at"] is not None]


def _mended(stage: Stage, path: Path) -> None:
    """Write the file as it was, and wait until the daemon has read that."""
    before = len(finished(stage))
    write_queues(path, stage.name, QUEUES)
    stage.until(lambda: len(finished(stage)) > before, "the daemon reads the mended file")


def _put(path: Path, text: str) -> None:
    """By rename, so that the daemon sees this content and none before it."""
    fresh = path.with_suffix(".spoilt")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _half(path: Path) -> None:
    text = path.read_text()
    _put(path, text[: text.rindex('"')])


def _shorter(path: Path) -> None:
    text = path.read_text()
    _put(path, text[: text.index("[[queue]]", len(text) // 2)])


def _empty(path: Path) -> None:
    _put(path, "")


def _nothing(path: Path) -> None:
    _put(path, "queue = []\n")


def _twice(path: Path) -> None:
    _put(path, path.read_text() * 2)


_EMPTY_IS_FINE = {"guard": {"on_empty": "remove"}}
"""What is no file must not pass for an empty one where that would be believed."""

FAULTS = (
    Fault(
        "queue-file-half-written",
        "the file ends in the middle of a line",
        lambda stage: _spoilt(stage, _half),
        "incomplete",
        "nothing was changed",
        kind="queues",
        settings=_EMPTY_IS_FINE,
    ),
    Fault(
        "queue-file-cut-between-queues",
        "the file ends early, and is valid",
        lambda stage: _spoilt(stage, _shorter),
        "completed",
        kind="queues",
        settings={"lifecycle": {"grace": "24h", "grace_runs": 3, "missing": "show"}},
    ),
    Fault(
        "queue-file-emptied",
        "the file has no content",
        lambda stage: _spoilt(stage, _empty),
        "incomplete",
        "has no content",
        kind="queues",
        settings=_EMPTY_IS_FINE,
    ),
    Fault(
        "queue-file-missing",
        "the file is gone",
        lambda stage: _spoilt(stage, Path.unlink),
        "incomplete",
        "no such file",
        kind="queues",
        settings=_EMPTY_IS_FINE,
    ),
    Fault(
        "queue-file-no-queues",
        "the file is valid and lists nothing",
        lambda stage: _spoilt(stage, _nothing),
        "held",
        "no entry at all",
        kind="queues",
    ),
    Fault(
        "queue-file-doubled",
        "the file was appended to itself",
        lambda stage: _spoilt(stage, _twice),
        "incomplete",
        "already listed",
        kind="queues",
    ),
)

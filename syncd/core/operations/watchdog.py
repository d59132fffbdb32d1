"""The pulse: what stands still although it should move, told from what is seen again and again."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

LATE = timedelta(seconds=5)
"""A busy machine is that late; more is a schedule that does not move."""


class StallDetector:
    """Remembers since when each trouble is seen. Times are seconds of a clock that only goes up."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}

    def stuck(self, seen: Iterable[str], now: float) -> list[str]:
        """Those of the troubles that were seen every time for longer than the patience: only a new start helps."""
        self._since = {trouble: self._since.get(trouble, now) for trouble in seen}
        return [trouble for trouble, since in self._since.items() if now - since > self._patience]


def overdue_schedules(due: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    """The schedules whose time has passed without a run being begun; `due` has the next time of each."""
    for name, at in due.items():
        if now - at > LATE:
            yield f"the schedule of {name} does not move"


def overdue_runs(ends: Mapping[str, float], now: float) -> Iterator[str]:
    """The runs whose time was over and whose process was ended, and that are still not gone; `ends` has their times."""
    for name, end in ends.items():
        if now > end:
            yield f"the run of {name} should have ended and has not"

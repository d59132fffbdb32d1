"""Detection of stalls: overdue schedules, runs that do not end, and problems that persist."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

SCHEDULE_TOLERANCE = timedelta(seconds=5)
"""Delay that a busy machine may cause; a later run is a stalled schedule."""


class StallDetector:
    """Detects problems that persist longer than a timeout, in seconds of a monotonic clock."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since: dict[str, float] = {}

    def find_stalled(self, problems: Iterable[str], now: float) -> list[str]:
        """Return the problems that every call within the timeout has reported; only a restart helps against them."""
        self._since = {problem: self._since.get(problem, now) for problem in problems}
        return [problem for problem, since in self._since.items() if now - since > self._timeout]


def overdue_schedules(due: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    """Yield a sentence per schedule that has started no run at its time. `due` maps sources to their next times."""
    for name, at in due.items():
        if now - at > SCHEDULE_TOLERANCE:
            yield f"the schedule of {name} is stalled"


def overdue_runs(ends: Mapping[str, float], now: float) -> Iterator[str]:
    """Yield a sentence per run that exists after its latest end. `ends` maps sources to these times."""
    for name, end in ends.items():
        if now > end:
            yield f"the run of {name} has not ended in time"

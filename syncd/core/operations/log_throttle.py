"""Rate limit of log lines about a persistent problem: one at its start, one per interval, one at its end."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_REASONS = 2
"""Number of different reasons of one problem that are logged at once; others wait for the end of the interval.

With the reminders of a day, the recovery, and begin and end of the alerts by mail and webhook, that is 30 lines."""
MAX_SUBJECTS = 500
"""Maximum of problems in memory; the one without occurrence for the longest time is evicted first."""


class Recovered(NamedTuple):
    """Problem that is over."""

    kinds: frozenset[str]
    times: int
    """Number of occurrences, logged or not."""
    seconds: float
    """Duration from the first occurrence to the end."""


@dataclass(slots=True)
class _Problem:
    began: float
    last_logged: float
    times: int = 0
    suppressed: int = 0
    reasons: set[tuple[str, str | None]] = field(default_factory=set)


class LogThrottle:
    """Decides which log lines about a problem are written. Times are seconds of a monotonic clock."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        """Minimum of seconds between two lines about a persistent problem; may be changed."""
        self._problems: dict[str, _Problem] = {}

    def admit(self, subject: str, kind: str, reason: str | None, now: float) -> int | None:
        """Return None to suppress a line, else the number of suppressed lines since the last one of this subject.

        Written are the first line, one with a second reason (numbers in it are ignored), and the first one after an
        interval. A line without a reason is a consequence of the problem, and never the news of a second reason.
        """
        problem = self._problems.pop(subject, None) or _Problem(now, now)
        self._problems[subject] = problem  # at the end: dictionaries keep their order
        if len(self._problems) > MAX_SUBJECTS:
            del self._problems[next(iter(self._problems))]
        problem.times += 1
        key = (kind, None if reason is None else re.sub(r"\d+", "#", reason))
        is_new = problem.times == 1 or (reason is not None and key not in problem.reasons)
        is_news = is_new and len(problem.reasons) < MAX_REASONS
        if not is_news and now - problem.last_logged < self.interval:
            problem.suppressed += 1
            return None
        problem.reasons |= {key} if is_news else set()
        suppressed, problem.suppressed, problem.last_logged = problem.suppressed, 0, now
        return suppressed

    def recover(self, subject: str, now: float) -> Recovered | None:
        """End the problem of a subject; None if there was none."""
        problem = self._problems.pop(subject, None)
        if problem is None:
            return None
        return Recovered(frozenset(kind for kind, _ in problem.reasons), problem.times, now - problem.began)

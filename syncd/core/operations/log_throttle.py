"""Repetition: what fails again and again for hours is told when it begins, once in a while, and when it ends."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

REASONS = 2
"""How many different reasons of one trouble are told at once; further ones wait for the next reminder. With those of a
day, its end, and its begin and end told by mail and by webhook, that is 30 lines."""
SUBJECTS = 500
"""How many troubles are remembered; beyond that, the one that was quiet the longest is forgotten."""


class Ended(NamedTuple):
    """A trouble that is over."""

    kinds: frozenset[str]
    times: int
    """How often it was met, told or not."""
    seconds: float
    """From its first to its end."""


@dataclass(slots=True)
class _Trouble:
    began: float
    told: float
    times: int = 0
    unsaid: int = 0
    reasons: set[tuple[str, str | None]] = field(default_factory=set)


class Repetition:
    """Decides which of many lines about one trouble are written. Times are seconds of any clock that only goes up."""

    def __init__(self, period: float) -> None:
        self.period = period
        """Seconds between two lines about a trouble that goes on; it may be changed."""
        self._troubles: dict[str, _Trouble] = {}

    def admit(self, subject: str, kind: str, why: str | None, now: float) -> int | None:
        """None when this is to be passed over, else how many were since the last line about this subject.

        Told are the first, a second reason (numbers in it aside), and whatever comes a period after the last line.
        Without a reason it only follows from the trouble, or may: it is nothing new to somebody who knows of that.
        """
        trouble = self._troubles.pop(subject, None) or _Trouble(now, now)
        self._troubles[subject] = trouble  # at the end: dictionaries keep their order
        if len(self._troubles) > SUBJECTS:
            del self._troubles[next(iter(self._troubles))]
        trouble.times += 1
        reason = (kind, None if why is None else re.sub(r"\d+", "#", why))
        news = trouble.times == 1 or (why is not None and reason not in trouble.reasons)
        fresh = news and len(trouble.reasons) < REASONS
        if not fresh and now - trouble.told < self.period:
            trouble.unsaid += 1
            return None
        trouble.reasons |= {reason} if fresh else set()
        unsaid, trouble.unsaid, trouble.told = trouble.unsaid, 0, now
        return unsaid

    def end(self, subject: str, now: float) -> Ended | None:
        """The subject is well again; None when it was all the time."""
        trouble = self._troubles.pop(subject, None)
        if trouble is None:
            return None
        return Ended(frozenset(kind for kind, _ in trouble.reasons), trouble.times, now - trouble.began)

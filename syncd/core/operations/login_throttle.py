"""Patience with those who guess: how long whoever has failed must wait until the next attempt is looked at.

What belongs here: the rule and its memory. The time is given, in seconds of any clock that only goes forward.
"""

from collections import OrderedDict
from dataclasses import dataclass

FREE = 3
"""Failures that cost nothing: people mistype."""
LONGEST = 300.0
"""Seconds of the longest wait."""
FORGOTTEN = 1800.0
"""Seconds after the last failure from which on there was none; longer than a directory server's usual window."""
MOST = 10_000
"""How many are remembered; beyond that whoever failed longest ago is forgotten first."""


def pause(failures: int) -> float:
    """The seconds after so many failures in which no attempt is looked at: none, then from 1 on twice as long each."""
    return 0.0 if failures < FREE else min(LONGEST, 2.0 ** min(failures - FREE, 30))


@dataclass(slots=True)
class Mark:
    """What is remembered of somebody: an account, or an address."""

    failures: int = 0
    last: float = 0.0
    refused: int = 0
    """Attempts that were turned away unlooked at since the last failure."""


class Patience:
    """The failures of many, each by a name of its own."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._marks: OrderedDict[str, Mark] = OrderedDict()

    def __len__(self) -> int:
        return len(self._marks)

    def wait(self, who: str, now: float) -> float:
        """Seconds until the next attempt is looked at; 0 when it is now. One that has to wait is counted as refused."""
        mark = self._mark(who, now)
        left = max(0.0, mark.last + pause(mark.failures) - now) if mark else 0.0
        if mark and left:
            mark.refused += 1
        return left

    def slowed(self, who: str, now: float) -> bool:
        """Whether failures of this one cost something already, whether or not the wait is over."""
        mark = self._mark(who, now)
        return mark is not None and mark.failures >= FREE

    def fail(self, who: str, now: float) -> Mark:
        """Count a failure; what is known of them, the attempts that were refused before it included."""
        mark = self._mark(who, now) or Mark()
        told = Mark(mark.failures + 1, now, mark.refused)
        self._marks[who] = Mark(told.failures, now)
        self._marks.move_to_end(who)
        if len(self._marks) > self._most:
            self._marks.popitem(last=False)
        return told

    def succeed(self, who: str) -> None:
        """Forget the failures of somebody."""
        self._marks.pop(who, None)

    def forgive(self, who: str) -> None:
        """Forget one failure: where many sit behind one address, whoever gets in makes up for one who mistyped."""
        mark = self._marks.get(who)
        if mark is not None:
            mark.failures = max(0, mark.failures - 1)

    def _mark(self, who: str, now: float) -> Mark | None:
        mark = self._marks.get(who)
        if mark is not None and now - mark.last >= FORGOTTEN:
            del self._marks[who]
            return None
        return mark

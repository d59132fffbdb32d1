"""Exit statuses: what each means, and which one a run or several of them end with."""

from collections.abc import Iterable

from syncd.core.sync.plan import Outcome

EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_HELD = 3
EXIT_BUSY = 75  # EX_TEMPFAIL of sysexits.h
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h

_OF_OUTCOME = {Outcome.COMPLETED: 0, Outcome.HELD: EXIT_HELD, Outcome.INCOMPLETE: EXIT_HELD}
_SEVERITY = (0, EXIT_BUSY, EXIT_HELD, EXIT_FAILED)


def status_of(outcome: Outcome) -> int:
    """The status that a run of this outcome ends with."""
    return _OF_OUTCOME.get(outcome, EXIT_FAILED)


def worst(statuses: Iterable[int]) -> int:
    """Of several sources the worst counts."""
    return max(statuses, key=_SEVERITY.index, default=0)

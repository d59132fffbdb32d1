"""Exit statuses, and their assignment to the outcomes of runs."""

from collections.abc import Iterable

from syncd.core.sync.plan import Outcome

EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_HELD = 3
EXIT_BUSY = 75  # EX_TEMPFAIL of sysexits.h
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h

_CODE_OF_OUTCOME = {Outcome.COMPLETED: 0, Outcome.HELD: EXIT_HELD, Outcome.INCOMPLETE: EXIT_HELD}
_SEVERITY = (0, EXIT_BUSY, EXIT_HELD, EXIT_FAILED)


def exit_code_of(outcome: Outcome) -> int:
    """Return the exit status of a run with this outcome."""
    return _CODE_OF_OUTCOME.get(outcome, EXIT_FAILED)


def worst_exit_code(statuses: Iterable[int]) -> int:
    """Return the most severe of the exit statuses; 0 for none."""
    return max(statuses, key=_SEVERITY.index, default=0)

"""The catalog of all faults, in the order in which they are printed."""

from syncd.drill.faults import commit, entries, files, line, rights, runs, scope
from syncd.drill.stage import Fault

CATALOG: tuple[Fault, ...] = (
    *rights.FAULTS,
    *line.FAULTS,
    *scope.FAULTS,
    *entries.FAULTS,
    *files.FAULTS,
    *runs.FAULTS,
    *commit.FAULTS,
)

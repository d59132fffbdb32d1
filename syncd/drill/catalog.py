"""The catalog of all faults, in the order of the printed table."""

from syncd.drill.faults import commit, entries, files, network, permissions, runs, scope
from syncd.drill.scenario import Fault

CATALOG: tuple[Fault, ...] = (
    *permissions.FAULTS,
    *network.FAULTS,
    *scope.FAULTS,
    *entries.FAULTS,
    *files.FAULTS,
    *runs.FAULTS,
    *commit.FAULTS,
)

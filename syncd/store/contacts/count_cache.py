"""Totals: how many contacts match what, counted at the newest revision. To count takes longer than to read."""

from collections.abc import Hashable
from typing import NamedTuple

MOST = 1000


class Counted(NamedTuple):
    """How many contacts match something at a revision."""

    revision: int
    total: int


class Totals:
    """What was counted, by what matches."""

    def __init__(self) -> None:
        self._revision = -1
        self._found: dict[Hashable, int] = {}

    def known(self, matching: Hashable) -> Counted:
        """The count that may still hold; of a revision that never was when there is none."""
        total = self._found.get(matching)
        return Counted(-1, 0) if total is None else Counted(self._revision, total)

    def keep(self, matching: Hashable, counted: Counted) -> None:
        """Keep a count, and with it only those of the same revision."""
        if counted.revision > self._revision or len(self._found) >= MOST:
            self._found, self._revision = {}, counted.revision
        if counted.revision == self._revision:
            self._found[matching] = counted.total

    def forget(self) -> None:
        """Forget all: the database may be another one, in which the same revision is another state."""
        self._found, self._revision = {}, -1

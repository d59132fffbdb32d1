"""Cache of the number of contacts that match a query, at the newest revision; counting takes longer than reading."""

import hashlib
from collections.abc import Hashable
from typing import NamedTuple

MAX_ENTRIES = 1000
"""Maximum of cached counts; each takes some 150 bytes, whatever is matched."""


class Count(NamedTuple):
    """Number of matching contacts at a revision."""

    revision: int
    total: int


class CountCache:
    """Counts of the newest revision, by what is matched."""

    def __init__(self) -> None:
        self._revision = -1
        self._totals: dict[bytes, int] = {}

    def find(self, matching: Hashable) -> Count:
        """Return the cached count, valid if its revision is still the current one; revision -1 if there is none."""
        total = self._totals.get(_digest(matching))
        return Count(-1, 0) if total is None else Count(self._revision, total)

    def store(self, matching: Hashable, count: Count) -> None:
        """Cache a count; counts of older revisions are dropped."""
        if count.revision > self._revision or len(self._totals) >= MAX_ENTRIES:
            self._totals, self._revision = {}, count.revision
        if count.revision == self._revision:
            self._totals[_digest(matching)] = count.total

    def clear(self) -> None:
        """Drop all counts: in another database the same revision is another state."""
        self._totals, self._revision = {}, -1


def _digest(matching: Hashable) -> bytes:
    """Return the key of an entry: filters may have many kilobytes, and nobody can find two with one digest."""
    return hashlib.blake2b(repr(matching).encode(), digest_size=20).digest()

"""The response cache: representations of the newest revision by request, bounded in bytes."""

from collections import OrderedDict
from typing import NamedTuple

from syncd.core.contacts.models import Role
from syncd.web.caching.conditional import Representation


class CacheKey(NamedTuple):
    """Everything besides the revision that a response depends on."""

    path: bytes
    query: bytes
    accept: str
    base: str
    role: Role


ENTRY_OVERHEAD = 1536
"""Bytes of an entry besides its texts and bodies: objects, headers, allocator; measured: 950 without the last."""


def entry_size(key: CacheKey, representation: Representation) -> int:
    """Return the bytes that an entry occupies, with space for its gzip form, which is made on demand."""
    return sum(map(len, key)) + 2 * representation.size + ENTRY_OVERHEAD


class ResponseCache:
    """Representations of the newest known revision. The least recently used ones are evicted first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._revision = -1
        self._size = 0
        self._entries: OrderedDict[CacheKey, tuple[Representation, int]] = OrderedDict()

    def get(self, revision: int, key: CacheKey) -> Representation | None:
        """Return the representation of this revision, or None; a newer revision empties the cache first."""
        self.invalidate_before(revision)
        if revision < self._revision or key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, revision: int, key: CacheKey, representation: Representation) -> None:
        """Store a representation that was read at this revision or later, unless a newer revision is known by now."""
        self.invalidate_before(revision)
        size = entry_size(key, representation)
        if revision < self._revision or key in self._entries or size > self._max_bytes:
            return
        self._entries[key] = representation, size
        self._size += size
        self.reconfigure(self._max_bytes)

    def reconfigure(self, max_bytes: int) -> None:
        """Apply a new limit in bytes."""
        self._max_bytes = max_bytes
        while self._size > max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._size -= freed

    def invalidate_before(self, revision: int) -> None:
        """Remove all entries if this revision is newer than theirs."""
        if revision > self._revision:
            self.clear()
            self._revision = revision

    def clear(self) -> None:
        """Remove all entries and forget the revision, as for another database with other states for its revisions."""
        self._entries.clear()
        self._size, self._revision = 0, -1

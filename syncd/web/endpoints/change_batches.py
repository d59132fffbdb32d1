"""Batches of the change feed, read and serialised once for all readers at the same position, and cached."""

import asyncio
from collections import OrderedDict
from functools import cached_property
from typing import NamedTuple

from syncd.core.contacts import feed
from syncd.core.contacts.feed import ChangeBatch, Position
from syncd.web.ports import ChangeReader

MAX_CACHED_BYTES = 8 << 20
"""Size of the cache. Waiting readers request the same batch at the same moment, so a small cache suffices."""


class BatchKey(NamedTuple):
    """Everything that an encoded batch depends on."""

    position: Position
    revision: int
    """The batch is read after this revision was committed."""
    base: str


class EncodedBatch:
    """A batch of changes, encoded as JSON lines and as server-sent events."""

    def __init__(self, batch: ChangeBatch, base: str) -> None:
        self.revision = batch.revision
        self.next_revision = batch.next_revision
        self.end = batch.end
        self.revisions = [change.position.revision for change in batch.changes]
        self.lines = [feed.encode_change(change, base) for change in batch.changes]
        self._kinds = [feed.change_kind(change) for change in batch.changes]

    @property
    def size(self) -> int:
        """Approximate size in bytes, in both forms."""
        return sum(map(len, self.lines)) * 2 + 1024

    @cached_property
    def events(self) -> bytes:
        """Server-sent events (WHATWG HTML, 9.2).

        A disconnected client resumes after the last id, so only the last event of a revision has one.
        """
        following = [*self.revisions[1:], self.next_revision]
        parts = [
            f"event: {kind}\ndata: {line}\n" + ("\n" if revision == next_ else f"id: {revision}\n\n")
            for kind, line, revision, next_ in zip(self._kinds, self.lines, self.revisions, following, strict=False)
        ]
        if self.next_revision is None and self.revision not in self.revisions[-1:]:
            parts.append(f"id: {self.revision}\n\n")
        return "".join(parts).encode()

    def take(self, left: int | None, last: int) -> int:
        """Return how many changes to append to a response that has space for `left` more and ends with revision `last`.

        Revisions are not split: all changes of a started revision are taken, even beyond `left`. None is no limit.
        """
        if left is None:
            return len(self.lines)
        count = min(max(left, 0), len(self.lines))
        last = self.revisions[count - 1] if count else last
        while count < len(self.lines) and self.revisions[count] == last:
            count += 1
        return count


class BatchCache:
    """Cache of recently read batches, bounded by MAX_CACHED_BYTES; the oldest are evicted first."""

    def __init__(self, changes: ChangeReader) -> None:
        self._changes = changes
        self._reading: dict[BatchKey, asyncio.Task[EncodedBatch]] = {}
        self._entries: OrderedDict[BatchKey, EncodedBatch] = OrderedDict()
        self._size = 0

    async def read_after(self, key: BatchKey) -> EncodedBatch:
        """Return the batch after a position; concurrent calls with one key share a read. Raises Gone or StoreError."""
        if key in self._entries:
            return self._entries[key]
        if key not in self._reading:
            self._reading[key] = reading = asyncio.create_task(self._read(key))
            reading.add_done_callback(lambda _: self._reading.pop(key))
            reading.add_done_callback(asyncio.Task.exception)  # all waiting callers may be gone by then
        return await asyncio.shield(self._reading[key])

    async def _read(self, key: BatchKey) -> EncodedBatch:
        batch = EncodedBatch(await self._changes.read_after(key.position), key.base)
        self._entries[key] = batch
        self._size += batch.size
        while self._size > MAX_CACHED_BYTES:
            _, evicted = self._entries.popitem(last=False)
            self._size -= evicted.size
        return batch

"""Sections of the change feed: read and written once for all who stand at the same place, and kept for a while."""

import asyncio
from collections import OrderedDict
from functools import cached_property
from typing import NamedTuple, Protocol

from syncd.core.contacts import feed
from syncd.core.contacts.feed import Position, Section

MOST = 8 << 20
"""Bytes of sections that are kept. Those who wait come for one at the same moment, so it need not be many."""


class Changes(Protocol):
    """Reading."""

    async def after(self, position: Position) -> Section:
        """What follows a position, from one moment."""


class Key(NamedTuple):
    """What a section depends on."""

    position: Position
    revision: int
    """It is read at a moment at which this one is committed."""
    base: str


class Written:
    """A section in the forms in which it is sent."""

    def __init__(self, section: Section, base: str) -> None:
        self.revision = section.revision
        self.following = section.following
        self.end = section.end
        self.revisions = [change.position.revision for change in section.changes]
        self.lines = [feed.written(change, base) for change in section.changes]
        self._kinds = [feed.kind(change) for change in section.changes]

    @property
    def size(self) -> int:
        """Bytes that it takes, about, in both forms."""
        return sum(map(len, self.lines)) * 2 + 1024

    @cached_property
    def events(self) -> bytes:
        """As server-sent events (WHATWG HTML, 9.2).

        Whoever is cut off goes on from the last id. So it stands on the last event of a revision only.
        """
        following = [*self.revisions[1:], self.following]
        parts = [
            f"event: {kind}\ndata: {line}\n" + ("\n" if revision == next_ else f"id: {revision}\n\n")
            for kind, line, revision, next_ in zip(self._kinds, self.lines, self.revisions, following, strict=False)
        ]
        if self.following is None and self.revision not in self.revisions[-1:]:
            parts.append(f"id: {self.revision}\n\n")
        return "".join(parts).encode()

    def fitting(self, left: int | None, last: int) -> int:
        """How many of the changes an answer takes that has room for so many more, and ends with the revision `last`.

        A revision is never cut: of that which is begun all are taken, whatever the room.
        """
        if left is None:
            return len(self.lines)
        taken = min(max(left, 0), len(self.lines))
        last = self.revisions[taken - 1] if taken else last
        while taken < len(self.lines) and self.revisions[taken] == last:
            taken += 1
        return taken


class Sections:
    """The sections that were read last."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._reading: dict[Key, asyncio.Task[Written]] = {}
        self._kept: OrderedDict[Key, Written] = OrderedDict()
        self._size = 0

    async def after(self, key: Key) -> Written:
        """What follows a position. Raises what reading raises."""
        if key in self._kept:
            return self._kept[key]
        if key not in self._reading:
            self._reading[key] = reading = asyncio.create_task(self._read(key))
            reading.add_done_callback(lambda _: self._reading.pop(key))
            reading.add_done_callback(asyncio.Task.exception)  # whoever waited may be gone by then
        return await asyncio.shield(self._reading[key])

    async def _read(self, key: Key) -> Written:
        written = Written(await self._changes.after(key.position), key.base)
        self._kept[key] = written
        self._size += written.size
        while self._size > MOST:
            _, old = self._kept.popitem(last=False)
            self._size -= old.size
        return written

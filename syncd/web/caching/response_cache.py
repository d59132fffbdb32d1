"""The response cache: answers of the newest revision by what was asked, bounded in bytes."""

from collections import OrderedDict
from typing import NamedTuple

from syncd.core.contacts.models import Role
from syncd.web.caching.conditional import Representation


class Key(NamedTuple):
    """What an answer depends on besides the revision."""

    path: bytes
    query: bytes
    accept: str
    base: str
    role: Role


class Cache:
    """Answers of one revision, the one that was heard of last. The longest unused ones make room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._revision = -1
        self._size = 0
        self._kept: OrderedDict[Key, tuple[Representation, int]] = OrderedDict()

    def find(self, revision: int, key: Key) -> Representation | None:
        """The answer to this at this revision, if it is kept."""
        self.drop(revision)
        if revision < self._revision or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, revision: int, key: Key, answer: Representation) -> None:
        """Keep what was read after this revision was, unless a newer one is known by now."""
        self.drop(revision)
        # the packed form is made later; room for it is taken at once, generously
        size = 2 * answer.size
        if revision < self._revision or key in self._kept or size > self._most:
            return
        self._kept[key] = answer, size
        self._size += size
        self.limit(self._most)

    def limit(self, most: int) -> None:
        """Keep at most so many bytes from now on."""
        self._most = most
        while self._size > most:
            _, (_, freed) = self._kept.popitem(last=False)
            self._size -= freed

    def drop(self, revision: int) -> None:
        """Forget everything when this is a newer revision."""
        if revision > self._revision:
            self.forget()
            self._revision = revision

    def forget(self) -> None:
        """Forget everything: the database may be another one, in which the same revision is another state."""
        self._kept.clear()
        self._size, self._revision = 0, -1

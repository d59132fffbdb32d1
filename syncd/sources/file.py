"""The source of kind `file`: a file of records is read wholly, checked wholly, and only then handed out.

What belongs here: what makes a file count as complete, and what makes one of its entries a record or a reject. How the
formats are written is in `formats`.
"""

import difflib
import json
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path

from syncd.core.contacts.text import clean, dialled, has_control
from syncd.core.sync.record import (
    Attempt,
    Evidence,
    Found,
    Recognition,
    Record,
    Reject,
    Search,
    Shortfall,
    Sight,
    Sighting,
    Values,
)
from syncd.settings import FileSource
from syncd.sources.formats import Entry, FormatFault, Odd, Value, entries

_TOLD = 10
"""Duplicates that are named one by one; a file that was appended to itself has as many as it has records."""
_SHOWN = 50
"""Entries that a search hands out at most."""
_NO_SEAL = b""
"""For digests that nobody compares."""


class RecordFile:
    """A file on this machine. Shortfalls: missing, unreadable, encoding, empty, parse, shape, duplicate, changing."""

    def __init__(self, settings: FileSource, attributes: frozenset[str]) -> None:
        self._path = settings.path
        self._table = settings.type.lower()
        self._key = settings.key
        self._known = attributes | {settings.key.lower()}

    def attempts(self) -> Iterator[Attempt]:
        """The one file there is."""
        yield self

    def read(self, known: Recognition) -> Generator[Record | Reject, None, Evidence]:
        """Yield the records that are not recognised, after the whole file has been understood."""
        begun = time.monotonic()
        found, shortfalls = self._contents(known.seal)
        if not shortfalls:
            for item in found:
                if isinstance(item, Record) and item.digest in known.unseen:
                    known.unseen.discard(item.digest)
                else:
                    yield item
        return Evidence(
            server=str(self._path),
            key_attribute=self._key,
            entries=len(found),
            seconds=time.monotonic() - begun,
            shortfalls=shortfalls,
        )

    def look(self, keys: Sequence[str], evidence: Evidence) -> Sequence[Sighting]:  # noqa: ARG002 - there is one file
        """Read the file again: what it holds now is there. See `core.sync.record.Source`."""
        found, shortfalls = self._contents(_NO_SEAL)
        if shortfalls:
            why = "; ".join(shortfall.sentence for shortfall in shortfalls)
            return [Sighting(key, Sight.UNKNOWN, why) for key in keys]
        places = {item.key: item.place for item in found}
        return [
            Sighting(key, Sight.PRESENT, places[key]) if key in places else Sighting(key, Sight.GONE) for key in keys
        ]

    def search(self, text: str, keys: Sequence[str]) -> Search:
        """What the file lists under this text or these keys. See `core.sync.record.Source`."""
        found, shortfalls = self._contents(_NO_SEAL)
        bears = _bearer(text)
        matching = [
            Found(item, str(self._path))
            for item in found
            if item.key in keys or any(bears(value) for value in (item.key or "", *chain(*item.values.values())))
        ]
        # of a file that is not whole, records may be known all the same: one that is listed twice, for instance
        return Search(tuple(matching[:_SHOWN]), "; ".join(shortfall.sentence for shortfall in shortfalls))

    def _contents(self, seal: bytes) -> tuple[list[Record | Reject], tuple[Shortfall, ...]]:
        """Everything that the file lists, and why that is not the whole of it."""
        try:
            listed = entries(self._path.suffix.lower(), _text(self._path), self._table)
        except FormatFault as fault:
            return [], (self._shortfall(fault.code, fault.line, fault.reason),)
        found = [self._record(entry, seal) for entry in listed]
        return found, self._missing_column(listed) or self._duplicates(found)

    def _record(self, entry: Entry, seal: bytes) -> Record | Reject:
        """The record of an entry, or the reason why it is none."""
        place = f"{self._path.name}{entry.place}"
        flaws: list[str] = []
        values: dict[str, tuple[str, ...]] = {}
        names = [member.lower() for member, _ in entry.members]
        for member, value in entry.members:
            lower = member.lower()
            if lower not in self._known:
                flaws += self._near_miss(member, names)
            elif names.count(lower) > 1:
                flaws.append(f"{member} is given more than once; keep one")
            else:
                texts, wrong = _texts(member, value)
                flaws += wrong
                if texts:
                    values[lower] = texts
        identity = values.get(self._key.lower(), ())
        key = clean(identity[0]) if len(identity) == 1 else None
        if key is None:
            flaws.append(f"{self._key} identifies the record and must have exactly one value")
        if flaws or key is None:
            return Reject(key, place, "; ".join(dict.fromkeys(flaws)), values)
        return Record(key, place, _digest(values, seal), values)

    def _near_miss(self, member: str, names: list[str]) -> list[str]:
        """A mistyped member must not silently clear what it stands for; any other unknown one is a remark."""
        absent = sorted(self._known.difference(names))
        lower = member.lower()
        near = difflib.get_close_matches(lower, absent, n=1, cutoff=0.75)
        near += [name for name in absent if len(lower) > 3 and name.startswith(lower)]
        return [f"{member!r} is not known; did you mean {near[0]}?"] if near else []

    def _missing_column(self, listed: list[Entry]) -> tuple[Shortfall, ...]:
        """A key that no entry has is a file of another shape, not a list of bad records."""
        key = self._key.lower()
        if not listed or any(member.lower() == key for entry in listed for member, _ in entry.members):
            return ()
        return (self._shortfall("shape", None, f"no record has the member {self._key} that identifies it"),)

    def _duplicates(self, found: list[Record | Reject]) -> tuple[Shortfall, ...]:
        first: dict[str, str] = {}
        told: list[Shortfall] = []
        for item in found:
            if item.key is None:
                continue
            place = first.setdefault(item.key, item.place)
            if place is not item.place:
                sentence = f"{item.place}: {self._key} {item.key!r} is already listed at {place}; remove one of them"
                told.append(Shortfall("duplicate", sentence))
        if len(told) > _TOLD:
            more = f"{self._path.name}: {len(told) - _TOLD} more records are listed twice"
            told[_TOLD:] = [Shortfall("duplicate", more)]
        return tuple(told)

    def _shortfall(self, code: str, line: int | None, reason: str) -> Shortfall:
        where = f"{self._path}:{line}" if line else str(self._path)
        return Shortfall(code, f"{where}: {reason}; {_NEXT_STEP.get(code, _CORRECT)}")


_CORRECT = "nothing was changed; correct the file and it is read again at once"
_NEXT_STEP = {
    "missing": "nothing was changed; put it back, or correct `path` in the settings",
    "unreadable": "nothing was changed; give the user that syncd runs as the right to read it",
    "changing": "nothing was changed; it is read again",
    "empty": "nothing was changed; a file of zero records still has a header, a comment or []",
}


def _text(path: Path) -> str:
    """The whole text, when the file was the same before and after reading. Raises FormatFault."""
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise FormatFault("unreadable", None, "is no regular file")
        data = path.read_bytes()
        after = path.stat()
    except FileNotFoundError:
        raise FormatFault("missing", None, "there is no such file") from None
    except OSError as error:
        raise FormatFault("unreadable", None, f"cannot be read: {error.strerror}") from None
    if _identity(before) != _identity(after) or len(data) != after.st_size:
        raise FormatFault("changing", None, "was written to while it was read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatFault("encoding", line, "is not UTF-8; save it as UTF-8") from None
    if not text.strip():
        raise FormatFault("empty", None, "has no content, as if it were being written")
    return text


def _identity(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _bearer(text: str) -> Callable[[str], bool]:
    """Tells whether a value is this text, whatever its case, its blanks and, in a number, its punctuation."""
    wanted = clean(text).casefold()
    number = dialled(text) if any(char.isdigit() for char in text) else ""

    def bears(value: str) -> bool:
        return clean(value).casefold() == wanted or bool(number and dialled(value) == number)

    return bears if wanted else lambda _value: False


def _texts(member: str, value: Value) -> tuple[tuple[str, ...], list[str]]:
    """The texts of a value that are not blank, and what is wrong with it."""
    texts: list[str] = []
    flaws: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Odd):
            flaws.append(f"{member} is {item.what}; write a text in quotes")
        elif item is not None and has_control(clean(item)):
            flaws.append(f"{member} holds a control character")
        elif item is not None and clean(item):
            texts.append(item)
    return tuple(texts), flaws


def _digest(values: Values, seal: bytes) -> bytes:
    data = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(data, digest_size=16, person=seal).digest()

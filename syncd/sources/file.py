"""The source of kind `file`: reading, completeness checks, and conversion of entries into records or rejects.

A file is read and checked as a whole before its first record is yielded. The formats are parsed in `formats`.
"""

import difflib
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path

from syncd.core.contacts.text import clean, has_control, normalize_dialled
from syncd.core.sync.record import (
    Attempt,
    Evidence,
    IncompleteReason,
    KnownDigests,
    Presence,
    PresenceCheck,
    Record,
    Reject,
    SearchResult,
    SourceMatch,
    Values,
    join_flaws,
)
from syncd.settings import FileSource
from syncd.sources.file_entry import FileEntry, FormatError, UnsupportedValue, Value
from syncd.sources.formats import parse_entries

_MAX_LISTED_DUPLICATES = 10
"""Duplicates that are reported one by one; a file that was appended to itself has as many as it has records."""
_MAX_RESULTS = 50
"""Entries in the result of a search."""
_MAX_NAME_LENGTH = 60
"""Characters of an unknown member that may be a mistyped one."""
_NO_FINGERPRINT = b""
"""For digests that are never compared."""


class RecordFile:
    """A local file as a `Source`, with one attempt.

    Codes of its incomplete reads: missing, unreadable, size, encoding, empty, parse, shape, duplicate, changing.
    """

    def __init__(self, settings: FileSource, attributes: frozenset[str]) -> None:
        self._path = settings.path
        self._max_bytes = settings.max_mib * 2**20
        self._table = settings.type.lower()
        self._key = settings.key
        self._members = attributes | {settings.key.lower()}

    def attempts(self) -> Iterator[Attempt]:
        """Yield the single attempt."""
        yield self

    def read(self, known: KnownDigests) -> Generator[Record | Reject, None, Evidence]:
        """Parse the whole file, then yield the records with unknown digests. See `core.sync.record.Attempt`."""
        started = time.monotonic()
        items, reasons = self._read_items(known.fingerprint)
        if not reasons:
            for item in items:
                if isinstance(item, Record) and item.digest in known.remaining:
                    known.remaining.discard(item.digest)
                else:
                    yield item
        return Evidence(
            server=str(self._path),
            key_attribute=self._key,
            entries=len(items),
            seconds=time.monotonic() - started,
            incomplete_reasons=reasons,
        )

    def verify_absent(self, keys: Sequence[str], evidence: Evidence) -> Sequence[PresenceCheck]:  # noqa: ARG002 - there is one file
        """Read the file again and look up each key in it. See `core.sync.record.Source`."""
        items, reasons = self._read_items(_NO_FINGERPRINT)
        if reasons:
            sentence = "; ".join(reason.sentence for reason in reasons)
            return [PresenceCheck(key, Presence.UNKNOWN, sentence) for key in keys]
        locations = {item.key: item.location for item in items}
        return [
            PresenceCheck(key, Presence.PRESENT, locations[key])
            if key in locations
            else PresenceCheck(key, Presence.GONE)
            for key in keys
        ]

    def search(self, text: str, keys: Sequence[str]) -> SearchResult:
        """Return the entries with this text as a value, or with one of these keys. See `core.sync.record.Source`."""
        items, reasons = self._read_items(_NO_FINGERPRINT)
        matches = _make_value_matcher(text)
        matching = [
            SourceMatch(item, str(self._path))
            for item in items
            if item.key in keys or any(matches(value) for value in (item.key or "", *chain(*item.values.values())))
        ]
        # an incomplete file may have entries as well: those of a duplicate key, for example
        return SearchResult(tuple(matching[:_MAX_RESULTS]), "; ".join(reason.sentence for reason in reasons))

    def _read_items(self, fingerprint: bytes) -> tuple[list[Record | Reject], tuple[IncompleteReason, ...]]:
        """Return all entries as records or rejects, and the reasons why the file is incomplete (empty if complete)."""
        try:
            entries = parse_entries(self._path.suffix.lower(), _read_text(self._path, self._max_bytes), self._table)
        except FormatError as error:
            return [], (self._incomplete_reason(error.code, error.line, error.reason),)
        items = [self._to_record(entry, fingerprint) for entry in entries]
        return items, self._check_key_member(entries) or self._find_duplicates(items)

    def _to_record(self, entry: FileEntry, fingerprint: bytes) -> Record | Reject:
        """Convert an entry; a reject's reason lists all of its flaws."""
        location = f"{self._path.name}{entry.location}"
        flaws: list[str] = []
        values: dict[str, tuple[str, ...]] = {}
        counts = Counter(member.lower() for member, _ in entry.members)
        absent = tuple(sorted(self._members.difference(counts)))
        for member, value in entry.members:
            lower = member.lower()
            if lower not in self._members:
                suggestion = _suggest_member(lower, absent)
                flaws += [f"{member!r} is not known; did you mean {suggestion}?"] if suggestion else []
            elif counts[lower] > 1:
                flaws.append(f"{member} is given more than once; keep one")
            else:
                texts, value_flaws = _parse_value(member, value)
                flaws += value_flaws
                if texts:
                    values[lower] = texts
        identity = values.get(self._key.lower(), ())
        key = clean(identity[0]) if len(identity) == 1 else None
        if key is None:
            flaws.append(f"{self._key} identifies the record and must have exactly one value")
        if flaws or key is None:
            return Reject(key, location, join_flaws(flaws), values)
        return Record(key, location, _hash_values(values, fingerprint), values)

    def _check_key_member(self, entries: list[FileEntry]) -> tuple[IncompleteReason, ...]:
        """Report a key member that no entry has: the file has another shape, its records are not to blame."""
        key = self._key.lower()
        if not entries or any(member.lower() == key for entry in entries for member, _ in entry.members):
            return ()
        return (self._incomplete_reason("shape", None, f"no record has the member {self._key} that identifies it"),)

    def _find_duplicates(self, items: list[Record | Reject]) -> tuple[IncompleteReason, ...]:
        first_locations: dict[str, str] = {}
        duplicates: list[IncompleteReason] = []
        for item in items:
            if item.key is None:
                continue
            first = first_locations.setdefault(item.key, item.location)
            if first is not item.location:
                sentence = f"{item.location}: {self._key} {item.key!r} is already listed at {first}; remove one of them"
                duplicates.append(IncompleteReason("duplicate", sentence))
        if len(duplicates) > _MAX_LISTED_DUPLICATES:
            more = f"{self._path.name}: {len(duplicates) - _MAX_LISTED_DUPLICATES} more records are listed twice"
            duplicates[_MAX_LISTED_DUPLICATES:] = [IncompleteReason("duplicate", more)]
        return tuple(duplicates)

    def _incomplete_reason(self, code: str, line: int | None, reason: str) -> IncompleteReason:
        location = f"{self._path}:{line}" if line else str(self._path)
        return IncompleteReason(code, f"{location}: {reason}; {_REMEDIES.get(code, _DEFAULT_REMEDY)}")


_DEFAULT_REMEDY = "nothing was changed; correct the file and it is read again at once"
_REMEDIES = {
    "missing": "nothing was changed; put it back, or correct `path` in the settings",
    "unreadable": "nothing was changed; give the user that syncd runs as the right to read it",
    "size": "nothing was changed; look at what wrote it, or raise `max_mib` of the source",
    "changing": "nothing was changed; it is read again",
    "empty": "nothing was changed; a file of zero records still has a header, a comment or []",
}


def _read_text(path: Path, max_bytes: int) -> str:
    """Read the file as UTF-8 and verify that it did not change meanwhile.

    Raises: FormatError (missing, unreadable, size, changing, encoding, empty).
    """
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise FormatError("unreadable", None, "is no regular file")
        if before.st_size > max_bytes:
            raise FormatError("size", None, f"has {before.st_size} bytes, at most {max_bytes} are read")
        with path.open("rb") as file:
            data = file.read(before.st_size + 1)
        after = path.stat()
    except FileNotFoundError:
        raise FormatError("missing", None, "there is no such file") from None
    except OSError as error:
        raise FormatError("unreadable", None, f"cannot be read: {error.strerror}") from None
    if _file_identity(before) != _file_identity(after) or len(data) != after.st_size:
        raise FormatError("changing", None, "was written to while it was read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError("encoding", line, "is not UTF-8; save it as UTF-8") from None
    if not text.strip():
        raise FormatError("empty", None, "has no content, as if it were being written")
    return text


def _file_identity(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _make_value_matcher(text: str) -> Callable[[str], bool]:
    """Return a predicate: a value equals the text, ignoring case, blanks and the punctuation of phone numbers."""
    folded = clean(text).casefold()
    number = normalize_dialled(text) if any(char.isdigit() for char in text) else ""

    def matches(value: str) -> bool:
        return clean(value).casefold() == folded or bool(number and normalize_dialled(value) == number)

    return matches if folded else lambda _value: False


@lru_cache(maxsize=65_536)  # the rows of a table have the same members
def _suggest_member(member: str, absent: tuple[str, ...]) -> str | None:
    """Return the absent member that an unknown one (in lower case) looks like; None for another unknown member.

    A mistyped member would otherwise silently clear the member that it stands for.
    """
    if len(member) > _MAX_NAME_LENGTH:
        return None
    similar = difflib.get_close_matches(member, absent, n=1, cutoff=0.75)
    similar += [name for name in absent if len(member) > 3 and name.startswith(member)]
    return next(iter(similar), None)


def _parse_value(member: str, value: Value) -> tuple[tuple[str, ...], list[str]]:
    """Return the texts of a value that are not blank, and the flaws of the value."""
    texts: list[str] = []
    flaws: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, UnsupportedValue):
            flaws.append(f"{member} is {item.description}; write a text in quotes")
        elif item is not None and has_control(clean(item)):
            flaws.append(f"{member} holds a control character")
        elif item is not None and clean(item):
            texts.append(item)
    return tuple(texts), flaws


def _hash_values(values: Values, fingerprint: bytes) -> bytes:
    data = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(data, digest_size=16, person=fingerprint).digest()

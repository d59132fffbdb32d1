"""From the bytes of an entry to a Record or a Reject: names without case, strict UTF-8, the key in its usual form.

Also here: attributes that Active Directory sends in pieces (`member;range=0-1499`), put together again.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping

from syncd.core.sync.record import Record, Reject
from syncd.sources.ldap import ber
from syncd.sources.ldap.errors import Fault, malformed

OBJECT_GUID = "objectguid"
_CASELESS = {"entryuuid", "nsuniqueid"}
_RANGE = re.compile(r"(?P<attribute>.+);range=(?P<first>\d+)-(?P<last>\d+|\*)")

Fetch = Callable[[str, str], Mapping[str, list[bytes]]]
"""(DN, attribute description) -> what a search on that entry brings: lower case description -> values."""


class Names(dict[bytes | str, str]):
    """Attribute descriptions as received -> lower case, each made once (RFC 4512 section 2.5: case does not matter)."""

    def __init__(self) -> None:
        super().__init__()
        self.ranged = False
        """True once an attribute came in pieces: saves looking at each name of each entry."""

    def __missing__(self, raw: bytes | str) -> str:
        name = (raw if isinstance(raw, str) else raw.decode("ascii", "backslashreplace")).lower()
        self.ranged = self.ranged or ";range=" in name
        self[raw] = name
        return name

    def fold(self, attributes: Mapping[bytes, list[bytes]]) -> dict[str, list[bytes]]:
        """Attributes by lower case description; descriptions that differ in case only are one."""
        folded: dict[str, list[bytes]] = {}
        for raw, values in attributes.items():
            folded.setdefault(self[raw], []).extend(values)
        return folded


def ranged(ops: list[tuple[bytes, bytes]]) -> bool:
    """True when one of these (digest, entry) may hold an attribute in pieces; false alarms do no harm."""
    return any(b";range=" in op.lower() for _, op in ops)


class _BadKey(Exception):
    """Why an entry cannot be identified; the text is the reason of its reject."""


class Decoder:
    """Makes records of entries. `key` and `wanted` are attribute names in lower case."""

    def __init__(self, key: str, wanted: frozenset[str], seal: bytes, fetch: Fetch) -> None:
        self._key = key
        self._wanted = wanted
        self._seal = seal
        self._fetch = fetch
        self._names = Names()

    def decode(self, digest: bytes, op: bytes) -> Record | Reject:
        """One entry as it was received. Raises Fault: it is no LDAP, or pieces of an attribute cannot be had."""
        try:
            return self._plain(digest, op) or self._any(digest, op)
        except ber.Malformed as error:
            raise malformed(error) from None

    def _plain(self, digest: bytes, op: bytes) -> Record | None:
        """The record of an entry that is the simplest possible in every respect; None for any other."""
        found = ber.plain_entry(op)
        if found is None or self._key == OBJECT_GUID:
            return None
        names = self._names
        values = {names[name]: [value] for name, value in found[1].items()}
        key = values.pop(self._key, [""])[0]
        if names.ranged or not key.strip() or len(values) + 1 < len(found[1]):
            return None
        key = key.lower() if self._key in _CASELESS else key
        if self._key in self._wanted:
            values[self._key] = [key]
        return Record(key, found[0].decode("utf-8", "backslashreplace"), digest, values)

    def _any(self, digest: bytes, op: bytes) -> Record | Reject:
        raw_dn, raw = ber.entry(op)
        names = self._names
        attributes = {names[name]: values for name, values in raw.items()}
        if len(attributes) < len(raw):
            attributes = names.fold(raw)
        place = raw_dn.decode("utf-8", "backslashreplace")
        if names.ranged and any(";range=" in name for name in attributes):
            digest = self._complete(place, op, attributes)
        keys = attributes.pop(self._key, ())
        try:
            key = self._key_text(keys)
        except _BadKey as bad:
            return Reject(None, place, str(bad), _readable(attributes))
        try:
            # one value is by far the most common
            values = {
                name: [raw_values[0].decode()] if len(raw_values) == 1 else [value.decode() for value in raw_values]
                for name, raw_values in attributes.items()
            }
        except UnicodeDecodeError:
            return Reject(key, place, _not_text(attributes), _readable(attributes))
        if self._key in self._wanted:
            values[self._key] = [key]
        return Record(key, place, digest, values)

    def _key_text(self, keys: list[bytes] | tuple[()]) -> str:
        if len(keys) != 1:
            count = f"{len(keys)} values" if keys else "no value"
            raise _BadKey(f"the key attribute {self._key} has {count}; exactly one is needed")
        raw = keys[0]
        if self._key == OBJECT_GUID:
            if len(raw) != 16:
                raise _BadKey(f"the key attribute {self._key} has {len(raw)} bytes instead of 16")
            # MS-DTYP section 2.3.4: the first three fields are little-endian; this is how AD's own tools show it
            return str(uuid.UUID(bytes_le=raw))
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise _BadKey(_no_utf8(self._key, raw, error)) from None
        if not text.strip():
            raise _BadKey(f"the key attribute {self._key} is empty")
        return text.lower() if self._key in _CASELESS else text

    def _complete(self, place: str, op: bytes, attributes: dict[str, list[bytes]]) -> bytes:
        """Fetch what is missing of attributes that came in pieces, and return the digest over all of it.

        The digest of the entry as received says nothing about the later pieces, so it must not be the one by which
        the entry is recognised next time.
        """
        whole = hashlib.blake2b(op, digest_size=16, person=self._seal)
        for name in [name for name in attributes if ";range=" in name]:
            attribute, values = complete_range(place, name, attributes.pop(name), self._fetch)
            attributes[attribute] = attributes.get(attribute, []) + values
            for value in values:
                whole.update(len(value).to_bytes(8, "big") + value)
        return whole.digest()


def complete_range(place: str, name: str, values: list[bytes], fetch: Fetch) -> tuple[str, list[bytes]]:
    """All values of an attribute of which `name` (such as `member;range=0-1499`) holds the first ones.

    MS-ADTS section 3.1.1.3.1.3.3: ask again from where the last piece ended until one ends in `*`. Returns the
    attribute and its values. Raises Fault when the server does not go on where it stopped.
    """
    found = _piece(place, name, 0)
    values = list(values)
    attribute = found["attribute"]
    while found["last"] != "*":
        following = int(found["last"]) + 1
        if following != len(values):
            raise _gap(place, attribute)
        answer = fetch(place, f"{attribute};range={following}-*")
        pieces = [name for name in answer if name.startswith(f"{attribute};range=")]
        if len(pieces) != 1 or not answer[pieces[0]]:
            raise _gap(place, attribute)
        found = _piece(place, pieces[0], following)
        values += answer[pieces[0]]
    return attribute, values


def _piece(place: str, name: str, first: int) -> re.Match[str]:
    found = _RANGE.fullmatch(name)
    if found is None or int(found["first"]) != first:
        raise _gap(place, name)
    return found


def _gap(place: str, attribute: str) -> Fault:
    return Fault(
        "range",
        f"the server sent {attribute} of {place} in pieces and not all of them could be read",
        "take the attribute out of the map, or raise MaxValRange on the server",
    )


def _readable(attributes: Mapping[str, list[bytes]]) -> dict[str, list[str]]:
    """Values for a reject, for people to look at; bytes that are no text are shown as such."""
    return {name: [value.decode("utf-8", "backslashreplace") for value in raw] for name, raw in attributes.items()}


def _not_text(attributes: Mapping[str, list[bytes]]) -> str:
    for name, values in attributes.items():
        for value in values:
            try:
                value.decode()
            except UnicodeDecodeError as error:
                return _no_utf8(name, value, error)
    raise AssertionError("unreachable: one of the values is not UTF-8")


def _no_utf8(name: str, value: bytes, error: UnicodeDecodeError) -> str:
    return f"{name} is not UTF-8: byte 0x{value[error.start]:02x} at position {error.start}"

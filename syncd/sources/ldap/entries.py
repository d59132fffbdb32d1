"""Decoding of entries into records and rejects: lower case names, strict UTF-8, the key in its usual form.

Also here: ranged attributes, which Active Directory sends in pieces (`member;range=0-1499`).
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping

from syncd.core.sync.record import Record, Reject
from syncd.sources.ldap import ber
from syncd.sources.ldap.errors import LdapFault, malformed_fault

OBJECT_GUID = "objectguid"
_CASE_INSENSITIVE_KEYS = {"entryuuid", "nsuniqueid"}
_RANGE_OPTION = re.compile(r"(?P<attribute>.+);range=(?P<first>\d{1,9})-(?P<last>\d{1,9}|\*)")

FetchAttribute = Callable[[str, str], Mapping[str, list[bytes]]]
"""(DN, attribute description) -> attributes that a search on that entry returns: lower case description -> values."""


class AttributeNames(dict[bytes | str, str]):
    """Cache: attribute description as received -> lower case (RFC 4512 section 2.5: case does not matter)."""

    def __init__(self) -> None:
        super().__init__()
        self.has_ranged = False
        """True after the first ranged attribute; until then the names of an entry need no check."""

    def __missing__(self, raw: bytes | str) -> str:
        name = (raw if isinstance(raw, str) else raw.decode("ascii", "backslashreplace")).lower()
        self.has_ranged = self.has_ranged or ";range=" in name
        self[raw] = name
        return name

    def fold(self, attributes: Mapping[bytes, list[bytes]]) -> dict[str, list[bytes]]:
        """Return the attributes by lower case description; descriptions that differ in case only are merged."""
        folded: dict[str, list[bytes]] = {}
        for raw, values in attributes.items():
            folded.setdefault(self[raw], []).extend(values)
        return folded


def has_ranged_attribute(ops: list[tuple[bytes, bytes]]) -> bool:
    """Whether one of these (digest, entry) may have a ranged attribute; false positives are harmless."""
    return any(b";range=" in op.lower() for _, op in ops)


class _InvalidKey(Exception):
    """An entry without a usable key; the text is the reason of its reject."""


class Decoder:
    """Decodes entries into records. `key` and `attributes` are attribute names in lower case."""

    def __init__(self, key: str, attributes: frozenset[str], fingerprint: bytes, fetch: FetchAttribute) -> None:
        self._key = key
        self._attributes = attributes
        self._fingerprint = fingerprint
        self._fetch = fetch
        self._names = AttributeNames()

    def decode(self, digest: bytes, op: bytes) -> Record | Reject:
        """Decode one entry as it was received. Raises: LdapFault (malformed, range)."""
        try:
            return self._decode_plain(digest, op) or self._decode_general(digest, op)
        except ber.Malformed as error:
            raise malformed_fault(error) from None

    def _decode_plain(self, digest: bytes, op: bytes) -> Record | None:
        """Return the record of an entry in the most common form (see `ber.parse_plain_entry`); None for any other."""
        entry = ber.parse_plain_entry(op)
        if entry is None or self._key == OBJECT_GUID:
            return None
        dn, attributes = entry
        names = self._names
        values = {names[name]: [value] for name, value in attributes.items()}
        key = values.pop(self._key, [""])[0]
        if names.has_ranged or not key.strip() or len(values) + 1 < len(attributes):
            return None
        key = key.lower() if self._key in _CASE_INSENSITIVE_KEYS else key
        if self._key in self._attributes:
            values[self._key] = [key]
        return Record(key, dn.decode("utf-8", "backslashreplace"), digest, values)

    def _decode_general(self, digest: bytes, op: bytes) -> Record | Reject:
        raw_dn, raw = ber.parse_entry(op)
        names = self._names
        attributes = {names[name]: values for name, values in raw.items()}
        if len(attributes) < len(raw):
            attributes = names.fold(raw)
        dn = raw_dn.decode("utf-8", "backslashreplace")
        if names.has_ranged and any(";range=" in name for name in attributes):
            digest = self._complete_ranges(dn, op, attributes)
        keys = attributes.pop(self._key, ())
        try:
            key = self._decode_key(keys)
        except _InvalidKey as error:
            return Reject(None, dn, str(error), _decode_for_display(attributes))
        try:
            # one value is by far the most common
            values = {
                name: [raw_values[0].decode()] if len(raw_values) == 1 else [value.decode() for value in raw_values]
                for name, raw_values in attributes.items()
            }
        except UnicodeDecodeError:
            return Reject(key, dn, _non_utf8_reason(attributes), _decode_for_display(attributes))
        if self._key in self._attributes:
            values[self._key] = [key]
        return Record(key, dn, digest, values)

    def _decode_key(self, keys: list[bytes] | tuple[()]) -> str:
        if len(keys) != 1:
            count = f"{len(keys)} values" if keys else "no value"
            raise _InvalidKey(f"the key attribute {self._key} has {count}; exactly one is needed")
        raw = keys[0]
        if self._key == OBJECT_GUID:
            if len(raw) != 16:
                raise _InvalidKey(f"the key attribute {self._key} has {len(raw)} bytes instead of 16")
            # MS-DTYP section 2.3.4: the first three fields are little-endian; AD's own tools show this form too
            return str(uuid.UUID(bytes_le=raw))
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise _InvalidKey(_utf8_error(self._key, raw, error)) from None
        if not text.strip():
            raise _InvalidKey(f"the key attribute {self._key} is empty")
        return text.lower() if self._key in _CASE_INSENSITIVE_KEYS else text

    def _complete_ranges(self, dn: str, op: bytes, attributes: dict[str, list[bytes]]) -> bytes:
        """Fetch the missing values of ranged attributes into `attributes`; returns the digest over all values.

        The digest of the entry as received does not cover the later values, so the entry must not be recognized by it.
        """
        digest = hashlib.blake2b(op, digest_size=16, person=self._fingerprint)
        for name in [name for name in attributes if ";range=" in name]:
            attribute, values = complete_range(dn, name, attributes.pop(name), self._fetch)
            attributes[attribute] = attributes.get(attribute, []) + values
            for value in values:
                digest.update(len(value).to_bytes(8, "big") + value)
        return digest.digest()


def parse_entry(op: bytes) -> tuple[str, dict[str, list[bytes]]]:
    """Parse a SearchResultEntry into DN and attributes (lower case description -> values).

    Raises: LdapFault (malformed).
    """
    try:
        dn, attributes = ber.parse_entry(op)
    except ber.Malformed as error:
        raise malformed_fault(error) from None
    return dn.decode("utf-8", "backslashreplace"), AttributeNames().fold(attributes)


def complete_range(dn: str, name: str, values: list[bytes], fetch: FetchAttribute) -> tuple[str, list[bytes]]:
    """Return a ranged attribute and all of its values; `name` (such as `member;range=0-1499`) has the first `values`.

    MS-ADTS section 3.1.1.3.1.3.3: the next range starts behind the last one, until one ends in `*`.
    Raises: LdapFault (range).
    """
    match = _match_range(dn, name, 0)
    values = list(values)
    attribute = match["attribute"]
    while match["last"] != "*":
        first = int(match["last"]) + 1
        if first != len(values):
            raise _range_fault(dn, attribute)
        answer = fetch(dn, f"{attribute};range={first}-*")
        ranges = [name for name in answer if name.startswith(f"{attribute};range=")]
        if len(ranges) != 1 or not answer[ranges[0]]:
            raise _range_fault(dn, attribute)
        match = _match_range(dn, ranges[0], first)
        values += answer[ranges[0]]
    return attribute, values


def _match_range(dn: str, name: str, first: int) -> re.Match[str]:
    match = _RANGE_OPTION.fullmatch(name)
    if match is None or int(match["first"]) != first:
        raise _range_fault(dn, name)
    return match


def _range_fault(dn: str, attribute: str) -> LdapFault:
    return LdapFault(
        "range",
        f"the server sent {attribute} of {dn} in pieces and not all of them could be read",
        "take the attribute out of the map, or raise MaxValRange on the server",
    )


def _decode_for_display(attributes: Mapping[str, list[bytes]]) -> dict[str, list[str]]:
    """Decode the values of a reject for display; bytes that are not UTF-8 are escaped."""
    return {name: [value.decode("utf-8", "backslashreplace") for value in raw] for name, raw in attributes.items()}


def _non_utf8_reason(attributes: Mapping[str, list[bytes]]) -> str:
    for name, values in attributes.items():
        for value in values:
            try:
                value.decode()
            except UnicodeDecodeError as error:
                return _utf8_error(name, value, error)
    raise AssertionError("unreachable: one of the values is not UTF-8")


def _utf8_error(name: str, value: bytes, error: UnicodeDecodeError) -> str:
    return f"{name} is not UTF-8: byte 0x{value[error.start]:02x} at position {error.start}"

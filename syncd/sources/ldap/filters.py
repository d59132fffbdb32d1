"""Search filters (RFC 4515) with escaped values, so that no value can end or change a filter."""

import string
import uuid
from collections.abc import Iterable

from syncd.sources.ldap.entries import OBJECT_GUID

# RFC 4515 section 3 allows more bytes unescaped, but escaping is always valid, and unescaped blanks at an end get lost
_PLAIN = frozenset(f"-{string.ascii_letters}{string.digits}".encode())
_ESCAPED = [chr(byte) if byte in _PLAIN else f"\\{byte:02x}" for byte in range(256)]


def equals(attribute: str, value: str | bytes) -> str:
    """Return the filter for entries with this value of this attribute."""
    # bytes that a terminal could not decode match no entry, but must not raise either
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return f"({attribute}={''.join([_ESCAPED[byte] for byte in raw])})"


def key_equals(attribute: str, key: str) -> str | None:
    """Return the filter for the entry with this key, given as in `Record.key`; None for an invalid key."""
    if attribute != OBJECT_GUID:
        return equals(attribute, key)
    try:
        # MS-DTYP section 2.3.4: the first three fields are little-endian, in a filter as in an entry
        return equals(attribute, uuid.UUID(key).bytes_le)
    except ValueError:
        return None


def any_of(filters: Iterable[str]) -> str:
    """Return the disjunction of the filters."""
    return f"(|{''.join(filters)})"


def all_of(one: str, other: str) -> str:
    """Return the conjunction of both filters."""
    return f"(&{one}{other})"

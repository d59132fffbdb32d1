"""The filters of our own questions (RFC 4515), put together so that no value can end or change one."""

import string
import uuid
from collections.abc import Iterable

from syncd.sources.ldap.entries import OBJECT_GUID

# RFC 4515 section 3 allows more bytes as they are, but escaping one is never wrong, and blanks at an end do get lost
_PLAIN = frozenset(f"-{string.ascii_letters}{string.digits}".encode())
_ESCAPED = [chr(byte) if byte in _PLAIN else f"\\{byte:02x}" for byte in range(256)]


def equal(attribute: str, value: str | bytes) -> str:
    """The filter for entries of which this attribute has this value."""
    # what a terminal could not decode is no text of any directory, but it must not raise either
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return f"({attribute}={''.join([_ESCAPED[byte] for byte in raw])})"


def key_equal(attribute: str, key: str) -> str | None:
    """The filter for the entry with this key, written as records have it; None when it can be no such key."""
    if attribute != OBJECT_GUID:
        return equal(attribute, key)
    try:
        # MS-DTYP section 2.3.4: the first three fields are little-endian, in a filter as in an entry
        return equal(attribute, uuid.UUID(key).bytes_le)
    except ValueError:
        return None


def either(filters: Iterable[str]) -> str:
    """The filter that matches what one of these does."""
    return f"(|{''.join(filters)})"


def both(one: str, other: str) -> str:
    """The filter that matches what both do."""
    return f"(&{one}{other})"

"""BER parser for LDAP messages: splitting of a receive buffer, and the responses to searches, binds and extensions.

All functions are pure functions of bytes. Only the BER subset of RFC 4511 section 5.1 is accepted (definite lengths,
tags of one byte), and every length must agree with the enclosing one; anything else raises Malformed.
"""

from collections.abc import Iterator
from typing import NamedTuple

SEARCH_RESULT_ENTRY = 0x64
"""Tag of SearchResultEntry (RFC 4511 section 4.5.2)."""
SEARCH_RESULT_DONE = 0x65
"""Tag of SearchResultDone."""
SEARCH_RESULT_REFERENCE = 0x73
"""Tag of SearchResultReference (RFC 4511 section 4.5.3)."""
EXTENDED_RESPONSE = 0x78
"""Tag of ExtendedResponse (RFC 4511 section 4.12); unsolicited notifications have it too."""
BIND_RESPONSE = 0x61
"""Tag of BindResponse (RFC 4511 section 4.2.2)."""
INTERMEDIATE_RESPONSE = 0x79
"""Tag of IntermediateResponse (RFC 4511 section 4.13)."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Larger than any entry of mapped attributes; a greater length indicates a broken stream."""

_SEQUENCE = 0x30
_SET = 0x31
_BOOLEAN = 0x01
_INTEGER = 0x02
_OCTETS = 0x04
_ENUMERATED = 0x0A
_REFERRAL = 0xA3
_CONTROLS = 0xA0
_RESPONSE_NAME = 0x8A
_RESPONSE_VALUE = 0x8B
_TRUNCATED = "it ends in the middle of an element"


class Malformed(Exception):
    """Bytes that are not an LDAP message. The text names the expected element and never quotes the bytes."""


class LdapResult(NamedTuple):
    """An LDAPResult (RFC 4511 section 4.1.9) with the other parts of its response."""

    code: int
    matched: str
    message: str
    """The diagnosticMessage of the server."""
    referrals: tuple[str, ...]
    name: str
    """OID of an extended response, else empty."""
    value: bytes
    """Value of an extended response, else empty."""
    controls: dict[str, bytes]
    """OID -> value; empty for a control without a value."""


def split_messages(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes, int]:
    """Split a receive buffer into messages.

    Returns (message id, bytes from the protocolOp's tag to the message's end) for each whole message, the remaining
    bytes, and the least number of bytes to receive before the next call. Raises: Malformed.
    """
    messages: list[tuple[int, bytes]] = []
    size = len(buffer)
    start = 0
    while start < size:
        try:
            end = _message_end(buffer, start)
            if end > size:
                return messages, buffer[start:], end - size
            messages.append(_parse_envelope(buffer, start, end))
        except IndexError:
            # only the first bytes of a header were received
            return messages, buffer[start:], 1
        start = end
    return messages, b"", 1


def _message_end(buffer: bytes, start: int) -> int:
    """Return the end of the message that starts here. Raises: IndexError (incomplete header), Malformed."""
    if buffer[start] != _SEQUENCE:
        raise Malformed(f"an LDAP message begins with byte 0x30, not 0x{buffer[start]:02x}")
    length = buffer[start + 1]
    if length < 0x80:
        return start + 2 + length
    length, start = _parse_long_length(buffer, start + 1)
    if length > MAX_MESSAGE_BYTES:
        raise Malformed(f"a message of {length} bytes is announced, more than {MAX_MESSAGE_BYTES}")
    return start + length


def _parse_envelope(buffer: bytes, start: int, end: int) -> tuple[int, bytes]:
    at = start + 2 if buffer[start + 1] < 0x80 else start + 2 + (buffer[start + 1] & 0x7F)
    # the id has 1 to 4 bytes, so its length is of the short form, and at least an operation's tag and length follow
    if end - at < 5 or buffer[at] != _INTEGER or not 1 <= buffer[at + 1] <= 4:
        raise Malformed("a message does not begin with its number")
    op = at + 2 + buffer[at + 1]
    if end - op < 2:
        raise Malformed("a message has no operation")
    return int.from_bytes(buffer[at + 2 : op], "big"), buffer[op:end]


def _parse_long_length(data: bytes, at: int) -> tuple[int, int]:
    """Parse the length whose first byte, 0x80 or more, is at `at`; returns it and the begin of the content."""
    count = data[at] & 0x7F
    if not 1 <= count <= 8:
        raise Malformed("a length is of the indefinite form or absurdly long, which LDAP does not allow")
    content = at + 1 + count
    if content > len(data):
        raise IndexError(_TRUNCATED)
    return int.from_bytes(data[at + 1 : content], "big"), content


def parse_entry(op: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """Parse a SearchResultEntry into (DN, attribute description -> values), all as sent by the server.

    A description that occurs twice has the values of both. Raises: Malformed.
    """
    try:
        return _parse_entry(op)
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def _parse_entry(op: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    end, at = _parse_header(op, 0, SEARCH_RESULT_ENTRY)
    dn_end, at = _parse_header(op, at, _OCTETS)
    dn = op[at:dn_end]
    list_end, at = _parse_header(op, dn_end, _SEQUENCE)
    attributes: dict[bytes, list[bytes]] = {}
    while at < list_end:
        # Nearly all attributes have one value and fit into 127 bytes, so all their lengths are single bytes at
        # positions that follow from each other: sequence (at), name (at + 2), set (middle), value (middle + 2). If
        # these three lengths add up to the outer one, which is below 128, none of them can be wrong or of another form.
        length = op[at + 1]
        middle = at + 4 + op[at + 3]
        if (
            length < 0x80
            and middle + 3 < list_end
            and length == middle - at + (size := op[middle + 3]) + 2
            and op[middle + 1] == size + 2
            and op[at] == 0x30
            and op[at + 2] == 0x04
            and op[middle] == 0x31
            and op[middle + 2] == 0x04
        ):
            name = op[at + 4 : middle]
            at += 2 + length
            values = [op[middle + 4 : at]]
        else:
            name, values, at = _parse_attribute(op, at)
        attributes[name] = attributes[name] + values if name in attributes else values
    if at != list_end or list_end != end:
        raise Malformed("an entry's attributes do not end where the entry ends")
    return dn, attributes


def parse_plain_entry(op: bytes) -> tuple[bytes, dict[str, str]] | None:
    """Parse an entry with ASCII attributes of one short value each; None for any other entry, malformed ones included.

    Most entries of most directories are of this form; a single decoding then serves for all names and values.
    """
    try:
        end, at = _parse_header(op, 0, SEARCH_RESULT_ENTRY)
        dn_end, dn_begin = _parse_header(op, at, _OCTETS)
        list_end, at = _parse_header(op, dn_end, _SEQUENCE)
        data = op[at:]
        attributes = _parse_plain_attributes(data) if data.isascii() and list_end == end == len(op) else None
    except (IndexError, Malformed):
        return None
    return None if attributes is None else (op[dn_begin:dn_end], attributes)


def _parse_plain_attributes(data: bytes) -> dict[str, str] | None:
    # every byte is below 128, so every length is a single byte, and each position follows from the one before
    text = data.decode("ascii")
    attributes: dict[str, str] = {}
    at = 0
    while at < len(data):
        end = at + 2 + data[at + 1]
        middle = at + 4 + data[at + 3]
        if (
            data[at] != 0x30
            or data[at + 2] != 0x04
            or data[middle] != 0x31
            or data[middle + 1] != end - middle - 2
            or data[middle + 2] != 0x04
            or data[middle + 3] != end - middle - 4
        ):
            return None
        name = text[at + 4 : middle]
        if name in attributes:
            return None
        attributes[name] = text[middle + 4 : end]
        at = end
    return attributes if at == len(data) else None


def _parse_attribute(op: bytes, at: int) -> tuple[bytes, list[bytes], int]:
    """Parse the attribute at `at` with any lengths and number of values; returns its name, values and end."""
    attribute_end, at = _parse_header(op, at, _SEQUENCE)
    name_end, begin = _parse_header(op, at, _OCTETS)
    end, at = _parse_header(op, name_end, _SET)
    if end != attribute_end:
        raise Malformed("an attribute's values do not end where the attribute ends")
    return op[begin:name_end], _parse_values(op, at, end), end


def _parse_values(op: bytes, at: int, end: int) -> list[bytes]:
    # a group may have thousands of members, so lengths are parsed inline here too; the last value's end is compared
    # with the end of the set once, because positions only grow
    values = []
    while at < end:
        if op[at] != 0x04:
            raise Malformed("a value is not an octet string")
        length = op[at + 1]
        at += 2
        if length > 0x7F:
            length, at = _parse_long_length(op, at - 1)
        values.append(op[at : at + length])
        at += length
    if at != end:
        raise Malformed("a value does not end where its set ends")
    return values


def _parse_header(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Parse the header of the element at `at`; returns end and begin of its content.

    Raises: Malformed (another tag, or an end beyond the data), IndexError.
    """
    if data[at] != tag:
        raise Malformed(f"tag 0x{data[at]:02x} stands where 0x{tag:02x} is due")
    length = data[at + 1]
    at += 2
    if length > 0x7F:
        length, at = _parse_long_length(data, at - 1)
    if at + length > len(data):
        raise Malformed(_TRUNCATED)
    return at + length, at


def _iterate_elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element in the content of a constructed one."""
    at = 0
    while at < len(data):
        tag = data[at]
        end, begin = _parse_header(data, at, tag)
        yield tag, data[begin:end]
        at = end


def _decode_lossy(data: bytes) -> str:
    # for display only
    return data.decode("utf-8", "backslashreplace")


def parse_result(op: bytes) -> LdapResult:
    """Parse the LDAPResult of a SearchResultDone, a bind or an extended response, with its controls.

    Raises: Malformed.
    """
    try:
        return _parse_result(op)
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def _parse_result(op: bytes) -> LdapResult:
    end, begin = _parse_header(op, 0, op[0])
    parts = list(_iterate_elements(op[begin:end]))
    if [tag for tag, _ in parts[:3]] != [_ENUMERATED, _OCTETS, _OCTETS] or not parts[0][1]:
        raise Malformed("a result has no code, matched name and message")
    optional = dict(parts[3:])
    referrals = tuple(_decode_lossy(uri) for _, uri in _iterate_elements(optional.get(_REFERRAL, b"")))
    return LdapResult(
        code=int.from_bytes(parts[0][1], "big", signed=True),
        matched=_decode_lossy(parts[1][1]),
        message=_decode_lossy(parts[2][1]),
        referrals=referrals,
        name=_decode_lossy(optional.get(_RESPONSE_NAME, b"")),
        value=optional.get(_RESPONSE_VALUE, b""),
        controls=_parse_controls(op[end:]),
    )


def _parse_controls(data: bytes) -> dict[str, bytes]:
    """Parse the bytes after the operation of a message: empty, or its controls (RFC 4511 section 4.1.11)."""
    controls: dict[str, bytes] = {}
    for outer, content in _iterate_elements(data):
        if outer != _CONTROLS:
            raise Malformed("something else than controls follows an operation")
        for tag, control in _iterate_elements(content):
            parts = [part for part in _iterate_elements(control) if part[0] != _BOOLEAN]
            if tag != _SEQUENCE or not 1 <= len(parts) <= 2 or {part[0] for part in parts} != {_OCTETS}:
                raise Malformed("a control is not a sequence of name, criticality and value")
            controls[_decode_lossy(parts[0][1])] = parts[1][1] if len(parts) == 2 else b""
    return controls


def parse_reference(op: bytes) -> tuple[str, ...]:
    """Parse the URIs of a SearchResultReference (RFC 4511 section 4.5.3). Raises: Malformed."""
    try:
        end, begin = _parse_header(op, 0, SEARCH_RESULT_REFERENCE)
        return tuple(_decode_lossy(uri) for _, uri in _iterate_elements(op[begin:end]))
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def parse_cookie(control: bytes) -> bytes:
    """Parse the cookie in the value of a paged results control (RFC 2696 section 2). Raises: Malformed."""
    try:
        end, begin = _parse_header(control, 0, _SEQUENCE)
        parts = list(_iterate_elements(control[begin:end]))
    except IndexError:
        raise Malformed(_TRUNCATED) from None
    if end != len(control) or [tag for tag, _ in parts] != [_INTEGER, _OCTETS]:
        raise Malformed("a paged results control has no size and cookie")
    return parts[1][1]

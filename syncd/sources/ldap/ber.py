"""LDAP messages as bytes: cutting a receive buffer into messages and reading the few kinds that a search answers with.

Everything here is a pure function of bytes. Only what RFC 4511 section 5.1 allows is accepted (definite lengths, one
byte tags), every length has to agree with the one around it, and whatever does not ends in one exception, Malformed.
"""

from collections.abc import Iterator
from typing import NamedTuple

ENTRY = 0x64
"""Tag of SearchResultEntry (RFC 4511 section 4.5.2)."""
DONE = 0x65
"""Tag of SearchResultDone."""
REFERENCE = 0x73
"""Tag of SearchResultReference (RFC 4511 section 4.5.3)."""
EXTENDED = 0x78
"""Tag of ExtendedResponse (RFC 4511 section 4.12), the form of every unsolicited notification."""
BOUND = 0x61
"""Tag of BindResponse (RFC 4511 section 4.2.2)."""
INTERMEDIATE = 0x79
"""Tag of IntermediateResponse (RFC 4511 section 4.13)."""

LARGEST_MESSAGE = 64 * 1024 * 1024
"""No server sends an entry of mapped attributes as large as this; a length beyond it is a broken stream."""

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
    """Bytes that are no LDAP message. The text says what was expected; it never quotes the bytes."""


class Result(NamedTuple):
    """An LDAPResult (RFC 4511 section 4.1.9) with what stands beside it in its message."""

    code: int
    matched: str
    message: str
    """The server's own words."""
    referrals: tuple[str, ...]
    name: str
    """OID of an extended response, else empty."""
    value: bytes
    """Value of an extended response, else empty."""
    controls: dict[str, bytes]
    """OID -> value, empty where the control has none."""


def split(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes, int]:
    """Cut a receive buffer into messages.

    Returns (message id, bytes from the protocolOp's tag to the message's end) for each whole message, the bytes that
    are left over, and how many more at least have to come before another call makes sense.
    """
    messages: list[tuple[int, bytes]] = []
    have = len(buffer)
    start = 0
    while start < have:
        try:
            end = _message_end(buffer, start)
            if end > have:
                return messages, buffer[start:], end - have
            messages.append(_envelope(buffer, start, end))
        except IndexError:
            # so far only the first bytes of a header are here
            return messages, buffer[start:], 1
        start = end
    return messages, b"", 1


def _message_end(buffer: bytes, start: int) -> int:
    """Where the message that starts here ends. Raises IndexError when its header is not all there."""
    if buffer[start] != _SEQUENCE:
        raise Malformed(f"an LDAP message begins with byte 0x30, not 0x{buffer[start]:02x}")
    length = buffer[start + 1]
    if length < 0x80:
        return start + 2 + length
    length, start = _long_length(buffer, start + 1)
    if length > LARGEST_MESSAGE:
        raise Malformed(f"a message of {length} bytes is announced, more than {LARGEST_MESSAGE}")
    return start + length


def _envelope(buffer: bytes, start: int, end: int) -> tuple[int, bytes]:
    at = start + 2 if buffer[start + 1] < 0x80 else start + 2 + (buffer[start + 1] & 0x7F)
    # the id is 1 to 4 bytes, so its length is always a short one, and at least an operation's tag and length follow
    if end - at < 5 or buffer[at] != _INTEGER or not 1 <= buffer[at + 1] <= 4:
        raise Malformed("a message does not begin with its number")
    op = at + 2 + buffer[at + 1]
    if end - op < 2:
        raise Malformed("a message has no operation")
    return int.from_bytes(buffer[at + 2 : op], "big"), buffer[op:end]


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """The length whose first byte, 0x80 or more, is at `at`, and where the content begins."""
    count = data[at] & 0x7F
    if not 1 <= count <= 8:
        raise Malformed("a length is of the indefinite form or absurdly long, which LDAP does not allow")
    content = at + 1 + count
    if content > len(data):
        raise IndexError(_TRUNCATED)
    return int.from_bytes(data[at + 1 : content], "big"), content


def entry(op: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    """A SearchResultEntry as (DN, attribute description -> values), everything as the server sent it.

    A description that comes twice has the values of both. Raises Malformed.
    """
    try:
        return _entry(op)
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def _entry(op: bytes) -> tuple[bytes, dict[bytes, list[bytes]]]:
    end, at = _open(op, 0, ENTRY)
    dn_end, at = _open(op, at, _OCTETS)
    dn = op[at:dn_end]
    list_end, at = _open(op, dn_end, _SEQUENCE)
    attributes: dict[bytes, list[bytes]] = {}
    while at < list_end:
        # Nearly all attributes have one value and fit into 127 bytes, so all their lengths are single bytes at places
        # that follow from each other: sequence (at), name (at + 2), set (middle), value (middle + 2). When these three
        # lengths add up to the outer one, which is below 128, none of them can be of another form or lie.
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
            name, values, at = _attribute(op, at)
        attributes[name] = attributes[name] + values if name in attributes else values
    if at != list_end or list_end != end:
        raise Malformed("an entry's attributes do not end where the entry ends")
    return dn, attributes


def plain_entry(op: bytes) -> tuple[bytes, dict[str, str]] | None:
    """The same for an entry whose attributes are all ASCII with one short value each; None for any other, bad ones too.

    Most entries of most directories are such, and then one decoding of the whole serves for all names and values.
    """
    try:
        end, at = _open(op, 0, ENTRY)
        dn_end, dn_begin = _open(op, at, _OCTETS)
        list_end, at = _open(op, dn_end, _SEQUENCE)
        data = op[at:]
        found = _plain_attributes(data) if data.isascii() and list_end == end == len(op) else None
    except (IndexError, Malformed):
        return None
    return None if found is None else (op[dn_begin:dn_end], found)


def _plain_attributes(data: bytes) -> dict[str, str] | None:
    # every byte is below 128, so every length is a single byte, and each place follows from the one before
    text = data.decode("ascii")
    found: dict[str, str] = {}
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
        if name in found:
            return None
        found[name] = text[middle + 4 : end]
        at = end
    return found if at == len(data) else None


def _attribute(op: bytes, at: int) -> tuple[bytes, list[bytes], int]:
    """Name, values and end of the attribute at `at`, whatever its lengths and number of values."""
    attribute_end, at = _open(op, at, _SEQUENCE)
    name_end, begin = _open(op, at, _OCTETS)
    end, at = _open(op, name_end, _SET)
    if end != attribute_end:
        raise Malformed("an attribute's values do not end where the attribute ends")
    return op[begin:name_end], _values(op, at, end), end


def _values(op: bytes, at: int, end: int) -> list[bytes]:
    # a group may have thousands of members, so lengths are read in place here too; that a value ends where its set
    # does is checked once, at the end, for positions only grow
    values = []
    while at < end:
        if op[at] != 0x04:
            raise Malformed("a value is not an octet string")
        length = op[at + 1]
        at += 2
        if length > 0x7F:
            length, at = _long_length(op, at - 1)
        values.append(op[at : at + length])
        at += length
    if at != end:
        raise Malformed("a value does not end where its set ends")
    return values


def _open(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """End and begin of the content of the element at `at`, which has to have this tag and to lie within the data."""
    if data[at] != tag:
        raise Malformed(f"tag 0x{data[at]:02x} stands where 0x{tag:02x} is due")
    length = data[at + 1]
    at += 2
    if length > 0x7F:
        length, at = _long_length(data, at - 1)
    if at + length > len(data):
        raise Malformed(_TRUNCATED)
    return at + length, at


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in the content of another one."""
    at = 0
    while at < len(data):
        tag = data[at]
        end, begin = _open(data, at, tag)
        yield tag, data[begin:end]
        at = end


def _text(data: bytes) -> str:
    # only ever shown to people, so odd bytes may be shown as such
    return data.decode("utf-8", "backslashreplace")


def result(op: bytes) -> Result:
    """The LDAPResult of a SearchResultDone, a bind or an extended response, with its controls. Raises Malformed."""
    try:
        return _result(op)
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def _result(op: bytes) -> Result:
    end, begin = _open(op, 0, op[0])
    parts = list(_children(op[begin:end]))
    if [tag for tag, _ in parts[:3]] != [_ENUMERATED, _OCTETS, _OCTETS] or not parts[0][1]:
        raise Malformed("a result has no code, matched name and message")
    rest = dict(parts[3:])
    referrals = tuple(_text(uri) for _, uri in _children(rest.get(_REFERRAL, b"")))
    return Result(
        code=int.from_bytes(parts[0][1], "big", signed=True),
        matched=_text(parts[1][1]),
        message=_text(parts[2][1]),
        referrals=referrals,
        name=_text(rest.get(_RESPONSE_NAME, b"")),
        value=rest.get(_RESPONSE_VALUE, b""),
        controls=_controls(op[end:]),
    )


def _controls(data: bytes) -> dict[str, bytes]:
    """What follows the operation in a message: nothing, or the controls (RFC 4511 section 4.1.11)."""
    found: dict[str, bytes] = {}
    for outer, content in _children(data):
        if outer != _CONTROLS:
            raise Malformed("something else than controls follows an operation")
        for tag, control in _children(content):
            parts = [part for part in _children(control) if part[0] != _BOOLEAN]
            if tag != _SEQUENCE or not 1 <= len(parts) <= 2 or {part[0] for part in parts} != {_OCTETS}:
                raise Malformed("a control is not a sequence of name, criticality and value")
            found[_text(parts[0][1])] = parts[1][1] if len(parts) == 2 else b""
    return found


def reference(op: bytes) -> tuple[str, ...]:
    """The URIs of a SearchResultReference (RFC 4511 section 4.5.3). Raises Malformed."""
    try:
        end, begin = _open(op, 0, REFERENCE)
        return tuple(_text(uri) for _, uri in _children(op[begin:end]))
    except IndexError:
        raise Malformed(_TRUNCATED) from None


def cookie(control: bytes) -> bytes:
    """The cookie in the value of a paged results control (RFC 2696 section 2). Raises Malformed."""
    try:
        end, begin = _open(control, 0, _SEQUENCE)
        parts = list(_children(control[begin:end]))
    except IndexError:
        raise Malformed(_TRUNCATED) from None
    if end != len(control) or [tag for tag, _ in parts] != [_INTEGER, _OCTETS]:
        raise Malformed("a paged results control has no size and cookie")
    return parts[1][1]

"""LDAP messages as bytes (RFC 4511, BER): where one ends, what it is, and how to make what a server answers."""

ENTRY, SEARCH_DONE = 0x64, 0x65
"""Tags of operations."""

_PAGED_RESULTS = b"1.2.840.113556.1.4.319"


def message_end(buffer: bytes, at: int = 0) -> int | None:
    """Where the LDAP message that begins at `at` ends; None when it is not all there."""
    if len(buffer) < at + 2:
        return None
    length, begin = buffer[at + 1], at + 2
    if length > 0x7F:
        count = length & 0x7F
        if len(buffer) < begin + count:
            return None
        length, begin = int.from_bytes(buffer[begin : begin + count], "big"), begin + count
    return begin + length if begin + length <= len(buffer) else None


def operation(message: bytes) -> int:
    """The tag of a message's protocolOp."""
    at = _header(message)
    return message[at + 2 + message[at + 1]]


def message_id(message: bytes) -> bytes:
    """The element that holds a message's number."""
    at = _header(message)
    return message[at : at + 2 + message[at + 1]]


def renumbered(message: bytes, number: bytes) -> bytes:
    """The same message as an answer to another request."""
    at = _header(message)
    return tlv(0x30, number, message[at + 2 + message[at + 1] :])


def _header(message: bytes) -> int:
    return 2 if message[1] <= 0x7F else 2 + (message[1] & 0x7F)


def tlv(tag: int, *contents: bytes) -> bytes:
    """One BER element."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def entry(dn: str, attributes: dict[str, list[bytes]]) -> bytes:
    """A SearchResultEntry."""
    parts = [
        tlv(0x30, tlv(0x04, name.encode()), tlv(0x31, *(tlv(0x04, value) for value in values)))
        for name, values in attributes.items()
    ]
    return tlv(ENTRY, tlv(0x04, dn.encode()), tlv(0x30, *parts))


def result(tag: int, code: int = 0, *more: bytes, message: str = "") -> bytes:
    """A response that is an LDAPResult."""
    return tlv(tag, tlv(0x0A, bytes([code])), tlv(0x04), tlv(0x04, message.encode()), *more)


def done(code: int = 0, cookie: bytes | None = b"", message: str = "") -> bytes:
    """A SearchResultDone; its paging control is left out when the cookie is None."""
    if cookie is None:
        return result(SEARCH_DONE, code, message=message)
    value = tlv(0x30, tlv(0x02, b"\x00"), tlv(0x04, cookie))
    control = tlv(0x30, tlv(0x04, _PAGED_RESULTS), tlv(0x04, value))
    return result(SEARCH_DONE, code, message=message) + tlv(0xA0, control)

"""LDAP messages as bytes (RFC 4511, BER): their length, operation and id, and the responses of a server."""

ENTRY, SEARCH_DONE = 0x64, 0x65
"""Tags of SearchResultEntry and SearchResultDone."""

_PAGED_RESULTS = b"1.2.840.113556.1.4.319"


def message_end(buffer: bytes, start: int = 0) -> int | None:
    """Return the end offset of the LDAP message that begins at `start`; None if it is incomplete."""
    if len(buffer) < start + 2:
        return None
    length, content = buffer[start + 1], start + 2
    if length > 0x7F:
        count = length & 0x7F
        if len(buffer) < content + count:
            return None
        length, content = int.from_bytes(buffer[content : content + count], "big"), content + count
    return content + length if content + length <= len(buffer) else None


def operation(message: bytes) -> int:
    """Return the tag of the protocolOp of a message."""
    offset = _header_size(message)
    return message[offset + 2 + message[offset + 1]]


def message_id(message: bytes) -> bytes:
    """Return the messageID of a message as a BER element."""
    offset = _header_size(message)
    return message[offset : offset + 2 + message[offset + 1]]


def with_message_id(message: bytes, id_: bytes) -> bytes:
    """Return the message with another messageID (a BER element): the same response to another request."""
    offset = _header_size(message)
    return tlv(0x30, id_, message[offset + 2 + message[offset + 1] :])


def _header_size(message: bytes) -> int:
    return 2 if message[1] <= 0x7F else 2 + (message[1] & 0x7F)


def tlv(tag: int, *contents: bytes) -> bytes:
    """Encode one BER element."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def search_entry(dn: str, attributes: dict[str, list[bytes]]) -> bytes:
    """Encode a SearchResultEntry."""
    encoded = [
        tlv(0x30, tlv(0x04, name.encode()), tlv(0x31, *(tlv(0x04, value) for value in values)))
        for name, values in attributes.items()
    ]
    return tlv(ENTRY, tlv(0x04, dn.encode()), tlv(0x30, *encoded))


def ldap_result(tag: int, code: int = 0, *extra: bytes, message: str = "") -> bytes:
    """Encode a response that is an LDAPResult, with further BER elements behind it."""
    return tlv(tag, tlv(0x0A, bytes([code])), tlv(0x04), tlv(0x04, message.encode()), *extra)


def search_done(code: int = 0, cookie: bytes | None = b"", message: str = "") -> bytes:
    """Encode a SearchResultDone with the paging control of RFC 2696, or without it if the cookie is None."""
    if cookie is None:
        return ldap_result(SEARCH_DONE, code, message=message)
    value = tlv(0x30, tlv(0x02, b"\x00"), tlv(0x04, cookie))
    control = tlv(0x30, tlv(0x04, _PAGED_RESULTS), tlv(0x04, value))
    return ldap_result(SEARCH_DONE, code, message=message) + tlv(0xA0, control)

"""An answer as bytes with its entity tag: whole, not modified, or packed (RFC 9110, 8.8.3, 13.1 and 12.5.3)."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

SMALLEST_PACKED = 512
"""Bytes below which packing an answer is not worth the time."""
LEVEL = 5
"""Of zlib's 1 to 9: what a larger one saves of a page of contacts is less than its time."""
_PACKED = "-gz"
_ALWAYS: RawHeaders = (
    # whoever keeps an answer has to ask whether it still holds, and must not show it to others
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Accept, Accept-Encoding"),
)


class Representation:
    """What a request is answered with as long as the revision stays: made once, sent many times."""

    def __init__(self, response: Response) -> None:
        self._headers = [*_without_length(response.raw_headers), *_ALWAYS]
        self._body = bytes(response.body)
        self._packed: bytes | None = None
        self.tag = entity_tag(self._body)

    @property
    def size(self) -> int:
        """Bytes that it takes, packed form included."""
        return len(self._body) + len(self._packed or b"")

    def answer(self, request: Headers, more: RawHeaders) -> Response:
        """The answer to a request with these headers: 304 when the client has it, packed when it asks for that."""
        packed = len(self._body) >= SMALLEST_PACKED and accepts_gzip(request)
        tag = packed_tag(self.tag) if packed else self.tag
        headers = [*self._headers, (b"etag", tag.encode()), *more]
        if is_there(request, self.tag):
            return _Ready(304, b"", headers)
        if not packed:
            return _Ready(200, self._body, headers)
        if self._packed is None:
            self._packed = gzip.compress(self._body, LEVEL, mtime=0)
        return _Ready(200, self._packed, [*headers, (b"content-encoding", b"gzip")])


class _Ready(Response):
    """A response whose headers are there already."""

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
        self.raw_headers = [*headers, *length]


class Packer:
    """Packs a long answer part by part."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL, wbits=31)

    def packed(self, part: bytes) -> bytes:
        """As much of it as is ready to be sent."""
        return self._stream.compress(part)

    def end(self) -> bytes:
        """The rest."""
        return self._stream.flush()


def entity_tag(body: bytes) -> str:
    """The strong tag of these bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def packed_tag(tag: str) -> str:
    """The tag of the same in gzip: other bytes, so another tag."""
    return f'{tag[:-1]}{_PACKED}"'


def not_modified(request: Headers, tag: str, more: RawHeaders) -> Response | None:
    """304 to a client that names this tag itself; `*` does not count before it is known that there is anything."""
    asked = request.get("if-none-match", "")
    if "*" in asked or not names(asked, tag):
        return None
    return _Ready(304, b"", [*_ALWAYS, (b"etag", tag.encode()), *more])


def names(header: str, tag: str) -> bool:
    """Whether If-None-Match or If-Match names this tag or that of its packed form (RFC 9110, 8.8.3.2)."""
    given = {word.strip().removeprefix("W/") for word in header.split(",")}
    return not given.isdisjoint(("*", tag, packed_tag(tag)))


def is_there(request: Headers, tag: str) -> bool:
    """Whether the client says that it has what bears this tag."""
    asked = request.get("if-none-match")
    return asked is not None and names(asked, tag)


def accepts_gzip(request: Headers) -> bool:
    """Whether the client takes gzip."""
    for item in request.get("accept-encoding", "").split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return parameter.replace(" ", "").lower() not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def long_headers(tag: str | None, *, packed: bool) -> RawHeaders:
    """What a long answer carries besides its type."""
    tagged = [] if tag is None else [(b"etag", (packed_tag(tag) if packed else tag).encode())]
    return [*_ALWAYS, *tagged, *([(b"content-encoding", b"gzip")] if packed else [])]


def _without_length(headers: RawHeaders) -> Iterable[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in {b"content-length", b"vary"}]

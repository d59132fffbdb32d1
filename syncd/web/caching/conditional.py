"""Conditional and compressed responses: ETag (RFC 9110, 8.8.3), If-None-Match (13.1.2), gzip (12.5.3)."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

MIN_GZIP_BYTES = 512
"""Size of a body from which on gzip is worth its time."""
GZIP_LEVEL = 5
"""zlib level, 1 to 9; for a page of contacts, higher levels cost more time than their saving is worth."""
_GZIP_SUFFIX = "-gz"
_COMMON_HEADERS: RawHeaders = (
    # a cache must revalidate a response before each use and must not share it between users (RFC 9111, 5.2.2)
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Accept, Accept-Encoding"),
)


class Representation:
    """A complete response body with its headers and ETag, sent to many requests of one revision."""

    def __init__(self, response: Response) -> None:
        self._headers = [*_without_length(response.raw_headers), *_COMMON_HEADERS]
        self._body = bytes(response.body)
        self._gzipped: bytes | None = None
        self.tag = entity_tag(self._body)

    @property
    def size(self) -> int:
        """Size in bytes, including the compressed body if there is one."""
        return len(self._body) + len(self._gzipped or b"")

    def respond(self, request: Headers, extra_headers: RawHeaders) -> Response:
        """Return the response to a request with these headers: 304, gzip or plain."""
        gzipped = len(self._body) >= MIN_GZIP_BYTES and accepts_gzip(request)
        tag = gzip_tag(self.tag) if gzipped else self.tag
        headers = [*self._headers, (b"etag", tag.encode()), *extra_headers]
        if is_unmodified(request, self.tag):
            return _PreparedResponse(304, b"", headers)
        if not gzipped:
            return _PreparedResponse(200, self._body, headers)
        if self._gzipped is None:
            self._gzipped = gzip.compress(self._body, GZIP_LEVEL, mtime=0)
        return _PreparedResponse(200, self._gzipped, [*headers, (b"content-encoding", b"gzip")])


class _PreparedResponse(Response):
    """A response with complete raw headers, except Content-Length."""

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
        self.raw_headers = [*headers, *length]


class GzipEncoder:
    """Compresses a streamed body part by part."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, wbits=31)

    def encode(self, part: bytes) -> bytes:
        """Compress a part; returns the compressed bytes that are ready to be sent, possibly none."""
        return self._stream.compress(part)

    def finish(self) -> bytes:
        """Return the remaining compressed bytes."""
        return self._stream.flush()


def entity_tag(body: bytes) -> str:
    """Return the strong ETag of these bytes (RFC 9110, 8.8.3)."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def gzip_tag(tag: str) -> str:
    """Return the ETag of the gzip form, which differs because its bytes differ."""
    return f'{tag[:-1]}{_GZIP_SUFFIX}"'


def not_modified_response(request: Headers, tag: str, extra_headers: RawHeaders) -> Response | None:
    """Return 304 if If-None-Match lists this ETag, else None.

    `*` does not match, because the resource may not exist: the handler has not run yet.
    """
    header = request.get("if-none-match", "")
    if "*" in header or not matches_etag(header, tag):
        return None
    return _PreparedResponse(304, b"", [*_COMMON_HEADERS, (b"etag", tag.encode()), *extra_headers])


def matches_etag(header: str, tag: str) -> bool:
    """Whether If-None-Match or If-Match lists this ETag or that of its gzip form, by weak comparison, or `*`.

    RFC 9110, 8.8.3.2 and 13.1.
    """
    tags = {item.strip().removeprefix("W/") for item in header.split(",")}
    return not tags.isdisjoint(("*", tag, gzip_tag(tag)))


def is_unmodified(request: Headers, tag: str) -> bool:
    """Whether the request has an If-None-Match that matches this ETag (RFC 9110, 13.1.2)."""
    header = request.get("if-none-match")
    return header is not None and matches_etag(header, tag)


def accepts_gzip(request: Headers) -> bool:
    """Whether the header Accept-Encoding allows gzip (RFC 9110, 12.5.3)."""
    for item in request.get("accept-encoding", "").split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return parameter.replace(" ", "").lower() not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def stream_headers(tag: str | None, *, gzipped: bool) -> RawHeaders:
    """Return the headers of a streamed response: caching, ETag unless `tag` is None, Content-Encoding."""
    etag = [] if tag is None else [(b"etag", (gzip_tag(tag) if gzipped else tag).encode())]
    return [*_COMMON_HEADERS, *etag, *([(b"content-encoding", b"gzip")] if gzipped else [])]


def _without_length(headers: RawHeaders) -> Iterable[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in {b"content-length", b"vary"}]

"""Request bodies: reading with limits of size and time, strict parsing of JSON (RFC 8259)."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from syncd.errors import InvalidParameter, MissingParameter, TooLarge, UnsupportedMedia

MAX_JSON_BYTES = 64 * 1024
BODY_TIMEOUT = 30
"""Seconds in which the whole body must arrive."""


async def read_json_object(request: Request) -> dict[str, Any]:
    """Read the JSON object in the body. Raises UnsupportedMedia, TooLarge, MissingParameter or InvalidParameter."""
    _check_media_type(request, ("application/json",))
    return parse_json_object(await _read_in_time(request, MAX_JSON_BYTES, "a JSON object"))


async def read_file(request: Request, media_types: Sequence[str], max_bytes: int) -> tuple[str, bytes]:
    """Read a file of one of these media types; returns its media type and its content.

    Raises UnsupportedMedia, TooLarge, MissingParameter or InvalidParameter.
    """
    return _check_media_type(request, media_types), await _read_in_time(request, max_bytes, "a file")


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object in UTF-8 with unique member names. Raises InvalidParameter with line and column."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"the body is not UTF-8: byte {error.start + 1} does not fit") from error
    if text.startswith("\ufeff"):
        raise InvalidParameter("the body starts with a byte order mark; JSON is sent without one")
    try:
        members = json.loads(text, object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        raise InvalidParameter(
            f"the body is not JSON: {location}: {_PARSER_MESSAGES.get(error.msg, error.msg)}"
        ) from error
    except RecursionError as error:
        raise InvalidParameter("the body is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise InvalidParameter("the body holds a number that is too long") from error
    if not isinstance(members, dict):
        raise InvalidParameter("the body must be a JSON object")
    return members


def _check_media_type(request: Request, allowed: Sequence[str]) -> str:
    """Return the media type, one of `allowed` (RFC 9110, 8.3).

    It is required: a page of another site may send a body without Content-Type, but none of these types unless this
    server allows it.
    """
    types = request.headers.getlist("content-type")
    if not types and not _has_body(request):
        raise MissingParameter(f"the body is empty; send one as {' or '.join(allowed)}")
    media, *parameters = (types[0] if len(types) == 1 else "").lower().split(";")
    unquoted = {parameter.strip().replace('"', "") for parameter in parameters}
    charsets = {parameter for parameter in unquoted if parameter.startswith("charset=")}
    if media.strip() not in allowed or charsets - {"charset=utf-8"}:
        raise UnsupportedMedia(f"send the body as {' or '.join(allowed)}, in UTF-8, with one Content-Type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("send the body without Content-Encoding")
    return media.strip()


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or int(request.headers.get("content-length", "0")) > 0


async def _read_in_time(request: Request, max_bytes: int, expected: str) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            raw = await _read_limited(request, max_bytes)
    except (TimeoutError, ClientDisconnect) as error:
        raise InvalidParameter(f"the body did not arrive completely within {BODY_TIMEOUT} seconds") from error
    if not raw.strip():
        raise MissingParameter(f"the body is empty; {expected} is expected")
    return raw


async def _read_limited(request: Request, max_bytes: int) -> bytes:
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise TooLarge(f"the body is larger than {max_bytes} bytes")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes} bytes")
    return bytes(raw)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        duplicate = next(name for name in counts if counts[name] > 1)
        raise InvalidParameter(f"the member {duplicate[:60]!r} is there twice")
    return members


def _reject_constant(word: str) -> NoReturn:
    raise InvalidParameter(f"{word} is not JSON")


_PARSER_MESSAGES = {
    "Expecting ',' delimiter": "a comma is expected here",
    "Expecting ':' delimiter": "a colon is expected here",
    "Expecting value": "a value is expected here",
    "Expecting property name enclosed in double quotes": "a member's name in double quotes is expected here",
    "Extra data": "nothing more is expected here",
}
"""Message of the JSON parser -> a message that says what to write."""

"""The body of a request: read with a limit, and taken as JSON in the strictest sense (RFC 8259), or as a file."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from syncd.errors import InvalidParameter, MissingParameter, TooLarge, UnsupportedMedia

LARGEST = 64 * 1024
PATIENCE = 30
"""Seconds in which a body has to arrive."""


async def members(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises UnsupportedMedia, TooLarge, MissingParameter or InvalidParameter."""
    _media(request, ("application/json",))
    return parse(await _arrived(request, LARGEST, "a JSON object"))


async def file(request: Request, media: Sequence[str], largest: int) -> tuple[str, bytes]:
    """A file of one of these media types, and which it is. Raises UnsupportedMedia, TooLarge or MissingParameter."""
    return _media(request, media), await _arrived(request, largest, "a file")


def parse(raw: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8, each member once. Raises InvalidParameter that tells line and column."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"the body is not UTF-8: byte {error.start + 1} does not fit") from error
    if text.startswith("\ufeff"):
        raise InvalidParameter("the body starts with a byte order mark; JSON is sent without one")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidParameter(f"the body is not JSON: {place}: {_SAID.get(error.msg, error.msg)}") from error
    except RecursionError as error:
        raise InvalidParameter("the body is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise InvalidParameter("the body holds a number that is too long") from error
    if not isinstance(found, dict):
        raise InvalidParameter("the body must be a JSON object")
    return found


def _media(request: Request, allowed: Sequence[str]) -> str:
    """The media type, one of these and uncompressed; without Content-Type the first of them (RFC 9110, 8.3)."""
    media, *parameters = request.headers.get("content-type", allowed[0]).lower().split(";")
    found = {parameter.strip().replace('"', "") for parameter in parameters}
    charsets = {parameter for parameter in found if parameter.startswith("charset=")}
    if media.strip() not in allowed or charsets - {"charset=utf-8"}:
        raise UnsupportedMedia(f"send the body as {' or '.join(allowed)}, in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("send the body without Content-Encoding")
    return media.strip()


async def _arrived(request: Request, largest: int, expected: str) -> bytes:
    try:
        async with asyncio.timeout(PATIENCE):
            raw = await _read(request, largest)
    except (TimeoutError, ClientDisconnect) as error:
        raise InvalidParameter(f"the body did not arrive completely within {PATIENCE} seconds") from error
    if not raw.strip():
        raise MissingParameter(f"the body is empty; {expected} is expected")
    return raw


async def _read(request: Request, largest: int) -> bytes:
    if int(request.headers.get("content-length", "0")) > largest:
        raise TooLarge(f"the body is larger than {largest} bytes")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > largest:
            raise TooLarge(f"the body is larger than {largest} bytes")
    return bytes(raw)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidParameter(f"the member {twice[:60]!r} is there twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise InvalidParameter(f"{word} is not JSON")


_SAID = {
    "Expecting ',' delimiter": "a comma is expected here",
    "Expecting ':' delimiter": "a colon is expected here",
    "Expecting value": "a value is expected here",
    "Expecting property name enclosed in double quotes": "a member's name in double quotes is expected here",
    "Extra data": "nothing more is expected here",
}
"""The parser's words -> ours, where ours say what to write."""

"""The list of contacts as JSON, written in chunks."""

from collections.abc import AsyncGenerator, Sequence

from syncd.core.directory import Page, StoredContact
from syncd.core.wire import selected
from syncd.web.answers import encode

CHUNK = 64 * 1024
"""Bytes after which a part of a long answer is sent."""


async def chunks(page: Page, base: str, fields: frozenset[str] | None) -> AsyncGenerator[bytes, None]:
    """The answer to a query, in parts of about CHUNK bytes. The last part, and only that, ends the JSON object."""
    text = [f'{{"statusCode":0,"totalCount":{page.total},"contacts":[']
    size, comma = len(text[0]), ""
    async for rows in page.batches:
        if rows:
            text.append(comma + _joined(rows, base, fields))
            size, comma = size + len(text[-1]), ","
        if size >= CHUNK:
            yield "".join(text).encode()
            text, size = [], 0
    yield "".join([*text, "]}"]).encode()


def _joined(rows: Sequence[StoredContact], base: str, fields: frozenset[str] | None) -> str:
    """The contacts of a batch, as they stand between the brackets: the encoder is called once for all of them."""
    return encode([selected(stored, base, fields) for stored in rows])[1:-1]

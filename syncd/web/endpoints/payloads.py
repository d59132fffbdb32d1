"""The list of contacts in any form, written in chunks."""

from collections.abc import AsyncGenerator

from syncd.core.contacts.models import Page
from syncd.core.files.serializers import Form

CHUNK = 64 * 1024
"""Bytes after which a part of a long answer is sent."""


async def chunks(page: Page, form: Form) -> AsyncGenerator[bytes, None]:
    """The answer to a query, in parts of about CHUNK bytes. The last part, and only that, ends a JSON object."""
    text = [form.head(page.total)]
    size = len(text[0])
    async for contacts in page.batches:
        text.append(form.batch(contacts))
        size += len(text[-1])
        if size >= CHUNK:
            yield "".join(text).encode()
            text, size = [], 0
    yield "".join([*text, form.foot()]).encode()

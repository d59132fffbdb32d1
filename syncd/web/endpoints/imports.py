"""The operation that takes a file of Custom contacts. What it needs is declared here."""

from collections.abc import Iterable
from typing import Protocol

from starlette.responses import Response

from syncd.core.contacts import query as asked
from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import LARGEST, Outcome
from syncd.web import request_body, responses
from syncd.web.routing import BASE, Call, Operation, Place

MEDIA = (csv_contacts.MEDIA, vcard_contacts.MEDIA)


class Importer(Protocol):
    """Importing."""

    async def preview(self, raw: bytes, media: str) -> Outcome:
        """What importing this file would do."""

    async def apply(self, raw: bytes, media: str, caller: str) -> Outcome:
        """Import what can be of this file."""


class Imports:
    """The operation."""

    def __init__(self, importer: Importer) -> None:
        self._importer = importer

    def places(self) -> Iterable[Place]:
        """Where it is found."""
        return (Place(f"{BASE}/contacts/import", {"POST": Operation(self.take)}),)

    async def take(self, call: Call) -> Response:
        """Tell what would become of each entry; with apply=true bring it about for the good ones."""
        given = asked.parameters(call.query, ("apply",))
        wanted = asked.choice(given, "apply", ("true", "false")) == "true"
        media, raw = await request_body.file(call.request, MEDIA, LARGEST)
        importer = self._importer
        outcome = await (importer.apply(raw, media, call.caller) if wanted else importer.preview(raw, media))
        return responses.done(outcome.facts())

"""The endpoint that imports a file of Custom contacts."""

from collections.abc import Iterable

from starlette.responses import Response

from syncd.core.contacts import query as query_string
from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import MAX_BYTES
from syncd.web import request_body, responses
from syncd.web.ports import Importer
from syncd.web.routing import BASE, Endpoint, RequestContext, Route

MEDIA_TYPES = (csv_contacts.MEDIA_TYPE, vcard_contacts.MEDIA_TYPE)


class ImportEndpoints:
    """POST on contacts/import."""

    def __init__(self, importer: Importer) -> None:
        self._importer = importer

    def routes(self) -> Iterable[Route[RequestContext]]:
        """Return the routes of this endpoint."""
        return (Route(f"{BASE}/contacts/import", {"POST": Endpoint(self.import_file)}),)

    async def import_file(self, context: RequestContext) -> Response:
        """Preview the import of each entry; with apply=true, import the valid ones."""
        params = query_string.parse_parameters(context.query, ("apply",))
        apply = query_string.parse_choice(params, "apply", ("true", "false")) == "true"
        media, raw = await request_body.read_file(context.request, MEDIA_TYPES, MAX_BYTES)
        if apply:
            outcome = await self._importer.apply_import(raw, media, context.caller.name)
        else:
            outcome = await self._importer.preview_import(raw, media)
        return responses.ok(outcome.to_json())

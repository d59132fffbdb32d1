"""The endpoints of contacts: list, read, create, change and delete."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing

from starlette.responses import Response

from syncd.core.contacts import contact_json
from syncd.core.contacts import custom as rules
from syncd.core.contacts import query as query_string
from syncd.core.contacts.contact import Contact
from syncd.core.contacts.models import ROLES, ContactPage, StoredContact
from syncd.core.files.serializers import JsonSerializer, Serializer
from syncd.errors import InvalidParameter, MissingParameter, NotFound, PreconditionFailed
from syncd.web import negotiation, request_body, responses
from syncd.web.caching import conditional
from syncd.web.ports import CustomContacts, Directory
from syncd.web.routing import BASE, Endpoint, RequestContext, Route
from syncd.web.streaming import StreamedResponse

MAX_BUFFERED_CONTACTS = 2500
"""Contacts, about 1 MiB of JSON, up to which a response is buffered; longer ones are streamed."""
CHUNK_BYTES = 64 * 1024
"""Approximate size of a part of a list."""


class ContactEndpoints:
    """The methods of /api/v2/contacts and /api/v2/contacts/{id}."""

    def __init__(self, directory: Directory, custom: CustomContacts) -> None:
        self._directory = directory
        self._custom = custom

    def routes(self) -> Iterable[Route[RequestContext]]:
        """Return the routes of these endpoints."""
        collection = {
            "GET": Endpoint(self.find, ROLES, cacheable=True),
            "POST": Endpoint(self.create),
            "PUT": Endpoint(self.change_by_body),
            "DELETE": Endpoint(self.delete_by_query),
        }
        one = {
            "GET": Endpoint(self.show, ROLES, cacheable=True),
            "PUT": Endpoint(self.change),
            "DELETE": Endpoint(self.delete),
        }
        return Route(f"{BASE}/contacts", collection), Route(f"{BASE}/contacts/{{id}}", one)

    async def find(self, context: RequestContext) -> Response:
        """GET on the collection: the matching contacts.

        Up to MAX_BUFFERED_CONTACTS are read before the response is sent, so that a slow client occupies no database
        connection. A longer response is read while it is sent.
        """
        query = query_string.parse(context.query)
        form = _select_serializer(context, query.format, query.fields)
        async with AsyncExitStack() as stack:
            page = await stack.enter_async_context(self._directory.open_page(query))
            parts = await stack.enter_async_context(aclosing(encode_chunks(page, form)))
            headers = negotiation.content_headers(form, "contacts")
            if query.row_count(page.total) <= MAX_BUFFERED_CONTACTS:
                return Response(b"".join([part async for part in parts]), headers=headers)
            return StreamedResponse([await anext(parts)], parts, stack.pop_all(), headers)

    async def show(self, context: RequestContext) -> Response:
        """GET on one contact. Raises NotFound."""
        params = query_string.parse_parameters(context.query, ("fields", "format"))
        form = _select_serializer(
            context, query_string.parse_format(params), fields := query_string.parse_fields(params)
        )
        stored = await self._directory.find_contact(_check_identifier(context.path_param))
        if stored is None:
            raise NotFound(f"there is no contact {context.path_param}")
        if isinstance(form, JsonSerializer):
            return _contact_response(stored, context.base, fields)
        text = form.head(1) + form.encode_batch([stored]) + form.foot()
        return Response(text.encode(), headers=negotiation.content_headers(form, stored.id))

    async def create(self, context: RequestContext) -> Response:
        """POST on the collection: a new Custom contact."""
        query_string.parse_parameters(context.query, ())
        contact = rules.parse_new_contact(await request_body.read_json_object(context.request))
        id_ = await self._custom.create(contact, context.caller.name)
        address = contact_json.address_members(id_, context.base)
        return responses.ok({"id": id_, **address}, {"Location": address["uri"]})

    async def change(self, context: RequestContext) -> Response:
        """PUT on one contact. Raises NotFound, ReadOnly or PreconditionFailed."""
        query_string.parse_parameters(context.query, ())
        members = await request_body.read_json_object(context.request)
        return await self._change(context, _check_identifier(context.path_param), members)

    async def change_by_body(self, context: RequestContext) -> Response:
        """PUT on the collection, with the id as a member of the body."""
        members = await request_body.read_json_object(context.request)
        if "id" not in members:
            raise MissingParameter("id is missing: which contact to change, as a member of the body or in the path")
        if not isinstance(members["id"], str):
            raise InvalidParameter("id must be a string")
        query_string.parse_parameters(context.query, ())
        return await self._change(context, _check_identifier(members["id"]), members)

    async def delete(self, context: RequestContext) -> Response:
        """DELETE on one contact. Raises NotFound, ReadOnly or PreconditionFailed."""
        query_string.parse_parameters(context.query, ())
        await self._custom.delete(_check_identifier(context.path_param), _if_match_check(context), context.caller.name)
        return responses.ok()

    async def delete_by_query(self, context: RequestContext) -> Response:
        """DELETE on the collection, with exactly one id in the query and no other parameter."""
        params = query_string.parse_parameters(context.query, query_string.PARAMETERS)
        ids = query_string.parse_ids(params)
        if not ids:
            raise MissingParameter("id is missing: which contact to delete, as ?id= or in the path")
        if len(ids) > 1 or len(params) > 1:
            raise InvalidParameter("DELETE takes exactly one id and no other parameter")
        await self._custom.delete(_check_identifier(ids[0]), _if_match_check(context), context.caller.name)
        return responses.ok()

    async def _change(self, context: RequestContext, id_: str, members: Mapping[str, object]) -> Response:
        check = _if_match_check(context)

        def edit(stored: StoredContact) -> Contact:
            check(stored)
            return rules.apply_update(stored, members, contact_json.contact_to_json(stored, context.base))

        await self._custom.change(id_, edit, context.caller.name)
        return responses.ok()


async def encode_chunks(page: ContactPage, form: Serializer) -> AsyncGenerator[bytes, None]:
    """Encode a list in parts of about CHUNK_BYTES. Of JSON, only the last part ends the object."""
    text = [form.head(page.total)]
    size = len(text[0])
    async for contacts in page.batches:
        text.append(form.encode_batch(contacts))
        size += len(text[-1])
        if size >= CHUNK_BYTES:
            yield "".join(text).encode()
            text, size = [], 0
    yield "".join([*text, form.foot()]).encode()


def _select_serializer(
    context: RequestContext, format_: query_string.Format | None, fields: frozenset[str] | None
) -> Serializer:
    return negotiation.select_serializer(format_, context.request.headers.get("accept", ""))(context.base, fields)


def _contact_response(stored: StoredContact, base: str, fields: frozenset[str] | None = None) -> Response:
    return responses.ok({"contact": contact_json.select_members(stored, base, fields)})


def _if_match_check(context: RequestContext) -> Callable[[StoredContact], None]:
    """Return a check of the precondition If-Match (RFC 9110, 13.1.1), which raises PreconditionFailed."""
    header = context.request.headers.get("if-match")

    def check(stored: StoredContact) -> None:
        if header is None:
            return
        tag = conditional.entity_tag(bytes(_contact_response(stored, context.base).body))
        if not conditional.matches_etag(header, tag):
            raise PreconditionFailed(f"the contact {stored.id} has changed since it was read; read it again")

    return check


def _check_identifier(text: str) -> str:
    """Return the text if it has the form of an id. Raises NotFound."""
    if query_string.is_id(text):
        return text
    raise NotFound(f"there is no contact {text[:60]!r}")

"""The operations on contacts, as the contract lists them. What a call needs from the store is declared here."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Protocol

from starlette.responses import Response

from syncd.core.contacts import contact_json
from syncd.core.contacts import custom as rules
from syncd.core.contacts import query as asked
from syncd.core.contacts.contact import Contact
from syncd.core.contacts.models import ROLES, Page, StoredContact
from syncd.core.files.serializers import Form, Json
from syncd.errors import Changed, InvalidParameter, MissingParameter, NotFound
from syncd.web import negotiation, request_body, responses
from syncd.web.caching import conditional
from syncd.web.endpoints import payloads
from syncd.web.routing import BASE, Call, Operation, Place
from syncd.web.streaming import Stream


class Directory(Protocol):
    """Reading."""

    async def one(self, id_: str) -> StoredContact | None:
        """The contact with this id."""

    def page(self, query: asked.Query) -> AbstractAsyncContextManager[Page]:
        """The contacts that match."""


class Custom(Protocol):
    """Writing."""

    async def create(self, contact: Contact, caller: str) -> str:
        """Store a new contact; its id."""

    async def change(self, id_: str, edit: Callable[[StoredContact], Contact], caller: str) -> None:
        """Replace a contact by what `edit` makes of it."""

    async def delete(self, id_: str, check: Callable[[StoredContact], None], caller: str) -> None:
        """Remove a contact that `check` has nothing against."""


WHOLE = 2500
"""Contacts, about a mebibyte of them, above which an answer is streamed."""


class Contacts:
    """The operations, by the methods they answer to."""

    def __init__(self, directory: Directory, custom: Custom) -> None:
        self._directory = directory
        self._custom = custom

    def places(self) -> Iterable[Place]:
        """Where they are found."""
        collection = {
            "GET": Operation(self.find, ROLES, by_revision=True),
            "POST": Operation(self.create),
            "PUT": Operation(self.change_by_body),
            "DELETE": Operation(self.delete_by_query),
        }
        one = {
            "GET": Operation(self.show, ROLES, by_revision=True),
            "PUT": Operation(self.change),
            "DELETE": Operation(self.delete),
        }
        return Place(f"{BASE}/contacts", collection), Place(f"{BASE}/contacts/{{id}}", one)

    async def find(self, call: Call) -> Response:
        """GET on the collection.

        An answer of ordinary length is read to its end first, so that a slow client keeps no database connection;
        a longer one is read while it is sent.
        """
        query = asked.parse(call.query)
        form = _form(call, query.format, query.fields)
        async with AsyncExitStack() as stack:
            page = await stack.enter_async_context(self._directory.page(query))
            parts = await stack.enter_async_context(aclosing(payloads.chunks(page, form)))
            headers = negotiation.headers(form, "contacts")
            if query.rows(page.total) <= WHOLE:
                return Response(b"".join([part async for part in parts]), headers=headers)
            return Stream([await anext(parts)], parts, stack.pop_all(), headers)

    async def show(self, call: Call) -> Response:
        """GET on one contact."""
        given = asked.parameters(call.query, ("fields", "format"))
        form = _form(call, asked.form(given), fields := asked.fields(given))
        stored = await self._directory.one(_identifier(call.named))
        if stored is None:
            raise NotFound(f"there is no contact {call.named}")
        if isinstance(form, Json):
            return _shown(stored, call.base, fields)
        text = form.head(1) + form.batch([stored]) + form.foot()
        return Response(text.encode(), headers=negotiation.headers(form, stored.id))

    async def create(self, call: Call) -> Response:
        """POST on the collection."""
        asked.parameters(call.query, ())
        contact = rules.created(await request_body.members(call.request))
        where = contact_json.address(id_ := await self._custom.create(contact, call.caller), call.base)
        return responses.done({"id": id_, **where}, {"Location": where["uri"]})

    async def change(self, call: Call) -> Response:
        """PUT on one contact."""
        asked.parameters(call.query, ())
        members = await request_body.members(call.request)
        return await self._change(call, _identifier(call.named), members)

    async def change_by_body(self, call: Call) -> Response:
        """PUT on the collection, the id among the members."""
        members = await request_body.members(call.request)
        if "id" not in members:
            raise MissingParameter("id is missing: which contact to change, as a member of the body or in the path")
        if not isinstance(members["id"], str):
            raise InvalidParameter("id must be a string")
        asked.parameters(call.query, ())
        return await self._change(call, _identifier(members["id"]), members)

    async def delete(self, call: Call) -> Response:
        """DELETE on one contact."""
        asked.parameters(call.query, ())
        await self._custom.delete(_identifier(call.named), _condition(call), call.caller)
        return responses.done()

    async def delete_by_query(self, call: Call) -> Response:
        """DELETE on the collection, exactly one id in the query; nothing else selects what is deleted."""
        given = asked.parameters(call.query, asked.PARAMETERS)
        ids = asked.identifiers(given)
        if not ids:
            raise MissingParameter("id is missing: which contact to delete, as ?id= or in the path")
        if len(ids) > 1 or len(given) > 1:
            raise InvalidParameter("DELETE takes exactly one id and no other parameter")
        await self._custom.delete(_identifier(ids[0]), _condition(call), call.caller)
        return responses.done()

    async def _change(self, call: Call, id_: str, members: Mapping[str, object]) -> Response:
        check = _condition(call)

        def edit(stored: StoredContact) -> Contact:
            check(stored)
            return rules.changed(stored, members, contact_json.contact(stored, call.base))

        await self._custom.change(id_, edit, call.caller)
        return responses.done()


def _form(call: Call, format_: asked.Format | None, fields: frozenset[str] | None) -> Form:
    return negotiation.chosen(format_, call.request.headers.get("accept", ""))(call.base, fields)


def _shown(stored: StoredContact, base: str, fields: frozenset[str] | None = None) -> Response:
    return responses.done({"contact": contact_json.selected(stored, base, fields)})


def _condition(call: Call) -> Callable[[StoredContact], None]:
    """What If-Match asks for (RFC 9110, 13.1.1): the contact is still the one that GET has shown."""
    asked_for = call.request.headers.get("if-match")

    def check(stored: StoredContact) -> None:
        if asked_for is None:
            return
        tag = conditional.entity_tag(bytes(_shown(stored, call.base).body))
        if not conditional.names(asked_for, tag):
            raise Changed(f"the contact {stored.id} has changed since it was read; read it again")

    return check


def _identifier(text: str) -> str:
    """The text, which is an id by its form. Raises NotFound: what has another form names no contact."""
    if asked.is_identifier(text):
        return text
    raise NotFound(f"there is no contact {text[:60]!r}")

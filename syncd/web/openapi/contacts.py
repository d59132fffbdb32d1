"""The operations on contacts, described."""

from collections.abc import Mapping
from typing import Any, get_args

from syncd.core.contacts.contact import MEMBERS, TYPES
from syncd.core.contacts.feed import LAST_EVENT_ID, LONGEST_WAIT
from syncd.core.contacts.lookup import MATCHES, MOST_MATCHES, MOST_NUMBERS
from syncd.core.contacts.query import FILTERS, FORMATS, MOST_ARGUMENTS, MOST_WILDCARDS, NAMES_OR_NUMBER, ORDERS
from syncd.core.contacts.search import LONGEST, MOST_WORDS
from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import LARGEST, MOST, Result
from syncd.web.endpoints import changes
from syncd.web.openapi.described import (
    CONTACT_ID,
    IF_MATCH,
    LIMIT,
    OFFSET,
    Described,
    header,
    in_json,
    parameter,
    success,
)
from syncd.web.openapi.schema import (
    COUNT,
    ID,
    SOMETHING,
    TEXT,
    Schema,
    bounded,
    exactly,
    listed,
    number_or_nothing,
    one_of,
    reference,
)
from syncd.web.routing import BASE

_FIELDS = parameter("fields", listed([*MEMBERS, "*"]), "comma list of members to answer with; all when not given")
_FORMAT = parameter("format", one_of(FORMATS), "the form of the answer; else what Accept asks for, else json")
_APPLY = parameter("apply", one_of(["true", "false"]), "true: import the good ones; else only tell what would be done")
_DELETED_ID = {**parameter("id", ID, "the id of the contact"), "required": True}

_SAID = {
    "id": "ids",
    "name": "names; a user is found by userName too",
    "phoneNumber": "numbers, compared by letters and digits only; * is any number",
    "roles": "only users with one of these roles",
    "includeUsersInBusinessUnits": "leaves out users who are in none of these units",
}
_EXAMPLES = {"includeUsersInBusinessUnits": "AG_DEV", "roles": "ROLE_AGENT", "name": "Sales East", "userName": "ada"}

QUERY = (
    *(
        parameter(name, TEXT, f"comma list: {_SAID.get(name, 'any of these, exactly')}", _EXAMPLES.get(name))
        for name in FILTERS
    ),
    parameter("type", listed(TYPES, any_case=True), f"comma list of {', '.join(TYPES)}", "User"),
    parameter(
        "q",
        bounded(LONGEST),
        f"instant search: each of at most {MOST_WORDS} words begins a word of a name, user name, e-mail or number, "
        "ignoring case and accents; the best match comes first, and small typos are forgiven",
        "recep",
    ),
    parameter("filterName", one_of([NAMES_OR_NUMBER]), "the search that filterParameters are for; needs them"),
    parameter(
        "filterParameters",
        TEXT,
        f"needs filterName. Comma list of up to {MOST_ARGUMENTS}, each with up to {MOST_WILDCARDS} wildcards *: "
        "each must match a whole name or number, ignoring case and accents",
    ),
    parameter("sortBy", listed(MEMBERS), "comma list of members; name when not given", "name"),
    parameter("order", one_of(ORDERS), f"{ORDERS[0]} when not given", ORDERS[0]),
    LIMIT,
    OFFSET,
    _FIELDS,
    _FORMAT,
)
"""The parameters of the list."""

_FILES: Mapping[str, Schema] = {
    csv_contacts.MEDIA: {"type": "string", "description": "RFC 4180, the members as columns"},
    vcard_contacts.MEDIA: {"type": "string", "description": "RFC 6350, a card for each contact"},
}
_SAVED = {
    "Content-Disposition": {"description": "the name of a file for people", "schema": {"type": "string"}},
}
_ROW = exactly(
    {"line": {"type": "integer", "minimum": 1}, "result": {"enum": list(get_args(Result))}},
    {"id": ID, "name": {"type": "string"}, "why": {"type": "string", "description": "why it is rejected"}},
)
_ITEM = {"anyOf": [reference("Contact"), reference("Selection")]}
_NUMBER = {
    **parameter("number", SOMETHING, f"comma list of up to {MOST_NUMBERS} numbers", "+1 555 010 2000"),
    "required": True,
}
_OWNERS = exactly({
    "number": {"type": "string", "description": "as asked for"},
    "matches": {
        "type": "array",
        "maxItems": MOST_MATCHES,
        "items": exactly({"match": {"enum": list(MATCHES)}, "contact": _ITEM}),
        "description": "the best first",
    },
})  # fmt: skip
_CHANGE = {
    "oneOf": [
        exactly({"revision": COUNT, "change": {"const": "put"}, "id": ID, "contact": reference("Contact")}),
        exactly({"revision": COUNT, "change": {"const": "remove"}, "id": ID}),
    ]
}
_CHANGES = success({
    "changes": {"type": "array", "items": _CHANGE},
    "revision": {**COUNT, "description": "where to go on from"},
    "more": {"type": "boolean", "description": "whether there is more by now"},
})  # fmt: skip
_SINCE = {**parameter("since", COUNT, "the revision up to which the directory is known", 0), "required": True}
_AT_MOST = parameter(
    "limit", number_or_nothing(least=1), "ends with the first whole revision that makes it so many", 500
)
_WAIT = parameter("wait", number_or_nothing(most=LONGEST_WAIT), "seconds to wait when nothing follows yet", 0)
_LAST_EVENT = header(LAST_EVENT_ID, "of a stream: the id of the last event, instead of since")
_FEED = {
    "Directory-Revision": {"required": True, "description": "the directory's", "schema": COUNT},
    "Cache-Control": {"required": True, "description": "it is not to be kept", "schema": {"const": "no-store"}},
}
_MADE = success({
    "id": ID,
    "uri": {"type": "string", "format": "uri"},
    "path": {"type": "string", "pattern": "^/contacts/[0-9a-f]{32}$"},
})  # fmt: skip
_LOCATION = {"Location": {"required": True, "description": "the contact's uri", "schema": {"type": "string"}}}
_DONE = success()

_NEW_ID = "$response.body#/id"
_LINKS: Mapping[str, Any] = {
    **{
        name: {"operationId": name, "parameters": {"id": _NEW_ID}}
        for name in ("showContact", "changeContact", "deleteContact", "deleteContactByQuery")
    },
    "changeContactByBody": {"operationId": "changeContactByBody", "requestBody": {"id": _NEW_ID, "name": "Reception"}},
}

CONTACTS: Mapping[tuple[str, str], Described] = {
    (f"{BASE}/contacts", "GET"): Described(
        "findContacts",
        "The contacts that match, in order",
        {**success({"totalCount": COUNT, "contacts": {"type": "array", "items": _ITEM}}), **_FILES},
        "Several filters are ANDed; inside one a comma list is OR. `\\,` is a comma of the value. An empty value is as "
        "if not given. `totalCount` counts all matches, `limit` and `offset` choose which are shown.",
        QUERY,
        headers=_SAVED,
    ),
    (f"{BASE}/contacts", "POST"): Described(
        "createContact",
        "A new Custom contact",
        _MADE,
        body=in_json(reference("NewContact")),
        headers=_LOCATION,
        links=_LINKS,
    ),
    (f"{BASE}/contacts", "PUT"): Described(
        "changeContactByBody",
        "Changes the Custom contact whose id is in the body",
        _DONE,
        parameters=(IF_MATCH,),
        body=in_json(reference("ContactChangeById")),
        refusals=(404, 412),
    ),
    (f"{BASE}/contacts", "DELETE"): Described(
        "deleteContactByQuery",
        "Removes the Custom contact with exactly this id",
        _DONE,
        parameters=(_DELETED_ID, IF_MATCH),
        refusals=(404, 412),
    ),
    (f"{BASE}/contacts/{{id}}", "GET"): Described(
        "showContact",
        "One contact",
        {**success({"contact": _ITEM}), **_FILES},
        parameters=(CONTACT_ID, _FIELDS, _FORMAT),
        headers=_SAVED,
        refusals=(404,),
    ),
    (f"{BASE}/contacts/{{id}}", "PUT"): Described(
        "changeContact",
        "Changes a Custom contact",
        _DONE,
        parameters=(CONTACT_ID, IF_MATCH),
        body=in_json(reference("ContactChange")),
        refusals=(404, 412),
    ),
    (f"{BASE}/contacts/{{id}}", "DELETE"): Described(
        "deleteContact",
        "Removes a Custom contact",
        _DONE,
        parameters=(CONTACT_ID, IF_MATCH),
        refusals=(404, 412),
    ),
    (f"{BASE}/contacts/changes", "GET"): Described(
        "followChanges",
        "What became of contacts after a revision",
        {
            **_CHANGES,
            changes.EVENTS: {"type": "string", "description": "events put and remove, their ids are revisions"},
        },
        "In JSON at once, or after waiting for the first change. As a stream of events to those who accept that; there "
        "is then no limit and no wait. Read the list once, and go on from its Directory-Revision.",
        parameters=(_SINCE, _AT_MOST, _WAIT, _LAST_EVENT),
        refusals=(410,),
        headers=_FEED,
    ),
    (f"{BASE}/contacts/lookup", "GET"): Described(
        "lookUpNumbers",
        "Whose numbers these are",
        success({"lookups": {"type": "array", "minItems": 1, "items": _OWNERS}}),
        "How a contact matches: by the digits as written, by the same number internationally, or by its last digits.",
        parameters=(_NUMBER, _FIELDS),
    ),
    (f"{BASE}/contacts/import", "POST"): Described(
        "importContacts",
        "Custom contacts from a file: what would become of each, or with apply=true what has",
        success(
            {
                "applied": {"type": "boolean"},
                **dict.fromkeys(("created", "changed", "unchanged", "rejected"), COUNT),
                "rows": {"type": "array", "items": _ROW},
            }
        ),
        f"At most {LARGEST} bytes and {MOST} entries. With the id of a Custom contact one changes it, else it is new. "
        "All good ones are applied in one transaction; the others are rejected, each with its line and why.",
        parameters=(_APPLY,),
        body=_FILES,
    ),
}
"""By path and method."""

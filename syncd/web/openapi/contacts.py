"""Descriptions of the operations on contacts."""

from collections.abc import Mapping
from typing import Any, get_args

from syncd.core.contacts.contact import MEMBERS, TYPES
from syncd.core.contacts.feed import LAST_EVENT_ID, MAX_WAIT
from syncd.core.contacts.lookup import MATCH_KINDS, MAX_NUMBERS, MAX_OWNERS
from syncd.core.contacts.query import FILTERS, FORMATS, MAX_PATTERNS, MAX_WILDCARDS, NAMES_OR_NUMBER, ORDERS
from syncd.core.contacts.search import MAX_LENGTH, MAX_WORDS
from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import MAX_BYTES, MAX_ENTRIES, ImportResult
from syncd.web.endpoints import changes
from syncd.web.openapi.described import (
    CONTACT_ID,
    IF_MATCH,
    LIMIT,
    OFFSET,
    OperationDoc,
    header_parameter,
    json_content,
    query_parameter,
    success_content,
)
from syncd.web.openapi.schema import (
    COUNT,
    ID,
    LIST_TEXT,
    TEXT,
    Schema,
    bounded_text,
    closed_object,
    comma_list,
    optional_integer,
    reference,
    word_choice,
)
from syncd.web.routing import BASE

_FIELDS = query_parameter("fields", comma_list([*MEMBERS, "*"]), "comma list of the members to return; default: all")
_FORMAT = query_parameter("format", word_choice(FORMATS), "format of the response; default: by Accept, else json")
_APPLY = query_parameter(
    "apply", word_choice(["true", "false"]), "true: import the valid entries; otherwise preview only"
)
_DELETED_ID = {**query_parameter("id", ID, "the id of the contact"), "required": True}

_FILTER_DESCRIPTIONS = {
    "id": "ids",
    "name": "names; users match by userName too",
    "phoneNumber": "numbers, compared by letters and digits only; * is any number",
    "roles": "only users with one of these roles",
    "includeUsersInBusinessUnits": "excludes users who are in none of these units",
}
_EXAMPLES = {"includeUsersInBusinessUnits": "AG_DEV", "roles": "ROLE_AGENT", "name": "Sales East", "userName": "ada"}

QUERY = (
    *(
        query_parameter(
            name, TEXT, f"comma list: {_FILTER_DESCRIPTIONS.get(name, 'any of these, exactly')}", _EXAMPLES.get(name)
        )
        for name in FILTERS
    ),
    query_parameter("type", comma_list(TYPES, any_case=True), f"comma list of {', '.join(TYPES)}", "User"),
    query_parameter(
        "q",
        bounded_text(MAX_LENGTH),
        f"instant search: each of at most {MAX_WORDS} words begins a word of a name, user name, e-mail or number, "
        "ignoring case and accents; the best match comes first, and small typos are forgiven",
        "recep",
    ),
    query_parameter("filterName", word_choice([NAMES_OR_NUMBER]), "the search of filterParameters; requires them"),
    query_parameter(
        "filterParameters",
        TEXT,
        f"requires filterName. Comma list of up to {MAX_PATTERNS}, each with up to {MAX_WILDCARDS} wildcards *: "
        "each must match a whole name or number, ignoring case and accents",
    ),
    query_parameter("sortBy", comma_list(MEMBERS), "comma list of members; default: name", "name"),
    query_parameter("order", word_choice(ORDERS), f"default: {ORDERS[0]}", ORDERS[0]),
    LIMIT,
    OFFSET,
    _FIELDS,
    _FORMAT,
)
"""The query parameters of the list."""

_FILE_CONTENT: Mapping[str, Schema] = {
    csv_contacts.MEDIA_TYPE: {"type": "string", "description": "RFC 4180, with the members as columns"},
    vcard_contacts.MEDIA_TYPE: {"type": "string", "description": "RFC 6350, one card for each contact"},
}
_FILE_HEADERS = {
    "Content-Disposition": {"description": "a file name, for CSV and vCard", "schema": {"type": "string"}},
}
_IMPORT_ROW = closed_object(
    {"line": {"type": "integer", "minimum": 1}, "result": {"enum": list(get_args(ImportResult))}},
    {"id": ID, "name": {"type": "string"}, "why": {"type": "string", "description": "the reason for a rejection"}},
)
_ANY_CONTACT = {"anyOf": [reference("Contact"), reference("Selection")]}
_NUMBER_PARAMETER = {
    **query_parameter("number", LIST_TEXT, f"comma list of up to {MAX_NUMBERS} numbers", "+1 555 010 2000"),
    "required": True,
}
_LOOKUP = closed_object({
    "number": {"type": "string", "description": "as in the request"},
    "matches": {
        "type": "array",
        "maxItems": MAX_OWNERS,
        "items": closed_object({"match": {"enum": list(MATCH_KINDS)}, "contact": _ANY_CONTACT}),
        "description": "best match first",
    },
})  # fmt: skip
_CHANGE = {
    "oneOf": [
        closed_object({"revision": COUNT, "change": {"const": "put"}, "id": ID, "contact": reference("Contact")}),
        closed_object({"revision": COUNT, "change": {"const": "remove"}, "id": ID}),
    ]
}
_CHANGES = success_content({
    "changes": {"type": "array", "items": _CHANGE},
    "revision": {**COUNT, "description": "`since` of the next request"},
    "more": {"type": "boolean", "description": "whether further changes exist"},
})  # fmt: skip
_SINCE = {**query_parameter("since", COUNT, "the last revision that the client knows", 0), "required": True}
_FEED_LIMIT = query_parameter(
    "limit", optional_integer(minimum=1), "number of changes; the response ends after the revision that reaches it", 500
)
_WAIT = query_parameter("wait", optional_integer(maximum=MAX_WAIT), "seconds to wait for a change if there is none", 0)
_LAST_EVENT = header_parameter(LAST_EVENT_ID, "for a stream: the id of the last event, instead of since")
_FEED_HEADERS = {
    "Directory-Revision": {"required": True, "description": "the directory's revision", "schema": COUNT},
    "Cache-Control": {"required": True, "description": "must not be stored", "schema": {"const": "no-store"}},
}
_CREATED = success_content({
    "id": ID,
    "uri": {"type": "string", "format": "uri"},
    "path": {"type": "string", "pattern": "^/contacts/[0-9a-f]{32}$"},
})  # fmt: skip
_LOCATION = {"Location": {"required": True, "description": "the contact's uri", "schema": {"type": "string"}}}
_EMPTY_SUCCESS = success_content()

_NEW_ID = "$response.body#/id"
_LINKS: Mapping[str, Any] = {
    **{
        name: {"operationId": name, "parameters": {"id": _NEW_ID}}
        for name in ("showContact", "changeContact", "deleteContact", "deleteContactByQuery")
    },
    "changeContactByBody": {"operationId": "changeContactByBody", "requestBody": {"id": _NEW_ID, "name": "Reception"}},
}

CONTACTS: Mapping[tuple[str, str], OperationDoc] = {
    (f"{BASE}/contacts", "GET"): OperationDoc(
        "findContacts",
        "The matching contacts, in order",
        {
            **success_content({"totalCount": COUNT, "contacts": {"type": "array", "items": _ANY_CONTACT}}),
            **_FILE_CONTENT,
        },
        "Several filters are ANDed; the values of a comma list are ORed. `\\,` is a comma inside a value. Empty values "
        "count as absent. `totalCount` counts all matches, `limit` and `offset` select which are returned.",
        QUERY,
        headers=_FILE_HEADERS,
    ),
    (f"{BASE}/contacts", "POST"): OperationDoc(
        "createContact",
        "A new Custom contact",
        _CREATED,
        body=json_content(reference("NewContact")),
        headers=_LOCATION,
        links=_LINKS,
    ),
    (f"{BASE}/contacts", "PUT"): OperationDoc(
        "changeContactByBody",
        "Changes the Custom contact whose id is in the body",
        _EMPTY_SUCCESS,
        parameters=(IF_MATCH,),
        body=json_content(reference("ContactChangeById")),
        error_statuses=(404, 412),
    ),
    (f"{BASE}/contacts", "DELETE"): OperationDoc(
        "deleteContactByQuery",
        "Removes the Custom contact with exactly this id",
        _EMPTY_SUCCESS,
        parameters=(_DELETED_ID, IF_MATCH),
        error_statuses=(404, 412),
    ),
    (f"{BASE}/contacts/{{id}}", "GET"): OperationDoc(
        "showContact",
        "One contact",
        {**success_content({"contact": _ANY_CONTACT}), **_FILE_CONTENT},
        parameters=(CONTACT_ID, _FIELDS, _FORMAT),
        headers=_FILE_HEADERS,
        error_statuses=(404,),
    ),
    (f"{BASE}/contacts/{{id}}", "PUT"): OperationDoc(
        "changeContact",
        "Changes a Custom contact",
        _EMPTY_SUCCESS,
        parameters=(CONTACT_ID, IF_MATCH),
        body=json_content(reference("ContactChange")),
        error_statuses=(404, 412),
    ),
    (f"{BASE}/contacts/{{id}}", "DELETE"): OperationDoc(
        "deleteContact",
        "Removes a Custom contact",
        _EMPTY_SUCCESS,
        parameters=(CONTACT_ID, IF_MATCH),
        error_statuses=(404, 412),
    ),
    (f"{BASE}/contacts/changes", "GET"): OperationDoc(
        "followChanges",
        "The changes of contacts after a revision",
        {
            **_CHANGES,
            changes.EVENT_STREAM: {"type": "string", "description": "events put and remove, with revisions as ids"},
        },
        "As JSON at once or after waiting for the first change. As server-sent events if the client accepts them, "
        "without limit and wait. Read the list once, and continue from its Directory-Revision.",
        parameters=(_SINCE, _FEED_LIMIT, _WAIT, _LAST_EVENT),
        error_statuses=(410,),
        headers=_FEED_HEADERS,
    ),
    (f"{BASE}/contacts/lookup", "GET"): OperationDoc(
        "lookUpNumbers",
        "The contacts with these numbers",
        success_content({"lookups": {"type": "array", "minItems": 1, "items": _LOOKUP}}),
        "A contact matches by the digits as written, by the same international number, or by the last digits.",
        parameters=(_NUMBER_PARAMETER, _FIELDS),
    ),
    (f"{BASE}/contacts/import", "POST"): OperationDoc(
        "importContacts",
        "Previews the import of Custom contacts from a file; imports them with apply=true",
        success_content(
            {
                "applied": {"type": "boolean"},
                **dict.fromkeys(("created", "changed", "unchanged", "rejected"), COUNT),
                "rows": {"type": "array", "items": _IMPORT_ROW},
            }
        ),
        f"At most {MAX_BYTES} bytes and {MAX_ENTRIES} entries. An entry with the id of a Custom contact changes it; "
        "others are new contacts. All valid entries are applied in one transaction; each rejected one is listed with "
        "line and reason.",
        parameters=(_APPLY,),
        body=_FILE_CONTENT,
    ),
}
"""(path, method) -> description."""

"""The document: every place of the table with all that holds for it. One that is not described is an error."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from starlette.responses import Response

from syncd import __version__
from syncd.core.contacts.models import ROLES
from syncd.core.operations.freshness import LONGEST, MAX_AGE
from syncd.settings import Http
from syncd.web import responses
from syncd.web.caching.conditional import Representation
from syncd.web.http.protocol import LARGEST_HEADERS, LONGEST_URL
from syncd.web.openapi.contacts import CONTACTS
from syncd.web.openapi.described import JSON, Described, header
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.operations import operations
from syncd.web.openapi.schema import CONTACTS as CONTACT_SCHEMAS
from syncd.web.openapi.schema import Schema, exactly
from syncd.web.request_body import LARGEST
from syncd.web.routing import Call, Operation, Place

PATH = "/openapi.json"

_ALWAYS = (400, 414, 431, 500, 503)
_MEANING = {
    400: "A parameter, member or body is missing (1), or cannot be understood or is not allowed (2)",
    401: "No credentials, or wrong ones",
    403: "The contact or member is read-only (3), or the role is not sufficient (5)",
    404: "There is no such contact or run",
    410: "A position in the past that nobody remembers any longer",
    412: "The contact has changed since it was read",
    413: f"The body is larger than {LARGEST} bytes, or a file than it may be",
    414: f"The URL is longer than {LONGEST_URL} bytes",
    415: "The body has another media type than is expected, or is packed",
    431: f"The headers are larger than {LARGEST_HEADERS} bytes",
    500: "A defect; the server's log has the details",
    503: "The database cannot be reached or has too much to do, too many wait, or what is there is older than allowed",
}
_CODES = {status: {code for found, code in responses.STATUS.values() if found == status} for status in _MEANING}
"""statusCode of each status, as errors become answers."""


def _shown(schema: Mapping[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema}


_REQUEST_ID = {
    "X-Request-Id": _shown(
        {"type": "string"}, "the request's id in the log: the client's own if it is short and plain", required=True
    )
}
_KEPT = {
    "ETag": _shown({"type": "string"}, "for If-None-Match and If-Match; a long answer may come without"),
    "Cache-Control": _shown({"const": "private, no-cache"}, "ask again before using it", required=True),
    "Vary": _shown({"type": "string"}, "what the answer depends on", required=True),
    "Content-Encoding": _shown({"const": "gzip"}, "when the client accepts it"),
}
_REVISION = {
    "Directory-Revision": _shown({"type": "integer", "minimum": 0}, "the revision that it shows", required=True),
}
_FRESHNESS = {
    "Directory-Freshness": _shown(
        {"type": "string", "examples": ['"corp";age=120;type=User, "acd";age=4000;type=Queue;stale']},
        "how many seconds ago each source was last read completely, and which are stale: a list of RFC 9651",
    ),
}
_REFUSED = {
    401: {"WWW-Authenticate": _shown({"const": "Basic, Bearer"}, "how to authenticate", required=True)},
    503: {"Retry-After": _shown({"type": "integer", "minimum": 1}, "seconds to wait", required=True)},
}
_IF_NONE_MATCH = header("If-None-Match", "the ETag of an earlier answer: 304 when it still holds")


_MAX_AGE = {
    **header(MAX_AGE, "the age in seconds that the caller allows: 503 when a source was last read before that"),
    "schema": {"type": "integer", "minimum": 0, "maximum": LONGEST},
}


class Sources(Protocol):
    """Who knows the sources."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of those that are set up."""


class OpenApi:
    """Hands the document out; it is made when somebody asks for it."""

    def __init__(self, settings: Http, places: Iterable[Place], known: Sources) -> None:
        self.places = [Place(PATH, {"GET": Operation(self.show, roles=())})]
        """Where it is found."""
        self._all = [*places, *self.places]
        self._base = settings.public_url
        self._known = known
        self._sources: Sequence[str] = ()
        self._made: Representation | None = None

    async def show(self, call: Call) -> Response:
        """GET on the document."""
        sources = self._known.sources
        if self._made is None or sources != self._sources:
            self._sources = sources
            self._made = Representation(responses.Answer(document(self._all, sources, self._base)))
        return self._made.answer(call.request.headers, ())


def described(sources: Sequence[str]) -> Mapping[tuple[str, str], Described]:
    """Every operation by path and method, where these sources are set up."""
    return {**CONTACTS, **operations(sources)}


def document(places: Iterable[Place], sources: Sequence[str], base: str) -> dict[str, Any]:
    """OpenAPI 3.1.0 of these places, reached at a base URL or, when that is empty, beside the document."""
    said = described(sources)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "syncd",
            "version": __version__,
            "summary": "A contact center's directory: users, queues and custom contacts",
            "description": (
                "The wire contract of the Genesys Web Services Contacts API, and what operators look up.\n\n"
                "`/contacts` stands for `/api/v2/contacts`, and a trailing slash is accepted. Every refusal is a JSON "
                "object with statusCode and statusMessage; a method that a path does not have is refused with 405, an "
                "Allow header and statusCode 3. Blanks around the names and values of parameters do not count; "
                "parameters that begin with _ and `subresources` are ignored, any other unknown one is refused."
            ),
        },
        **({"servers": [{"url": base}]} if base else {}),
        "paths": {
            place.path: {
                method.lower(): _operation(place, method, said[place.path, method]) for method in place.operations
            }
            for place in places
        },
        "components": {
            "schemas": {**CONTACT_SCHEMAS, **HISTORY},
            "responses": {f"Status{status}": _refusal(status) for status in _MEANING},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`syncd token create` makes one"},
                "password": {"type": "http", "scheme": "basic", "description": "where people may sign in"},
            },
        },
    }


def _operation(place: Place, method: str, said: Described) -> dict[str, Any]:
    operation = place.operations[method]
    statuses = {*_ALWAYS, *said.refusals}
    parameters = [*said.parameters]
    if operation.roles:
        statuses |= {401}
    if operation.roles and set(operation.roles) != set(ROLES):
        statuses |= {403}
    if said.body is not None:
        statuses |= {413, 415}
    kept = operation.by_revision or place.path == PATH
    if kept:
        parameters.append(_IF_NONE_MATCH)
    if operation.dated or operation.by_revision:
        parameters.append(_MAX_AGE)
    return {
        "operationId": said.name,
        "summary": said.summary,
        **({"description": said.description} if said.description else {}),
        "tags": [_tag(place)],
        "security": [{"token": []}, {"password": []}] if operation.roles else [],
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": {"required": True, "content": _content(said.body)}} if said.body else {}),
        "responses": {
            "200": _success(said, operation, kept=kept),
            **({"304": _not_modified(operation)} if kept else {}),
            **{str(status): {"$ref": f"#/components/responses/Status{status}"} for status in sorted(statuses)},
            **({"503": _NOT_READY} if place.path == "/ready" else {}),
        },
    }


def _content(forms: Mapping[str, Schema]) -> dict[str, Any]:
    return {media: {"schema": schema} for media, schema in forms.items()}


def _tag(place: Place) -> str:
    return "contacts" if "/contacts" in place.path else "sync" if "/sync/" in place.path else "service"


def _success(said: Described, operation: Operation, *, kept: bool) -> dict[str, Any]:
    headers = {**_REQUEST_ID, **(_KEPT if kept else {}), **_dated(operation), **said.headers}
    return {
        "description": said.summary,
        "headers": headers,
        "content": _content(said.answer),
        **({"links": said.links} if said.links else {}),
    }


def _dated(operation: Operation) -> Mapping[str, Any]:
    """What tells which state of the directory an answer shows."""
    if operation.by_revision:
        return {**_REVISION, **_FRESHNESS}
    return _FRESHNESS if operation.dated else {}


def _not_modified(operation: Operation) -> dict[str, Any]:
    """What 304 carries (RFC 9110, 15.4.5)."""
    kept = {name: shown for name, shown in _KEPT.items() if name != "Content-Encoding"}
    kept["ETag"] = {**kept["ETag"], "required": True}
    return {
        "description": "What the client has still holds",
        "headers": {**_REQUEST_ID, **kept, **_dated(operation)},
    }


def _refusal(status: int) -> dict[str, Any]:
    codes = sorted(_CODES[status]) or [2]
    body = exactly({"statusCode": {"enum": codes}, "statusMessage": {"type": "string", "minLength": 1}})
    example = {"statusCode": codes[0], "statusMessage": f"a sentence: {HTTPStatus(status).phrase.lower()}, and why"}
    return {
        "description": _MEANING[status],
        "headers": {**_REQUEST_ID, **_REFUSED.get(status, {})},
        "content": {JSON: {"schema": body, "example": example}},
    }


_NOT_READY = {
    "description": "Not now",
    "headers": {**_REQUEST_ID, **_REFUSED[503]},
    "content": {JSON: {"schema": exactly({"status": {"const": "not ready"}})}},
}

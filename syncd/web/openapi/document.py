"""The OpenAPI document and its endpoint. A route without a description is an error."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from syncd import __version__
from syncd.core.contacts.models import ROLES
from syncd.core.operations.freshness import MAX_AGE, MAX_INTEGER
from syncd.settings import Http
from syncd.web import responses
from syncd.web.caching.conditional import Representation
from syncd.web.http.protocol import MAX_HEADER_BYTES, MAX_URL_BYTES
from syncd.web.openapi.contacts import CONTACTS
from syncd.web.openapi.described import JSON, OperationDoc, header_parameter
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.operations import sync_operations
from syncd.web.openapi.schema import CONTACTS as CONTACT_SCHEMAS
from syncd.web.openapi.schema import Schema, closed_object
from syncd.web.ports import Overview
from syncd.web.request_body import MAX_JSON_BYTES
from syncd.web.routing import AnyRoute, Endpoint, Route, RoutedRequest

PATH = "/openapi.json"

_COMMON_STATUSES = (400, 414, 431, 500, 503)
_STATUS_DESCRIPTIONS = {
    400: "A parameter, member or body is missing (1), or cannot be understood or is not allowed (2)",
    401: "No credentials, or wrong ones",
    403: "The contact or member is read-only (3), or the role or the origin may not do this (5)",
    404: "There is no such contact or run",
    410: "The changes after this revision are no longer stored",
    412: "The contact has changed since it was read",
    413: f"The body is larger than {MAX_JSON_BYTES} bytes, or a file is larger than its limit",
    414: f"The URL is longer than {MAX_URL_BYTES} bytes",
    415: "The body has no media type or another one than expected, or a Content-Encoding",
    431: f"The headers are larger than {MAX_HEADER_BYTES} bytes",
    500: "A defect; the server's log has the details",
    503: "The database is unavailable or overloaded, too many callers wait, or a source is older than allowed",
}
_CODES = {
    status: {code for error_status, code in responses.STATUS.values() if error_status == status}
    for status in _STATUS_DESCRIPTIONS
}
"""Status -> the statusCodes with which it occurs."""


def _response_header(schema: Mapping[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema}


_REQUEST_ID_HEADER = {
    "X-Request-Id": _response_header(
        {"type": "string"}, "the request's id in the log: the client's own if it is short and plain", required=True
    )
}
_CACHE_HEADERS = {
    "ETag": _response_header({"type": "string"}, "for If-None-Match and If-Match; a streamed response may lack it"),
    "Cache-Control": _response_header({"const": "private, no-cache"}, "revalidate before each use", required=True),
    "Vary": _response_header({"type": "string"}, "request headers that the response depends on", required=True),
    "Content-Encoding": _response_header({"const": "gzip"}, "when the client accepts it"),
}
_REVISION_HEADER = {
    "Directory-Revision": _response_header(
        {"type": "integer", "minimum": 0}, "the directory's revision in the response", required=True
    ),
}
_FRESHNESS_HEADER = {
    "Directory-Freshness": _response_header(
        {"type": "string", "examples": ['"corp";age=120;type=User, "acd";age=4000;type=Queue;stale']},
        "for each source, the seconds since its last complete read and whether it is stale; a List (RFC 9651)",
    ),
}
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": _response_header({"type": "string"}, "Bearer, and Basic if configured", required=True)},
    503: {"Retry-After": _response_header({"type": "integer", "minimum": 1}, "seconds to wait", required=True)},
}
_IF_NONE_MATCH = header_parameter("If-None-Match", "the ETag of an earlier response: 304 when it is still current")
_MAX_AGE = {
    **header_parameter(MAX_AGE, "the maximum age in seconds: 503 when the last complete read of a source is older"),
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
}


class OpenApiEndpoint:
    """GET on /openapi.json; the document is built on demand and again when the sources change."""

    def __init__(self, settings: Http, routes: Iterable[AnyRoute], overview: Overview) -> None:
        self.routes = [Route(PATH, {"GET": Endpoint(self.show, roles=())})]
        """The route of this endpoint."""
        self._all_routes = [*routes, *self.routes]
        self._base = settings.public_url
        self._overview = overview
        self._sources: Sequence[str] = ()
        self._representation: Representation | None = None

    async def show(self, routed: RoutedRequest) -> Response:
        """Return the document."""
        sources = self._overview.sources
        if self._representation is None or sources != self._sources:
            self._sources = sources
            self._representation = Representation(
                responses.JsonResponse(build_document(self._all_routes, sources, self._base))
            )
        return self._representation.respond(routed.request.headers, ())


def operation_docs(sources: Sequence[str]) -> Mapping[tuple[str, str], OperationDoc]:
    """Return the description of every operation by (path, method), with the names of the configured sources."""
    return {**CONTACTS, **sync_operations(sources)}


def build_document(routes: Iterable[AnyRoute], sources: Sequence[str], base: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1.0 document of these routes.

    `base` is the server URL; if it is empty, the server is that of the document. Raises KeyError for a route without
    a description.
    """
    docs = operation_docs(sources)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "syncd",
            "version": __version__,
            "summary": "A contact center's directory: users, queues and custom contacts",
            "description": (
                "The Genesys Web Services Contacts API, and endpoints for operators.\n\n"
                "`/contacts` stands for `/api/v2/contacts`, and a trailing slash is accepted. Every error is a JSON "
                "object with statusCode and statusMessage; an unsupported method gets 405 with the header Allow and "
                "statusCode 3. Blanks around the names and values of parameters are ignored, and so are parameters "
                "that begin with _ and `subresources`; any other unknown parameter is an error."
            ),
        },
        **({"servers": [{"url": base}]} if base else {}),
        "paths": {
            route.path: {
                method.lower(): _operation(route, method, docs[route.path, method]) for method in route.endpoints
            }
            for route in routes
        },
        "components": {
            "schemas": {**CONTACT_SCHEMAS, **HISTORY},
            "responses": {f"Status{status}": _error_response(status) for status in _STATUS_DESCRIPTIONS},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`syncd token create` makes one"},
                "password": {"type": "http", "scheme": "basic", "description": "of an LDAP account, if configured"},
            },
        },
    }


def _operation(route: AnyRoute, method: str, doc: OperationDoc) -> dict[str, Any]:
    endpoint = route.endpoints[method]
    statuses = {*_COMMON_STATUSES, *doc.error_statuses}
    parameters = [*doc.parameters]
    if endpoint.roles:
        statuses |= {401}
    if endpoint.roles and set(endpoint.roles) != set(ROLES):
        statuses |= {403}
    if doc.body is not None:
        statuses |= {413, 415}
    is_tagged = endpoint.cacheable or route.path == PATH
    if is_tagged:
        parameters.append(_IF_NONE_MATCH)
    if endpoint.reports_freshness or endpoint.cacheable:
        parameters.append(_MAX_AGE)
    return {
        "operationId": doc.operation_id,
        "summary": doc.summary,
        **({"description": doc.description} if doc.description else {}),
        "tags": [_tag(route)],
        "security": [{"token": []}, {"password": []}] if endpoint.roles else [],
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": {"required": True, "content": _content(doc.body)}} if doc.body else {}),
        "responses": {
            "200": _success_response(doc, endpoint, is_tagged=is_tagged),
            **({"304": _not_modified_response(endpoint)} if is_tagged else {}),
            **{str(status): {"$ref": f"#/components/responses/Status{status}"} for status in sorted(statuses)},
            **({"503": _NOT_READY} if route.path == "/ready" else {}),
        },
    }


def _content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {media: {"schema": schema} for media, schema in schemas.items()}


def _tag(route: AnyRoute) -> str:
    return "contacts" if "/contacts" in route.path else "sync" if "/sync/" in route.path else "service"


def _success_response(doc: OperationDoc, endpoint: Endpoint[Any], *, is_tagged: bool) -> dict[str, Any]:
    headers = {**_REQUEST_ID_HEADER, **(_CACHE_HEADERS if is_tagged else {}), **_state_headers(endpoint), **doc.headers}
    return {
        "description": doc.summary,
        "headers": headers,
        "content": _content(doc.response),
        **({"links": doc.links} if doc.links else {}),
    }


def _state_headers(endpoint: Endpoint[Any]) -> Mapping[str, Any]:
    """Return the headers that report the state of the directory."""
    if endpoint.cacheable:
        return {**_REVISION_HEADER, **_FRESHNESS_HEADER}
    return _FRESHNESS_HEADER if endpoint.reports_freshness else {}


def _not_modified_response(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """Return the description of 304 with its headers (RFC 9110, 15.4.5)."""
    headers = {name: header for name, header in _CACHE_HEADERS.items() if name != "Content-Encoding"}
    headers["ETag"] = {**headers["ETag"], "required": True}
    return {
        "description": "The client's representation is still current",
        "headers": {**_REQUEST_ID_HEADER, **headers, **_state_headers(endpoint)},
    }


def _error_response(status: int) -> dict[str, Any]:
    codes = sorted(_CODES[status]) or [2]
    body = closed_object({"statusCode": {"enum": codes}, "statusMessage": {"type": "string", "minLength": 1}})
    example = {"statusCode": codes[0], "statusMessage": f"a sentence: {HTTPStatus(status).phrase.lower()}, and why"}
    return {
        "description": _STATUS_DESCRIPTIONS[status],
        "headers": {**_REQUEST_ID_HEADER, **_ERROR_HEADERS.get(status, {})},
        "content": {JSON: {"schema": body, "example": example}},
    }


_NOT_READY = {
    "description": "Requests cannot be served at the moment",
    "headers": {**_REQUEST_ID_HEADER, **_ERROR_HEADERS[503]},
    "content": {JSON: {"schema": closed_object({"status": {"const": "not ready"}})}},
}

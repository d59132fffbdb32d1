"""JSON responses, and the table that maps errors to HTTP statuses and statusCodes."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from syncd.core.contacts.contact_json import encode
from syncd.errors import (
    AuthenticationUnavailable,
    Forbidden,
    Gone,
    InvalidParameter,
    MissingParameter,
    NotAuthenticated,
    NotFound,
    PreconditionFailed,
    ReadOnly,
    RetryLater,
    StoreBusy,
    StoreError,
    Throttled,
    TooLarge,
    UnsupportedMedia,
)

STATUS: Mapping[type[Exception], tuple[int, int]] = {
    MissingParameter: (400, 1),
    InvalidParameter: (400, 2),
    UnsupportedMedia: (415, 2),
    TooLarge: (413, 2),
    ReadOnly: (403, 3),
    StoreError: (503, 4),
    AuthenticationUnavailable: (503, 4),
    StoreBusy: (503, 4),
    Exception: (500, 4),
    Forbidden: (403, 5),
    NotFound: (404, 6),
    Gone: (410, 6),
    RetryLater: (503, 4),
    PreconditionFailed: (412, 2),
    NotAuthenticated: (401, 20),
}
"""Error class -> (HTTP status, statusCode); a class that is not listed has the entry of its nearest base class."""

_HEADERS = {503: {"Retry-After": "5"}}
_PUBLIC_MESSAGES: Mapping[type[Exception], str] = {
    Exception: "an internal error; the log of the server has the details",
    StoreError: "the directory cannot be reached at the moment; try again in a few seconds",
}
"""statusMessage of errors whose text is for the log only; it reveals nothing about the server's internals."""


class JsonResponse(Response):
    """A JSON response (RFC 8259) whose Content-Type has no parameters."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content as JSON in UTF-8."""
        # a contact cannot contain a lone surrogate, but an error message may quote one
        return encode(content).encode("utf-8", "backslashreplace")


def ok(members: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """Return status 200 with statusCode 0 and these members."""
    return JsonResponse({"statusCode": 0, **(members or {})}, 200, headers)


def error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """Return an error response of the contract's form, with the headers of its status and `headers`."""
    return JsonResponse(
        {"statusCode": code, "statusMessage": message}, status, {**_HEADERS.get(status, {}), **(headers or {})}
    )


def from_exception(exception: Exception) -> JsonResponse:
    """Return the error response of an exception, as listed in STATUS."""
    kind = next(base for base in type(exception).__mro__ if base in STATUS)
    status, code = STATUS[kind]
    retry_after = {"Retry-After": str(exception.seconds)} if isinstance(exception, Throttled | RetryLater) else {}
    return error(status, code, _PUBLIC_MESSAGES.get(kind) or str(exception), retry_after)


def method_not_allowed(allowed: str) -> JsonResponse:
    """Return 405 (RFC 9110, 15.5.6). `allowed` is the value of the header Allow."""
    return error(405, 3, f"this method is not supported here; there are {allowed}", {"Allow": allowed})


def path_not_found() -> JsonResponse:
    """Return 404 for a path without a route."""
    return error(404, 6, "there is nothing at this path; the contacts are at /api/v2/contacts")

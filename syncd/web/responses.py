"""What goes back: JSON bodies, and the one table that says which HTTP status and statusCode an error becomes."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from syncd.core.contacts.contact_json import encode
from syncd.errors import (
    Changed,
    Gone,
    InvalidParameter,
    MissingParameter,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotNow,
    ReadOnly,
    SignInUnavailable,
    StoreBusy,
    StoreError,
    TooLarge,
    TooManyFailures,
    UnsupportedMedia,
)

STATUS: Mapping[type[Exception], tuple[int, int]] = {
    MissingParameter: (400, 1),
    InvalidParameter: (400, 2),
    UnsupportedMedia: (415, 2),
    TooLarge: (413, 2),
    ReadOnly: (403, 3),
    StoreError: (503, 4),
    SignInUnavailable: (503, 4),
    StoreBusy: (503, 4),
    Exception: (500, 4),
    NotAllowed: (403, 5),
    NotFound: (404, 6),
    Gone: (410, 6),
    NotNow: (503, 4),
    Changed: (412, 2),
    NotAuthenticated: (401, 20),
}
"""Error -> HTTP status and statusCode; an error that is not listed is taken as its nearest base."""

_HEADERS = {
    # as the reference prints it
    401: {"WWW-Authenticate": "Basic, Bearer"},
    503: {"Retry-After": "5"},
}
_OURS: Mapping[type[Exception], str] = {
    Exception: "an internal error; the log of the server has the details",
    StoreError: "the directory cannot be reached at the moment; try again in a few seconds",
}
"""What is said of errors that are not the caller's: nothing about our inside."""


class Answer(Response):
    """A JSON answer (RFC 8259), its Content-Type without parameters."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The payload in UTF-8."""
        # a lone surrogate cannot get into a contact, but may be quoted in an error's sentence
        return encode(content).encode("utf-8", "backslashreplace")


def done(members: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Success, with the members that belong to it."""
    return Answer({"statusCode": 0, **(members or {})}, 200, headers)


def refused(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of the contract's form for errors."""
    return Answer(
        {"statusCode": code, "statusMessage": message}, status, {**_HEADERS.get(status, {}), **(headers or {})}
    )


def failed(error: Exception) -> Answer:
    """The answer that an error becomes."""
    kind = next(base for base in type(error).__mro__ if base in STATUS)
    status, code = STATUS[kind]
    later = {"Retry-After": str(error.seconds)} if isinstance(error, TooManyFailures | NotNow) else {}
    return refused(status, code, _OURS.get(kind) or str(error), later)


def unsupported(allowed: str) -> Answer:
    """A method that does not exist here (RFC 9110, 15.5.6)."""
    return refused(405, 3, f"this method is not supported here; there are {allowed}", {"Allow": allowed})


def unknown_path() -> Answer:
    """A path that leads nowhere."""
    return refused(404, 6, "there is nothing at this path; the contacts are at /api/v2/contacts")

"""Sessions of authenticated callers: bearer tokens (RFC 6750) and Basic credentials (RFC 7617)."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from syncd.core.contacts.models import AuthResult, Caller, DirectoryVersion
from syncd.errors import NotAuthenticated, StoreError
from syncd.web.ports import Authenticator, RevisionTracker
from syncd.web.routing import RoutedRequest

# one header field for each: browsers evaluate only the first challenge of a field
_CHALLENGES = (
    (b"www-authenticate", b'Bearer realm="syncd", charset="UTF-8"'),
    (b"www-authenticate", b'Basic realm="syncd", charset="UTF-8"'),
)
"""Response headers of 401 (RFC 9110, 11.6.1)."""
_TOKEN_TIMEOUT = 2
"""Seconds to check a token on a public route."""
_MAX_CREDENTIAL_CHARS = 256
"""Maximum length of a name or a password; longer ones are rejected without work for the directory server."""


@dataclass(frozen=True, slots=True)
class Session:
    """An authenticated caller, at a version of the directory and its tokens."""

    caller: Caller
    version: DirectoryVersion
    from_cache: bool
    """Whether the caller was authenticated from the cache, because no LDAP server answered."""
    renew: "Callable[[], Awaitable[Session]]"
    """Authenticate the caller again, at the current version."""


class SessionOpener:
    """Authenticates callers. `accepts_passwords` adds Basic to the challenges of 401."""

    def __init__(self, authenticator: Authenticator, accepts_passwords: bool, revisions: RevisionTracker) -> None:
        self._authenticator = authenticator
        self._challenges = _CHALLENGES if accepts_passwords else _CHALLENGES[:1]
        self._revisions = revisions

    async def open(self, routed: RoutedRequest) -> Session:
        """Authenticate the caller with the tokens of the current version.

        Raises NotAuthenticated, with one message for revoked and unknown tokens and one for unknown names and wrong
        passwords, and StoreError or AuthenticationUnavailable.
        """
        version = await self._revisions.current()
        try:
            result = await self._authenticate(routed, version.access)
        except NotAuthenticated:
            routed.record.extra_headers += self._challenges
            raise
        return Session(result.caller, version, result.from_cache, partial(self.open, routed))

    async def has_token(self, routed: RoutedRequest) -> bool:
        """Whether a request to a public route has a valid token; no while the database cannot tell.

        Passwords are not checked, because a public route must not wait for an LDAP server.
        """
        if _parse_authorization(routed.request)[0] != "bearer":
            return False
        try:
            async with asyncio.timeout(_TOKEN_TIMEOUT):
                version = await self._revisions.current()
                routed.record.caller = (await self._authenticate(routed, version.access)).caller
        except (NotAuthenticated, StoreError, TimeoutError):
            return False
        return True

    async def _authenticate(self, routed: RoutedRequest, access: int) -> AuthResult:
        scheme, credentials = _parse_authorization(routed.request)
        match scheme:
            case "bearer" if credentials and credentials.isascii():
                return await self._authenticator.authenticate_token(credentials, routed.client.address, access)
            case "basic":
                return await self._authenticator.authenticate_password(
                    *_parse_basic(credentials), routed.client.address
                )
        raise NotAuthenticated(
            "send a token (Authorization: Bearer …; `syncd token create` makes one), or name and password where people "
            "may sign in (Authorization: Basic …)"
        )


def _parse_authorization(request: Request) -> tuple[str, str]:
    """Return scheme, in lower case, and credentials; both empty unless there is exactly one such header."""
    headers = request.headers.getlist("authorization")
    scheme, _, credentials = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return scheme.lower(), credentials.strip()


def _parse_basic(credentials: str) -> tuple[str, str]:
    """Decode name and password. Bytes that are not UTF-8 are read as ISO 8859-1, which old clients send."""
    try:
        raw = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        raise NotAuthenticated("after Basic there must be name:password in base64 (RFC 7617)") from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or not name.strip() or not password:
        raise NotAuthenticated("the name or the password is empty")
    if max(len(name), len(password)) > _MAX_CREDENTIAL_CHARS or any(
        ord(char) < 0x20 or ord(char) == 0x7F for char in text
    ):
        raise NotAuthenticated("this name and password are not valid")
    return name, password

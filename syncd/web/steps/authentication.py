"""The step that authenticates the caller: bearer tokens (RFC 6750) and Basic credentials (RFC 7617)."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.contacts.models import AuthResult, Caller, DirectoryVersion
from syncd.errors import NotAuthenticated
from syncd.web.ports import Authenticator, RevisionTracker
from syncd.web.routing import RoutedRequest

AUTH_SERVER_UNREACHABLE = (b"directory-sign-in", b"unreachable")
"""Response header: the password was accepted from the cache, because the directory server is unreachable."""

# one header field for each: browsers evaluate only the first challenge of a field
_CHALLENGES = (
    (b"www-authenticate", b'Bearer realm="syncd", charset="UTF-8"'),
    (b"www-authenticate", b'Basic realm="syncd", charset="UTF-8"'),
)
"""Response headers of 401 (RFC 9110, 11.6.1)."""
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


class AuthenticationStep:
    """Passes requests on with the session of their caller. `accepts_passwords` adds Basic to the challenges of 401."""

    def __init__(
        self,
        authenticator: Authenticator,
        accepts_passwords: bool,
        revisions: RevisionTracker,
        next_step: Callable[[RoutedRequest, Session], Awaitable[Response]],
    ) -> None:
        self._authenticator = authenticator
        self._challenges = _CHALLENGES if accepts_passwords else _CHALLENGES[:1]
        self._revisions = revisions
        self._next_step = next_step

    async def __call__(self, routed: RoutedRequest) -> Response:
        """Raises the errors of `authenticate`."""
        session = await self._authenticate(routed)
        routed.record.caller = session.caller
        if session.from_cache:
            routed.record.extra_headers.append(AUTH_SERVER_UNREACHABLE)
        return await self._next_step(routed, session)

    async def _authenticate(self, routed: RoutedRequest) -> Session:
        """Authenticate the caller with the tokens of the current version."""
        version = await self._revisions.current()
        try:
            result = await authenticate(routed.request, self._authenticator, routed.client.address, version.access)
        except NotAuthenticated:
            routed.record.extra_headers += self._challenges
            raise
        return Session(result.caller, version, result.from_cache, partial(self._authenticate, routed))


async def authenticate(request: Request, authenticator: Authenticator, address: str, access: int) -> AuthResult:
    """Return the caller of a request.

    Raises NotAuthenticated, with one message for revoked and unknown tokens and one for unknown names and wrong
    passwords, and StoreError or AuthenticationUnavailable.
    """
    headers = request.headers.getlist("authorization")
    scheme, _, credentials = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer" if credentials and credentials.isascii():
            return await authenticator.authenticate_token(credentials, address, access)
        case "basic":
            return await authenticator.authenticate_password(*_parse_basic(credentials), address)
    raise NotAuthenticated(
        "send a token (Authorization: Bearer …; `syncd token create` makes one), or name and password where people "
        "may sign in (Authorization: Basic …)"
    )


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

"""Authentication and authorization of requests: bearer tokens (RFC 6750), Basic credentials (RFC 7617), roles."""

import base64
import binascii
from collections.abc import Collection
from typing import Protocol

from starlette.requests import Request

from syncd.core.contacts.models import AuthResult, Caller, Role
from syncd.errors import Forbidden, NotAuthenticated

_MAX_CREDENTIAL_CHARS = 256
"""Maximum length of a name or a password; longer ones are rejected without work for the directory server."""


class Authenticator(Protocol):
    """Checks credentials. `address` is the client's IP address, or `unix`."""

    async def authenticate_token(self, token: str, address: str, access: int) -> AuthResult:
        """Return the token's caller. `access` counts the changes of tokens. Raises NotAuthenticated or StoreError."""

    async def authenticate_password(self, name: str, password: str, address: str) -> AuthResult:
        """Return the caller with this name and password. Raises NotAuthenticated or AuthenticationUnavailable."""


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


def authorize(caller: Caller, roles: Collection[Role]) -> None:
    """Check that the caller has one of these roles. Raises Forbidden."""
    if caller.role not in roles:
        raise Forbidden(f"the role {caller.role} may not do this; required is the role {' or '.join(roles)}")

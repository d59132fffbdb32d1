"""Who may call: credentials as a request carries them (RFC 6750, RFC 7617), and what each role may do."""

import base64
import binascii
from collections.abc import Collection
from typing import Protocol

from starlette.requests import Request

from syncd.core.contacts.models import Admission, Caller, Role
from syncd.errors import NotAllowed, NotAuthenticated

_LONGEST = 256
"""Characters of a name or password; nobody has a longer one, and each is work for a server."""


class Door(Protocol):
    """Lets callers in. `address` is the client's. Both raise NotAuthenticated."""

    async def by_token(self, token: str, address: str, access: int) -> Admission:
        """The caller whose token this is, with the tokens changed so many times."""

    async def by_password(self, name: str, password: str, address: str) -> Admission:
        """The caller who has this name and password."""


async def admitted(request: Request, door: Door, address: str, access: int) -> Admission:
    """The caller. Raises NotAuthenticated without telling a revoked token, or an unknown name, from a wrong one."""
    given = request.headers.getlist("authorization")
    scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer" if credentials and credentials.isascii():
            return await door.by_token(credentials, address, access)
        case "basic":
            return await door.by_password(*_basic(credentials), address)
    raise NotAuthenticated(
        "send a token (Authorization: Bearer …; `syncd token create` makes one), or name and password where people "
        "may sign in (Authorization: Basic …)"
    )


def _basic(credentials: str) -> tuple[str, str]:
    """Name and password. What is not UTF-8 is taken for ISO 8859-1, as clients of the old days send it."""
    try:
        sent = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        raise NotAuthenticated("after Basic there must be name:password in base64 (RFC 7617)") from None
    try:
        text = sent.decode()
    except UnicodeDecodeError:
        text = sent.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or not name.strip() or not password:
        raise NotAuthenticated("the name or the password is empty, and nobody signs in without one")
    if max(len(name), len(password)) > _LONGEST or any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise NotAuthenticated("this name and password are not valid")
    return name, password


def check(caller: Caller, roles: Collection[Role]) -> None:
    """Raises NotAllowed when the role of the caller is none of these."""
    if caller.role not in roles:
        raise NotAllowed(f"the role {caller.role} may not do this; it takes the role {' or '.join(roles)}")

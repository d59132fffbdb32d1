"""Who may call: Bearer tokens (RFC 6750) and what each role may do."""

from collections.abc import Collection, Mapping
from typing import Protocol

from starlette.requests import Request

from syncd.core.directory import Caller, Role
from syncd.errors import NotAllowed, NotAuthenticated

ALLOWED: Mapping[Role, frozenset[str]] = {
    "admin": frozenset({"GET", "POST", "PUT", "DELETE"}),
    "agent": frozenset({"GET"}),
}
"""Role -> the methods that it may use on contacts."""

_WRITES = ALLOWED["admin"] - ALLOWED["agent"]


class Callers(Protocol):
    """The callers that hold a token."""

    async def caller(self, secret: str) -> Caller | None:
        """The caller whose token this is."""


async def authenticated(request: Request, callers: Callers) -> Caller:
    """The caller. Raises NotAuthenticated without telling a revoked token from one that never was."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise NotAuthenticated("send a token: Authorization: Bearer …; `syncd token create` makes one")
    caller = await callers.caller(token)
    if caller is None:
        raise NotAuthenticated("this token is not valid")
    return caller


def check(caller: Caller, method: str) -> None:
    """Raises NotAllowed when the role of the caller is not sufficient."""
    if method in _WRITES and method not in ALLOWED[caller.role]:
        raise NotAllowed(f"the role {caller.role} may read contacts only; changing them takes the role admin")


def check_role(caller: Caller, roles: Collection[Role]) -> None:
    """Raises NotAllowed when the role of the caller is none of these."""
    if caller.role not in roles:
        raise NotAllowed(f"the role {caller.role} may not look at this; it takes the role {' or '.join(roles)}")

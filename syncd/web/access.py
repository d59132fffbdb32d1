"""Who may call: Bearer tokens (RFC 6750) and what each role may do."""

from collections.abc import Collection
from typing import Protocol

from starlette.requests import Request

from syncd.core.directory import Caller, Role
from syncd.errors import NotAllowed, NotAuthenticated


class Callers(Protocol):
    """The callers that hold a token."""

    async def caller(self, secret: str, access: int) -> Caller | None:
        """The caller whose token this is, with the tokens changed so many times."""


async def authenticated(request: Request, callers: Callers, access: int) -> Caller:
    """The caller. Raises NotAuthenticated without telling a revoked token from one that never was."""
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii():
        raise NotAuthenticated("send a token: Authorization: Bearer …; `syncd token create` makes one")
    caller = await callers.caller(token, access)
    if caller is None:
        raise NotAuthenticated("this token is not valid")
    return caller


def check(caller: Caller, roles: Collection[Role]) -> None:
    """Raises NotAllowed when the role of the caller is none of these."""
    if caller.role not in roles:
        raise NotAllowed(f"the role {caller.role} may not do this; it takes the role {' or '.join(roles)}")

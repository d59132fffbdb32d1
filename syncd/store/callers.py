"""Who makes a request: the caller that a token stands for, known until the tokens change."""

import hashlib

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.directory import Caller
from syncd.store.session import Sessions
from syncd.store.tables import token


class Callers:
    """The callers that hold a token."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)
        self._access = -1
        self._known: dict[bytes, Caller] = {}

    async def caller(self, secret: str, access: int) -> Caller | None:
        """The caller whose token this is; None when there is none or it is revoked. Raises StoreUnavailable.

        `access` is how often tokens were changed up to now: what was found at another count is forgotten.
        """
        if access != self._access:
            self._known, self._access = {}, access
        known = self._known
        digest = hashlib.sha256(secret.encode()).digest()
        if digest not in known:
            statement = select(token.c.name, token.c.role).where(token.c.hash == digest, token.c.revoked_at.is_(None))
            async with self._sessions.asking() as connection:
                row = (await connection.execute(statement)).one_or_none()
            if row is None:
                return None
            known[digest] = Caller(*row)
        return known[digest]

"""Who makes a request: the caller that a token stands for, asked anew each time so that a revocation acts at once."""

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

    async def caller(self, secret: str) -> Caller | None:
        """The caller whose token this is; None when there is none or it is revoked. Raises StoreUnavailable."""
        statement = select(token.c.name, token.c.role).where(
            token.c.hash == hashlib.sha256(secret.encode()).digest(), token.c.revoked_at.is_(None)
        )
        async with self._sessions.asking() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else Caller(*row)

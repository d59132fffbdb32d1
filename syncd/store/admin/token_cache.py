"""Who makes a request: the caller that a token stands for, known until tokens change, and when tokens were used."""

import asyncio
import hashlib
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.models import Caller
from syncd.errors import StoreError
from syncd.store.connection.transactions import Sessions
from syncd.store.schema.tables import token

_MINUTE = 60.0
"""Seconds between two notes of when tokens were used, and the longest that what is known of them stands."""

_LEFT = func.extract("epoch", token.c.expires_at - func.now())
_USED = (
    update(token)
    .where(token.c.name == bindparam("who"), or_(token.c.used_at.is_(None), token.c.used_at < bindparam("at")))
    .values(used_at=bindparam("at"))
)
_VALID = select(token.c.hash, token.c.name, token.c.role, _LEFT).where(
    token.c.revoked_at.is_(None), or_(token.c.expires_at.is_(None), token.c.expires_at > func.now())
)


class _Known(NamedTuple):
    caller: Caller
    ends: float
    """On the monotonic clock."""


class Callers:
    """The callers that hold a token: all of them are known, for they are few, so that a wrong one asks nobody."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)
        self._turn = asyncio.Lock()
        self._access = -1
        self._asked = 0.0
        self._known: Mapping[bytes, _Known] = {}
        self._used: dict[str, datetime] = {}

    async def caller(self, secret: str, access: int) -> Caller | None:
        """The caller whose token this is; None when there is none, or no longer. Raises StoreUnavailable.

        `access` is how often tokens were changed up to now: what was found at another count is forgotten, and so it is
        after a minute, for somebody may have changed them by SQL.
        """
        if self._outdated(access):
            async with self._turn:
                if self._outdated(access):
                    asked = time.monotonic()
                    self._known, self._access, self._asked = await self._load(asked), access, asked
        known = self._known.get(hashlib.sha256(secret.encode()).digest())
        if known is None or known.ends <= time.monotonic():
            return None
        self._used[known.caller.name] = datetime.now(UTC)
        return known.caller

    def _outdated(self, access: int) -> bool:
        return access != self._access or time.monotonic() - self._asked > _MINUTE

    async def _load(self, asked: float) -> Mapping[bytes, _Known]:
        async with self._sessions.asking() as connection:
            rows = (await connection.execute(_VALID)).all()
        return {
            bytes(hash_): _Known(Caller(name, role), math.inf if left is None else asked + float(left))
            for hash_, name, role, left in rows
        }

    async def keep_notes(self) -> None:
        """Store when tokens were used, once a minute until cancelled; while that is not possible, later."""
        while True:
            await asyncio.sleep(_MINUTE)
            with suppress(StoreError):
                await self.note()

    async def note(self) -> None:
        """Store when tokens were used since the last time. Raises StoreUnavailable."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            # in order, so that two replicas never wait for each other
            rows: list[Mapping[str, object]] = [{"who": name, "at": used[name]} for name in sorted(used)]
            async with self._sessions.writing() as connection:
                await connection.execute(_USED, rows)
        except StoreError:
            self._used = used | self._used
            raise

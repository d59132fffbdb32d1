"""Cache of the valid tokens and their callers, and the time of last use of each token."""

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

_INTERVAL = 60.0
"""Seconds between two flushes of the times of last use, and the maximum age of the cache."""

_SECONDS_LEFT = func.extract("epoch", token.c.expires_at - func.now())
_UPDATE_LAST_USED = (
    update(token)
    .where(token.c.name == bindparam("who"), or_(token.c.used_at.is_(None), token.c.used_at < bindparam("at")))
    .values(used_at=bindparam("at"))
)
_SELECT_VALID = select(token.c.hash, token.c.name, token.c.role, _SECONDS_LEFT).where(
    token.c.revoked_at.is_(None), or_(token.c.expires_at.is_(None), token.c.expires_at > func.now())
)


class _CachedToken(NamedTuple):
    caller: Caller
    valid_until: float
    """On the monotonic clock."""


class TokenCache:
    """All valid tokens, so that an invalid one needs no query; tokens are few."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)
        self._lock = asyncio.Lock()
        self._access = -1
        self._loaded_at = 0.0
        self._tokens: Mapping[bytes, _CachedToken] = {}
        self._last_used: dict[str, datetime] = {}

    async def find_caller(self, secret: str, access: int) -> Caller | None:
        """Return the caller of a token; None when the token is invalid, expired or revoked. Raises StoreUnavailable.

        `access` is the current count of token changes: the cache is reloaded when it differs, and after a minute,
        because tokens may be changed by SQL.
        """
        if self._is_outdated(access):
            async with self._lock:
                if self._is_outdated(access):
                    started = time.monotonic()
                    self._tokens, self._access, self._loaded_at = await self._load(started), access, started
        cached = self._tokens.get(hashlib.sha256(secret.encode()).digest())
        if cached is None or cached.valid_until <= time.monotonic():
            return None
        self._last_used[cached.caller.name] = datetime.now(UTC)
        return cached.caller

    def _is_outdated(self, access: int) -> bool:
        return access != self._access or time.monotonic() - self._loaded_at > _INTERVAL

    async def _load(self, now: float) -> Mapping[bytes, _CachedToken]:
        async with self._sessions.autocommit() as connection:
            rows = (await connection.execute(_SELECT_VALID)).all()
        return {
            bytes(hash_): _CachedToken(Caller(name, role), math.inf if left is None else now + float(left))
            for hash_, name, role, left in rows
        }

    async def flush_loop(self) -> None:
        """Store the times of last use once a minute until cancelled; a failed attempt is repeated with the next one."""
        while True:
            await asyncio.sleep(_INTERVAL)
            with suppress(StoreError):
                await self.flush_last_used()

    async def flush_last_used(self) -> None:
        """Store the times of last use since the last flush. Raises StoreUnavailable; the times are then kept."""
        used, self._last_used = self._last_used, {}
        if not used:
            return
        try:
            # in order, so that two replicas never deadlock
            rows: list[Mapping[str, object]] = [{"who": name, "at": used[name]} for name in sorted(used)]
            async with self._sessions.transaction() as connection:
                await connection.execute(_UPDATE_LAST_USED, rows)
        except StoreError:
            self._last_used = used | self._last_used
            raise

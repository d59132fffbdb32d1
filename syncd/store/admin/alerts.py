"""Alerts that were sent, so that a restart does not repeat them."""

from collections.abc import Mapping

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.operations.alerts import Problem, SentAlert
from syncd.store.connection.transactions import Sessions
from syncd.store.schema.tables import notice


class AlertStore:
    """Open problems of each channel. Every method raises StoreUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def load(self, channel: str) -> dict[str, SentAlert]:
        """Return the problems that were sent to this channel and whose recovery was not, by problem key."""
        async with self._sessions.autocommit() as connection:
            rows = await connection.execute(select(notice).where(notice.c.channel == channel))
            return {row.key: SentAlert(Problem(row.title, row.why, row.size), row.since) for row in rows}

    async def save(self, channel: str, alerts: Mapping[str, SentAlert]) -> None:
        """Replace the stored problems of the channel."""
        rows = [
            {"channel": channel, "key": key, "since": alert.since}
            | {"title": alert.problem.title, "why": alert.problem.why, "size": alert.problem.size}
            for key, alert in alerts.items()
        ]
        async with self._sessions.transaction() as connection:
            await connection.execute(delete(notice).where(notice.c.channel == channel))
            if rows:
                await connection.execute(insert(notice), rows)

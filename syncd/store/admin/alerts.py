"""What people were told, so that a restart tells nothing twice."""

from collections.abc import Mapping

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.operations.alerts import Problem, Told
from syncd.store.connection.transactions import Sessions
from syncd.store.schema.tables import notice


class Notices:
    """The open problems of each channel. Every method raises StoreUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def told(self, channel: str) -> dict[str, Told]:
        """The problems of which this channel has told, and not their end."""
        async with self._sessions.asking() as connection:
            rows = await connection.execute(select(notice).where(notice.c.channel == channel))
            return {row.key: Told(Problem(row.title, row.why, row.size), row.since) for row in rows}

    async def remember(self, channel: str, told: Mapping[str, Told]) -> None:
        """Put this in the place of what was remembered of the channel."""
        rows = [
            {"channel": channel, "key": key, "since": known.since, **known.problem._asdict()}
            for key, known in told.items()
        ]
        async with self._sessions.writing() as connection:
            await connection.execute(delete(notice).where(notice.c.channel == channel))
            if rows:
                await connection.execute(insert(notice), rows)

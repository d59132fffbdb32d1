"""Explaining to those who ask over HTTP: in a process of its own, for a directory server may take its time."""

import asyncio
from typing import Any

from syncd.app.use_cases import explain
from syncd.core.sync.explain import Explanation
from syncd.settings import Settings
from syncd.system.worker import Worker

_AT_ONCE = 2


class Explainer:
    """Asks the sources on behalf of callers, a few at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def explain(self, text: str) -> dict[str, Any]:
        """What is known of this text, as `syncd explain --json` tells it. Raises StoreUnavailable."""
        async with self._room:
            worker = await Worker.start(explain, self._settings, text)
            found: Explanation = await worker.result()
        return found.facts()

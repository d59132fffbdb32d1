"""Offload: slow work for HTTP requests in worker processes, a few at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

from syncd.app import contact_import
from syncd.app.use_cases import explain
from syncd.core.files.contact_import import ImportReport
from syncd.core.sync.explain import Explanation
from syncd.settings import Settings
from syncd.system.worker import Worker

_MAX_EXPLANATIONS = 2
"""Explanations at the same time; each searches every source."""
_MAX_IMPORTS = 1
"""Imports at the same time; each may take some seconds of processor time."""


class Offload:
    """Worker processes for explanations and imports; a call above the limit waits for its turn.

    Every method raises WorkerFailed besides the errors of the function that it runs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._explanations = asyncio.Semaphore(_MAX_EXPLANATIONS)
        self._imports = asyncio.Semaphore(_MAX_IMPORTS)

    async def explain(self, text: str) -> dict[str, Any]:
        """Return the JSON values of `syncd explain --json`; see `use_cases.explain`. Raises StoreUnavailable."""
        explanation: Explanation = await self._run(self._explanations, explain, text)
        return explanation.to_json()

    async def preview_import(self, raw: bytes, media: str) -> ImportReport:
        """Run `contact_import.preview`. Raises InvalidParameter, TooLarge, StoreUnavailable."""
        outcome: ImportReport = await self._run(self._imports, contact_import.preview, raw, media)
        return outcome

    async def apply_import(self, raw: bytes, media: str, caller: str) -> ImportReport:
        """Run `contact_import.apply`. Raises InvalidParameter, TooLarge, StoreUnavailable."""
        outcome: ImportReport = await self._run(self._imports, contact_import.apply, raw, media, caller)
        return outcome

    async def _run(self, slots: asyncio.Semaphore, function: Callable[..., Any], *arguments: object) -> Any:
        async with slots:
            worker = await Worker.start(self._settings.worker.memory_mib, function, self._settings, *arguments)
            return await worker.result()

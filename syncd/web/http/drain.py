"""The end of a connection when the server stops: what is under way or just arriving is answered, and then it ends.

uvicorn by itself closes a connection between two requests at once, and with it a request that was sent meanwhile.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

LINGER = 1.0
"""Seconds in which a request that was sent before its client could know is still taken."""


class State(ServerState):
    """What the connections of a server share."""

    draining = False
    """Set when the server takes no new connections any more."""


class Draining(HttpToolsProtocol):
    """uvicorn's protocol with a gentle end (RFC 9112 section 9.6): the last answer tells that it is the last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client is there; one whom the system has let in when we stopped is served once."""
        super().connection_made(transport)
        if self._draining():
            self.shutdown()

    def on_headers_complete(self) -> None:
        """A request is there."""
        super().on_headers_complete()
        if self._draining():
            self._end_with_it()

    def shutdown(self) -> None:
        """The server stops: end with the request that is under way, else with the next one or after a moment."""
        if self._answering():
            self._end_with_it()
        else:
            self.loop.call_later(LINGER, self._leave)

    def _draining(self) -> bool:
        return isinstance(self.server_state, State) and self.server_state.draining

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_with_it(self) -> None:
        """The newest request is the last one; what was sent before it and is not answered yet is so first."""
        if self._last is not None and not self._last.response_started:
            self._last.keep_alive = True
        self._last = self.cycle if self.cycle.keep_alive else None
        self.cycle.keep_alive = False

    def _leave(self) -> None:
        if not self._answering():
            self.transport.close()

"""The step that authenticates the caller."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from syncd.web.routing import RoutedRequest
from syncd.web.session import Session, SessionOpener

AUTH_SERVER_UNREACHABLE = (b"directory-sign-in", b"unreachable")
"""Response header: the password was accepted from the cache, because the directory server is unreachable."""


class AuthenticationStep:
    """Passes requests on with the session of their caller."""

    def __init__(
        self, sessions: SessionOpener, next_step: Callable[[RoutedRequest, Session], Awaitable[Response]]
    ) -> None:
        self._sessions = sessions
        self._next_step = next_step

    async def __call__(self, routed: RoutedRequest) -> Response:
        """Raises the errors of `SessionOpener.open`."""
        session = await self._sessions.open(routed)
        routed.record.caller = session.caller
        if session.from_cache:
            routed.record.extra_headers.append(AUTH_SERVER_UNREACHABLE)
        return await self._next_step(routed, session)

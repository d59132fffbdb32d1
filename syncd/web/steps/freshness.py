"""The step that reports the age of the sources, and rejects a request that demands a lower one."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from syncd.core.contacts import query as query_string
from syncd.core.operations import freshness
from syncd.core.operations.health import SourceAge
from syncd.web.routing import RequestContext


class FreshnessStep:
    """Adds the header Directory-Freshness to responses of endpoints that report it. `ages` returns the ages."""

    def __init__(
        self, ages: Callable[[], Sequence[SourceAge]], next_step: Callable[[RequestContext], Awaitable[Response]]
    ) -> None:
        self._ages = ages
        self._next_step = next_step

    async def __call__(self, context: RequestContext) -> Response:
        """Raises RetryLater when a source is older than the request allows."""
        if context.endpoint.reports_freshness or context.endpoint.cacheable:
            ages = self._ages()
            if ages:
                header = freshness.encode_header(ages).encode()
                context.record.extra_headers.append((b"directory-freshness", header))
            max_age = freshness.parse_max_age(context.request.headers.getlist(freshness.MAX_AGE))
            if max_age is not None:
                freshness.check_max_age(ages, query_string.parse_types(context.query), max_age)
        return await self._next_step(context)

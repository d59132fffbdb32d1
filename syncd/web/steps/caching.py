"""The step that answers from the response cache and evaluates If-None-Match; otherwise it calls the endpoint."""

import asyncio

from starlette.responses import Response

from syncd.errors import SyncdError
from syncd.web.caching import conditional
from syncd.web.caching.conditional import RawHeaders, Representation
from syncd.web.caching.response_cache import CacheKey, ResponseCache
from syncd.web.ports import RevisionTracker
from syncd.web.routing import RequestContext
from syncd.web.streaming import StreamedResponse, StreamLimiter


class CachingStep:
    """Stores responses of cacheable endpoints, except streamed ones, in the cache."""

    def __init__(self, cache: ResponseCache, stream_limiter: StreamLimiter, revisions: RevisionTracker) -> None:
        self._cache = cache
        self._stream_limiter = stream_limiter
        self._revisions = revisions

    async def __call__(self, context: RequestContext) -> Response:
        """Raises StoreBusy when too many responses are being streamed, and the errors of the endpoint."""
        if not context.endpoint.cacheable:
            return await context.endpoint.handler(context)
        headers, path = context.request.headers, context.request.scope["raw_path"]
        key = CacheKey(path, context.query, headers.get("accept", ""), context.base, context.caller.role)
        extra_headers: RawHeaders = [(b"directory-revision", str(context.revision).encode())]
        representation = self._cache.get(context.revision, key)
        if representation is not None:
            return representation.respond(headers, extra_headers)
        tag = conditional.entity_tag(repr((context.revision, key)).encode())
        not_modified = conditional.not_modified_response(headers, tag, extra_headers)
        if not_modified is not None:
            return not_modified
        response = await context.endpoint.handler(context)
        if isinstance(response, StreamedResponse):
            is_current = await self._is_still_current(context.revision, response)
            response.prepare(headers, extra_headers, tag if is_current else None)
            return response
        representation = Representation(response)
        self._cache.put(context.revision, key, representation)
        return representation.respond(headers, extra_headers)

    async def _is_still_current(self, revision: int, response: StreamedResponse) -> bool:
        """Occupy a slot for a stream; whether the stream, which has been opened, shows this revision and no later one.

        Raises StoreBusy or StoreUnavailable, with the stream closed.
        """
        try:
            self._stream_limiter.acquire(response)
            return (await self._revisions.current()).revision == revision
        except (SyncdError, asyncio.CancelledError):
            await response.close()
            raise

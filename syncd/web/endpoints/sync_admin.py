"""Endpoints for operators: status, runs, changes, held items, rejects, pending removals and explanations."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

from starlette.responses import Response

from syncd.core.contacts import query as query_string
from syncd.core.contacts.models import ROLES
from syncd.core.sync.history import HeldItem, PastChange, PastRun, PendingRemoval, RejectedRecord, Slice
from syncd.errors import InvalidParameter, MissingParameter, NotFound
from syncd.web import responses
from syncd.web.ports import Explainer, Overview
from syncd.web.routing import BASE, Endpoint, RequestContext, Route

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
"""Maximum of `limit`: items of one response."""


T = TypeVar("T", PastRun, PastChange, HeldItem, RejectedRecord, PendingRemoval)
_ListReader: TypeAlias = Callable[[str | None, int, int], Awaitable[Slice[T]]]


class SyncAdminEndpoints:
    """The endpoints below /api/v2/sync/, each by GET."""

    def __init__(self, overview: Overview, explainer: Explainer) -> None:
        self._overview = overview
        self._explainer = explainer

    def routes(self) -> Iterable[Route[RequestContext]]:
        """Return the routes of these endpoints."""
        endpoints = {
            "status": Endpoint(self.status, ROLES),
            "runs": Endpoint(self.runs),
            "runs/{run}": Endpoint(self.run),
            "runs/{run}/changes": Endpoint(self.changes),
            "held": Endpoint(self.held),
            "rejects": Endpoint(self.rejects),
            "leaving": Endpoint(self.leaving),
            "explain": Endpoint(self.explain),
        }
        return [Route(f"{BASE}/sync/{path}", {"GET": endpoint}) for path, endpoint in endpoints.items()]

    async def status(self, context: RequestContext) -> Response:
        """GET status: the health with the last run of each source."""
        query_string.parse_parameters(context.query, ())
        return responses.ok(await self._overview.load_status())

    async def runs(self, context: RequestContext) -> Response:
        """GET runs: the runs, newest first."""
        return await self._list(context, "runs", self._overview.list_runs)

    async def run(self, context: RequestContext) -> Response:
        """GET runs/{run}: one run. Raises NotFound."""
        query_string.parse_parameters(context.query, ())
        return responses.ok((await self._get_run(context.path_param)).to_json())

    async def changes(self, context: RequestContext) -> Response:
        """GET runs/{run}/changes: the changes of one run. Raises NotFound."""
        limit, offset = _parse_window(query_string.parse_parameters(context.query, ("limit", "offset")))
        run = await self._get_run(context.path_param)
        return _list_response("changes", await self._overview.list_changes(run.id, limit, offset))

    async def held(self, context: RequestContext) -> Response:
        """GET held: the items that the guard holds."""
        return await self._list(context, "held", self._overview.list_held_items)

    async def rejects(self, context: RequestContext) -> Response:
        """GET rejects: the rejected records."""
        return await self._list(context, "rejects", self._overview.list_rejects)

    async def leaving(self, context: RequestContext) -> Response:
        """GET leaving: the missing contacts with the earliest time of their removal."""
        return await self._list(context, "leaving", self._overview.list_pending_removals)

    async def explain(self, context: RequestContext) -> Response:
        """GET explain: why a contact has its values or does not exist. `text`: a name, user name, number, key or id."""
        text = query_string.parse_single(query_string.parse_parameters(context.query, ("text",)), "text")
        if text is None:
            raise MissingParameter("text is missing: a name, a user name, a number, a key or an id")
        return responses.ok(await self._explainer.explain(text))

    async def _list(self, context: RequestContext, name: str, read: "_ListReader[T]") -> Response:
        params = query_string.parse_parameters(context.query, ("source", "limit", "offset"))
        source = query_string.parse_single(params, "source")
        items = await read(source, *_parse_window(params))
        if source is not None and not items.total:  # a source that is no longer configured may have a history
            query_string.check_known(source, "source", self._overview.sources)
        return _list_response(name, items)

    async def _get_run(self, text: str) -> PastRun:
        run = await self._overview.load_run(int(text)) if re.fullmatch("[0-9]{1,18}", text) else None
        if run is None:
            raise NotFound(f"there is no run {text[:60]!r}")
        return run


def _parse_window(params: query_string.Parameters) -> tuple[int, int]:
    limit = query_string.parse_integer(params, "limit")
    if limit is not None and limit > MAX_LIMIT:
        raise InvalidParameter(f"limit: at most {MAX_LIMIT} are shown at once; use offset for the next ones")
    return DEFAULT_LIMIT if limit is None else limit, query_string.parse_integer(params, "offset") or 0


def _list_response(name: str, items: Slice[T]) -> Response:
    return responses.ok({"totalCount": items.total, name: [item.to_json() for item in items.items]})

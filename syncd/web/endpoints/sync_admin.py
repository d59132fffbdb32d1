"""What those who operate the directory look up: status, runs, changes, what is held or rejected, who leaves."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from starlette.responses import Response

from syncd.core.contacts import query as asked
from syncd.core.contacts.models import ROLES
from syncd.core.sync.history import HeldItem, Leaver, Listing, PastChange, PastRun, Rejected
from syncd.errors import InvalidParameter, MissingParameter, NotFound
from syncd.web import responses
from syncd.web.routing import BASE, Call, Operation, Place

_LIMIT = 100
MOST = 1000
"""Items of a list that are shown at once."""


class Overview(Protocol):
    """Looking things up. A source of None means all of them."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources that are set up."""

    async def status(self) -> dict[str, Any]:
        """Health, with the last runs and their evidence."""

    async def runs(self, source: str | None, limit: int, offset: int) -> Listing[PastRun]:
        """Runs, the newest first."""

    async def run(self, number: int) -> PastRun | None:
        """The run of this number."""

    async def changes(self, run: int, limit: int, offset: int) -> Listing[PastChange]:
        """What a run changed."""

    async def held(self, source: str | None, limit: int, offset: int) -> Listing[HeldItem]:
        """What the guard holds."""

    async def rejects(self, source: str | None, limit: int, offset: int) -> Listing[Rejected]:
        """The quarantine."""

    async def leaving(self, source: str | None, limit: int, offset: int) -> Listing[Leaver]:
        """Who is missing and leaves when."""


class Explainer(Protocol):
    """Asking the sources themselves."""

    async def explain(self, text: str) -> dict[str, Any]:
        """Why a contact is as it is, or is not there."""


T = TypeVar("T", PastRun, PastChange, HeldItem, Rejected, Leaver)
_Lookup: TypeAlias = Callable[[str | None, int, int], Awaitable[Listing[T]]]


class Operations:
    """The operations, by their paths below /api/v2/sync/; each answers to GET."""

    def __init__(self, overview: Overview, explainer: Explainer) -> None:
        self._overview = overview
        self._explainer = explainer

    def places(self) -> Iterable[Place]:
        """Where they are found."""
        operations = {
            "status": Operation(self.status, ROLES),
            "runs": Operation(self.runs),
            "runs/{run}": Operation(self.run),
            "runs/{run}/changes": Operation(self.changes),
            "held": Operation(self.held),
            "rejects": Operation(self.rejects),
            "leaving": Operation(self.leaving),
            "explain": Operation(self.explain),
        }
        return [Place(f"{BASE}/sync/{path}", {"GET": operation}) for path, operation in operations.items()]

    async def status(self, call: Call) -> Response:
        """How the sources are."""
        asked.parameters(call.query, ())
        return responses.done(await self._overview.status())

    async def runs(self, call: Call) -> Response:
        """The runs, the newest first."""
        return await self._listed(call, "runs", self._overview.runs)

    async def run(self, call: Call) -> Response:
        """One run."""
        asked.parameters(call.query, ())
        return responses.done((await self._known(call.named)).facts())

    async def changes(self, call: Call) -> Response:
        """What one run changed."""
        limit, offset = _window(asked.parameters(call.query, ("limit", "offset")))
        run = await self._known(call.named)
        found = await self._overview.changes(run.id, limit, offset)
        return _list("changes", found)

    async def held(self, call: Call) -> Response:
        """What the guard holds."""
        return await self._listed(call, "held", self._overview.held)

    async def rejects(self, call: Call) -> Response:
        """The quarantine."""
        return await self._listed(call, "rejects", self._overview.rejects)

    async def leaving(self, call: Call) -> Response:
        """Who is missing and leaves when."""
        return await self._listed(call, "leaving", self._overview.leaving)

    async def explain(self, call: Call) -> Response:
        """Why a contact is as it is, or is not there: `text` is a name, a user name, a number, a key or an id."""
        text = asked.single(asked.parameters(call.query, ("text",)), "text")
        if text is None:
            raise MissingParameter("text is missing: a name, a user name, a number, a key or an id")
        return responses.done(await self._explainer.explain(text))

    async def _listed(self, call: Call, name: str, look: "_Lookup[T]") -> Response:
        given = asked.parameters(call.query, ("source", "limit", "offset"))
        source = asked.single(given, "source")
        found = await look(source, *_window(given))
        if source is not None and not found.total:  # one that is no longer set up may have a history all the same
            asked.one_of(source, "source", self._overview.sources)
        return _list(name, found)

    async def _known(self, named: str) -> PastRun:
        number = int(named) if re.fullmatch("[0-9]{1,18}", named) else None
        found = None if number is None else await self._overview.run(number)
        if found is None:
            raise NotFound(f"there is no run {named[:60]!r}")
        return found


def _window(given: asked.Parameters) -> tuple[int, int]:
    limit = asked.integer(given, "limit")
    if limit is not None and limit > MOST:
        raise InvalidParameter(f"limit: at most {MOST} are shown at once; offset leads to the next ones")
    return _LIMIT if limit is None else limit, asked.integer(given, "offset") or 0


def _list(name: str, found: Listing[T]) -> Response:
    return responses.done({"totalCount": found.total, name: [item.facts() for item in found.items]})

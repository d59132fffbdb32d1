"""What operators look up, and what machines ask of the service, described."""

from collections.abc import Mapping, Sequence

from syncd.web.endpoints.sync_admin import MOST
from syncd.web.openapi.described import LIMIT, OFFSET, Described, in_json, in_path, listing, parameter, success
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.schema import NOT_EMPTY, exactly, number_or_nothing, one_of, reference
from syncd.web.routing import BASE

_SYNC = f"{BASE}/sync"
_RUN = in_path("run", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}, "the run's number")
_SOME = number_or_nothing(most=MOST)
_WINDOW = ({**LIMIT, "schema": _SOME}, OFFSET)


def operations(sources: Sequence[str]) -> Mapping[tuple[str, str], Described]:
    """By path and method, with these sources set up."""
    source = parameter("source", one_of(sources), "only what is of this source")
    return {
    (f"{_SYNC}/status", "GET"): Described(
        "syncStatus", "How the sources are: their last runs, with the evidence", in_json(reference("Status"))
    ),
    (f"{_SYNC}/runs", "GET"): Described(
        "listRuns",
        "The runs, the newest first",
        listing("runs", "Run"),
        parameters=(source, *_WINDOW),
        links={
            name: {"operationId": name, "parameters": {"run": "$response.body#/runs/0/run"}}
            for name in ("showRun", "listChangesOfRun")
        },
    ),
    (f"{_SYNC}/runs/{{run}}", "GET"): Described(
        "showRun",
        "One run",
        success(HISTORY["Run"]["properties"]),
        parameters=(_RUN,),
        refusals=(404,),
    ),
    (f"{_SYNC}/runs/{{run}}/changes", "GET"): Described(
        "listChangesOfRun",
        "What one run changed",
        listing("changes", "Change"),
        parameters=(_RUN, *_WINDOW),
        refusals=(404,),
    ),
    (f"{_SYNC}/held", "GET"): Described(
        "listHeld", "What the guard holds back", listing("held", "Held"), parameters=(source, *_WINDOW)
    ),
    (f"{_SYNC}/rejects", "GET"): Described(
        "listRejected",
        "Records that could not be mapped",
        listing("rejects", "Rejected"),
        parameters=(source, *_WINDOW),
    ),
    (f"{_SYNC}/leaving", "GET"): Described(
        "listLeaving",
        "Missing contacts, and when they leave",
        listing("leaving", "Leaver"),
        parameters=(source, *_WINDOW),
    ),
    (f"{_SYNC}/explain", "GET"): Described(
        "explain",
        "Why a contact is as it is, or is not there",
        success({
            "asked": {"type": "string"},
            "contacts": {"type": "array", "items": reference("Known")},
            "sources": {"type": "array", "items": reference("Found")},
        }),
        parameters=(
            {
                **parameter("text", NOT_EMPTY, "a name, a user name, a number, a key or an id"),
                "required": True,
            },
        ),
    ),
    ("/health", "GET"): Described("health", "Alive, and how well", in_json(reference("Health"))),
    ("/ready", "GET"): Described(
        "ready", "Whether requests can be served now", in_json(exactly({"status": {"const": "ready"}}))
    ),
    ("/metrics", "GET"): Described("metrics", "The Prometheus text format", {"text/plain": {"type": "string"}}),
    ("/openapi.json", "GET"): Described("openapi", "This document", in_json({"type": "object"})),
}  # fmt: skip

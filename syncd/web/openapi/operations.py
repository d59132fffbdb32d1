"""Descriptions of the operations for operators and for monitoring."""

from collections.abc import Mapping, Sequence

from syncd.web.endpoints.sync_admin import MAX_LIMIT
from syncd.web.openapi.described import (
    LIMIT,
    OFFSET,
    OperationDoc,
    json_content,
    list_content,
    path_parameter,
    query_parameter,
    success_content,
)
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.schema import NON_EMPTY_TEXT, closed_object, optional_integer, reference, word_choice
from syncd.web.routing import BASE

_SYNC = f"{BASE}/sync"
_RUN_PARAMETER = path_parameter("run", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}, "the run's number")
_WINDOW = ({**LIMIT, "schema": optional_integer(maximum=MAX_LIMIT)}, OFFSET)


def sync_operations(sources: Sequence[str]) -> Mapping[tuple[str, str], OperationDoc]:
    """Return the descriptions by (path, method), with the names of the configured sources."""
    source = query_parameter("source", word_choice(sources), "only items of this source")
    return {
    (f"{_SYNC}/status", "GET"): OperationDoc(
        "syncStatus", "Health of the sources, with their last runs and the evidence", json_content(reference("Status"))
    ),
    (f"{_SYNC}/runs", "GET"): OperationDoc(
        "listRuns",
        "The runs, newest first",
        list_content("runs", "Run"),
        parameters=(source, *_WINDOW),
        links={
            name: {"operationId": name, "parameters": {"run": "$response.body#/runs/0/run"}}
            for name in ("showRun", "listChangesOfRun")
        },
    ),
    (f"{_SYNC}/runs/{{run}}", "GET"): OperationDoc(
        "showRun",
        "One run",
        success_content(HISTORY["Run"]["properties"]),
        parameters=(_RUN_PARAMETER,),
        error_statuses=(404,),
    ),
    (f"{_SYNC}/runs/{{run}}/changes", "GET"): OperationDoc(
        "listChangesOfRun",
        "The changes of one run",
        list_content("changes", "Change"),
        parameters=(_RUN_PARAMETER, *_WINDOW),
        error_statuses=(404,),
    ),
    (f"{_SYNC}/held", "GET"): OperationDoc(
        "listHeld",
        "Removals and attributes that the guard holds",
        list_content("held", "Held"),
        parameters=(source, *_WINDOW),
    ),
    (f"{_SYNC}/rejects", "GET"): OperationDoc(
        "listRejected",
        "Records that could not be mapped",
        list_content("rejects", "Rejected"),
        parameters=(source, *_WINDOW),
    ),
    (f"{_SYNC}/leaving", "GET"): OperationDoc(
        "listLeaving",
        "Missing contacts, and when they can be removed",
        list_content("leaving", "Leaver"),
        parameters=(source, *_WINDOW),
    ),
    (f"{_SYNC}/explain", "GET"): OperationDoc(
        "explain",
        "Why a contact has its values, or does not exist",
        success_content({
            "asked": {"type": "string"},
            "contacts": {"type": "array", "items": reference("Known")},
            "sources": {"type": "array", "items": reference("Found")},
        }),
        parameters=(
            {
                **query_parameter("text", NON_EMPTY_TEXT, "a name, a user name, a number, a key or an id"),
                "required": True,
            },
        ),
    ),
    ("/health", "GET"): OperationDoc(
        "health", "Liveness, with the health of the service", json_content(reference("Health"))
    ),
    ("/ready", "GET"): OperationDoc(
        "ready", "Whether requests can be served now", json_content(closed_object({"status": {"const": "ready"}}))
    ),
    ("/metrics", "GET"): OperationDoc("metrics", "The Prometheus text format", {"text/plain": {"type": "string"}}),
    ("/openapi.json", "GET"): OperationDoc("openapi", "This document", json_content({"type": "object"})),
}  # fmt: skip

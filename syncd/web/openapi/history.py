"""The schemas of what operators look up: health, status, runs, changes, what is held or rejected, explanations."""

from collections.abc import Mapping

from syncd.core.contacts.contact import TYPES
from syncd.web.openapi.schema import COUNT, ID, MOMENT, Schema, exactly, or_null, reference

_TEXT = {"type": "string"}
_MAYBE_TEXT = or_null(_TEXT)
_ANYTHING = {"type": "object"}
_YES = {"type": "boolean"}
_WHEN = or_null(MOMENT)
_NUMBER = {"type": "integer", "minimum": 1}
_MAYBE_COUNT = or_null(COUNT)

_SOURCE: Mapping[str, Schema] = {
    "name": _TEXT,
    "type": {"enum": list(TYPES)},
    "lastSuccess": _WHEN,
    "ageSeconds": _MAYBE_COUNT,
    "stale": _YES,
    "running": _YES,
    "outcome": _MAYBE_TEXT,
    "why": _TEXT,
    "missing": COUNT,
    "held": COUNT,
    "kept": COUNT,
    "heldAttributes": {"type": "array", "items": _TEXT},
    "rejected": COUNT,
    "certificateEnds": _WHEN,
}
_HEALTH: Mapping[str, Schema] = {
    "status": {"enum": ["ok", "degraded"]},
    "why": {"type": "array", "items": _TEXT},
    "database": {"enum": ["ok", "lost"]},
    "revision": COUNT,
    "contacts": {"type": "object", "additionalProperties": COUNT},
    "sources": {"type": "array", "items": reference("SourceHealth")},
}
_DETAILED = {**_SOURCE, "firstLeaves": _WHEN, "run": or_null(_NUMBER), "evidence": or_null(_ANYTHING)}
_COUNTS = ("entries", "population", "added", "changed", "missing", "removed", "held", "rejected")

HISTORY: Mapping[str, Schema] = {
    "SourceHealth": exactly(_SOURCE),
    "Health": exactly(_HEALTH),
    "SourceStatus": exactly(_DETAILED),
    "Status": exactly(
        {
            "statusCode": {"const": 0},
            **_HEALTH,
            "sources": {"type": "array", "items": reference("SourceStatus")},
        }
    ),
    "Run": exactly(
        {
            "run": _NUMBER,
            "source": _TEXT,
            "job": _TEXT,
            "outcome": _TEXT,
            "why": _TEXT,
            "startedAt": MOMENT,
            "finishedAt": _WHEN,
            "seconds": or_null({"type": "number"}),
            "host": _TEXT,
            "pid": {"type": "integer"},
            "counts": exactly(dict.fromkeys(_COUNTS, COUNT)),
            "complete": _YES,
            "settled": _YES,
            "undone": or_null(_NUMBER),
            "revision": _MAYBE_COUNT,
            "evidence": or_null(_ANYTHING),
        }
    ),
    "Change": exactly(
        {
            "revision": COUNT,
            "at": MOMENT,
            "run": or_null(_NUMBER),
            "caller": _MAYBE_TEXT,
            "id": ID,
            "type": {"enum": list(TYPES)},
            "key": _MAYBE_TEXT,
            "kind": _TEXT,
            "reason": _MAYBE_TEXT,
            "old": _ANYTHING,
            "new": _ANYTHING,
        }
    ),
    "Held": exactly(
        {
            "source": _TEXT,
            "job": _TEXT,
            "run": _NUMBER,
            "id": or_null(ID),
            "key": _MAYBE_TEXT,
            "name": _MAYBE_TEXT,
            "attribute": _MAYBE_TEXT,
            "since": MOMENT,
            "code": _TEXT,
            "reason": _TEXT,
            "keptBy": _MAYBE_TEXT,
            "keptAt": _WHEN,
            "approvedBy": _MAYBE_TEXT,
            "approvalExpiresAt": _WHEN,
        }
    ),
    "Rejected": exactly(
        {"source": _TEXT, "run": _NUMBER, "key": _MAYBE_TEXT, "place": _TEXT, "reason": _TEXT, "values": _ANYTHING}
    ),
    "Leaver": exactly(
        {
            "source": _TEXT,
            "id": _TEXT,
            "key": _TEXT,
            "name": _TEXT,
            "missingSince": MOMENT,
            "earliest": MOMENT,
            "runsToGo": {"type": "integer"},
        }
    ),
    "Known": exactly(
        {
            "id": _TEXT,
            "type": {"enum": list(TYPES)},
            "source": _MAYBE_TEXT,
            "key": _MAYBE_TEXT,
            "state": _TEXT,
            "served": _YES,
            "since": _WHEN,
            "goneRun": or_null(_NUMBER),
            "members": _ANYTHING,
            "held": or_null(reference("Held")),
            "leaving": or_null(reference("Leaver")),
            "history": {"type": "array", "items": reference("Change")},
        }
    ),
    "Found": exactly(
        {
            "source": _TEXT,
            "key": _MAYBE_TEXT,
            "code": _TEXT,
            "sentence": _TEXT,
            "place": _TEXT,
            "server": _TEXT,
            "contact": _MAYBE_TEXT,
            "members": _ANYTHING,
        }
    ),
}
"""What people look up, by the names of the schemas; `facts()` of core.history and core.explain make them."""

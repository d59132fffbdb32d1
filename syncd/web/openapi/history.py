"""The schemas of the operators' endpoints: health, status, runs, changes, held items, rejects, explanations."""

from collections.abc import Mapping

from syncd.core.contacts.contact import TYPES
from syncd.web.openapi.schema import COUNT, ID, TIMESTAMP, Schema, closed_object, or_null, reference

_TEXT = {"type": "string"}
_NULLABLE_TEXT = or_null(_TEXT)
_ANY_OBJECT = {"type": "object"}
_BOOLEAN = {"type": "boolean"}
_NULLABLE_TIMESTAMP = or_null(TIMESTAMP)
_RUN_ID = {"type": "integer", "minimum": 1}
_NULLABLE_COUNT = or_null(COUNT)

_SOURCE: Mapping[str, Schema] = {
    "name": _TEXT,
    "type": {"enum": list(TYPES)},
    "lastSuccess": _NULLABLE_TIMESTAMP,
    "ageSeconds": _NULLABLE_COUNT,
    "stale": _BOOLEAN,
    "running": _BOOLEAN,
    "outcome": _NULLABLE_TEXT,
    "why": _TEXT,
    "missing": COUNT,
    "held": COUNT,
    "kept": COUNT,
    "heldAttributes": {"type": "array", "items": _TEXT},
    "rejected": COUNT,
    "certificateEnds": _NULLABLE_TIMESTAMP,
}
_HEALTH: Mapping[str, Schema] = {
    "status": {"enum": ["ok", "degraded"]},
    "why": {"type": "array", "items": _TEXT},
    "database": {"enum": ["ok", "lost"]},
    "revision": COUNT,
    "contacts": {"type": "object", "additionalProperties": COUNT},
    "sources": {"type": "array", "items": reference("SourceHealth")},
}
_SOURCE_STATUS = {
    **_SOURCE,
    "firstLeaves": _NULLABLE_TIMESTAMP,
    "run": or_null(_RUN_ID),
    "evidence": or_null(_ANY_OBJECT),
}
_COUNTS = ("entries", "population", "added", "changed", "missing", "removed", "held", "rejected")

HISTORY: Mapping[str, Schema] = {
    "SourceHealth": closed_object(_SOURCE),
    "Health": closed_object(_HEALTH),
    "SourceStatus": closed_object(_SOURCE_STATUS),
    "Status": closed_object(
        {
            "statusCode": {"const": 0},
            **_HEALTH,
            "sources": {"type": "array", "items": reference("SourceStatus")},
        }
    ),
    "Run": closed_object(
        {
            "run": _RUN_ID,
            "source": _TEXT,
            "job": _TEXT,
            "outcome": _TEXT,
            "why": _TEXT,
            "startedAt": TIMESTAMP,
            "finishedAt": _NULLABLE_TIMESTAMP,
            "seconds": or_null({"type": "number"}),
            "host": _TEXT,
            "pid": {"type": "integer"},
            "counts": closed_object(dict.fromkeys(_COUNTS, COUNT)),
            "complete": _BOOLEAN,
            "settled": _BOOLEAN,
            "undone": or_null(_RUN_ID),
            "revision": _NULLABLE_COUNT,
            "evidence": or_null(_ANY_OBJECT),
        }
    ),
    "Change": closed_object(
        {
            "revision": COUNT,
            "at": TIMESTAMP,
            "run": or_null(_RUN_ID),
            "caller": _NULLABLE_TEXT,
            "id": ID,
            "type": {"enum": list(TYPES)},
            "key": _NULLABLE_TEXT,
            "kind": _TEXT,
            "reason": _NULLABLE_TEXT,
            "old": _ANY_OBJECT,
            "new": _ANY_OBJECT,
        }
    ),
    "Held": closed_object(
        {
            "source": _TEXT,
            "job": _TEXT,
            "run": _RUN_ID,
            "id": or_null(ID),
            "key": _NULLABLE_TEXT,
            "name": _NULLABLE_TEXT,
            "attribute": _NULLABLE_TEXT,
            "since": TIMESTAMP,
            "code": _TEXT,
            "reason": _TEXT,
            "keptBy": _NULLABLE_TEXT,
            "keptAt": _NULLABLE_TIMESTAMP,
            "approvedBy": _NULLABLE_TEXT,
            "approvalExpiresAt": _NULLABLE_TIMESTAMP,
        }
    ),
    "Rejected": closed_object(
        {"source": _TEXT, "run": _RUN_ID, "key": _NULLABLE_TEXT, "place": _TEXT, "reason": _TEXT, "values": _ANY_OBJECT}
    ),
    "Leaver": closed_object(
        {
            "source": _TEXT,
            "id": _TEXT,
            "key": _TEXT,
            "name": _TEXT,
            "missingSince": TIMESTAMP,
            "earliest": TIMESTAMP,
            "runsToGo": {"type": "integer"},
        }
    ),
    "Known": closed_object(
        {
            "id": _TEXT,
            "type": {"enum": list(TYPES)},
            "source": _NULLABLE_TEXT,
            "key": _NULLABLE_TEXT,
            "state": _TEXT,
            "served": _BOOLEAN,
            "since": _NULLABLE_TIMESTAMP,
            "goneRun": or_null(_RUN_ID),
            "members": _ANY_OBJECT,
            "held": or_null(reference("Held")),
            "leaving": or_null(reference("Leaver")),
            "history": {"type": "array", "items": reference("Change")},
        }
    ),
    "Found": closed_object(
        {
            "source": _TEXT,
            "key": _NULLABLE_TEXT,
            "code": _TEXT,
            "sentence": _TEXT,
            "place": _TEXT,
            "server": _TEXT,
            "contact": _NULLABLE_TEXT,
            "members": _ANY_OBJECT,
        }
    ),
}
"""Name -> schema of the JSON forms made by core.operations.health, core.sync.history and core.sync.explain."""

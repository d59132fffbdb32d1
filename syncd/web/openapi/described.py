"""What an operation is described by, and the pieces of which descriptions are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.web.openapi.schema import COUNT, ID, Schema, exactly, number_or_nothing, reference

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Described:
    """One operation. What holds for all of a kind (roles, conditions, refusals) is added by the document."""

    name: str
    """operationId: what generated clients call it."""
    summary: str
    answer: Mapping[str, Schema]
    """Media type -> schema."""
    description: str = ""
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Schema] | None = None
    """Media type -> schema; None when there is none."""
    refusals: Sequence[int] = ()
    """Statuses that only this one has."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Of the answer, besides those that every answer of its kind has."""
    links: Mapping[str, Any] = field(default_factory=dict)


def parameter(name: str, schema: Schema, description: str, example: Any = None) -> dict[str, Any]:
    """A parameter of the query."""
    shown = {} if example is None else {"example": example}
    return {"name": name, "in": "query", "description": description, "schema": schema, **shown}


def in_path(name: str, schema: Schema, description: str) -> dict[str, Any]:
    """The variable of a path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def header(name: str, description: str) -> dict[str, Any]:
    """A header of the request."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def in_json(schema: Schema) -> dict[str, Schema]:
    """A body or answer in JSON."""
    return {JSON: schema}


def success(members: Mapping[str, Schema] | None = None) -> dict[str, Schema]:
    """An answer with statusCode 0 and these members."""
    return in_json(exactly({"statusCode": {"const": 0}, **(members or {})}))


def listing(name: str, item: str) -> dict[str, Schema]:
    """An answer that holds some of a list."""
    return success({"totalCount": COUNT, name: {"type": "array", "items": reference(item)}})


LIMIT, OFFSET = (
    parameter("limit", number_or_nothing(), "how many at most", 100),
    parameter("offset", number_or_nothing(), "how many of the first ones to pass over", 0),
)
CONTACT_ID = in_path("id", ID, "the contact's id")
IF_MATCH = header("If-Match", "the ETag that GET has shown: 412 when the contact has changed since")

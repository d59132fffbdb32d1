"""The description of one operation, and factories for its parameters and contents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.web.openapi.schema import COUNT, ID, Schema, closed_object, optional_integer, reference

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class OperationDoc:
    """Description of one operation. `document` adds what follows from its route: roles, caching, common errors."""

    operation_id: str
    """operationId; the name of its function in generated clients."""
    summary: str
    response: Mapping[str, Schema]
    """Media type -> schema of the response with status 200."""
    description: str = ""
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Schema] | None = None
    """Media type -> schema of the request body; None without one."""
    error_statuses: Sequence[int] = ()
    """Statuses of errors besides the common ones."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Headers of the response besides the common ones."""
    links: Mapping[str, Any] = field(default_factory=dict)


def query_parameter(name: str, schema: Schema, description: str, example: Any = None) -> dict[str, Any]:
    """Return a Parameter Object of the query string."""
    examples = {} if example is None else {"example": example}
    return {"name": name, "in": "query", "description": description, "schema": schema, **examples}


def path_parameter(name: str, schema: Schema, description: str) -> dict[str, Any]:
    """Return a Parameter Object of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def header_parameter(name: str, description: str) -> dict[str, Any]:
    """Return a Parameter Object of a request header."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def json_content(schema: Schema) -> dict[str, Schema]:
    """Return the content map of a JSON body."""
    return {JSON: schema}


def success_content(members: Mapping[str, Schema] | None = None) -> dict[str, Schema]:
    """Return the content map of a JSON object with statusCode 0 and these members."""
    return json_content(closed_object({"statusCode": {"const": 0}, **(members or {})}))


def list_content(name: str, item: str) -> dict[str, Schema]:
    """Return the content map of a page of a list: totalCount, and the items as the member `name`."""
    return success_content({"totalCount": COUNT, name: {"type": "array", "items": reference(item)}})


LIMIT, OFFSET = (
    query_parameter("limit", optional_integer(), "maximum number of items", 100),
    query_parameter("offset", optional_integer(), "number of items to skip", 0),
)
CONTACT_ID = path_parameter("id", ID, "the contact's id")
IF_MATCH = header_parameter("If-Match", "the ETag of an earlier GET: 412 when the contact has changed since")

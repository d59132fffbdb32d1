"""The OpenAPI document agrees with the route table and the constants of the code."""

import json
import re
from datetime import UTC, datetime
from typing import Any, cast

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts import custom
from syncd.core.contacts import query as query_string
from syncd.core.contacts.contact import MEMBERS, TYPES
from syncd.core.contacts.contact_json import contact_to_json
from syncd.core.contacts.models import ROLES, StoredContact
from syncd.core.files import contact_import
from syncd.core.operations import health
from syncd.core.sync import explain, history
from syncd.errors import RequestError
from syncd.settings import Http
from syncd.web import responses
from syncd.web.endpoints.changes import ChangeEndpoints
from syncd.web.endpoints.contacts import ContactEndpoints
from syncd.web.endpoints.health import HealthEndpoints
from syncd.web.endpoints.imports import ImportEndpoints
from syncd.web.endpoints.lookup import LookupEndpoints
from syncd.web.endpoints.sync_admin import SyncAdminEndpoints
from syncd.web.openapi.document import OpenApiEndpoint, build_document, operation_docs
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.schema import CONTACTS
from syncd.web.routing import AnyRoute

SOURCES = ["corp", "acd"]
UNUSED: Any = None  # collaborators of routes whose handlers are not called


def routes() -> list[AnyRoute]:
    api_routes: list[AnyRoute] = [
        *ContactEndpoints(UNUSED, UNUSED).routes(),
        *ImportEndpoints(UNUSED).routes(),
        *LookupEndpoints(UNUSED).routes(),
        *ChangeEndpoints(UNUSED, UNUSED, 1, UNUSED).routes(),
        *SyncAdminEndpoints(UNUSED, UNUSED).routes(),
        *HealthEndpoints(UNUSED, Http(), UNUSED).routes(),
    ]
    return [*api_routes, *OpenApiEndpoint(Http(), api_routes, UNUSED).routes]


DOCUMENT = build_document(routes(), SOURCES, "")
OPERATIONS = [
    (route, method, DOCUMENT["paths"][route.path][method.lower()]) for route in routes() for method in route.endpoints
]
EACH = pytest.mark.parametrize(
    ("route", "method", "operation"), OPERATIONS, ids=[f"{m} {p.path}" for p, m, _ in OPERATIONS]
)


def is_valid(schema: str, value: object) -> bool:
    """Whether a value fits a schema of the document."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}, validate_formats=True
    ).is_valid(value)


def test_every_route_is_described_and_nothing_else() -> None:
    """The document has exactly the paths and methods of the route table."""
    table = {(route.path, method) for route in routes() for method in route.endpoints}

    assert set(operation_docs(SOURCES)) == table
    assert {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item} == table


@EACH
def test_roles(route: AnyRoute, method: str, operation: dict[str, Any]) -> None:
    """A route with roles has both security schemes and 401; 403 unless all roles may call it."""
    roles = route.endpoints[method].roles

    assert operation["security"] == ([{"token": []}, {"password": []}] if roles else [])
    assert ("401" in operation["responses"]) == bool(roles)
    assert ("403" in operation["responses"]) == (bool(roles) and set(roles) != set(ROLES))


@EACH
def test_cacheable_responses(route: AnyRoute, method: str, operation: dict[str, Any]) -> None:
    """Cacheable responses have an ETag, a revision and 304."""
    is_cacheable = route.endpoints[method].cacheable

    assert ("Directory-Revision" in operation["responses"]["200"]["headers"]) == (
        is_cacheable or route.endpoints[method].reports_freshness
    )
    assert ("ETag" in operation["responses"]["200"]["headers"]) == (is_cacheable or route.path == "/openapi.json")
    assert ("304" in operation["responses"]) == (is_cacheable or route.path == "/openapi.json")


@EACH
def test_path_parameters(route: AnyRoute, method: str, operation: dict[str, Any]) -> None:
    """The variables of a path are its path parameters."""
    names = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}

    assert names == set(re.findall(r"\{(\w+)\}", route.path))


def test_operation_ids_are_unique() -> None:
    """Generated clients have one function for each operationId."""
    names = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert len(set(names)) == len(names)


def test_the_parameters_of_the_list_are_those_that_are_checked() -> None:
    """The document has exactly the query parameters that the parser accepts."""
    operation = DOCUMENT["paths"]["/api/v2/contacts"]["get"]["parameters"]

    assert {parameter["name"] for parameter in operation if parameter["in"] == "query"} == set(query_string.PARAMETERS)


def test_every_error_is_in_the_document() -> None:
    """Each HTTP status of an error has a schema with all statusCodes of that status."""
    shared = DOCUMENT["components"]["responses"]
    for status, code in responses.STATUS.values():
        body = shared[f"Status{status}"]["content"]["application/json"]["schema"]
        assert code in body["properties"]["statusCode"]["enum"], status


def test_every_reference_resolves() -> None:
    """References and links name existing components and operations."""
    for reference in set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(DOCUMENT))):
        kind, name = reference.split("/")
        assert name in DOCUMENT["components"][kind], reference
    names = {operation["operationId"] for _, _, operation in OPERATIONS}
    for _, _, operation in OPERATIONS:
        for link in operation["responses"]["200"].get("links", {}).values():
            assert link["operationId"] in names


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas_are_schemas(name: str) -> None:
    """Each schema is valid in the dialect of OpenAPI 3.1, and its examples conform to it."""
    schema = DOCUMENT["components"]["schemas"][name]
    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})

    for example in schema.get("examples", ()):
        assert is_valid(name, example)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = history.PastRun(
    1, "corp", "sync", "completed", "", NOW, NOW, "host", 7, 1, 1, 1, 0, 0, 0, 0, 0, True, True, None, 1, {"pages": 1}
)
CHANGE = history.PastChange(1, NOW, 1, None, "0" * 32, "User", "k", "add", None, {}, {"name": "x"})
HELD = history.HeldItem(
    "corp", "sync", 1, "00000000-0000-0000-0000-000000000000", "k", "x", "cap", "why", NOW, None, None, "who", NOW
)
LEAVER = history.PendingRemoval("corp", "0" * 32, "k", "x", NOW, NOW, 2)
KNOWN = explain.KnownContact(
    "0" * 32, "User", "corp", "k", "active", True, NOW, None, {"name": "x"}, (CHANGE,), HELD, LEAVER
)
STATE = health.describe_health([health.ExpectedSource("corp", "User", NOW - NOW)], health.DirectoryState(), NOW)
EXAMPLES = {
    "Run": RUN.to_json(),
    "Change": CHANGE.to_json(),
    "Held": HELD.to_json(),
    "Rejected": history.RejectedRecord("corp", 1, None, "line 1", "why", {}).to_json(),
    "Leaver": LEAVER.to_json(),
    "Known": KNOWN.to_json(),
    "Found": explain.SourceAnswer("corp", "k", "found", "a sentence").to_json(),
    "Health": STATE,
    "SourceHealth": STATE["sources"][0],
    "Status": {"statusCode": 0, **health.add_details(STATE, {"corp": RUN}, {"corp": NOW})},
    "SourceStatus": health.add_details(STATE, {}, {})["sources"][0],
}


@pytest.mark.parametrize("name", HISTORY)
def test_operators_resources_conform_to_their_schemas(name: str) -> None:
    """The facts that are shown fit their schema, which demands each of their members."""
    assert is_valid(name, EXAMPLES[name])
    for member in EXAMPLES[name]:
        assert not is_valid(name, {key: value for key, value in EXAMPLES[name].items() if key != member}), member


def test_an_import_outcome_conforms_to_its_schema() -> None:
    """The schema has exactly the members of an outcome."""
    rows = [contact_import.ImportRow(1, "create", "", "x"), contact_import.ImportRow(2, "reject", "0" * 32, "x", "why")]
    facts = {"statusCode": 0, **contact_import.ImportReport(applied=True, rows=rows).to_json()}
    operation = DOCUMENT["paths"]["/api/v2/contacts/import"]["post"]["responses"]["200"]["content"]["application/json"]

    assert jsonschema_rs.is_valid(operation["schema"], facts)
    assert set(operation["schema"]["required"]) == set(facts)


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)


USERS = st.builds(
    StoredContact, st.just("0" * 32), st.just("User"), WORDS, st.lists(st.fixed_dictionaries({"phoneNumber": WORDS})),
    *[st.none() | WORDS] * 5, st.lists(WORDS), st.lists(WORDS), st.none(),
)  # fmt: skip


@given(USERS, st.sampled_from(TYPES))
def test_contacts_conform_to_their_schemas(stored: StoredContact, type_: Any) -> None:
    """Every contact conforms to the schema of its type and of no other; every subset of members to Selection."""
    stored = stored._replace(type=type_, channel="voice" if type_ == "Queue" else None)
    members = contact_to_json(stored, "http://x")

    assert is_valid("Contact", members)
    assert [other for other in TYPES if is_valid(f"{other}Contact", members)] == [type_]
    for member in members:
        remaining = {key: value for key, value in members.items() if key != member}
        assert is_valid("Selection", remaining)
        optional = member not in cast("dict[str, Any]", CONTACTS[f"{type_}Contact"])["required"]
        assert is_valid("Contact", remaining) == (optional and member not in {"phoneNumber", "phoneNumbers"})


@given(st.text() | st.text("\n\x1f\x85\u2028\u200b x", max_size=6) | st.integers(250, 260).map(lambda n: " " + "x" * n))
def test_writable_values(text: str) -> None:
    """The schema of a new contact accepts exactly the names and numbers that the code accepts."""
    operation = {"name": text, "phoneNumber": "1"}
    try:
        custom.parse_new_contact(operation)
    except RequestError:
        assert not is_valid("NewContact", operation)
    else:
        assert is_valid("NewContact", operation)


LISTS = st.lists(
    st.sampled_from(["name", " type ", "uri", "", "Name", "x", "*", "user", "QUEUE", " Custom", "\t", "\\,"]),
    max_size=3,
)


@given(st.sampled_from(["sortBy", "fields", "type", "order", "format", "limit"]), LISTS)
def test_parameter_values(name: str, items: list[str]) -> None:
    """The schemas of enumerated parameters accept exactly the values that the code accepts."""
    value = ",".join(items)
    operation = DOCUMENT["paths"]["/api/v2/contacts"]["get"]["parameters"]
    schema = next(parameter["schema"] for parameter in operation if parameter["name"] == name)
    try:
        query_string.parse(f"{name}={value}".encode())
    except RequestError:
        assert not jsonschema_rs.is_valid(schema, value)
    else:
        assert jsonschema_rs.is_valid(schema, value) or (name in {"order", "format", "limit"} and not value.strip())


def test_schemas_have_all_members() -> None:
    """The schemas of contacts have exactly the members of the code."""
    assert set(cast("dict[str, Any]", CONTACTS["Selection"])["properties"]) == set(MEMBERS)
    assert set(cast("dict[str, Any]", CONTACTS["ContactChange"])["properties"]) == set(MEMBERS)

"""The OpenAPI document says what the table of places and the constants of the code say, all of it and nothing else."""

import json
import re
from datetime import UTC, datetime
from typing import Any, cast

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts import custom
from syncd.core.contacts import query as asked
from syncd.core.contacts.contact import MEMBERS, TYPES
from syncd.core.contacts.contact_json import contact
from syncd.core.contacts.models import ROLES, StoredContact
from syncd.core.files import contact_import
from syncd.core.operations import health
from syncd.core.sync import explain, history
from syncd.errors import RequestError
from syncd.settings import Http
from syncd.web import responses
from syncd.web.endpoints.changes import Feed
from syncd.web.endpoints.contacts import Contacts
from syncd.web.endpoints.health import Service
from syncd.web.endpoints.imports import Imports
from syncd.web.endpoints.lookup import Lookup
from syncd.web.endpoints.sync_admin import Operations
from syncd.web.openapi.document import OpenApi, described, document
from syncd.web.openapi.history import HISTORY
from syncd.web.openapi.schema import CONTACTS
from syncd.web.routing import Place

SOURCES = ["corp", "acd"]
NOBODY: Any = None  # the places are looked at, and nobody goes there


def places() -> list[Place]:
    found = [
        *Contacts(NOBODY, NOBODY).places(),
        *Imports(NOBODY).places(),
        *Lookup(NOBODY).places(),
        *Feed(NOBODY, NOBODY, 1, NOBODY).places(),
        *Operations(NOBODY, NOBODY).places(),
        *Service(NOBODY, Http()).places(),
    ]
    return [*found, *OpenApi(Http(), found, NOBODY).places]


DOCUMENT = document(places(), SOURCES, "")
OPERATIONS = [
    (place, method, DOCUMENT["paths"][place.path][method.lower()]) for place in places() for method in place.operations
]
EACH = pytest.mark.parametrize(("place", "method", "said"), OPERATIONS, ids=[f"{m} {p.path}" for p, m, _ in OPERATIONS])


def valid(schema: str, value: object) -> bool:
    """Whether a value fits a schema of the document."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}, validate_formats=True
    ).is_valid(value)


def test_every_place_is_described_and_nothing_else() -> None:
    """Path by path and method by method the document is the table."""
    table = {(place.path, method) for place in places() for method in place.operations}

    assert set(described(SOURCES)) == table
    assert {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item} == table


@EACH
def test_who_may(place: Place, method: str, said: dict[str, Any]) -> None:
    """Whoever needs a role has to sign in, one way or the other, and 401 and 403 are announced as they can come."""
    roles = place.operations[method].roles

    assert said["security"] == ([{"token": []}, {"password": []}] if roles else [])
    assert ("401" in said["responses"]) == bool(roles)
    assert ("403" in said["responses"]) == (bool(roles) and set(roles) != set(ROLES))


@EACH
def test_what_depends_on_the_revision(place: Place, method: str, said: dict[str, Any]) -> None:
    """Answers that are kept have a tag, a revision and 304."""
    kept = place.operations[method].by_revision

    assert ("Directory-Revision" in said["responses"]["200"]["headers"]) == (kept or place.operations[method].dated)
    assert ("ETag" in said["responses"]["200"]["headers"]) == (kept or place.path == "/openapi.json")
    assert ("304" in said["responses"]) == (kept or place.path == "/openapi.json")


@EACH
def test_names_in_paths(place: Place, method: str, said: dict[str, Any]) -> None:
    """The variables of a path are its parameters."""
    named = {one["name"] for one in said.get("parameters", ()) if one["in"] == "path"}

    assert named == set(re.findall(r"\{(\w+)\}", place.path))


def test_names_of_operations_are_unique() -> None:
    """Generated clients make a function of each."""
    names = [said["operationId"] for _, _, said in OPERATIONS]

    assert len(set(names)) == len(names)


def test_the_parameters_of_the_list_are_those_that_are_checked() -> None:
    """Every parameter of the contract, in any order, and no other."""
    said = DOCUMENT["paths"]["/api/v2/contacts"]["get"]["parameters"]

    assert {one["name"] for one in said if one["in"] == "query"} == set(asked.PARAMETERS)


def test_every_error_is_in_the_document() -> None:
    """Each status that an error can become has its schema, with each code that goes with it."""
    shared = DOCUMENT["components"]["responses"]
    for status, code in responses.STATUS.values():
        body = shared[f"Status{status}"]["content"]["application/json"]["schema"]
        assert code in body["properties"]["statusCode"]["enum"], status


def test_every_reference_leads_somewhere() -> None:
    """References and links name what is there."""
    for reference in set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(DOCUMENT))):
        kind, name = reference.split("/")
        assert name in DOCUMENT["components"][kind], reference
    names = {said["operationId"] for _, _, said in OPERATIONS}
    for _, _, said in OPERATIONS:
        for link in said["responses"]["200"].get("links", {}).values():
            assert link["operationId"] in names


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas_are_schemas(name: str) -> None:
    """Each is valid in the dialect of OpenAPI 3.1, and its examples fit it."""
    schema = DOCUMENT["components"]["schemas"][name]
    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})

    for example in schema.get("examples", ()):
        assert valid(name, example)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = history.PastRun(
    1, "corp", "sync", "completed", "", NOW, NOW, "host", 7, 1, 1, 1, 0, 0, 0, 0, 0, True, True, None, 1, {"pages": 1}
)
CHANGE = history.PastChange(1, NOW, 1, None, "0" * 32, "User", "k", "add", None, {}, {"name": "x"})
HELD = history.HeldItem(
    "corp", "sync", 1, "00000000-0000-0000-0000-000000000000", "k", "x", "cap", "why", NOW, None, None, "who", NOW
)
LEAVER = history.Leaver("corp", "0" * 32, "k", "x", NOW, NOW, 2)
KNOWN = explain.Known("0" * 32, "User", "corp", "k", "active", True, NOW, None, {"name": "x"}, (CHANGE,), HELD, LEAVER)
STATE = health.health([health.Expected("corp", "User", NOW - NOW)], health.DirectoryState(), NOW)
FACTS = {
    "Run": RUN.facts(),
    "Change": CHANGE.facts(),
    "Held": HELD.facts(),
    "Rejected": history.Rejected("corp", 1, None, "line 1", "why", {}).facts(),
    "Leaver": LEAVER.facts(),
    "Known": KNOWN.facts(),
    "Found": explain.Answer("corp", "k", "found", "a sentence").facts(),
    "Health": STATE,
    "SourceHealth": STATE["sources"][0],
    "Status": {"statusCode": 0, **health.detailed(STATE, {"corp": RUN}, {"corp": NOW})},
    "SourceStatus": health.detailed(STATE, {}, {})["sources"][0],
}


@pytest.mark.parametrize("name", HISTORY)
def test_what_people_look_up_is_as_described(name: str) -> None:
    """The facts that are shown fit their schema, which demands each of their members."""
    assert valid(name, FACTS[name])
    for member in FACTS[name]:
        assert not valid(name, {key: value for key, value in FACTS[name].items() if key != member}), member


def test_an_import_is_as_described() -> None:
    """Counts and rows of an outcome."""
    rows = [contact_import.Row(1, "create", "", "x"), contact_import.Row(2, "reject", "0" * 32, "x", "why")]
    facts = {"statusCode": 0, **contact_import.Outcome(applied=True, rows=rows).facts()}
    said = DOCUMENT["paths"]["/api/v2/contacts/import"]["post"]["responses"]["200"]["content"]["application/json"]

    assert jsonschema_rs.is_valid(said["schema"], facts)
    assert set(said["schema"]["required"]) == set(facts)


words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)


user = st.builds(
    StoredContact, st.just("0" * 32), st.just("User"), words, st.lists(st.fixed_dictionaries({"phoneNumber": words})),
    *[st.none() | words] * 5, st.lists(words), st.lists(words), st.none(),
)  # fmt: skip


@given(user, st.sampled_from(TYPES))
def test_contacts_are_as_described(stored: StoredContact, type_: Any) -> None:
    """Whatever a contact has: it fits the schema of its type, and no other type's; what fields leave fits Selection."""
    stored = stored._replace(type=type_, channel="voice" if type_ == "Queue" else None)
    shown = contact(stored, "http://x")

    assert valid("Contact", shown)
    assert [other for other in TYPES if valid(f"{other}Contact", shown)] == [type_]
    for member in shown:
        left = {key: value for key, value in shown.items() if key != member}
        assert valid("Selection", left)
        optional = member not in cast("dict[str, Any]", CONTACTS[f"{type_}Contact"])["required"]
        assert valid("Contact", left) == (optional and member not in {"phoneNumber", "phoneNumbers"})


@given(st.text() | st.text("\n\x1f\x85\u2028\u200b x", max_size=6) | st.integers(250, 260).map(lambda n: " " + "x" * n))
def test_what_may_be_said_of_a_contact(text: str) -> None:
    """The schema of a new contact takes exactly the names and numbers that the code takes."""
    said = {"name": text, "phoneNumber": "1"}
    try:
        custom.created(said)
    except RequestError:
        assert not valid("NewContact", said)
    else:
        assert valid("NewContact", said)


SPELLED = st.lists(
    st.sampled_from(["name", " type ", "uri", "", "Name", "x", "*", "user", "QUEUE", " Custom", "\t", "\\,"]),
    max_size=3,
)


@given(st.sampled_from(["sortBy", "fields", "type", "order", "format", "limit"]), SPELLED)
def test_what_parameters_take(name: str, items: list[str]) -> None:
    """The schemas of parameters with known values take exactly what the code takes."""
    value = ",".join(items)
    said = DOCUMENT["paths"]["/api/v2/contacts"]["get"]["parameters"]
    schema = next(one["schema"] for one in said if one["name"] == name)
    try:
        asked.parse(f"{name}={value}".encode())
    except RequestError:
        assert not jsonschema_rs.is_valid(schema, value)
    else:
        assert jsonschema_rs.is_valid(schema, value) or (name in {"order", "format", "limit"} and not value.strip())


def test_members_are_known() -> None:
    """The schemas of contacts have the members of the code."""
    assert set(cast("dict[str, Any]", CONTACTS["Selection"])["properties"]) == set(MEMBERS)
    assert set(cast("dict[str, Any]", CONTACTS["ContactChange"])["properties"]) == set(MEMBERS)

"""The contract of the Contacts API, row by row, spoken over HTTP to the running daemon: filters, order, pages."""

import json
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.contacts.contact import MEMBERS
from syncd.core.contacts.query import PARAMETERS
from syncd.core.contacts.text import fold
from tests.http_daemon import Office, done, failed

API = "/api/v2/contacts"
SEARCH = "filterName=NamesOrPhoneNumberMatches&filterParameters="
EVERYBODY = [
    "100% under_score\\", "anna zimmer", "Ärzte, Notdienst", "Dwight Schrute", "jhalpert", "Jim Halpert", "Jim Halpert",
    "Jim Morrison", "O'Brien Smith, Jr.", "Pam Beesly", "Sales East", "Support", "Zoë Åkesson",
]  # fmt: skip


def test_no_filter_is_everybody_by_name(office: Office) -> None:
    """Sorted by name, ignoring case and accents."""
    assert office.names("") == EVERYBODY


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=Pam Beesly", ["Pam Beesly"]),
        ("name=pam beesly", []),
        ("name=Pam", []),
        ("name=Jim Halpert,Support", ["Jim Halpert", "Jim Halpert", "Support"]),
        ("name=Support&name=Pam Beesly", ["Pam Beesly", "Support"]),
        (r"name=Ärzte\, Notdienst", ["Ärzte, Notdienst"]),
        ("name=jhalpert", ["jhalpert", "Jim Halpert"]),
        ("name=pbeesly&type=User", ["Pam Beesly"]),
        ("userName=pbeesly", ["Pam Beesly"]),
        ("firstName=Jim", ["Jim Halpert", "Jim Morrison"]),
        ("firstName=Jim&lastName=Morrison", ["Jim Morrison"]),
        ("firstName=jim", []),
        (r"lastName=Smith\, Jr.", ["O'Brien Smith, Jr."]),
        ("lastName=under_score\\", ["100% under_score\\"]),
        ("employeeId=7,9", ["Jim Halpert", "Pam Beesly"]),
        ("emailAddress=jim@dm.example", ["Jim Halpert"]),
        ("channel=voice", ["Sales East"]),
        ("channel=voice,chat&name=Support", ["Support"]),
        ("phoneNumber=5705550102", ["Jim Morrison"]),
        ("phoneNumber=(570) 555-0102", ["Jim Morrison"]),
        ("phoneNumber=01609988", ["Pam Beesly"]),
        ("phoneNumber=XXX xxx XXXX", ["Dwight Schrute"]),
        ("phoneNumber=555callanna", ["anna zimmer"]),
        ("phoneNumber=57055501", []),
        ("phoneNumber=99&type=User", ["100% under_score\\"]),
        ("phoneNumber=*&type=Queue", ["Sales East"]),
        ("phoneNumber=*&type=User&firstName=Zoë", []),
        ("roles=ROLE_AGENT", ["Jim Halpert", "Jim Morrison"]),
        ("roles=ROLE_ADMIN,ROLE_SALES", ["Jim Halpert", "Pam Beesly"]),
        ("roles=role_agent", []),
        ("includeUsersInBusinessUnits=AG_OPS&type=User", ["Jim Morrison", "Pam Beesly"]),
        ("includeUsersInBusinessUnits=NONE", ["Ärzte, Notdienst", "Dwight Schrute", "jhalpert", "Jim Halpert",
                                              "Sales East", "Support"]),
        ("type=Custom", ["Ärzte, Notdienst", "Dwight Schrute", "Jim Halpert"]),
        ("type=custom", ["Ärzte, Notdienst", "Dwight Schrute", "Jim Halpert"]),
        ("type=Queue,CUSTOM&phoneNumber=*", ["Ärzte, Notdienst", "Dwight Schrute", "Jim Halpert", "Sales East"]),
        ("name=", EVERYBODY),
        ("id=nonsense", []),
        ("%20name%20=Support", ["Support"]),
        ("+type=Queue&_=17&subresources=*", ["jhalpert", "Sales East", "Support"]),
    ],
)  # fmt: skip
def test_filters(office: Office, query: str, names: list[str]) -> None:
    """Each filter alone and with others: exact, AND between parameters, OR within one."""
    assert office.names(query) == names


def test_the_three_attribute_filter_of_the_reference(office: Office) -> None:
    """Three attributes at once, in both spellings of the first separator."""
    assert office.names("type=User&firstName=Jim&lastName=Halpert") == ["Jim Halpert"]
    assert done(office.agent.get("/contacts&type=User&firstName=Jim&lastName=Halpert"))["totalCount"] == 1


@pytest.mark.parametrize("path", ["/contacts", "/api/v2/contacts"])
def test_type_user_in_both_spellings(office: Office, path: str) -> None:
    """The reference's misprint `/contacts&type=User` is answered as `/contacts?type=User`."""
    right, misprint = office.agent.get(path + "?type=User"), office.agent.get(path + "&type=User")

    assert done(right) == done(misprint)
    assert {contact["type"] for contact in right.json()["contacts"]} == {"User"}
    assert right.json()["totalCount"] == 7
    assert done(office.agent.get(path + "&type=User?limit=1"))["contacts"] == right.json()["contacts"][:1]


def test_only_custom_contacts(office: Office) -> None:
    """`type=Custom` gives the contacts that people made, and no others."""
    body = done(office.agent.get("/contacts?type=Custom"))

    assert body["totalCount"] == 3
    assert {contact["type"] for contact in body["contacts"]} == {"Custom"}


def test_ids_are_a_filter(office: Office) -> None:
    """Several ids; one in another form matches nothing."""
    one, two = office.ids["jhalpert"], office.ids["Support queue"]

    assert office.names(f"id={one},{two}") == ["Jim Halpert", "Support"]
    assert office.names(f"id={one.upper()}") == []


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("*", EVERYBODY),
        ("jim", ["Jim Halpert", "Jim Morrison"]),
        ("JIM*", ["Jim Halpert", "Jim Halpert", "Jim Morrison"]),
        ("*halpert", ["jhalpert", "Jim Halpert", "Jim Halpert"]),
        ("j*,*alp*", ["jhalpert", "Jim Halpert", "Jim Halpert"]),
        ("jim,halpert", ["Jim Halpert"]),
        ("j*m", ["Jim Halpert", "Jim Morrison"]),
        ("jim*halpert", ["Jim Halpert"]),
        ("a*e", []),
        ("zoe", ["Zoë Åkesson"]),
        ("ZOË", ["Zoë Åkesson"]),
        ("akesson", ["Zoë Åkesson"]),
        ("arzte*", ["Ärzte, Notdienst"]),
        (r"*\,*", ["Ärzte, Notdienst", "O'Brien Smith, Jr."]),
        ("*570*555*", ["Jim Halpert", "Jim Halpert", "Jim Morrison", "Pam Beesly"]),
        ("0160*88", ["Pam Beesly"]),
        ("pbeesly", ["Pam Beesly"]),
        ("Pam Beesly", []),
        ("Sales East", ["Sales East"]),
        ("sales", []),
        ("*voice*", []),
        ("%25", []),
        ("*%25*", ["100% under_score\\"]),
        ("100_", []),
        ("under_score\\", ["100% under_score\\"]),
        ("underXscore*", []),
        ("j.m", []),
        ("(555)*", ["anna zimmer"]),
        ("%2B1*", ["Jim Halpert", "Sales East"]),
        ("[a-z]*", []),
        ("pam*mobile", []),
        ("p*y", ["Pam Beesly"]),
        ("jhalpert*halpert", []),
    ],
)  # fmt: skip
def test_names_or_number_search(office: Office, argument: str, names: list[str]) -> None:
    """Whole values, case and accents ignored, `*` the only wildcard, never from one value into the next."""
    assert office.names(SEARCH + argument) == names


def test_the_call_seen_in_the_wild(office: Office) -> None:
    """The call that clients really make gives the agents of the unit."""
    query = (
        "type=User&includeUsersInBusinessUnits=AG_DEV&roles=ROLE_AGENT&limit=100"
        "&filterName=NamesOrPhoneNumberMatches&filterParameters=*&sortBy=name&order=Ascending"
    )

    assert office.names(query) == ["Jim Halpert"]


def test_values_like_sql_are_found_exactly(office: Office) -> None:
    """Whatever is typed is a value: it is found when stored, and does nothing else."""
    for word in [
        "x'); DROP TABLE contact;--",
        "O'Brien",
        "' OR '1'='1",
        '"; SELECT 1',
        "$1",
        "%(id)s",
        "{}",
        ":x",
        "\\",
    ]:
        text = quote(word.replace(",", "\\,"), safe="")
        for name in ("name", "firstName", "phoneNumber", "roles", "emailAddress", "id"):
            done(office.agent.get(f"{API}?{name}={text}"))
        done(office.agent.get(f"{API}?{SEARCH}{text}*"))

    assert office.names("firstName=O'Brien") == ["O'Brien Smith, Jr."]
    assert office.names(SEARCH + quote("x'); drop table contact;--")) == ["O'Brien Smith, Jr."]
    assert office.names("") == EVERYBODY


@pytest.mark.parametrize("member", MEMBERS)
def test_any_member_sorts_in_both_directions(office: Office, member: str) -> None:
    """Descending mirrors ascending apart from ties; without the member a contact comes last, then first; ties by id."""
    found = {}
    for order in ("Ascending", "Descending"):
        query = f"?sortBy={member}&order={order}"
        found[order] = done(office.agent.get(API + query))["contacts"]
    up, down = ([_key(member, contact) for contact in found[order]] for order in ("Ascending", "Descending"))

    assert len(up) == len(EVERYBODY)
    assert up == down[::-1]
    assert up == sorted(up, key=lambda key: (key is None, key or ""))
    for contacts in found.values():
        for one, other in pairwise(contacts):
            assert _key(member, one) != _key(member, other) or one["id"] < other["id"]


def _key(member: str, contact: dict[str, Any]) -> str | None:
    value = contact.get(member)
    if value is None or value == []:
        return None
    if member in {"uri", "path"}:
        return str(contact["id"])
    if member in {"name", "firstName", "lastName"}:
        return fold(value)
    if member == "phoneNumbers":
        value = value[0]["phoneNumber"]
    return ", ".join(value).lower() if isinstance(value, list) else value.lower()


def test_several_sort_members(office: Office) -> None:
    """The next member decides where the one before is equal."""
    assert office.names("type=User&firstName=Jim&sortBy=firstName,lastName") == ["Jim Halpert", "Jim Morrison"]
    assert office.names("type=User&firstName=Jim&sortBy=firstName,lastName&order=Descending") == [
        "Jim Morrison", "Jim Halpert",
    ]  # fmt: skip
    assert office.names("sortBy=type,name")[:4] == ["Ärzte, Notdienst", "Dwight Schrute", "Jim Halpert", "jhalpert"]


@pytest.mark.parametrize(
    ("limit", "offset"), [(None, 0), (0, 0), (1, 0), (5, 3), (13, 0), (100, 0), (5, 11), (5, 13), (5, 99), (None, 4)]
)
def test_pages(office: Office, limit: int | None, offset: int) -> None:
    """limit and offset cut the sorted list; totalCount counts before the cut."""
    query = f"?offset={offset}" + ("" if limit is None else f"&limit={limit}")
    body = done(office.agent.get(API + query))

    assert body["totalCount"] == len(EVERYBODY)
    end = None if limit is None else offset + limit
    assert [contact["name"] for contact in body["contacts"]] == EVERYBODY[offset:end]


def test_pages_beyond_any_number(office: Office) -> None:
    """Integers of any size are integers."""
    assert office.names("limit=" + "9" * 5000) == EVERYBODY
    assert office.names("offset=" + "9" * 30) == []


@pytest.mark.parametrize("fields", ["name", "name,id", "phoneNumbers", "uri,path,type", "roles,channel"])
def test_fields(office: Office, fields: str) -> None:
    """Only the members that were asked for, and of those the ones that the contact has."""
    whole = done(office.agent.get(API))["contacts"]
    some = done(office.agent.get(f"{API}?fields={fields}"))["contacts"]

    wanted = fields.split(",")
    assert some == [{name: value for name, value in contact.items() if name in wanted} for contact in whole]
    assert done(office.agent.get(f"{API}?fields=*"))["contacts"] == whole


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("firstname=Jim", 2, "firstName"),
        ("frstNam=Jim", 2, "firstName"),
        ("filter=x", 2, "filterName"),
        ("type=Usr", 2, "Custom, Queue, User"),
        ("limit=-1", 2, "limit"),
        ("limit=ten", 2, "ten"),
        ("offset=1.0", 2, "offset"),
        ("limit=1&limit=2", 2, "limit"),
        ("sortBy=age", 2, "employeeId"),
        ("order=descending", 2, "Descending"),
        ("fields=nam", 2, "name"),
        ("filterName=Other&filterParameters=x", 2, "NamesOrPhoneNumberMatches"),
        ("filterName=NamesOrPhoneNumberMatches", 1, "filterParameters"),
        (SEARCH, 1, "filterParameters"),
        ("filterParameters=x", 1, "filterName"),
        ("name=%ff", 2, "UTF-8"),
        ("name=%C3", 2, "UTF-8"),
        ("name=%zz", 2, "%25"),
        ("name=a%00b", 2, "control"),
        ("name=%ED%A0%80", 2, "UTF-8"),
        (SEARCH + "*a" * 40, 2, "wildcards"),
    ],
)
def test_queries_that_are_refused(office: Office, query: str, code: int, says: str) -> None:
    """A refusal names what was wrong and what is allowed."""
    assert says in failed(office.agent.get(f"{API}?{query}"), 400, code)


WORDS = st.sampled_from(
    [*PARAMETERS, *MEMBERS, "User", "NamesOrPhoneNumberMatches", "=", "&", ",", "\\,", "*", "%", "%00", "%ff", "%5C",
     "(", "[", "1", "-", "'", "+", "%F0%9F%98%80"]
)  # fmt: skip
PAIRS = st.lists(
    st.tuples(st.sampled_from(PARAMETERS), st.lists(WORDS, max_size=4).map("".join) | st.text(max_size=10).map(quote)),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


@given(PAIRS | st.lists(WORDS, max_size=8).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_query_gets_an_answer_of_the_contract(shared: Office, query: str) -> None:
    """Whatever is asked, the answer is JSON of the contract's form and never an internal error."""
    answer = shared.agent.get(f"{API}?{query}".replace("#", "%23"))
    body = answer.json()

    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, body["statusCode"]) in {(200, 0), (400, 1), (400, 2)}, body
    assert set(body) in ({"statusCode", "totalCount", "contacts"}, {"statusCode", "statusMessage"})


@pytest.fixture(scope="module")
def shared(office: Office) -> Office:
    """The office, for hypothesis, which wants no fixture that is made anew for each example."""
    return office


def test_removed_contacts_are_not_served(office: Office) -> None:
    """A contact that the sync has taken out of service is neither listed, counted nor found by its id."""
    out = """WITH later AS (UPDATE directory SET revision = revision + 1),
                  complete AS (INSERT INTO run (source, host, pid, outcome, complete)
                               VALUES ('tests', 'desk', 1, 'completed', true) RETURNING id)
             UPDATE contact SET state = 'removed', served = false, gone_run = complete.id
               FROM complete WHERE user_name = 'pbeesly'"""
    back = """WITH later AS (UPDATE directory SET revision = revision + 1)
              UPDATE contact SET state = 'active', served = true, gone_run = NULL WHERE user_name = 'pbeesly'"""
    with psycopg.connect(office.daemon.database_url, autocommit=True) as connection:
        connection.execute(out)
        try:
            assert "Pam Beesly" not in office.names("")
            assert done(office.agent.get(f"{API}?name=Pam Beesly"))["totalCount"] == 0
            failed(office.agent.get(f"{API}/{office.ids['pbeesly']}"), 404, 6)
            failed(office.admin.delete(f"{API}/{office.ids['pbeesly']}"), 404, 6)
        finally:
            connection.execute(back)


def test_every_answer_is_one_json_document(office: Office) -> None:
    """Compact UTF-8 JSON with a Content-Length and the media type without parameters."""
    answer = office.agent.get(API, headers={"Accept-Encoding": "identity"})

    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == json.dumps(answer.json(), ensure_ascii=False, separators=(",", ":")).encode()

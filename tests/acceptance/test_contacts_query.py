"""The contract of the Contacts API over HTTP: filters, order, pages, fields."""

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
from tests.http_daemon import SampleDirectory, assert_error, assert_ok

API = "/api/v2/contacts"
SEARCH = "filterName=NamesOrPhoneNumberMatches&filterParameters="
ALL_NAMES = [
    "100% under_score\\", "anna zimmer", "Ärzte, Notdienst", "Dwight Schrute", "jhalpert", "Jim Halpert", "Jim Halpert",
    "Jim Morrison", "O'Brien Smith, Jr.", "Pam Beesly", "Sales East", "Support", "Zoë Åkesson",
]  # fmt: skip


def test_all_contacts_are_sorted_by_name(directory: SampleDirectory) -> None:
    """Ignoring case and accents."""
    assert directory.names("") == ALL_NAMES


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
        ("name=", ALL_NAMES),
        ("id=nonsense", []),
        ("%20name%20=Support", ["Support"]),
        ("+type=Queue&_=17&subresources=*", ["jhalpert", "Sales East", "Support"]),
    ],
)  # fmt: skip
def test_filters(directory: SampleDirectory, query: str, names: list[str]) -> None:
    """Each filter alone and with others: exact, AND between parameters, OR within one."""
    assert directory.names(query) == names


def test_the_three_attribute_filter_of_the_reference(directory: SampleDirectory) -> None:
    """Three attributes, with both spellings of the first separator."""
    assert directory.names("type=User&firstName=Jim&lastName=Halpert") == ["Jim Halpert"]
    assert assert_ok(directory.agent.get("/contacts&type=User&firstName=Jim&lastName=Halpert"))["totalCount"] == 1


@pytest.mark.parametrize("path", ["/contacts", "/api/v2/contacts"])
def test_type_user_in_both_spellings(directory: SampleDirectory, path: str) -> None:
    """The reference's misprint `/contacts&type=User` is equivalent to `/contacts?type=User`."""
    right, misprint = directory.agent.get(path + "?type=User"), directory.agent.get(path + "&type=User")

    assert assert_ok(right) == assert_ok(misprint)
    assert {contact["type"] for contact in right.json()["contacts"]} == {"User"}
    assert right.json()["totalCount"] == 7
    assert assert_ok(directory.agent.get(path + "&type=User?limit=1"))["contacts"] == right.json()["contacts"][:1]


def test_only_custom_contacts(directory: SampleDirectory) -> None:
    """`type=Custom` gives the contacts created by users, and no others."""
    body = assert_ok(directory.agent.get("/contacts?type=Custom"))

    assert body["totalCount"] == 3
    assert {contact["type"] for contact in body["contacts"]} == {"Custom"}


def test_filter_by_ids(directory: SampleDirectory) -> None:
    """Several ids; one in another form matches nothing."""
    one, two = directory.ids["jhalpert"], directory.ids["Support queue"]

    assert directory.names(f"id={one},{two}") == ["Jim Halpert", "Support"]
    assert directory.names(f"id={one.upper()}") == []


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("*", ALL_NAMES),
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
def test_names_or_number_search(directory: SampleDirectory, argument: str, names: list[str]) -> None:
    """Whole values, case and accents ignored, `*` is the only wildcard and matches within one value."""
    assert directory.names(SEARCH + argument) == names


def test_the_request_of_real_clients(directory: SampleDirectory) -> None:
    """It gives the agents of the unit."""
    query = (
        "type=User&includeUsersInBusinessUnits=AG_DEV&roles=ROLE_AGENT&limit=100"
        "&filterName=NamesOrPhoneNumberMatches&filterParameters=*&sortBy=name&order=Ascending"
    )

    assert directory.names(query) == ["Jim Halpert"]


def test_values_that_look_like_sql_match_exactly(directory: SampleDirectory) -> None:
    """They are only values, and match when stored."""
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
            assert_ok(directory.agent.get(f"{API}?{name}={text}"))
        assert_ok(directory.agent.get(f"{API}?{SEARCH}{text}*"))

    assert directory.names("firstName=O'Brien") == ["O'Brien Smith, Jr."]
    assert directory.names(SEARCH + quote("x'); drop table contact;--")) == ["O'Brien Smith, Jr."]
    assert directory.names("") == ALL_NAMES


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_sorts_in_both_directions(directory: SampleDirectory, member: str) -> None:
    """Contacts without the member are last, or first when descending; ties by id in both."""
    contacts_by_order = {}
    for order in ("Ascending", "Descending"):
        query = f"?sortBy={member}&order={order}"
        contacts_by_order[order] = assert_ok(directory.agent.get(API + query))["contacts"]
    up, down = (
        [_key(member, contact) for contact in contacts_by_order[order]] for order in ("Ascending", "Descending")
    )

    assert len(up) == len(ALL_NAMES)
    assert up == down[::-1]
    assert up == sorted(up, key=lambda key: (key is None, key or ""))
    for contacts in contacts_by_order.values():
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


def test_several_sort_members(directory: SampleDirectory) -> None:
    """The next member decides between contacts that are equal in the one before."""
    assert directory.names("type=User&firstName=Jim&sortBy=firstName,lastName") == ["Jim Halpert", "Jim Morrison"]
    assert directory.names("type=User&firstName=Jim&sortBy=firstName,lastName&order=Descending") == [
        "Jim Morrison", "Jim Halpert",
    ]  # fmt: skip
    assert directory.names("sortBy=type,name")[:4] == ["Ärzte, Notdienst", "Dwight Schrute", "Jim Halpert", "jhalpert"]


@pytest.mark.parametrize(
    ("limit", "offset"), [(None, 0), (0, 0), (1, 0), (5, 3), (13, 0), (100, 0), (5, 11), (5, 13), (5, 99), (None, 4)]
)
def test_pages(directory: SampleDirectory, limit: int | None, offset: int) -> None:
    """limit and offset select a part of the sorted list; totalCount is the whole."""
    query = f"?offset={offset}" + ("" if limit is None else f"&limit={limit}")
    body = assert_ok(directory.agent.get(API + query))

    assert body["totalCount"] == len(ALL_NAMES)
    end = None if limit is None else offset + limit
    assert [contact["name"] for contact in body["contacts"]] == ALL_NAMES[offset:end]


def test_integers_of_any_size(directory: SampleDirectory) -> None:
    """limit and offset may be larger than any machine integer."""
    assert directory.names("limit=" + "9" * 5000) == ALL_NAMES
    assert directory.names("offset=" + "9" * 30) == []


@pytest.mark.parametrize("fields", ["name", "name,id", "phoneNumbers", "uri,path,type", "roles,channel"])
def test_fields(directory: SampleDirectory, fields: str) -> None:
    """Only the requested members, as far as the contact has them."""
    whole = assert_ok(directory.agent.get(API))["contacts"]
    some = assert_ok(directory.agent.get(f"{API}?fields={fields}"))["contacts"]

    wanted = fields.split(",")
    assert some == [{name: value for name, value in contact.items() if name in wanted} for contact in whole]
    assert assert_ok(directory.agent.get(f"{API}?fields=*"))["contacts"] == whole


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
def test_invalid_queries_are_rejected(directory: SampleDirectory, query: str, code: int, says: str) -> None:
    """The error says what is wrong and what is allowed."""
    assert says in assert_error(directory.agent.get(f"{API}?{query}"), 400, code)


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
def test_any_query_gets_a_response_of_the_contract(directory: SampleDirectory, query: str) -> None:
    """The response to any query is JSON in the contract's form and never an internal error."""
    answer = directory.agent.get(f"{API}?{query}".replace("#", "%23"))
    body = answer.json()

    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, body["statusCode"]) in {(200, 0), (400, 1), (400, 2)}, body
    assert set(body) in ({"statusCode", "totalCount", "contacts"}, {"statusCode", "statusMessage"})


def test_removed_contacts_are_not_served(directory: SampleDirectory) -> None:
    """A removed contact is neither listed nor counted, and its id is unknown."""
    out = """WITH later AS (UPDATE directory SET revision = revision + 1),
                  complete AS (INSERT INTO run (source, host, pid, outcome, complete)
                               VALUES ('tests', 'host', 1, 'completed', true) RETURNING id)
             UPDATE contact SET state = 'removed', served = false, gone_run = complete.id
               FROM complete WHERE user_name = 'pbeesly'"""
    back = """WITH later AS (UPDATE directory SET revision = revision + 1)
              UPDATE contact SET state = 'active', served = true, gone_run = NULL WHERE user_name = 'pbeesly'"""
    with psycopg.connect(directory.daemon.database_url, autocommit=True) as connection:
        connection.execute(out)
        try:
            assert "Pam Beesly" not in directory.names("")
            assert assert_ok(directory.agent.get(f"{API}?name=Pam Beesly"))["totalCount"] == 0
            assert_error(directory.agent.get(f"{API}/{directory.ids['pbeesly']}"), 404, 6)
            assert_error(directory.admin.delete(f"{API}/{directory.ids['pbeesly']}"), 404, 6)
        finally:
            connection.execute(back)


def test_every_response_is_one_json_document(directory: SampleDirectory) -> None:
    """Compact UTF-8 JSON with a Content-Length and the media type without parameters."""
    answer = directory.agent.get(API, headers={"Accept-Encoding": "identity"})

    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == json.dumps(answer.json(), ensure_ascii=False, separators=(",", ":")).encode()

"""The contract of the Contacts API, row by row, spoken over HTTP to the running daemon: operations, roles, errors."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from syncd.core.contacts.contact import MEMBERS
from tests.http_daemon import Daemon, Office, done, failed

API = "/api/v2/contacts"
NEW = {"name": "Jim Halpert", "phoneNumber": "xxx-xxx-xxxx"}
NOBODY = "0" * 32


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, API + "/", "/contacts", "/contacts/"])
def test_the_collection(office: Office, path: str) -> None:
    """Every contact of every type, with statusCode and totalCount, under both paths and with a trailing slash."""
    body = done(office.agent.get(path))

    assert list(body) == ["statusCode", "totalCount", "contacts"]
    assert body["totalCount"] == len(body["contacts"]) == len(office.ids)
    assert {contact["type"] for contact in body["contacts"]} == {"User", "Queue", "Custom"}


@pytest.mark.parametrize("path", [API, "/contacts"])
@pytest.mark.parametrize("end", ["", "/"])
def test_one_contact(office: Office, path: str, end: str) -> None:
    """A user with every member that it has, in the contract's order, none of them null."""
    id_ = office.ids["pbeesly"]
    body = done(office.agent.get(f"{path}/{id_}{end}"))

    assert list(body) == ["statusCode", "contact"]
    assert body["contact"] == {
        "id": id_,
        "name": "Pam Beesly",
        "type": "User",
        "phoneNumber": "570 555 0103",
        "phoneNumbers": [
            {"phoneNumber": "570 555 0103", "description": "office"},
            {"phoneNumber": "0160 / 99 88", "description": "mobile"},
        ],
        "userName": "pbeesly",
        "firstName": "Pam",
        "lastName": "Beesly",
        "employeeId": "9",
        "roles": ["ROLE_ADMIN"],
        "businessUnits": ["AG_DEV", "AG_OPS"],
        "uri": f"{office.daemon.url}/api/v2/contacts/{id_}",
        "path": f"/contacts/{id_}",
    }
    assert list(body["contact"]["phoneNumbers"][0]) == ["phoneNumber", "description"]


def test_members_are_in_order_and_absent_ones_left_out(office: Office) -> None:
    """Roles and units are [] on a user without any; numbers are absent; a queue has a channel; nothing is null."""
    contacts = done(office.agent.get(API))["contacts"]
    by_name = {contact["name"]: contact for contact in contacts}

    for contact in contacts:
        assert list(contact) == [member for member in MEMBERS if member in contact]
        assert None not in contact.values()
        assert re.fullmatch("[0-9a-f]{32}", contact["id"])
    assert by_name["Zoë Åkesson"]["roles"] == by_name["Zoë Åkesson"]["businessUnits"] == []
    assert not {"phoneNumber", "phoneNumbers"} & set(by_name["Zoë Åkesson"])
    assert set(by_name["Support"]) == {"id", "name", "type", "channel", "uri", "path"}
    assert set(by_name["Dwight Schrute"]) == {"id", "name", "type", "phoneNumber", "phoneNumbers", "uri", "path"}


@pytest.mark.parametrize("host", ["directory.example.com", "directory.example.com:8443", "[::1]:8080"])
def test_uri_is_where_the_client_has_found_us(office: Office, host: str) -> None:
    """Without a public_url the Host of the request makes the uri."""
    id_ = office.ids["jhalpert"]
    answer = office.agent.get(f"{API}/{id_}", headers={"Host": host})

    assert done(answer)["contact"]["uri"] == f"http://{host}/api/v2/contacts/{id_}"


@pytest.mark.parametrize("host", ["a b", "a/b", 'a"b', "a@b", "", "ü.example"])
def test_a_host_that_is_none_is_refused(office: Office, host: str) -> None:
    """A Host header cannot put anything else into a uri."""
    failed(office.agent.get(API, headers={"Host": host.encode()}), 400, 2)


@pytest.mark.parametrize("id_", [NOBODY, "1", "x" * 32, "ABCDEF" + "0" * 26, "%2e%2e", NOBODY[:-1] + "%0A", "a%20b"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_id(office: Office, id_: str, method: str) -> None:
    """404 for an id that nobody has, whatever its form."""
    failed(office.admin.request(method, f"{API}/{id_}", json={"name": "x"}), 404, 6)


# --- who -------------------------------------------------------------------------------------------------------------

CALLS = {
    ("GET", "/contacts"): True,
    ("GET", "/contacts/{id}"): True,
    ("POST", "/contacts"): False,
    ("PUT", "/contacts"): False,
    ("PUT", "/contacts/{id}"): False,
    ("DELETE", "/contacts"): False,
    ("DELETE", "/contacts/{id}"): False,
}


@pytest.mark.parametrize("root", ["", "/api/v2"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_who_may_do_what(office: Office, root: str, method: str, path: str) -> None:
    """Admins may all, agents may read, everybody else gets 401, before anything else of the request is looked at."""
    url = root + path.format(id=office.ids["jhalpert"])
    with office.daemon.client(None) as nobody:
        answer = nobody.request(method, url + "?limit=nonsense", content=b"nonsense")
        assert "token" in failed(answer, 401, 20)
        assert answer.headers["www-authenticate"] == "Basic, Bearer"
    as_agent = office.agent.request(method, url, content=b"nonsense")
    as_admin = office.admin.request(method, url, content=b"nonsense")

    if CALLS[method, path]:
        done(as_agent)
        done(as_admin)
    else:
        failed(as_agent, 403, 5)
        assert (as_admin.status_code, as_admin.json()["statusCode"]) in {(400, 1), (400, 2), (403, 3)}


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer", "Bearer syncd_wrong", "Basic dXNlcjpwYXNz", "Token {}", "{}", "Bearer {} x", "Bearer é",
     "Bearer {}x", "Bearer ' OR 1=1"],
)  # fmt: skip
def test_wrong_credentials(office: Office, credentials: str) -> None:
    """Anything but one valid Bearer token is 401, and says no more."""
    token = office.daemon.tokens["admin"]
    headers = {"Authorization": credentials.format(token).encode()}
    with office.daemon.client(None) as nobody:
        failed(nobody.get(API, headers=headers), 401, 20)


def test_the_scheme_is_known_in_any_case(office: Office) -> None:
    """RFC 9110: authentication schemes ignore case."""
    with office.daemon.client(None) as nobody:
        done(nobody.get(API, headers={"Authorization": "bearer " + office.daemon.tokens["agent"]}))


def test_two_credentials_are_none(office: Office) -> None:
    """Two Authorization headers are refused, whatever they hold."""
    token = "Bearer " + office.daemon.tokens["agent"]
    with office.daemon.client(None) as nobody:
        failed(nobody.get(API, headers=[("Authorization", token), ("Authorization", token)]), 401, 20)


def test_a_revoked_token_ends_with_the_next_request(office: Office) -> None:
    """`syncd token revoke` acts at once, on a connection that is open too."""
    token = office.daemon.command("token", "create", "--role", "agent", "--name", "short-lived")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=office.daemon.url, headers=headers, timeout=60) as client:
        done(client.get(API + "?limit=1"))
        office.daemon.command("token", "revoke", "short-lived")

        failed(client.get(API + "?limit=1"), 401, 20)


# --- writing ---------------------------------------------------------------------------------------------------------

AS_PRINTED = b'{\r\n  "name": "Jim Halpert"\r\n  "phoneNumber": "xxx-xxx-xxxx"\r\n}'
WITH_COMMA = b'{\r\n  "name": "Jim Halpert",\r\n  "phoneNumber": "xxx-xxx-xxxx"\r\n}'


def test_the_create_example_of_the_reference(desk: Daemon) -> None:
    """With the comma between its members it works, as printed, without, the answer says where a comma belongs."""
    with desk.client() as admin:
        headers = {"Content-Type": "application/json"}
        message = failed(admin.post(API, content=AS_PRINTED, headers=headers), 400, 2)
        assert "line 3, column 3: a comma" in message
        body = done(answer := admin.post(API, content=WITH_COMMA, headers=headers))

        assert list(body) == ["statusCode", "id", "uri", "path"]
        assert body["uri"] == answer.headers["location"] == f"{desk.url}/api/v2/contacts/{body['id']}"
        assert body["path"] == f"/contacts/{body['id']}"
        contact = done(admin.get(body["uri"]))["contact"]
        assert contact == {
            "id": body["id"],
            "name": "Jim Halpert",
            "type": "Custom",
            "phoneNumber": "xxx-xxx-xxxx",
            "phoneNumbers": [{"phoneNumber": "xxx-xxx-xxxx"}],
            "uri": body["uri"],
            "path": body["path"],
        }


@pytest.mark.parametrize("collection", [API, "/contacts"])
@pytest.mark.parametrize("by_path", [True, False])
def test_change_and_delete(desk: Daemon, collection: str, by_path: bool) -> None:
    """PUT and DELETE work on the contact's own URL and on the collection with an id; the answer is statusCode 0."""
    with desk.client() as admin:
        id_ = done(admin.post(collection, json=NEW))["id"]
        url, beside = (f"{collection}/{id_}", {}) if by_path else (collection, {"id": id_})

        assert done(admin.put(url, json={**beside, "name": "James"})) == {"statusCode": 0}
        assert done(admin.get(f"{API}/{id_}"))["contact"]["name"] == "James"
        assert done(admin.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == "xxx-xxx-xxxx"
        assert done(admin.put(url, json={**beside, "phoneNumber": " 1-2 "})) == {"statusCode": 0}
        assert done(admin.get(API + f"?phoneNumber=12&name=James&id={id_}"))["totalCount"] == 1

        assert done(admin.delete(url, params=beside)) == {"statusCode": 0}
        failed(admin.get(f"{API}/{id_}"), 404, 6)
        failed(admin.delete(url, params=beside), 404, 6)
        failed(admin.put(url, json={**beside, "name": "James"}), 404, 6)


def test_a_contact_may_be_sent_back_as_it_was_read(desk: Daemon) -> None:
    """A PUT of the whole contact is fine as long as read-only members are equal; one that differs changes nothing."""
    with desk.client() as admin:
        url = f"{API}/{done(admin.post(API, json=NEW))['id']}"
        contact = done(admin.get(url))["contact"]
        done(admin.put(url, json=contact))
        done(admin.put(url, json={**contact, "name": "James"}))
        for member, value in {"id": NOBODY, "type": "User", "uri": "http://x/", "firstName": "J", "roles": []}.items():
            message = failed(admin.put(url, json={"name": "never", member: value}), 403, 3)
            assert member in message

        assert done(admin.get(url))["contact"] == {**contact, "name": "James"}


@pytest.mark.parametrize("who", ["jhalpert", "Support queue"])
@pytest.mark.parametrize("by_path", [True, False])
def test_synced_contacts_are_read_only(office: Office, who: str, by_path: bool) -> None:
    """PUT, even of equal values, and DELETE of a User or Queue are refused and change nothing."""
    id_ = office.ids[who]
    url, beside = (f"{API}/{id_}", {}) if by_path else (API, {"id": id_})
    before = done(office.admin.get(f"{API}/{id_}"))

    failed(office.admin.put(url, json={**beside, "name": "x"}), 403, 3)
    failed(office.admin.put(url, json={**beside, "name": before["contact"]["name"]}), 403, 3)
    failed(office.admin.put(url, json={**beside, "nonsense": 1}), 403, 3)
    failed(office.admin.delete(url, params=beside), 403, 3)
    assert done(office.admin.get(f"{API}/{id_}")) == before


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b"", 400, 1, "empty"),
        (b" \r\n", 400, 1, "empty"),
        (b"{}", 400, 1, "name is missing"),
        (b'{"name":"x"}', 400, 1, "phoneNumber is missing"),
        (b'{"phoneNumber":"x"}', 400, 1, "name is missing"),
        (b'{"name":" ","phoneNumber":"x"}', 400, 1, "name is empty"),
        (b'{"name":"x","phoneNumber":"x","type":"User"}', 403, 3, "User"),
        (b'{"name":"x","phoneNumber":"x","type":"Queue"}', 403, 3, "Queue"),
        (b'{"name":"x","phoneNumber":"x","type":"Other"}', 400, 2, "Custom"),
        (b'{"name":"x","phoneNumber":"x","id":"0"}', 403, 3, "id is read-only"),
        (b'{"name":"x","phoneNumbr":"x"}', 400, 2, "did you mean 'phoneNumber'"),
        (b'{"name":1,"phoneNumber":"x"}', 400, 2, "name must be a string"),
        (b'{"name":null,"phoneNumber":"x"}', 400, 2, "name must be a string"),
        (b'{"name":"x","phoneNumber":["x"]}', 400, 2, "phoneNumber must be a string"),
        (b'{"name":"' + b"x" * 257 + b'","phoneNumber":"x"}', 400, 2, "257"),
        (b'{"name":"a\\u0000b","phoneNumber":"x"}', 400, 2, "control"),
        (b'{"name":"a\\ud800b","phoneNumber":"x"}', 400, 2, "control"),
        (b'{"\\ud800":"a","phoneNumber":"x"}', 400, 2, "no member"),
        (b'{"name":"a\nb","phoneNumber":"x"}', 400, 2, "line 1, column 11"),
        (b'{"name":"x","name":"y","phoneNumber":"x"}', 400, 2, "twice"),
        (b'{"name":NaN,"phoneNumber":"x"}', 400, 2, "NaN"),
        (b'{"name":-Infinity,"phoneNumber":"x"}', 400, 2, "Infinity"),
        (b'{"name":' + b"9" * 5000 + b',"phoneNumber":"x"}', 400, 2, "too long"),
        (b'{"name":"x","phoneNumber":"x",}', 400, 2, "line 1, column 3"),
        (b'{"name" "x"}', 400, 2, "a colon"),
        (b"{'name':'x'}", 400, 2, "double quotes"),
        (b'{"name":"x","phoneNumber":"x"}}', 400, 2, "nothing more"),
        (b'{"name":"x', 400, 2, "line 1"),
        (b"[]", 400, 2, "object"),
        (b'"x"', 400, 2, "object"),
        (b"null", 400, 2, "object"),
        (b"name=x&phoneNumber=x", 400, 2, "line 1, column 1"),
        (b'{"name":"\xff","phoneNumber":"x"}', 400, 2, "UTF-8"),
        (b'{"name":"\xed\xa0\x80","phoneNumber":"x"}', 400, 2, "UTF-8"),
        (b'\xef\xbb\xbf{"name":"x","phoneNumber":"x"}', 400, 2, "byte order mark"),
        ('{"name":"x","phoneNumber":"x"}'.encode("utf-16"), 400, 2, "UTF-8"),
        (b"[" * 60_000, 400, 2, "nested"),
        (b'{"name":' * 7_000, 400, 2, "nested"),
    ],
)  # fmt: skip
def test_bodies_that_are_refused(office: Office, body: bytes, status: int, code: int, says: str) -> None:
    """What is missing, malformed or not allowed is told with its place, and nothing is stored."""
    revision = office.daemon.sql("SELECT revision FROM directory")
    message = failed(office.admin.post(API, content=body, headers={"Content-Type": "application/json"}), status, code)

    assert says in message
    assert office.daemon.sql("SELECT revision FROM directory") == revision


@pytest.mark.parametrize(
    ("media", "fine"),
    [("application/json", True), ("application/json; charset=utf-8", True), ('Application/JSON;charset="UTF-8"', True),
     (None, True), ("text/plain", False), ("application/x-www-form-urlencoded", False), ("", False),
     ("application/json; charset=latin-1", False), ("application/jsonp", False)],
)  # fmt: skip
def test_media_types(desk: Daemon, media: str | None, fine: bool) -> None:
    """JSON in UTF-8, or nothing said; any other media type is 415."""
    headers = {} if media is None else {"Content-Type": media}
    with desk.client() as admin:
        answer = admin.post(API, content=json.dumps(NEW).encode(), headers=headers)
        if fine:
            done(answer)
        else:
            failed(answer, 415, 2)


def test_a_compressed_body_is_refused(office: Office) -> None:
    """A Content-Encoding that we do not undo is 415."""
    failed(office.admin.post(API, json=NEW, headers={"Content-Encoding": "gzip"}), 415, 2)


def test_the_collection_needs_exactly_one_id(office: Office) -> None:
    """PUT and DELETE on the collection never select contacts by anything but one id."""
    id_ = office.ids["Dwight Schrute"]

    failed(office.admin.delete(API), 400, 1)
    failed(office.admin.delete(API + "?id="), 400, 1)
    failed(office.admin.delete(API + "?type=Custom"), 400, 1)
    failed(office.admin.delete(API + f"?id={id_}&type=Custom"), 400, 2)
    failed(office.admin.delete(API + f"?id={id_},{NOBODY}"), 400, 2)
    failed(office.admin.delete(API + f"?id={id_}&id={NOBODY}"), 400, 2)
    failed(office.admin.delete(API + f"?ids={id_}"), 400, 2)
    failed(office.admin.put(API, json={"name": "x"}), 400, 1)
    failed(office.admin.put(API + f"?id={id_}", json={"name": "x"}), 400, 1)
    failed(office.admin.put(API, json={"id": 1, "name": "x"}), 400, 2)
    failed(office.admin.put(API + "?type=Custom", json={"id": id_, "name": "x"}), 400, 2)
    assert done(office.admin.get(f"{API}/{id_}"))["contact"]["name"] == "Dwight Schrute"


def test_values_are_kept_as_sent(desk: Daemon) -> None:
    """Only the blanks around a value go; accents stay as they were composed, and are found in either way."""
    with desk.client() as admin:
        sent = {"name": "  Zoe\u0308  <b>&amp;\u202e 🙂 ", "phoneNumber": " (0)1 / xX "}
        id_ = done(admin.post(API, json=sent))["id"]
        contact = done(admin.get(f"{API}/{id_}"))["contact"]

        assert contact["name"] == sent["name"].strip()
        assert contact["phoneNumber"] == "(0)1 / xX"
        search = {"filterName": "NamesOrPhoneNumberMatches", "filterParameters": "ZOË*"}
        assert done(admin.get(API, params=search))["totalCount"] == 1


def test_each_write_raises_the_revision_once(daemon: Daemon) -> None:
    """Writers side by side: one revision for each write, none lost, none for a refused or an empty change."""
    with daemon.client() as admin:
        ids = [done(admin.post(API, json={**NEW, "name": f"n{n}"}))["id"] for n in range(4)]
        start = daemon.sql("SELECT revision FROM directory")
        assert start == 4

        def write(number: int) -> None:
            done(admin.put(f"{API}/{ids[number % 4]}", json={"name": f"changed {number}"}))
            done(admin.delete(f"{API}/{done(admin.post(API, json=NEW))['id']}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(40)))
        assert daemon.sql("SELECT revision FROM directory") == start + 120
        failed(admin.put(f"{API}/{ids[0]}", json={"name": ""}), 400, 1)
        done(admin.put(f"{API}/{ids[0]}", json={}))
        done(admin.put(f"{API}/{ids[0]}", json=done(admin.get(f"{API}/{ids[0]}"))["contact"]))
        assert daemon.sql("SELECT revision FROM directory") == start + 120


def test_every_write_is_announced(daemon: Daemon) -> None:
    """Each write sends the new revision on the channel syncd_revision, after it can be read."""
    import psycopg

    with psycopg.connect(daemon.database_url, autocommit=True) as listener, daemon.client() as admin:
        listener.execute("LISTEN syncd_revision")
        id_ = done(admin.post(API, json=NEW))["id"]
        done(admin.put(f"{API}/{id_}", json={"name": "x"}))
        done(admin.delete(f"{API}/{id_}"))
        heard = [notice.payload for notice in listener.notifies(timeout=60, stop_after=3)]

    assert heard == ["1", "2", "3"]


# --- paths and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(API, "GET, POST, PUT, DELETE"), ("/contacts/", "GET, POST, PUT, DELETE"),
     (API + "/" + NOBODY, "GET, PUT, DELETE"),
     ("/health", "GET"), ("/ready", "GET"), ("/metrics", "GET")],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "HEAD", "PROPFIND"])
def test_unsupported_methods(office: Office, path: str, allowed: str, method: str) -> None:
    """405 with the methods that there are, for agents too; HEAD gets the same without the body."""
    answer = office.agent.request(method, path)

    assert answer.headers["allow"] == allowed
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (405, b"")
    else:
        failed(answer, 405, 3)


def test_post_on_one_contact_is_unsupported(office: Office) -> None:
    """A contact's own URL takes no POST."""
    failed(office.admin.post(f"{API}/{NOBODY}", json=NEW), 405, 3)


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v2", "/api/v1/contacts", "/Contacts", "//contacts", API + "/a/b", "/x%20y"]
)
def test_unknown_paths(office: Office, path: str) -> None:
    """404 in the contract's form for everything else."""
    failed(office.admin.get(path), 404, 6)


@pytest.mark.parametrize("path", [API + "/%ff", API + "/%zz", "/%ff", "/%zz", "/%00", API + "/%00"])
def test_paths_that_are_no_text(office: Office, path: str) -> None:
    """A path that is not percent-encoded UTF-8 is refused."""
    failed(office.admin.get(path), 400, 2)


def test_a_percent_encoded_path_is_the_same_path(office: Office) -> None:
    """RFC 3986: letters may be percent-encoded."""
    assert done(office.agent.get("/%63ontacts?limit=0"))["totalCount"] == len(office.ids)


def test_parameters_of_other_calls_are_checked_too(office: Office) -> None:
    """A misspelt parameter is refused wherever it stands; fields works on one contact as well."""
    url = f"{API}/{office.ids['jhalpert']}"

    assert "fields" in failed(office.agent.get(url + "?field=name"), 400, 2)
    assert done(office.agent.get(url + "?fields=name,userName&_=1"))["contact"] == {
        "name": "Jim Halpert", "userName": "jhalpert",
    }  # fmt: skip
    failed(office.admin.post(API + "?type=Custom", json=NEW), 400, 2)
    failed(office.admin.delete(url + "?force=1"), 400, 2)

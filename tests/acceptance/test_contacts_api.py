"""The contract of the Contacts API over HTTP: operations, roles, errors."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from syncd.core.contacts.contact import MEMBERS
from tests.http_daemon import HttpDaemon, SampleDirectory, assert_error, assert_ok

API = "/api/v2/contacts"
NEW = {"name": "Jim Halpert", "phoneNumber": "xxx-xxx-xxxx"}
UNKNOWN_ID = "0" * 32


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [API, API + "/", "/contacts", "/contacts/"])
def test_the_collection_has_every_contact(directory: SampleDirectory, path: str) -> None:
    """Of every type, with statusCode and totalCount, under both paths and with a trailing slash."""
    body = assert_ok(directory.agent.get(path))

    assert list(body) == ["statusCode", "totalCount", "contacts"]
    assert body["totalCount"] == len(body["contacts"]) == len(directory.ids)
    assert {contact["type"] for contact in body["contacts"]} == {"User", "Queue", "Custom"}


@pytest.mark.parametrize("path", [API, "/contacts"])
@pytest.mark.parametrize("end", ["", "/"])
def test_one_contact(directory: SampleDirectory, path: str, end: str) -> None:
    """A user with all of its members, in the contract's order, none of them null."""
    id_ = directory.ids["pbeesly"]
    body = assert_ok(directory.agent.get(f"{path}/{id_}{end}"))

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
        "uri": f"{directory.daemon.url}/api/v2/contacts/{id_}",
        "path": f"/contacts/{id_}",
    }
    assert list(body["contact"]["phoneNumbers"][0]) == ["phoneNumber", "description"]


def test_members_are_ordered_and_absent_ones_omitted(directory: SampleDirectory) -> None:
    """A user without roles and units has []; numbers are absent; a queue has a channel; no member is null."""
    contacts = assert_ok(directory.agent.get(API))["contacts"]
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
def test_the_uri_has_the_host_of_the_request(directory: SampleDirectory, host: str) -> None:
    """Unless public_url is set."""
    id_ = directory.ids["jhalpert"]
    answer = directory.agent.get(f"{API}/{id_}", headers={"Host": host})

    assert assert_ok(answer)["contact"]["uri"] == f"http://{host}/api/v2/contacts/{id_}"


@pytest.mark.parametrize("host", ["a b", "a/b", 'a"b', "a@b", "", "ü.example"])
def test_an_invalid_host_is_rejected(directory: SampleDirectory, host: str) -> None:
    """A Host header cannot put anything else into a uri."""
    assert_error(directory.agent.get(API, headers={b"Host": host.encode()}), 400, 2)


@pytest.mark.parametrize(
    "id_", [UNKNOWN_ID, "1", "x" * 32, "ABCDEF" + "0" * 26, "%2e%2e", UNKNOWN_ID[:-1] + "%0A", "a%20b"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_id_is_not_found(directory: SampleDirectory, id_: str, method: str) -> None:
    """Whatever its form."""
    assert_error(directory.admin.request(method, f"{API}/{id_}", json={"name": "x"}), 404, 6)


# --- roles ----------------------------------------------------------------------------------------------------------

CALLS = {
    ("GET", "/contacts"): True,
    ("GET", "/contacts/{id}"): True,
    ("POST", "/contacts"): False,
    ("PUT", "/contacts"): False,
    ("PUT", "/contacts/{id}"): False,
    ("DELETE", "/contacts"): False,
    ("DELETE", "/contacts/{id}"): False,
}


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("root", ["", "/api/v2"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_roles(directory: SampleDirectory, root: str, method: str, path: str) -> None:
    """Admins may send every request, agents may read, other callers get 401 before the request is examined further."""
    url = root + path.format(id=directory.ids["jhalpert"])
    with directory.daemon.client(None) as anonymous:
        answer = anonymous.request(method, url + "?limit=nonsense", content=b"nonsense", headers=JSON)
        assert "token" in assert_error(answer, 401, 20)
        assert answer.headers["www-authenticate"] == 'Bearer realm="syncd", charset="UTF-8"'
    as_agent = directory.agent.request(method, url, content=b"nonsense", headers=JSON)
    as_admin = directory.admin.request(method, url, content=b"nonsense", headers=JSON)

    if CALLS[method, path]:
        assert_ok(as_agent)
        assert_ok(as_admin)
    else:
        assert_error(as_agent, 403, 5)
        assert (as_admin.status_code, as_admin.json()["statusCode"]) in {(400, 1), (400, 2), (403, 3)}


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer", "Bearer syncd_wrong", "Basic dXNlcjpwYXNz", "Token {}", "{}", "Bearer {} x", "Bearer é",
     "Bearer {}x", "Bearer ' OR 1=1"],
)  # fmt: skip
def test_invalid_credentials_are_rejected(directory: SampleDirectory, credentials: str) -> None:
    """Anything but one valid Bearer token is 401, without a reason."""
    token = directory.daemon.tokens["admin"]
    headers = {b"Authorization": credentials.format(token).encode()}
    with directory.daemon.client(None) as anonymous:
        assert_error(anonymous.get(API, headers=headers), 401, 20)


def test_the_authentication_scheme_ignores_case(directory: SampleDirectory) -> None:
    """RFC 9110, 11.1."""
    with directory.daemon.client(None) as anonymous:
        assert_ok(anonymous.get(API, headers={"Authorization": "bearer " + directory.daemon.tokens["agent"]}))


def test_two_authorization_headers_are_rejected(directory: SampleDirectory) -> None:
    """Also when both are valid."""
    token = "Bearer " + directory.daemon.tokens["agent"]
    with directory.daemon.client(None) as anonymous:
        assert_error(anonymous.get(API, headers=[("Authorization", token), ("Authorization", token)]), 401, 20)


def test_a_revoked_token_is_rejected_at_the_next_request(directory: SampleDirectory) -> None:
    """Also on an open connection."""
    token = directory.daemon.run_command("token", "create", "--role", "agent", "--name", "short-lived")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=directory.daemon.url, headers=headers, timeout=60) as client:
        assert_ok(client.get(API + "?limit=1"))
        directory.daemon.run_command("token", "revoke", "short-lived")

        assert_error(client.get(API + "?limit=1"), 401, 20)


# --- writing ---------------------------------------------------------------------------------------------------------

AS_PRINTED = b'{\r\n  "name": "Jim Halpert"\r\n  "phoneNumber": "xxx-xxx-xxxx"\r\n}'
WITH_COMMA = b'{\r\n  "name": "Jim Halpert",\r\n  "phoneNumber": "xxx-xxx-xxxx"\r\n}'


def test_the_create_example_of_the_reference(shared_daemon: HttpDaemon) -> None:
    """With the missing comma added it works; as printed the error says where a comma belongs."""
    with shared_daemon.client() as admin:
        headers = {"Content-Type": "application/json"}
        message = assert_error(admin.post(API, content=AS_PRINTED, headers=headers), 400, 2)
        assert "line 3, column 3: a comma" in message
        body = assert_ok(answer := admin.post(API, content=WITH_COMMA, headers=headers))

        assert list(body) == ["statusCode", "id", "uri", "path"]
        assert body["uri"] == answer.headers["location"] == f"{shared_daemon.url}/api/v2/contacts/{body['id']}"
        assert body["path"] == f"/contacts/{body['id']}"
        contact = assert_ok(admin.get(body["uri"]))["contact"]
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
def test_change_and_delete(shared_daemon: HttpDaemon, collection: str, by_path: bool) -> None:
    """PUT and DELETE work on the contact's own URL and on the collection with an id; the response is statusCode 0."""
    with shared_daemon.client() as admin:
        id_ = assert_ok(admin.post(collection, json=NEW))["id"]
        url, beside = (f"{collection}/{id_}", {}) if by_path else (collection, {"id": id_})

        assert assert_ok(admin.put(url, json={**beside, "name": "James"})) == {"statusCode": 0}
        assert assert_ok(admin.get(f"{API}/{id_}"))["contact"]["name"] == "James"
        assert assert_ok(admin.get(f"{API}/{id_}"))["contact"]["phoneNumber"] == "xxx-xxx-xxxx"
        assert assert_ok(admin.put(url, json={**beside, "phoneNumber": " 1-2 "})) == {"statusCode": 0}
        assert assert_ok(admin.get(API + f"?phoneNumber=12&name=James&id={id_}"))["totalCount"] == 1

        assert assert_ok(admin.delete(url, params=beside)) == {"statusCode": 0}
        assert_error(admin.get(f"{API}/{id_}"), 404, 6)
        assert_error(admin.delete(url, params=beside), 404, 6)
        assert_error(admin.put(url, json={**beside, "name": "James"}), 404, 6)


def test_a_whole_contact_may_be_put(shared_daemon: HttpDaemon) -> None:
    """Read-only members must be equal; a different one is rejected and nothing is changed."""
    with shared_daemon.client() as admin:
        url = f"{API}/{assert_ok(admin.post(API, json=NEW))['id']}"
        contact = assert_ok(admin.get(url))["contact"]
        assert_ok(admin.put(url, json=contact))
        assert_ok(admin.put(url, json={**contact, "name": "James"}))
        for member, value in {
            "id": UNKNOWN_ID,
            "type": "User",
            "uri": "http://x/",
            "firstName": "J",
            "roles": [],
        }.items():
            message = assert_error(admin.put(url, json={"name": "never", member: value}), 403, 3)
            assert member in message

        assert assert_ok(admin.get(url))["contact"] == {**contact, "name": "James"}


@pytest.mark.parametrize("who", ["jhalpert", "Support queue"])
@pytest.mark.parametrize("by_path", [True, False])
def test_synced_contacts_are_read_only(directory: SampleDirectory, who: str, by_path: bool) -> None:
    """PUT, also of equal values, and DELETE of a User or Queue are rejected and change nothing."""
    id_ = directory.ids[who]
    url, beside = (f"{API}/{id_}", {}) if by_path else (API, {"id": id_})
    before = assert_ok(directory.admin.get(f"{API}/{id_}"))

    assert_error(directory.admin.put(url, json={**beside, "name": "x"}), 403, 3)
    assert_error(directory.admin.put(url, json={**beside, "name": before["contact"]["name"]}), 403, 3)
    assert_error(directory.admin.put(url, json={**beside, "nonsense": 1}), 403, 3)
    assert_error(directory.admin.delete(url, params=beside), 403, 3)
    assert assert_ok(directory.admin.get(f"{API}/{id_}")) == before


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
def test_invalid_bodies_are_rejected(
    directory: SampleDirectory, body: bytes, status: int, code: int, says: str
) -> None:
    """The error says what is missing, malformed or not allowed and where; nothing is stored."""
    revision = directory.daemon.query_value("SELECT revision FROM directory")
    message = assert_error(
        directory.admin.post(API, content=body, headers={"Content-Type": "application/json"}), status, code
    )

    assert says in message
    assert directory.daemon.query_value("SELECT revision FROM directory") == revision


@pytest.mark.parametrize(
    ("media", "fine"),
    [("application/json", True), ("application/json; charset=utf-8", True), ('Application/JSON;charset="UTF-8"', True),
     (None, False), ("text/plain", False), ("application/x-www-form-urlencoded", False), ("", False),
     ("application/json; charset=latin-1", False), ("application/jsonp", False)],
)  # fmt: skip
def test_media_types(shared_daemon: HttpDaemon, media: str | None, fine: bool) -> None:
    """JSON in UTF-8; any other media type, or none, is 415."""
    headers = {} if media is None else {"Content-Type": media}
    with shared_daemon.client() as admin:
        answer = admin.post(API, content=json.dumps(NEW).encode(), headers=headers)
        if fine:
            assert_ok(answer)
        else:
            assert_error(answer, 415, 2)


def test_a_compressed_body_is_rejected(directory: SampleDirectory) -> None:
    """Content-Encoding is not supported: 415."""
    assert_error(directory.admin.post(API, json=NEW, headers={"Content-Encoding": "gzip"}), 415, 2)


def test_the_collection_requires_exactly_one_id(directory: SampleDirectory) -> None:
    """PUT and DELETE on the collection select a contact only by one id."""
    id_ = directory.ids["Dwight Schrute"]

    assert_error(directory.admin.delete(API), 400, 1)
    assert_error(directory.admin.delete(API + "?id="), 400, 1)
    assert_error(directory.admin.delete(API + "?type=Custom"), 400, 1)
    assert_error(directory.admin.delete(API + f"?id={id_}&type=Custom"), 400, 2)
    assert_error(directory.admin.delete(API + f"?id={id_},{UNKNOWN_ID}"), 400, 2)
    assert_error(directory.admin.delete(API + f"?id={id_}&id={UNKNOWN_ID}"), 400, 2)
    assert_error(directory.admin.delete(API + f"?ids={id_}"), 400, 2)
    assert_error(directory.admin.put(API, json={"name": "x"}), 400, 1)
    assert_error(directory.admin.put(API + f"?id={id_}", json={"name": "x"}), 400, 1)
    assert_error(directory.admin.put(API, json={"id": 1, "name": "x"}), 400, 2)
    assert_error(directory.admin.put(API + "?type=Custom", json={"id": id_, "name": "x"}), 400, 2)
    assert assert_ok(directory.admin.get(f"{API}/{id_}"))["contact"]["name"] == "Dwight Schrute"


def test_values_are_stored_as_sent(shared_daemon: HttpDaemon) -> None:
    """Surrounding blanks are removed; accents keep their composition, and match in both forms."""
    with shared_daemon.client() as admin:
        sent = {"name": "  Zoe\u0308  <b>&amp;\u202e 🙂 ", "phoneNumber": " (0)1 / xX "}
        id_ = assert_ok(admin.post(API, json=sent))["id"]
        contact = assert_ok(admin.get(f"{API}/{id_}"))["contact"]

        assert contact["name"] == sent["name"].strip()
        assert contact["phoneNumber"] == "(0)1 / xX"
        search = {"filterName": "NamesOrPhoneNumberMatches", "filterParameters": "ZOË*"}
        assert assert_ok(admin.get(API, params=search))["totalCount"] == 1


def test_each_write_raises_the_revision_once(daemon: HttpDaemon) -> None:
    """With concurrent writers: one revision for each write, none for a rejected or an empty change."""
    with daemon.client() as admin:
        ids = [assert_ok(admin.post(API, json={**NEW, "name": f"n{n}"}))["id"] for n in range(4)]
        start = daemon.query_value("SELECT revision FROM directory")
        assert start == 4

        def write(number: int) -> None:
            assert_ok(admin.put(f"{API}/{ids[number % 4]}", json={"name": f"changed {number}"}))
            assert_ok(admin.delete(f"{API}/{assert_ok(admin.post(API, json=NEW))['id']}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(40)))
        assert daemon.query_value("SELECT revision FROM directory") == start + 120
        assert_error(admin.put(f"{API}/{ids[0]}", json={"name": ""}), 400, 1)
        assert_ok(admin.put(f"{API}/{ids[0]}", json={}))
        assert_ok(admin.put(f"{API}/{ids[0]}", json=assert_ok(admin.get(f"{API}/{ids[0]}"))["contact"]))
        assert daemon.query_value("SELECT revision FROM directory") == start + 120


def test_every_write_is_notified(daemon: HttpDaemon) -> None:
    """Each write sends the new revision on the channel syncd_revision, after it can be read."""
    import psycopg

    with psycopg.connect(daemon.database_url, autocommit=True) as listener, daemon.client() as admin:
        listener.execute("LISTEN syncd_revision")
        id_ = assert_ok(admin.post(API, json=NEW))["id"]
        assert_ok(admin.put(f"{API}/{id_}", json={"name": "x"}))
        assert_ok(admin.delete(f"{API}/{id_}"))
        heard = [notice.payload for notice in listener.notifies(timeout=60, stop_after=3)]

    assert heard == ["1", "2", "3"]


# --- paths and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(API, "GET, HEAD, POST, PUT, DELETE"), ("/contacts/", "GET, HEAD, POST, PUT, DELETE"),
     (API + "/" + UNKNOWN_ID, "GET, HEAD, PUT, DELETE"),
     ("/health", "GET, HEAD"), ("/ready", "GET, HEAD"), ("/metrics", "GET, HEAD")],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "PROPFIND"])
def test_unsupported_methods(directory: SampleDirectory, path: str, allowed: str, method: str) -> None:
    """405 with the allowed methods, for agents too."""
    answer = directory.agent.request(method, path)

    assert answer.headers["allow"] == allowed
    assert_error(answer, 405, 3)


def test_post_on_one_contact_is_not_allowed(directory: SampleDirectory) -> None:
    """A contact's own URL has no POST."""
    assert_error(directory.admin.post(f"{API}/{UNKNOWN_ID}", json=NEW), 405, 3)


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v2", "/api/v1/contacts", "/Contacts", "//contacts", API + "/a/b", "/x%20y"]
)
def test_unknown_paths_are_not_found(directory: SampleDirectory, path: str) -> None:
    """404 in the contract's form."""
    assert_error(directory.admin.get(path), 404, 6)


@pytest.mark.parametrize("path", [API + "/%ff", API + "/%zz", "/%ff", "/%zz", "/%00", API + "/%00"])
def test_invalid_paths_are_rejected(directory: SampleDirectory, path: str) -> None:
    """A path that is not percent-encoded UTF-8."""
    assert_error(directory.admin.get(path), 400, 2)


def test_a_percent_encoded_path_is_equivalent(directory: SampleDirectory) -> None:
    """RFC 3986, 6.2.2.2."""
    assert assert_ok(directory.agent.get("/%63ontacts?limit=0"))["totalCount"] == len(directory.ids)


def test_parameters_of_all_requests_are_checked(directory: SampleDirectory) -> None:
    """A misspelled parameter is rejected everywhere; `fields` applies to one contact as well."""
    url = f"{API}/{directory.ids['jhalpert']}"

    assert "fields" in assert_error(directory.agent.get(url + "?field=name"), 400, 2)
    assert assert_ok(directory.agent.get(url + "?fields=name,userName&_=1"))["contact"] == {
        "name": "Jim Halpert", "userName": "jhalpert",
    }  # fmt: skip
    assert_error(directory.admin.post(API + "?type=Custom", json=NEW), 400, 2)
    assert_error(directory.admin.delete(url + "?force=1"), 400, 2)

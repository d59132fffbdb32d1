"""Contacts in files over HTTP: export as CSV and vCard, import with preview."""

import csv
import io
import threading

import httpx
import pytest

from syncd.core.contacts.contact import Contact, PhoneNumber
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.contacts.custom import create
from tests.http_daemon import CUSTOM, PEOPLE, HttpDaemon, SampleDirectory, assert_error, assert_ok

API = "/api/v2/contacts"
IMPORT = f"{API}/import"
CSV = {"Content-Type": "text/csv; charset=utf-8; header=present"}
VCARD = {"Content-Type": "text/vcard"}


def read_csv(answer: httpx.Response) -> list[dict[str, str]]:
    """Return the rows of a CSV response, after checks of its form."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    text = answer.content.decode()
    assert text.startswith("\ufeff")
    assert text.count("\n") == text.count("\r\n") == text.count("\r")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def import_csv(client: httpx.Client, text: str, query: str = "", headers: dict[str, str] = CSV) -> dict[str, object]:
    """Send a file to the import endpoint; return the result."""
    answer = client.post(IMPORT + query, content=text.encode(), headers=headers)
    result: dict[str, object] = assert_ok(answer)
    return result


def insert_custom_contacts(daemon: HttpDaemon, contacts: list[Contact]) -> None:
    """Insert Custom contacts, which may have more numbers than a POST allows."""
    api = open_engine(Database(url=daemon.database_url), Role.API)
    with api.begin() as connection:
        for contact in contacts:
            create(connection, contact, "tests")
    api.dispose()


def test_an_export_equals_the_list(directory: SampleDirectory) -> None:
    """The same contacts in the same order, for every filter, order and page."""
    for query in (
        "",
        "type=User&sortBy=userName",
        "roles=ROLE_AGENT",
        "limit=3&offset=2&order=Descending",
        "name=none",
    ):
        listed = assert_ok(directory.agent.get(f"{API}?{query}"))["contacts"]
        assert [row["id"] for row in read_csv(directory.agent.get(f"{API}?format=csv&{query}"))] == [
            one["id"] for one in listed
        ]
        cards = directory.agent.get(f"{API}?{query}", headers={"Accept": "text/vcard"})
        assert cards.headers["content-type"] == "text/vcard; charset=utf-8"
        ids = [line[-36:].replace("-", "") for line in cards.text.split("\r\n") if line.startswith("UID:urn:uuid:")]
        assert ids == [one["id"] for one in listed]


def test_the_columns_of_a_csv_export(directory: SampleDirectory) -> None:
    """Each member has a column; formulas are escaped."""
    (jim,) = read_csv(directory.agent.get(f"{API}?userName=jhalpert&format=csv"))
    assert jim == {
        "id": directory.ids["jhalpert"], "name": "Jim Halpert", "type": "User", "phoneNumber": "'+1 570 555-0101",
        "phoneNumbers": "office: +1 570 555-0101", "userName": "jhalpert", "firstName": "Jim", "lastName": "Halpert",
        "employeeId": "7", "emailAddress": "jim@dm.example", "roles": "ROLE_AGENT, ROLE_SALES",
        "businessUnits": "AG_DEV", "channel": "",
    }  # fmt: skip
    (pam,) = read_csv(directory.agent.get(f"{API}?userName=pbeesly&format=csv&fields=phoneNumbers,uri"))
    assert pam["phoneNumbers"] == "office: 570 555 0103, mobile: 0160 / 99 88"
    assert pam["uri"].endswith(directory.ids["pbeesly"])


def test_the_format_is_negotiated(directory: SampleDirectory) -> None:
    """`format` overrides Accept; Vary has Accept, and each format has an entity tag of its own."""
    json = directory.agent.get(API, headers={"Accept": "text/csv;q=0.3, application/json"})
    sheet = directory.agent.get(API, headers={"Accept": "application/json;q=0.3, text/csv"})
    forced = directory.agent.get(f"{API}?format=json", headers={"Accept": "text/csv"})

    assert json.headers["content-type"] == forced.headers["content-type"] == "application/json"
    assert len(read_csv(sheet)) == json.json()["totalCount"] == len(PEOPLE) + len(CUSTOM)
    assert "Accept" in sheet.headers["vary"]
    assert json.headers["etag"] != sheet.headers["etag"]
    again = directory.agent.get(API, headers={"Accept": "text/csv", "If-None-Match": sheet.headers["etag"]})
    assert again.status_code == 304
    assert "did you mean" not in assert_error(directory.agent.get(f"{API}?format=xml"), 400, 2)


def test_one_contact_as_vcard_and_csv(directory: SampleDirectory) -> None:
    """The rules of a single contact are the same."""
    id_ = directory.ids["jhalpert"]
    card = directory.agent.get(f"{API}/{id_}", headers={"Accept": "text/vcard"})
    assert card.headers["content-disposition"] == f'attachment; filename="{id_}.vcf"'
    assert card.text.startswith("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:")
    assert "\r\nFN:Jim Halpert\r\nN:Halpert;Jim;;;\r\n" in card.text
    assert len(read_csv(directory.agent.get(f"{API}/{id_}?format=csv"))) == 1
    assert_error(directory.agent.get(f"{API}/{'f' * 32}?format=vcard"), 404, 6)


@pytest.mark.parametrize(("form", "headers"), [("csv", CSV), ("vcard", VCARD)])
def test_an_export_can_be_imported(daemon: HttpDaemon, form: str, headers: dict[str, str]) -> None:
    """Values with any characters are unchanged."""
    names = ["=1+1", "'=1+1", "'t Hooft", 'a;b,c"d\\', "+49", "Ä" * 100, "@x"]
    numbers = [[PhoneNumber("-1", ""), PhoneNumber("=2", "a: b, c")], [PhoneNumber("'+3", "mobile")]]
    with daemon.client() as admin:
        insert_custom_contacts(daemon, [Contact(name, tuple(numbers[at % 2])) for at, name in enumerate(names)])
        before = assert_ok(admin.get(API))["contacts"]
        text = admin.get(f"{API}?format={form}").content.decode()
        assert import_csv(admin, text, "?apply=true", headers)["unchanged"] == len(names)
        for one in before:
            assert_ok(admin.put(f"{API}/{one['id']}", json={"name": "x", "phoneNumber": "y"}))
        assert import_csv(admin, text, "?apply=true", headers)["changed"] == len(names)
        assert assert_ok(admin.get(API))["contacts"] == before


def test_an_import_is_previewed_first(daemon: HttpDaemon) -> None:
    """Applied, the valid rows are one revision; a second import changes nothing."""
    user = daemon.insert("User", Contact("Jim"))
    text = f'id;name;phoneNumber\n;Ann;1\n;Bob;\n{user};Eve;2\n;"Dan\n";3\n'
    with daemon.client() as admin:
        before = admin.get(API)
        preview = import_csv(admin, text)
        assert {member: preview[member] for member in ("applied", "created", "changed", "unchanged", "rejected")} == {
            "applied": False, "created": 2, "changed": 0, "unchanged": 0, "rejected": 2,
        }  # fmt: skip
        assert preview["rows"] == [
            {"line": 2, "result": "create", "name": "Ann"},
            {"line": 3, "result": "reject", "name": "Bob", "why": "phoneNumber is empty"},
            {
                "line": 4, "result": "reject", "id": user, "name": "Eve",
                "why": f"contact {user} is a User: the synchronization keeps it, not an import",
            },
            {"line": 5, "result": "create", "name": "Dan"},
        ]  # fmt: skip
        assert admin.get(API).content == before.content

        applied = import_csv(admin, text, "?apply=true")
        assert (applied["applied"], applied["created"], applied["rejected"]) == (True, 2, 2)
        after = admin.get(API)
        assert [one["name"] for one in after.json()["contacts"]] == ["Ann", "Dan", "Jim"]
        assert int(after.headers["directory-revision"]) == int(before.headers["directory-revision"]) + 1
        again = import_csv(admin, text, "?apply=true")
        assert (again["created"], again["unchanged"]) == (0, 2)
        assert admin.get(API).headers["etag"] == after.headers["etag"]
    assert daemon.query_value("SELECT string_agg(DISTINCT caller, ',') FROM change") == "admin of the tests"


def test_concurrent_imports_create_no_duplicates(daemon: HttpDaemon) -> None:
    """Three clients import the same file."""
    text = "name,phoneNumber\n" + "".join(f"Person {n},{n}\n" for n in range(500))
    created: list[object] = []

    def send() -> None:
        with daemon.client() as admin:
            created.append(import_csv(admin, text, "?apply=true")["created"])

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(map(str, created)) == ["0", "0", "500"]


def test_import_requires_an_admin_and_a_valid_request(shared_daemon: HttpDaemon) -> None:
    """Media type, method, size and parameters are checked."""
    good = b"name,phoneNumber\nAnn,1\n"
    with (
        shared_daemon.client("agent") as agent,
        shared_daemon.client(None) as anonymous,
        shared_daemon.client() as admin,
    ):
        assert_error(agent.post(IMPORT, content=good, headers=CSV), 403, 5)
        assert_error(anonymous.post(IMPORT, content=good, headers=CSV), 401, 20)
        assert_error(admin.post(IMPORT, content=good, headers={"Content-Type": "application/json"}), 415, 2)
        assert_error(admin.post(IMPORT, content=good, headers={"Content-Type": "text/csv; charset=latin1"}), 415, 2)
        assert_error(admin.post(IMPORT, content=b"", headers=CSV), 400, 1)
        assert_error(admin.post(f"{IMPORT}?apply=yes", content=good, headers=CSV), 400, 2)
        assert_error(admin.post(f"{IMPORT}?aply=true", content=good, headers=CSV), 400, 2)
        assert_error(admin.post(IMPORT, content=b"x" * (5 * 1024 * 1024 + 1), headers=CSV), 413, 2)
        assert_error(admin.post(IMPORT, content=b"name,phoneNumber\n" + b"A,1\n" * 20_001, headers=CSV), 413, 2)
        why = assert_error(admin.post(IMPORT, content=b"name,Phone\nA,1\n", headers=CSV), 400, 2)
        assert why.startswith("line 1: a contact has no member 'Phone'; did you mean 'phoneNumber'?")
        assert admin.get(IMPORT).status_code == 405
        assert "Ann" not in admin.get(API).text
        assert import_csv(admin, good.decode(), "", CSV)["created"] == 1

"""Contacts in files over HTTP: exports that spreadsheets and address books open, imports that are shown first."""

import csv
import io
import threading

import httpx
import pytest

from syncd.core.contacts.contact import Contact, Number
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.contacts.custom import create
from tests.http_daemon import CUSTOM, PEOPLE, Daemon, Office, done, failed

API = "/api/v2/contacts"
IMPORT = f"{API}/import"
CSV = {"Content-Type": "text/csv; charset=utf-8; header=present"}
VCARD = {"Content-Type": "text/vcard"}


def table(answer: httpx.Response) -> list[dict[str, str]]:
    """The rows of a sheet, after its form is checked."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    text = answer.content.decode()
    assert text.startswith("\ufeff")
    assert text.count("\n") == text.count("\r\n") == text.count("\r")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def imported(client: httpx.Client, text: str, query: str = "", headers: dict[str, str] = CSV) -> dict[str, object]:
    answer = client.post(IMPORT + query, content=text.encode(), headers=headers)
    found: dict[str, object] = done(answer)
    return found


def kept(daemon: Daemon, contacts: list[Contact]) -> None:
    """Custom contacts that are there, with more numbers than a POST could give them."""
    api = open_engine(Database(url=daemon.database_url), Role.API)
    with api.begin() as connection:
        for contact in contacts:
            create(connection, contact, "tests")
    api.dispose()


def test_an_export_has_what_the_list_has(office: Office) -> None:
    """The same contacts in the same order, for every filter, order and window."""
    for query in (
        "",
        "type=User&sortBy=userName",
        "roles=ROLE_AGENT",
        "limit=3&offset=2&order=Descending",
        "name=none",
    ):
        listed = done(office.agent.get(f"{API}?{query}"))["contacts"]
        assert [row["id"] for row in table(office.agent.get(f"{API}?format=csv&{query}"))] == [
            one["id"] for one in listed
        ]
        cards = office.agent.get(f"{API}?{query}", headers={"Accept": "text/vcard"})
        assert cards.headers["content-type"] == "text/vcard; charset=utf-8"
        ids = [line[-36:].replace("-", "") for line in cards.text.split("\r\n") if line.startswith("UID:urn:uuid:")]
        assert ids == [one["id"] for one in listed]


def test_a_sheet_says_what_a_contact_is(office: Office) -> None:
    """Each member in its column, formulas disarmed."""
    (jim,) = table(office.agent.get(f"{API}?userName=jhalpert&format=csv"))
    assert jim == {
        "id": office.ids["jhalpert"], "name": "Jim Halpert", "type": "User", "phoneNumber": "'+1 570 555-0101",
        "phoneNumbers": "office: +1 570 555-0101", "userName": "jhalpert", "firstName": "Jim", "lastName": "Halpert",
        "employeeId": "7", "emailAddress": "jim@dm.example", "roles": "ROLE_AGENT, ROLE_SALES",
        "businessUnits": "AG_DEV", "channel": "",
    }  # fmt: skip
    (pam,) = table(office.agent.get(f"{API}?userName=pbeesly&format=csv&fields=phoneNumbers,uri"))
    assert pam["phoneNumbers"] == "office: 570 555 0103, mobile: 0160 / 99 88"
    assert pam["uri"].endswith(office.ids["pbeesly"])


def test_the_form_is_negotiated(office: Office) -> None:
    """format wins over Accept; a cache must tell the forms apart, and each has its own tag."""
    json = office.agent.get(API, headers={"Accept": "text/csv;q=0.3, application/json"})
    sheet = office.agent.get(API, headers={"Accept": "application/json;q=0.3, text/csv"})
    forced = office.agent.get(f"{API}?format=json", headers={"Accept": "text/csv"})

    assert json.headers["content-type"] == forced.headers["content-type"] == "application/json"
    assert len(table(sheet)) == json.json()["totalCount"] == len(PEOPLE) + len(CUSTOM)
    assert "Accept" in sheet.headers["vary"]
    assert json.headers["etag"] != sheet.headers["etag"]
    again = office.agent.get(API, headers={"Accept": "text/csv", "If-None-Match": sheet.headers["etag"]})
    assert again.status_code == 304
    assert "did you mean" not in failed(office.agent.get(f"{API}?format=xml"), 400, 2)


def test_one_contact_is_a_card(office: Office) -> None:
    """Or a sheet of one row; the rules of a single contact stay."""
    id_ = office.ids["jhalpert"]
    card = office.agent.get(f"{API}/{id_}", headers={"Accept": "text/vcard"})
    assert card.headers["content-disposition"] == f'attachment; filename="{id_}.vcf"'
    assert card.text.startswith("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:")
    assert "\r\nFN:Jim Halpert\r\nN:Halpert;Jim;;;\r\n" in card.text
    assert len(table(office.agent.get(f"{API}/{id_}?format=csv"))) == 1
    failed(office.agent.get(f"{API}/{'f' * 32}?format=vcard"), 404, 6)


@pytest.mark.parametrize(("form", "headers"), [("csv", CSV), ("vcard", VCARD)])
def test_an_export_is_imported_as_it_was(daemon: Daemon, form: str, headers: dict[str, str]) -> None:
    """Whatever signs the values have."""
    names = ["=1+1", "'=1+1", "'t Hooft", 'a;b,c"d\\', "+49", "Ä" * 100, "@x"]
    numbers = [[Number("-1", ""), Number("=2", "a: b, c")], [Number("'+3", "mobile")]]
    with daemon.client() as admin:
        kept(daemon, [Contact(name, tuple(numbers[at % 2])) for at, name in enumerate(names)])
        was = done(admin.get(API))["contacts"]
        text = admin.get(f"{API}?format={form}").content.decode()
        assert imported(admin, text, "?apply=true", headers)["unchanged"] == len(names)
        for one in was:
            done(admin.put(f"{API}/{one['id']}", json={"name": "x", "phoneNumber": "y"}))
        assert imported(admin, text, "?apply=true", headers)["changed"] == len(names)
        assert done(admin.get(API))["contacts"] == was


def test_an_import_is_shown_first(daemon: Daemon) -> None:
    """Applied, the good rows are one revision; once more, they change nothing."""
    user = daemon.insert("User", Contact("Jim"))
    text = f'id;name;phoneNumber\n;Ann;1\n;Bob;\n{user};Eve;2\n;"Dan\n";3\n'
    with daemon.client() as admin:
        before = admin.get(API)
        shown = imported(admin, text)
        assert {member: shown[member] for member in ("applied", "created", "changed", "unchanged", "rejected")} == {
            "applied": False, "created": 2, "changed": 0, "unchanged": 0, "rejected": 2,
        }  # fmt: skip
        assert shown["rows"] == [
            {"line": 2, "result": "create", "name": "Ann"},
            {"line": 3, "result": "reject", "name": "Bob", "why": "phoneNumber is empty"},
            {
                "line": 4, "result": "reject", "id": user, "name": "Eve",
                "why": f"contact {user} is a User: the synchronization keeps it, not an import",
            },
            {"line": 5, "result": "create", "name": "Dan"},
        ]  # fmt: skip
        assert admin.get(API).content == before.content

        applied = imported(admin, text, "?apply=true")
        assert (applied["applied"], applied["created"], applied["rejected"]) == (True, 2, 2)
        after = admin.get(API)
        assert [one["name"] for one in after.json()["contacts"]] == ["Ann", "Dan", "Jim"]
        assert int(after.headers["directory-revision"]) == int(before.headers["directory-revision"]) + 1
        again = imported(admin, text, "?apply=true")
        assert (again["created"], again["unchanged"]) == (0, 2)
        assert admin.get(API).headers["etag"] == after.headers["etag"]
    assert daemon.sql("SELECT string_agg(DISTINCT caller, ',') FROM change") == "admin of the tests"


def test_two_imports_at_once_double_nothing(daemon: Daemon) -> None:
    text = "name,phoneNumber\n" + "".join(f"Person {n},{n}\n" for n in range(500))
    found: list[object] = []

    def send() -> None:
        with daemon.client() as admin:
            found.append(imported(admin, text, "?apply=true")["created"])

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(map(str, found)) == ["0", "0", "500"]


def test_who_may_import_and_how(desk: Daemon) -> None:
    """Admins only; a media type of ours, a method of ours, a size of ours, parameters of ours."""
    good = b"name,phoneNumber\nAnn,1\n"
    with desk.client("agent") as agent, desk.client(None) as nobody, desk.client() as admin:
        failed(agent.post(IMPORT, content=good, headers=CSV), 403, 5)
        failed(nobody.post(IMPORT, content=good, headers=CSV), 401, 20)
        failed(admin.post(IMPORT, content=good, headers={"Content-Type": "application/json"}), 415, 2)
        failed(admin.post(IMPORT, content=good, headers={"Content-Type": "text/csv; charset=latin1"}), 415, 2)
        failed(admin.post(IMPORT, content=b"", headers=CSV), 400, 1)
        failed(admin.post(f"{IMPORT}?apply=yes", content=good, headers=CSV), 400, 2)
        failed(admin.post(f"{IMPORT}?aply=true", content=good, headers=CSV), 400, 2)
        failed(admin.post(IMPORT, content=b"x" * (5 * 1024 * 1024 + 1), headers=CSV), 413, 2)
        failed(admin.post(IMPORT, content=b"name,phoneNumber\n" + b"A,1\n" * 20_001, headers=CSV), 413, 2)
        why = failed(admin.post(IMPORT, content=b"name,Phone\nA,1\n", headers=CSV), 400, 2)
        assert why.startswith("line 1: a contact has no member 'Phone'; did you mean 'phoneNumber'?")
        assert admin.get(IMPORT).status_code == 405
        assert "Ann" not in admin.get(API).text
        assert imported(admin, good.decode(), "", CSV)["created"] == 1

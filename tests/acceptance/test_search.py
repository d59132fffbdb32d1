"""Search and lookup over HTTP: ranking of `q`, owners of a number, spellings of a number."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber
from syncd.core.contacts.lookup import MAX_NUMBERS
from syncd.demo.servers import Postgres
from tests.http_daemon import (
    HttpDaemon,
    SampleDirectory,
    assert_error,
    assert_ok,
    create_database,
    make_user,
    run_daemon,
)
from tests.waiting import wait_until

API = "/api/v2/contacts"
SETTINGS = '[contacts]\ndefault_region = "DE"\n'
PEOPLE: list[tuple[ContactType, Contact]] = [
    make_user("Anna", "Müller", "amueller", "+49 89 5550-103", email_address="anna.mueller@corp.example"),
    make_user("Anna Maria", "Meier", "ameier", "089 5550104", roles=("ROLE_AGENT",)),
    make_user("Annabel", "Chase", "achase", "0049 (0)89 5550105"),
    make_user("Bert", "Anna", "anna", "4001"),
    make_user("Johanna", "Schmidt", "jschmidt", "+49 89 5550106 ext. 30", roles=("ROLE_AGENT",)),
    make_user("Zoë", "Åkesson", "zakesson", "+46 8 5550107"),
    make_user("Max", "Annas", "mannas", "*97"),
    ("Queue", Contact("Anna's Queue", (PhoneNumber("089/5550-103"),), channel="voice")),
    ("Queue", Contact("Sales München")),
]  # fmt: skip
CUSTOM = [("Anna", "+49 89 5550199"), ("Müllerei Anna", "0 89 / 555 01 03"), ("Pförtner", "4001")]


@pytest.fixture(scope="module")
def directory(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SampleDirectory]:
    """A daemon with the contacts above, some of them with similar names, which tests only read."""
    folder = tmp_path_factory.mktemp("directory")
    with run_daemon(folder, create_database(postgres, template_database), SETTINGS) as daemon:
        ids = {contact.name: daemon.insert(type_, contact, "DE") for type_, contact in PEOPLE}
        with daemon.client() as admin, daemon.client("agent") as agent:
            for name, number in CUSTOM:
                ids[name] = assert_ok(admin.post(API, json={"name": name, "phoneNumber": number}))["id"]
            yield SampleDirectory(daemon, ids, admin, agent)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        # exact by name and by user name, then names that begin with it, then words that do
        ("anna", ["Anna", "Bert Anna", "Anna Maria Meier", "Anna Müller", "Anna's Queue", "Annabel Chase",
                  "Max Annas", "Müllerei Anna"]),
        ("ANNA", ["Anna", "Bert Anna", "Anna Maria Meier", "Anna Müller", "Anna's Queue", "Annabel Chase",
                  "Max Annas", "Müllerei Anna"]),
        ("anna mu", ["Anna Müller", "Müllerei Anna"]),
        ("mu anna", ["Anna Müller", "Müllerei Anna"]),
        ("Müller, Anna", ["Anna Müller", "Müllerei Anna"]),
        ("mull", ["Müllerei Anna", "Anna Müller"]),
        ("akesson", ["Zoë Åkesson"]),
        ("ZOË ÅK", ["Zoë Åkesson"]),
        ("anna.mueller@corp.example", ["Anna Müller"]),
        ("corp.ex", ["Anna Müller"]),
        ("munchen", ["Sales München"]),
        ("ler", []),
        ("jschmidt", ["Johanna Schmidt"]),
        ("-", []),
        ("%", []),
        ("a_na", []),
    ],
)  # fmt: skip
def test_ranking(directory: SampleDirectory, typed: str, names: list[str]) -> None:
    """Every word begins a word of the contact, without case and accents; better matches first, then by name."""
    matches = directory.names("q=" + quote(typed))

    assert [name for name in matches if name in names] == names
    assert matches[: len(names)] == names


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("schmitd", "Johanna Schmidt"),
        ("johana schmidt", "Johanna Schmidt"),
        ("johanna schmit", "Johanna Schmidt"),
        ("muler", "Anna Müller"),
        ("anna muler", "Anna Müller"),
        ("akeson", "Zoë Åkesson"),
        ("anabel", "Annabel Chase"),
        ("minchen", "Sales München"),
    ],
)
def test_a_misspelling_is_tolerated(directory: SampleDirectory, typed: str, name: str) -> None:
    """One wrong, missing or transposed letter."""
    assert name in directory.names("q=" + quote(typed))


def test_matches_come_before_similar_names(directory: SampleDirectory) -> None:
    """A misspelling of one name may be another name."""
    assert directory.names("q=mullere")[0] == "Müllerei Anna"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("4001", ["Bert Anna", "Pförtner"]),
        ("+49 89 5550-103", ["Anna Müller", "Anna's Queue", "Müllerei Anna"]),
        ("089 5550103", ["Anna Müller", "Anna's Queue", "Müllerei Anna"]),
        ("0049 89 5550105", ["Annabel Chase"]),
        ("+49 (0)89 555 010", ["Anna Maria Meier", "Anna Müller", "Anna's Queue", "Annabel Chase",
                              "Johanna Schmidt", "Müllerei Anna"]),
        ("089 5550", ["Anna", "Anna Maria Meier", "Anna Müller", "Anna's Queue", "Annabel Chase", "Johanna Schmidt",
                      "Müllerei Anna"]),
        ("30", ["Johanna Schmidt"]),
        ("5550103", []),
        ("*97", ["Max Annas"]),
        ("meier 0895", ["Anna Maria Meier"]),
    ],
)  # fmt: skip
def test_search_by_number(directory: SampleDirectory, typed: str, names: list[str]) -> None:
    """By the first digits, as written, nationally or internationally; digits inside a number do not match."""
    assert directory.names("q=" + quote(typed)) == names


def test_search_with_filters_pages_and_order(directory: SampleDirectory) -> None:
    """All other parameters apply as well."""
    assert directory.names("q=anna&type=Queue") == ["Anna's Queue"]
    assert directory.names("q=anna&type=User&roles=ROLE_AGENT") == ["Anna Maria Meier"]
    assert directory.names("q=anna&firstName=Max") == ["Max Annas"]
    assert directory.names("q=anna&sortBy=lastName&type=User") == [
        "Bert Anna", "Max Annas", "Annabel Chase", "Anna Maria Meier", "Anna Müller",
    ]  # fmt: skip
    assert directory.names("q=anna&sortBy=name&order=Descending&type=Custom") == ["Müllerei Anna", "Anna"]
    assert directory.names("q=anna&filterName=NamesOrPhoneNumberMatches&filterParameters=m*") == [
        "Anna Maria Meier", "Anna Müller", "Max Annas", "Müllerei Anna",
    ]  # fmt: skip
    page = assert_ok(directory.agent.get(API + "?q=anna&limit=2&offset=1&fields=name"))
    assert page["totalCount"] == 8
    assert page["contacts"] == [{"name": "Bert Anna"}, {"name": "Anna Maria Meier"}]
    assert assert_ok(directory.agent.get(API + "?q=anna&limit=0")) == {"statusCode": 0, "totalCount": 8, "contacts": []}
    assert assert_ok(directory.agent.get(API + "?q=anna&offset=99"))["totalCount"] == 8


def test_a_search_above_the_limits_is_rejected(directory: SampleDirectory) -> None:
    """As an invalid parameter, with the limit."""
    assert "at most 8" in assert_error(directory.agent.get(API + "?q=a+b+c+d+e+f+g+h+i"), 400, 2)
    assert "at most 100" in assert_error(directory.agent.get(API + "?q=" + "a" * 101), 400, 2)


def test_pages_are_consecutive(directory: SampleDirectory) -> None:
    """Pages of one contact give the whole list, without gap or repetition."""
    whole = directory.names("q=a")
    assert [directory.names(f"q=a&limit=1&offset={position}")[0] for position in range(len(whole))] == whole


@pytest.mark.parametrize(
    "spelling",
    ["+49 89 5550103", "089 5550-103", "0049 89 5550103", "(089) 5550103", "+49 (0)89/5550103", "49895550103"],
)
def test_a_filter_matches_every_spelling(directory: SampleDirectory, spelling: str) -> None:
    """Stored numbers and the parameter are compared as numbers, not as text."""
    names = directory.names("phoneNumber=" + quote(spelling, safe=""))

    assert names == ["Anna Müller", "Anna's Queue", "Müllerei Anna"]


def test_numbers_keep_their_spelling(directory: SampleDirectory) -> None:
    """A contact that matches by another spelling is returned with its own."""
    contacts = assert_ok(directory.agent.get(API + "?phoneNumber=%2B49895550103&type=Custom"))["contacts"]
    assert [contact["phoneNumber"] for contact in contacts] == ["0 89 / 555 01 03"]


def look_up(directory: SampleDirectory, *numbers: str) -> list[dict[str, Any]]:
    """Return the entry of each number."""
    parameter = ",".join(quote(number, safe="") for number in numbers)
    return list(assert_ok(directory.agent.get(f"{API}/lookup?number={parameter}"))["lookups"])


@pytest.mark.parametrize(
    ("number", "matches"),
    [
        ("+49 89 5550-103", [("exact", "Anna Müller"), ("e164", "Anna's Queue"), ("e164", "Müllerei Anna")]),
        ("0895550103", [("exact", "Anna's Queue"), ("exact", "Müllerei Anna"), ("e164", "Anna Müller")]),
        ("5550103", [("suffix", "Anna Müller"), ("suffix", "Anna's Queue"), ("suffix", "Müllerei Anna")]),
        ("555010", []),
        ("895550103", [("e164", "Anna Müller"), ("e164", "Anna's Queue"), ("e164", "Müllerei Anna")]),
        ("4001", [("exact", "Bert Anna"), ("exact", "Pförtner")]),
        ("001", []),
        ("+49 89 5550106", [("suffix", "Johanna Schmidt")]),
        ("089 5550106 x30", [("e164", "Johanna Schmidt")]),
        ("+43 89 5550103", []),
        ("*97", [("exact", "Max Annas")]),
        ("+49 40 12345678", []),
        ("nobody", []),
    ],
)
def test_owners_of_a_number(directory: SampleDirectory, number: str, matches: list[tuple[str, str]]) -> None:
    """Equal digits first, then the same number, then numbers that end so; User before Queue before Custom.

    A short number matches only itself.
    """
    (entry,) = look_up(directory, number)
    assert entry["number"] == number
    assert [(match["match"], match["contact"]["name"]) for match in entry["matches"]] == matches


def test_several_numbers_are_looked_up_in_order(directory: SampleDirectory) -> None:
    """Each once, with a list that may be empty; contacts are as usual."""
    entries = look_up(directory, "4001", "000", "4001", "*97")

    assert [entry["number"] for entry in entries] == ["4001", "000", "*97"]
    assert [len(entry["matches"]) for entry in entries] == [2, 0, 1]
    contact = entries[2]["matches"][0]["contact"]
    assert contact == assert_ok(directory.agent.get(f"{API}/{directory.ids['Max Annas']}"))["contact"]
    only = assert_ok(directory.agent.get(f"{API}/lookup?number=*97&number=4001&fields=name"))["lookups"]
    assert only[0] == {"number": "*97", "matches": [{"match": "exact", "contact": {"name": "Max Annas"}}]}


def test_a_lookup_of_no_or_too_many_numbers_is_rejected(directory: SampleDirectory) -> None:
    """With the limit."""
    assert "number is missing" in assert_error(directory.agent.get(f"{API}/lookup"), 400, 1)
    many = ",".join(map(str, range(MAX_NUMBERS + 1)))
    assert "at most 100" in assert_error(directory.agent.get(f"{API}/lookup?number={many}"), 400, 2)
    assert "there is no parameter 'numbr'" in assert_error(directory.agent.get(f"{API}/lookup?numbr=1"), 400, 2)


def test_responses_are_deterministic(directory: SampleDirectory) -> None:
    """A hundred concurrent requests give the same bytes."""
    paths = [f"{API}/lookup?number=%2B49895550103,4001,895550103", f"{API}?q=ana"]
    for path in paths:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda n, path=path: directory.agent.get(f"{path}&_={n}").content, range(100)))
        assert len(set(answers)) == 1


def test_a_change_is_searchable_at_once(shared_daemon: HttpDaemon) -> None:
    """A Custom contact under its new name and number, immediately after the response to the change."""
    with shared_daemon.client() as admin:
        id_ = assert_ok(admin.post(API, json={"name": "Quirin Xaver", "phoneNumber": "+49 89 5550777"}))["id"]
        assert [contact["id"] for contact in assert_ok(admin.get(API + "?q=quir"))["contacts"]] == [id_]
        assert assert_ok(admin.get(API + "?q=quirn"))["totalCount"] == 1
        assert_ok(admin.put(f"{API}/{id_}", json={"name": "Yvo Xaver", "phoneNumber": "+49 89 5550778"}))
        assert assert_ok(admin.get(API + "?q=quir"))["totalCount"] == 0
        assert assert_ok(admin.get(API + "?q=yvo+xav"))["totalCount"] == 1
        assert assert_ok(admin.get(API + "/lookup?number=49895550777"))["lookups"][0]["matches"] == []
        assert len(assert_ok(admin.get(API + "/lookup?number=49895550778"))["lookups"][0]["matches"]) == 1
        assert_ok(admin.delete(f"{API}/{id_}"))
        assert assert_ok(admin.get(API + "?q=yvo+xav"))["totalCount"] == 0


def test_another_default_region_reindexes_custom_contacts(daemon: HttpDaemon) -> None:
    """A number stored without a region matches its international spelling after a start with one."""
    with daemon.client() as admin:
        assert_ok(admin.post(API, json={"name": "Gate", "phoneNumber": "089 5550103"}))
        assert assert_ok(admin.get(API + "?phoneNumber=%2B49895550103"))["totalCount"] == 0
    assert daemon.stop() == 0
    daemon.configure(SETTINGS)
    daemon.start()
    with daemon.client() as admin:
        wait_until(lambda: assert_ok(admin.get(API + "?phoneNumber=%2B49895550103"))["totalCount"] == 1)
        contacts = assert_ok(admin.get(API + "?phoneNumber=%2B49895550103"))["contacts"]
        assert [contact["phoneNumber"] for contact in contacts] == ["089 5550103"]
    assert daemon.query_value("SELECT count(*) FROM change") == 1

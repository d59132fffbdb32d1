"""Searching and looking up over HTTP: `q`, whose a number is, and every spelling of a number."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from syncd.core.contacts.contact import Contact, Number
from syncd.core.contacts.lookup import MOST_NUMBERS
from syncd.demo.servers import Postgres
from tests.http_daemon import Daemon, Office, done, failed, new_database, run, user
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
SETTINGS = '[contacts]\ndefault_region = "DE"\n'
PEOPLE = [
    user("Anna", "Müller", "amueller", "+49 89 5550-103", email_address="anna.mueller@corp.example"),
    user("Anna Maria", "Meier", "ameier", "089 5550104", roles=("ROLE_AGENT",)),
    user("Annabel", "Chase", "achase", "0049 (0)89 5550105"),
    user("Bert", "Anna", "anna", "4001"),
    user("Johanna", "Schmidt", "jschmidt", "+49 89 5550106 ext. 30", roles=("ROLE_AGENT",)),
    user("Zoë", "Åkesson", "zakesson", "+46 8 5550107"),
    user("Max", "Annas", "mannas", "*97"),
    ("Queue", Contact("Anna's Queue", (Number("089/5550-103"),), channel="voice")),
    ("Queue", Contact("Sales München")),
]  # fmt: skip
CUSTOM = [("Anna", "+49 89 5550199"), ("Müllerei Anna", "0 89 / 555 01 03"), ("Pförtner", "4001")]


@pytest.fixture(scope="module")
def house(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A daemon with the people above, some of them nearly namesakes. They are only read."""
    for daemon in run(tmp_path_factory.mktemp("house"), new_database(postgres, migrated), SETTINGS):
        ids = {contact.name: daemon.insert(type_, contact, "DE") for type_, contact in PEOPLE}
        with daemon.client() as admin, daemon.client("agent") as agent:
            for name, number in CUSTOM:
                ids[name] = done(admin.post(API, json={"name": name, "phoneNumber": number}))["id"]
            yield Office(daemon, ids, admin, agent)


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
def test_ranking(house: Office, typed: str, names: list[str]) -> None:
    """Every word begins a word of the contact, whatever case and accents; the better match is first, then the name."""
    found = house.names("q=" + quote(typed))

    assert [name for name in found if name in names] == names
    assert found[: len(names)] == names


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
def test_a_small_typo_is_forgiven(house: Office, typed: str, name: str) -> None:
    """Whoever is meant is found."""
    assert name in house.names("q=" + quote(typed))


def test_those_who_match_come_before_those_who_are_like_it(house: Office) -> None:
    """A misspelling of one name may be the name of somebody else."""
    assert house.names("q=mullere")[0] == "Müllerei Anna"


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
def test_numbers(house: Office, typed: str, names: list[str]) -> None:
    """By their first digits, as written, nationally or internationally; digits inside a number do not count."""
    assert house.names("q=" + quote(typed)) == names


def test_filters_pages_and_order_beside_it(house: Office) -> None:
    """All else that a query may say holds as well."""
    assert house.names("q=anna&type=Queue") == ["Anna's Queue"]
    assert house.names("q=anna&type=User&roles=ROLE_AGENT") == ["Anna Maria Meier"]
    assert house.names("q=anna&firstName=Max") == ["Max Annas"]
    assert house.names("q=anna&sortBy=lastName&type=User") == [
        "Bert Anna", "Max Annas", "Annabel Chase", "Anna Maria Meier", "Anna Müller",
    ]  # fmt: skip
    assert house.names("q=anna&sortBy=name&order=Descending&type=Custom") == ["Müllerei Anna", "Anna"]
    assert house.names("q=anna&filterName=NamesOrPhoneNumberMatches&filterParameters=m*") == [
        "Anna Maria Meier", "Anna Müller", "Max Annas", "Müllerei Anna",
    ]  # fmt: skip
    page = done(house.agent.get(API + "?q=anna&limit=2&offset=1&fields=name"))
    assert page["totalCount"] == 8
    assert page["contacts"] == [{"name": "Bert Anna"}, {"name": "Anna Maria Meier"}]
    assert done(house.agent.get(API + "?q=anna&limit=0")) == {"statusCode": 0, "totalCount": 8, "contacts": []}
    assert done(house.agent.get(API + "?q=anna&offset=99"))["totalCount"] == 8


def test_a_search_that_is_too_much_is_refused(house: Office) -> None:
    """With the limit, and as an invalid parameter."""
    assert "at most 8" in failed(house.agent.get(API + "?q=a+b+c+d+e+f+g+h+i"), 400, 2)
    assert "at most 100" in failed(house.agent.get(API + "?q=" + "a" * 101), 400, 2)


def test_pages_fit_together(house: Office) -> None:
    """Page by page gives the list, without gap or repetition."""
    whole = house.names("q=a")
    assert [house.names(f"q=a&limit=1&offset={position}")[0] for position in range(len(whole))] == whole


@pytest.mark.parametrize(
    "asked",
    ["+49 89 5550103", "089 5550-103", "0049 89 5550103", "(089) 5550103", "+49 (0)89/5550103", "49895550103"],
)
def test_a_filter_finds_every_spelling(house: Office, asked: str) -> None:
    """Whatever is written in the directory and in the question, it is the same number."""
    found = house.names("phoneNumber=" + quote(asked, safe=""))

    assert found == ["Anna Müller", "Anna's Queue", "Müllerei Anna"]


def test_numbers_are_shown_as_they_were_given(house: Office) -> None:
    """What is found by another spelling keeps its own."""
    found = done(house.agent.get(API + "?phoneNumber=%2B49895550103&type=Custom"))["contacts"]
    assert [contact["phoneNumber"] for contact in found] == ["0 89 / 555 01 03"]


def lookup(office: Office, *numbers: str) -> list[dict[str, Any]]:
    """What the directory says of these numbers."""
    asked = ",".join(quote(number, safe="") for number in numbers)
    return list(done(office.agent.get(f"{API}/lookup?number={asked}"))["lookups"])


def told(office: Office, number: str) -> list[tuple[str, str]]:
    """Kind of match and name of each contact that has a number."""
    (found,) = lookup(office, number)
    assert found["number"] == number
    return [(match["match"], match["contact"]["name"]) for match in found["matches"]]


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
def test_whose_a_number_is(house: Office, number: str, matches: list[tuple[str, str]]) -> None:
    """The digits as written, then the same number in another spelling, then one whose end it is; User before Queue
    before Custom. A short number is only itself."""
    assert told(house, number) == matches


def test_several_numbers_are_answered_in_their_order(house: Office) -> None:
    """Each once, with a list that may be empty; the wire form of a contact is the usual one."""
    found = lookup(house, "4001", "000", "4001", "*97")

    assert [entry["number"] for entry in found] == ["4001", "000", "*97"]
    assert [len(entry["matches"]) for entry in found] == [2, 0, 1]
    contact = found[2]["matches"][0]["contact"]
    assert contact == done(house.agent.get(f"{API}/{house.ids['Max Annas']}"))["contact"]
    only = done(house.agent.get(f"{API}/lookup?number=*97&number=4001&fields=name"))["lookups"]
    assert only[0] == {"number": "*97", "matches": [{"match": "exact", "contact": {"name": "Max Annas"}}]}


def test_a_lookup_of_nothing_or_too_much_is_refused(house: Office) -> None:
    """With what is allowed."""
    assert "number is missing" in failed(house.agent.get(f"{API}/lookup"), 400, 1)
    many = ",".join(map(str, range(MOST_NUMBERS + 1)))
    assert "at most 100" in failed(house.agent.get(f"{API}/lookup?number={many}"), 400, 2)
    assert "there is no parameter 'numbr'" in failed(house.agent.get(f"{API}/lookup?numbr=1"), 400, 2)


def test_the_same_question_has_the_same_answer(house: Office) -> None:
    """A hundred at a time, byte for byte."""
    paths = [f"{API}/lookup?number=%2B49895550103,4001,895550103", f"{API}?q=ana"]
    for path in paths:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda n, path=path: house.agent.get(f"{path}&_={n}").content, range(100)))
        assert len(set(answers)) == 1


def test_what_is_written_is_found_at_once_and_what_is_gone_is_not(desk: Daemon) -> None:
    """A Custom contact under its new name and number, right after the answer to the change."""
    with desk.client() as admin:
        made = done(admin.post(API, json={"name": "Quirin Xaver", "phoneNumber": "+49 89 5550777"}))["id"]
        assert [contact["id"] for contact in done(admin.get(API + "?q=quir"))["contacts"]] == [made]
        assert done(admin.get(API + "?q=quirn"))["totalCount"] == 1
        done(admin.put(f"{API}/{made}", json={"name": "Yvo Xaver", "phoneNumber": "+49 89 5550778"}))
        assert done(admin.get(API + "?q=quir"))["totalCount"] == 0
        assert done(admin.get(API + "?q=yvo+xav"))["totalCount"] == 1
        assert done(admin.get(API + "/lookup?number=49895550777"))["lookups"][0]["matches"] == []
        assert len(done(admin.get(API + "/lookup?number=49895550778"))["lookups"][0]["matches"]) == 1
        done(admin.delete(f"{API}/{made}"))
        assert done(admin.get(API + "?q=yvo+xav"))["totalCount"] == 0


def test_another_region_indexes_custom_contacts_anew(daemon: Daemon) -> None:
    """What was stored without a region is found by it as soon as the daemon has started with one."""
    with daemon.client() as admin:
        done(admin.post(API, json={"name": "Gate", "phoneNumber": "089 5550103"}))
        assert done(admin.get(API + "?phoneNumber=%2B49895550103"))["totalCount"] == 0
    assert daemon.stop() == 0
    daemon.start(SETTINGS)
    with daemon.client() as admin:
        wait_until(lambda: done(admin.get(API + "?phoneNumber=%2B49895550103"))["totalCount"] == 1)
        found = done(admin.get(API + "?phoneNumber=%2B49895550103"))["contacts"]
        assert [contact["phoneNumber"] for contact in found] == ["089 5550103"]
    assert daemon.sql("SELECT count(*) FROM change") == 1

"""The second look and the search for a person, on real slapds: one that was read, a replica of it, and a stranger."""

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, Recognition, Record, Reject, Search, Sight, Sighting
from syncd.demo.servers import Slapd
from syncd.drill.messages import done, entry, operation
from syncd.drill.proxy import Proxy, dead_port
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory
from tests.scripted_ldap import ScriptedServer

ROOT = "dc=example,dc=com"
PEOPLE = f"ou=people,{ROOT}"
FORMER = f"ou=former,{ROOT}"
PASSWORD = "the-password-of-a-test"
WANTED = frozenset({"cn", "sn", "mail", "telephonenumber", "jpegphoto"})
MANY = 1200
LATE = 10

EXTRA = f"""
limits dn.exact="cn=reader,{ROOT}" size=unlimited size.prtotal=unlimited
limits dn.exact="cn=limited,{ROOT}" size.soft=2 size.hard=2 size.prtotal=2
limits dn.exact="cn=nopages,{ROOT}" size=unlimited size.prtotal=disabled
access to attrs=userPassword by anonymous auth by * none
access to attrs=entryUUID by dn.exact="cn=noseek,{ROOT}" =r by * read
access to * by * read
"""
SPECIAL = ["a(b)c", "star*star", "back\\slash", "Jürgen", "comma, quoted", "ü*)(\\2a", "#~=|&!<>"]


def key(name: str) -> str:
    """The entryUUID of an entry on every replica of one directory."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def unit(dn: str, name: str = "") -> str:
    name = name or dn
    return f"dn: {dn}\nobjectClass: organizationalUnit\nentryUUID: {key(name)}"


def person(uid: str, parent: str = PEOPLE, *more: str) -> str:
    lines = [f"dn: uid={uid},{parent}", "objectClass: inetOrgPerson", f"uid: {uid}", f"cn: {uid.title()} Person",
             "sn: Person", f"mail: {uid}@example.com", f"entryUUID: {key(uid)}", *more]  # fmt: skip
    return "\n".join(lines)


def tree(*entries: str, name: str = "") -> str:
    """The LDIF of a directory; another name makes it another directory."""
    top = [
        f"dn: {ROOT}\nobjectClass: dcObject\nobjectClass: organization\no: Example\nentryUUID: {key(name + ROOT)}",
        unit(PEOPLE, name + PEOPLE),
        unit(FORMER, name + FORMER),
        # a whole-tree search always gets a reference here
        f"dn: ou=abroad,{ROOT}\nobjectClass: referral\nobjectClass: extensibleObject\n"
        f"ref: ldap://elsewhere.example.com/ou=abroad,{ROOT}",
    ]
    accounts = [
        f"dn: cn={account},{ROOT}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"userPassword: {PASSWORD}"
        for account in ("reader", "limited", "nopages", "noseek")
    ]
    return "\n\n".join([*top, *accounts, *entries]) + "\n"


SHARED = [
    unit(f"ou=deep,{PEOPLE}"),
    person("ada", PEOPLE, "telephoneNumber: +49 30 1234", "employeeNumber: 7", "displayName: Countess of Lovelace"),
    person("deep", f"ou=deep,{PEOPLE}"),
    person("moved", FORMER),
    person("photo", PEOPLE, "jpegPhoto:: /9j/4A=="),
    f"dn: cn=filtered,{PEOPLE}\nobjectClass: organizationalRole\ncn: filtered\nentryUUID: {key('filtered')}",
    *[person(f"many{number}") for number in range(MANY)],
    *[
        f"dn: uid=special{number},{PEOPLE}\nobjectClass: inetOrgPerson\nsn: S\ncn: S\nuid: special{number}\n"
        f"employeeType: {value}"
        for number, value in enumerate(SPECIAL)
    ],
]
LATECOMERS = [person(f"late{number}") for number in range(LATE)]


def started(folder: Path, ldif: str) -> Slapd:
    server = Slapd(folder, extra=EXTRA)
    server.create(ldif)
    server.start()
    return server


@pytest.fixture(scope="module")
def here(server_folder: Path) -> Iterator[Slapd]:
    """The server that was read."""
    server = started(server_folder / "look-here", tree(*SHARED))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def there(server_folder: Path) -> Iterator[Slapd]:
    """Its replica, which is ten entries ahead and has one person somewhere else."""
    server = started(server_folder / "look-there", tree(*SHARED, *LATECOMERS, person("left", FORMER)))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stranger(server_folder: Path) -> Iterator[Slapd]:
    """Another directory with the same names."""
    server = started(server_folder / "look-stranger", tree(person("ada"), name="other "))
    yield server
    server.stop()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


def settings(password_file: Path, *urls: str, account: str = "reader", **more: Any) -> LdapSource:
    given = {
        "kind": "ldap", "name": "people", "type": "User", "schedule": {"every": "15m"}, "urls": urls, "tls": "none",
        "bind_dn": f"cn={account},{ROOT}", "bind_password_file": str(password_file), "base": PEOPLE,
        "page_size": 100, "connect_timeout": "30s", "read_timeout": "30s", "deadline": "2m", **more,
    }  # fmt: skip
    return LdapSource.model_validate(given)


def evidence(url: str, **more: Any) -> Evidence:
    """What a complete read of this server says."""
    return Evidence(**{"server": url, "key_attribute": "entryuuid", "directory": key(PEOPLE), **more})


def look(source: LdapSource, keys: Sequence[str], **more: Any) -> list[Sighting]:
    """A second look after a read of the first URL; there has to be one answer to each key, in order."""
    found = LdapDirectory(source, WANTED).look(keys, evidence(source.urls[0], **more))
    assert [sighting.key for sighting in found] == list(keys)
    assert PASSWORD not in repr(found)
    return list(found)


def read(source: LdapSource) -> Evidence:
    """The evidence of a complete read."""
    stream = next(LdapDirectory(source, WANTED).attempts()).read(Recognition(b"", set()))
    while True:
        try:
            next(stream)
        except StopIteration as end:
            found: Evidence = end.value
            return found


def sights(found: Sequence[Sighting]) -> list[Sight]:
    return [sighting.sight for sighting in found]


def search(source: LdapSource, text: str, *keys: str) -> Search:
    found = LdapDirectory(source, WANTED).search(text, keys)
    assert PASSWORD not in repr(found)
    return found


def places(found: Search) -> list[str]:
    return sorted(one.item.place.partition(",")[0] for one in found.found)


def test_the_evidence_names_the_directory(here: Slapd, there: Slapd, stranger: Slapd, password_file: Path) -> None:
    """Replicas share the key of their base entry, another directory does not, whatever attribute is the key."""

    def directory(server: Slapd, key_: str = "auto") -> str:
        return read(settings(password_file, server.url, key=key_)).directory

    assert directory(here) == directory(there) == key(PEOPLE)
    assert directory(here, "uid") == directory(here, "entryUUID") == key(PEOPLE)
    # an attribute of another kind of server, which nothing here has
    assert directory(here, "nsUniqueId") == ""
    assert directory(stranger) == key("other " + PEOPLE)


@pytest.mark.parametrize(
    ("name", "sight", "place"),
    [
        ("nobody", Sight.GONE, ""),
        ("moved", Sight.ELSEWHERE, f"uid=moved,{FORMER}"),
        ("filtered", Sight.ELSEWHERE, f"cn=filtered,{PEOPLE}"),
        ("ada", Sight.PRESENT, f"uid=ada,{PEOPLE}"),
        ("deep", Sight.PRESENT, f"uid=deep,ou=deep,{PEOPLE}"),
    ],
)
def test_a_missing_key_is_asked_for(here: Slapd, password_file: Path, name: str, sight: Sight, place: str) -> None:
    """Gone, out of the base, left out by the filter, or there after all; a reference in the tree changes nothing."""
    assert look(settings(password_file, here.url), [key(name)]) == [Sighting(key(name), sight, place)]


def test_below_the_scope_is_elsewhere(here: Slapd, password_file: Path) -> None:
    """What the scope leaves out is not where the source looks."""
    source = settings(password_file, here.url, scope="onelevel")

    assert sights(look(source, [key("deep"), key("ada")])) == [Sight.ELSEWHERE, Sight.PRESENT]


def test_no_key_no_question(password_file: Path) -> None:
    """Nothing missing: no connection is opened."""
    with ScriptedServer() as server:
        assert look(settings(password_file, server.url), []) == []
        assert server.connections == 0


def test_ten_entries_that_one_replica_lacks(here: Slapd, there: Slapd, password_file: Path) -> None:
    """They are present, with the name of the server that has them; what neither has is gone."""
    keys = [key(f"late{number}") for number in range(LATE)]
    *late, nobody = look(settings(password_file, here.url, there.url), [*keys, key("nobody")])

    assert late == [
        Sighting(one, Sight.PRESENT, f"uid=late{number},{PEOPLE} on {there.url}") for number, one in enumerate(keys)
    ]
    assert nobody == Sighting(key("nobody"), Sight.GONE)


def test_elsewhere_on_the_other_replica(here: Slapd, there: Slapd, password_file: Path) -> None:
    """The other server is asked the same two questions."""
    (left,) = look(settings(password_file, here.url, there.url), [key("left")])

    assert left == Sighting(key("left"), Sight.ELSEWHERE, f"uid=left,{FORMER} on {there.url}")


def test_only_what_is_missing_is_asked_of_the_other(here: Slapd, there: Slapd, password_file: Path) -> None:
    """One answer that an entry is there is enough."""
    with Proxy(there.port) as other:
        look(settings(password_file, here.url, other.url), [key("ada"), key("moved")])
        assert other.connections == 0

        look(settings(password_file, here.url, other.url), [key("ada"), key("nobody")])
        assert other.connections == 1


def test_the_server_that_was_read_is_asked_first(here: Slapd, there: Slapd, password_file: Path) -> None:
    """After a failover that is not the first of the URLs, and all the others may be asked then."""
    source = settings(password_file, f"ldap://127.0.0.1:{dead_port()}", there.url, here.url)
    found = LdapDirectory(source, WANTED).look([key("late1"), key("nobody")], evidence(here.url))

    assert [(one.sight, one.place) for one in found] == [
        (Sight.PRESENT, f"uid=late1,{PEOPLE} on {there.url}"),
        (Sight.GONE, ""),
    ]


def test_nobody_else_can_be_asked(here: Slapd, password_file: Path) -> None:
    """Another server is configured and down: what the first lacks is unknown, what it has is not."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    nobody, ada = look(settings(password_file, here.url, dead), [key("nobody"), key("ada")])

    assert (nobody.sight, ada.sight) == (Sight.UNKNOWN, Sight.PRESENT)
    assert nobody.place.startswith(f"{dead}: cannot connect")
    assert "check the port in the URL" in nobody.place


def test_another_directory_is_no_second_opinion(
    here: Slapd, stranger: Slapd, there: Slapd, password_file: Path
) -> None:
    """That a stranger lacks a key says nothing; a replica behind it may."""
    (unknown,) = look(settings(password_file, here.url, stranger.url), [key("nobody")])
    (gone,) = look(settings(password_file, here.url, stranger.url, there.url), [key("nobody")])

    assert unknown.sight is Sight.UNKNOWN
    assert f"is not the one that was read from {here.url}" in unknown.place
    assert gone.sight is Sight.GONE


def test_a_rebuilt_directory_is_no_second_opinion(stranger: Slapd, password_file: Path) -> None:
    """The server itself became another one between read and look."""
    assert sights(look(settings(password_file, stranger.url), [key("ada")])) == [Sight.UNKNOWN]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"account": "limited"}, "4 sizeLimitExceeded"),
        ({"account": "nopages"}, "allow paged results|raise the server's limits"),
        ({"account": "noseek"}, "does not find the base"),
        ({"account": "nobody"}, "49 invalidCredentials"),
        ({"base": f"ou=nowhere,{ROOT}"}, "32 noSuchObject"),
        ({"key": "uid"}, "is not the one that was read"),
    ],
    ids=["size limit", "no paging", "no right to search by the key", "bind", "base", "another key"],
)
def test_an_error_is_no_answer(here: Slapd, password_file: Path, more: dict[str, Any], said: str) -> None:
    """Every key stays unknown, and the reason names the server and the next step."""
    keys = [key("nobody"), key("ada"), key("many1"), key("many2")]
    found = look(settings(password_file, here.url, **more), keys)

    assert sights(found) == [Sight.UNKNOWN] * len(keys)
    (why,) = {sighting.place for sighting in found}
    assert why.startswith(f"{here.url}: ")
    assert any(part in why for part in said.split("|")), why


def test_an_error_on_the_first_is_not_mended_by_the_second(there: Slapd, password_file: Path) -> None:
    """Who does not answer has not said that a key is missing, so the other server's word alone removes nobody."""
    source = settings(password_file, f"ldap://127.0.0.1:{dead_port()}", there.url)

    assert sights(look(source, [key("nobody")])) == [Sight.UNKNOWN]


@pytest.mark.parametrize("page_size", [7, 1000])
def test_many_keys_are_asked_for_in_batches(here: Slapd, password_file: Path, page_size: int) -> None:
    """1,200 keys that are there among 1,200 that are not; an answer may have many pages."""
    keys = [key(f"{name}{number}") for number in range(MANY) for name in ("many", "nobody")]
    with Proxy(here.port) as proxy:
        found = look(settings(password_file, proxy.url, page_size=page_size), keys)

        assert proxy.connections == 1
    assert sights(found) == [Sight.PRESENT, Sight.GONE] * MANY
    assert found[2].place == f"uid=many1,{PEOPLE}"


@pytest.mark.parametrize("then", ["cut", "reset", "stall"])
def test_a_connection_lost_between_batches(here: Slapd, password_file: Path, then: Any) -> None:
    """Base, root and the first batch of 200 were answered: these answers stand, all later keys are unknown."""
    keys = [key(f"nobody{number}") for number in range(500)]
    with Proxy(here.port, then, searches=3) as proxy:
        found = look(settings(password_file, proxy.url, read_timeout="5s" if then == "stall" else "30s"), keys)

    answered = 0 if then == "reset" and found[0].sight is Sight.UNKNOWN else 200  # a reset may overtake an answer
    assert sights(found) == [Sight.GONE] * answered + [Sight.UNKNOWN] * (500 - answered)
    assert proxy.url in found[-1].place


@pytest.mark.parametrize("searches", [1, 2, 3, 4])
def test_a_connection_lost_at_any_question(here: Slapd, password_file: Path, searches: int) -> None:
    """A batch counts when both of its questions were answered; until then its keys are unknown, found or not."""
    with Proxy(here.port, "cut", searches=searches) as proxy:
        found = look(settings(password_file, proxy.url), [key("ada"), key("nobody")])

    expected = [Sight.PRESENT, Sight.GONE] if searches == 4 else [Sight.UNKNOWN, Sight.UNKNOWN]
    assert sights(found) == expected


def test_a_dripping_server_is_left_at_the_deadline(here: Slapd, there: Slapd, password_file: Path) -> None:
    """One byte at a time trips no patience; the deadline holds for all servers together."""
    began = time.monotonic()
    with Proxy(here.port, "drip", searches=2, interval=0.05) as proxy:
        found = look(settings(password_file, proxy.url, there.url, deadline="3s"), [key("nobody")])

    assert sights(found) == [Sight.UNKNOWN]
    assert "deadline" in found[0].place
    assert time.monotonic() - began < 60


def test_special_characters_in_a_configured_key(here: Slapd, password_file: Path) -> None:
    """Brackets, stars, backslashes and umlauts are found as what they are, and never as a part of a filter."""
    found = look(settings(password_file, here.url, key="employeeType"), SPECIAL, key_attribute="employeetype")

    assert [(one.sight, one.place) for one in found] == [
        (Sight.PRESENT, f"uid=special{number},{PEOPLE}") for number in range(len(SPECIAL))
    ]


@pytest.mark.parametrize("text", ["*", "a*", "a(b)c)(uid=*", "\\2a", "\0", "a\0b", "()", "", " ", "ä" * 3000])
def test_a_key_that_nobody_has_finds_nobody(here: Slapd, password_file: Path, text: str) -> None:
    """Whatever its characters would mean in a filter."""
    source = settings(password_file, here.url, key="employeeType")

    assert sights(look(source, [text], key_attribute="employeetype")) == [Sight.GONE]


GUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
AD_BASE = entry(PEOPLE, {"objectGUID": [uuid.UUID(int=1).bytes_le]})
AD_ROOT = entry("", {"namingContexts": [b"CN=Schema,DC=example,DC=com", b"DC=Example, DC=com"]})


def searches(server: ScriptedServer) -> list[bytes]:
    return [request for request in server.requests if operation(request) == 0x63]


def test_an_object_guid_is_asked_for_in_its_own_byte_order(password_file: Path) -> None:
    """Active Directory: the first three fields little-endian, over the naming context; what is no GUID is unknown."""
    ada = entry(f"CN=Ada,{PEOPLE}", {"objectGUID": [GUID.bytes_le]})
    script = [[AD_ROOT, done(cookie=None)], [ada, AD_BASE, done()], [done()]]
    with ScriptedServer(*script, base=[AD_BASE, done(cookie=None)]) as server:
        found = look(
            settings(password_file, server.url), [str(GUID), "no guid"],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    whole_tree, own = searches(server)[2:]
    assert found == [
        Sighting(str(GUID), Sight.ELSEWHERE, f"CN=Ada,{PEOPLE}"),
        Sighting("no guid", Sight.UNKNOWN, "'no guid' is no objectguid, so nobody can be asked for it"),
    ]
    assert GUID.bytes_le in whole_tree
    assert GUID.bytes_le in own
    assert b"DC=Example, DC=com" in whole_tree
    assert PEOPLE.encode() in own


@pytest.mark.parametrize("root", [[done(50, None)], [done(cookie=None)]], ids=["refused", "empty"])
def test_without_a_naming_context_the_base_is_searched(password_file: Path, root: list[bytes]) -> None:
    """Who may not read the root DSE still gets an answer, if one of less reach."""
    with ScriptedServer(root, [AD_BASE, done()], base=[AD_BASE, done(cookie=None)]) as server:
        found = look(
            settings(password_file, server.url), [str(GUID)],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    assert sights(found) == [Sight.GONE]
    assert PEOPLE.encode() in searches(server)[2]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([done()], "does not find the base"),
        ([AD_BASE, done(cookie=None)], "without the paging control"),
        ([AD_BASE, done(80)], "80 other"),
        ([AD_BASE, done(cookie=b"x"), AD_BASE, done()], "no LDAP message"),
        ([b"\x30\x03abc"], "no LDAP message"),
    ],
    ids=["an index that was never filled", "no control", "code", "two answers", "no LDAP"],
)
def test_an_answer_that_proves_nothing(password_file: Path, answer: list[bytes], said: str) -> None:
    """The base is asked for with every batch: a server that does not find it would not find anybody."""
    script = [[AD_ROOT, done(cookie=None)], answer]
    with ScriptedServer(*script, base=[AD_BASE, done(cookie=None)]) as server:
        (found,) = look(
            settings(password_file, server.url), [str(GUID)],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    assert found.sight is Sight.UNKNOWN
    assert said in found.place


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Ada Person", []),
        ("ada person", []),
        ("+49 30 1234", []),
        ("+49-30-1234", []),
        ("ada@example.com", []),
        ("Countess of Lovelace", []),
        (key("ada"), []),
        ("nothing", [key("ada")]),
        ("", [key("ada"), key("nobody")]),
    ],
)
def test_a_person_is_found(here: Slapd, password_file: Path, text: str, keys: list[str]) -> None:
    """By a mapped value, a whole name, the key, or a key that was stored; as the read would have it."""
    found = search(settings(password_file, here.url), text, *keys)

    assert found.fault == ""
    ((item, server, outside),) = found.found
    assert isinstance(item, Record)
    assert (item.key, item.place, server, outside) == (key("ada"), f"uid=ada,{PEOPLE}", here.url, "")
    assert item.values["telephonenumber"] == ["+49 30 1234"]


@pytest.mark.parametrize(
    ("text", "more", "outside"),
    [
        ("moved@example.com", {}, f"it is at uid=moved,{FORMER}, outside the base {PEOPLE}"),
        ("filtered", {}, "the filter (objectClass=inetOrgPerson) leaves it out"),
        (
            "deep@example.com",
            {"scope": "onelevel"},
            f"it is at uid=deep,ou=deep,{PEOPLE}, outside the base {PEOPLE} with scope onelevel",
        ),
        ("deep@example.com", {"base": f"OU=deep, ou=PEOPLE,{ROOT}"}, ""),
        ("ada@example.com", {"scope": "onelevel"}, ""),
    ],
)
def test_why_a_person_is_not_read(
    here: Slapd, password_file: Path, text: str, more: dict[str, Any], outside: str
) -> None:
    """Base and scope, or the filter: a sentence says which."""
    (found,) = search(settings(password_file, here.url, **more), text).found

    assert found.outside == outside


def test_a_reject_is_found_too(here: Slapd, password_file: Path) -> None:
    """With its reason, and with or without a key."""
    (photo,) = search(settings(password_file, here.url), "photo@example.com").found
    (moved,) = search(settings(password_file, here.url, key="employeeNumber"), "moved@example.com").found

    assert isinstance(photo.item, Reject)
    assert (photo.item.key, photo.outside) == (key("photo"), "")
    assert "jpegphoto is not UTF-8" in photo.item.reason
    assert isinstance(moved.item, Reject)
    assert (moved.item.key, moved.outside) == (None, f"it is at uid=moved,{FORMER}, outside the base {PEOPLE}")


@pytest.mark.parametrize("text", ["*", "a*", "(", "\\", "x)(uid=*", "\0", "", "  ", "no one at all", "\udcff"])
def test_a_text_that_nobody_bears(here: Slapd, password_file: Path, text: str) -> None:
    """Nothing is found, and that is no fault."""
    assert search(settings(password_file, here.url), text) == Search()


def test_fifty_are_enough(here: Slapd, password_file: Path) -> None:
    """A text that a thousand people bear brings fifty of them."""
    found = search(settings(password_file, here.url), "Person")

    assert (len(found.found), found.fault) == (50, "")


def test_a_server_that_allows_less_is_told(here: Slapd, password_file: Path) -> None:
    """Its own size limit leaves people out who may be the ones asked for."""
    found = search(settings(password_file, here.url, account="limited"), "Person")

    assert len(found.found) == 2
    assert "4 sizeLimitExceeded" in found.fault


def test_the_first_server_that_answers_is_searched(here: Slapd, there: Slapd, password_file: Path) -> None:
    """A dead one is passed over; the one after is not asked."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    with Proxy(here.port, "cut", searches=1) as cut:
        found = search(settings(password_file, dead, cut.url, there.url, here.url), "late1@example.com")

    assert (places(found), found.found[0].server, found.fault) == (["uid=late1"], there.url, "")


@pytest.mark.parametrize("account", ["reader", "nobody"])
def test_nobody_answers_a_search(here: Slapd, password_file: Path, account: str) -> None:
    """The fault names each server that was tried, and the next step; nothing is raised."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    urls = [dead] if account == "reader" else [dead, here.url]
    found = search(settings(password_file, *urls, account=account), "Person")

    assert found.found == ()
    assert all(f"{url}: " in found.fault for url in urls)
    assert ("49 invalidCredentials" in found.fault) == (account == "nobody")

"""Verification of absences and search, on real slapds: the primary, its replica, and a foreign directory."""

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, KnownDigests, Presence, PresenceCheck, Record, Reject, SearchResult
from syncd.demo.servers import Slapd
from syncd.drill.messages import operation, search_done, search_entry
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


def start_slapd(folder: Path, ldif: str) -> Slapd:
    server = Slapd(folder, extra=EXTRA)
    server.create(ldif)
    server.start()
    return server


@pytest.fixture(scope="module")
def primary(server_folder: Path) -> Iterator[Slapd]:
    """The server that was read."""
    server = start_slapd(server_folder / "verify-here", tree(*SHARED))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def replica(server_folder: Path) -> Iterator[Slapd]:
    """Its replica, which has ten more entries and one person in another place."""
    server = start_slapd(server_folder / "verify-there", tree(*SHARED, *LATECOMERS, person("left", FORMER)))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def foreign(server_folder: Path) -> Iterator[Slapd]:
    """Another directory with the same names."""
    server = start_slapd(server_folder / "verify-stranger", tree(person("ada"), name="other "))
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
    """The evidence of a complete read of this server."""
    return Evidence(**{"server": url, "key_attribute": "entryuuid", "directory": key(PEOPLE), **more})


def verify(source: LdapSource, keys: Sequence[str], **more: Any) -> list[PresenceCheck]:
    """Verify keys after a read of the first URL; the result has one check per key, in order."""
    checks = LdapDirectory(source, WANTED).verify_absent(keys, evidence(source.urls[0], **more))
    assert [sighting.key for sighting in checks] == list(keys)
    assert PASSWORD not in repr(checks)
    return list(checks)


def read(source: LdapSource) -> Evidence:
    """The evidence of a complete read."""
    stream = next(LdapDirectory(source, WANTED).attempts()).read(KnownDigests(b"", set()))
    while True:
        try:
            next(stream)
        except StopIteration as end:
            final: Evidence = end.value
            return final


def presences(checks: Sequence[PresenceCheck]) -> list[Presence]:
    return [sighting.presence for sighting in checks]


def search(source: LdapSource, text: str, *keys: str) -> SearchResult:
    result = LdapDirectory(source, WANTED).search(text, keys)
    assert PASSWORD not in repr(result)
    return result


def rdns(result: SearchResult) -> list[str]:
    return sorted(one.item.location.partition(",")[0] for one in result.matches)


def test_the_evidence_names_the_directory(primary: Slapd, replica: Slapd, foreign: Slapd, password_file: Path) -> None:
    """Replicas share the key of their base entry, another directory does not, whatever attribute is the key."""

    def directory(server: Slapd, key_: str = "auto") -> str:
        return read(settings(password_file, server.url, key=key_)).directory

    assert directory(primary) == directory(replica) == key(PEOPLE)
    assert directory(primary, "uid") == directory(primary, "entryUUID") == key(PEOPLE)
    # an attribute of another kind of server, which nothing here has
    assert directory(primary, "nsUniqueId") == ""
    assert directory(foreign) == key("other " + PEOPLE)


@pytest.mark.parametrize(
    ("name", "sight", "place"),
    [
        ("nobody", Presence.GONE, ""),
        ("moved", Presence.ELSEWHERE, f"uid=moved,{FORMER}"),
        ("filtered", Presence.ELSEWHERE, f"cn=filtered,{PEOPLE}"),
        ("ada", Presence.PRESENT, f"uid=ada,{PEOPLE}"),
        ("deep", Presence.PRESENT, f"uid=deep,ou=deep,{PEOPLE}"),
    ],
)
def test_presence_of_a_missing_key(primary: Slapd, password_file: Path, name: str, sight: Presence, place: str) -> None:
    """Gone, outside the base, excluded by the filter, or present; references in the tree are ignored."""
    assert verify(settings(password_file, primary.url), [key(name)]) == [PresenceCheck(key(name), sight, place)]


def test_an_entry_below_the_scope_is_elsewhere(primary: Slapd, password_file: Path) -> None:
    """Only one level is in the scope."""
    source = settings(password_file, primary.url, scope="onelevel")

    assert presences(verify(source, [key("deep"), key("ada")])) == [Presence.ELSEWHERE, Presence.PRESENT]


def test_without_keys_no_connection_is_made(password_file: Path) -> None:
    """The server is not contacted."""
    with ScriptedServer() as server:
        assert verify(settings(password_file, server.url), []) == []
        assert server.connections == 0


def test_entries_that_one_replica_lacks(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """They are present, with the URL of the server that has them."""
    keys = [key(f"late{number}") for number in range(LATE)]
    *late, nobody = verify(settings(password_file, primary.url, replica.url), [*keys, key("nobody")])

    assert late == [
        PresenceCheck(one, Presence.PRESENT, f"uid=late{number},{PEOPLE} on {replica.url}")
        for number, one in enumerate(keys)
    ]
    assert nobody == PresenceCheck(key("nobody"), Presence.GONE)


def test_an_entry_elsewhere_on_the_replica(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """The other server is asked the same two questions."""
    (left,) = verify(settings(password_file, primary.url, replica.url), [key("left")])

    assert left == PresenceCheck(key("left"), Presence.ELSEWHERE, f"uid=left,{FORMER} on {replica.url}")


def test_only_missing_keys_are_searched_on_the_replica(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """A key that is present on the primary is not searched again."""
    with Proxy(replica.port) as other:
        verify(settings(password_file, primary.url, other.url), [key("ada"), key("moved")])
        assert other.connections == 0

        verify(settings(password_file, primary.url, other.url), [key("ada"), key("nobody")])
        assert other.connections == 1


def test_the_server_that_was_read_is_first(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """After a failover it is not the first of the URLs."""
    source = settings(password_file, f"ldap://127.0.0.1:{dead_port()}", replica.url, primary.url)
    checks = LdapDirectory(source, WANTED).verify_absent([key("late1"), key("nobody")], evidence(primary.url))

    assert [(one.presence, one.location) for one in checks] == [
        (Presence.PRESENT, f"uid=late1,{PEOPLE} on {replica.url}"),
        (Presence.GONE, ""),
    ]


def test_an_unreachable_replica_leaves_keys_unknown(primary: Slapd, password_file: Path) -> None:
    """Keys that the primary lacks are unknown, those that it has are present."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    nobody, ada = verify(settings(password_file, primary.url, dead), [key("nobody"), key("ada")])

    assert (nobody.presence, ada.presence) == (Presence.UNKNOWN, Presence.PRESENT)
    assert nobody.location.startswith(f"{dead}: cannot connect")
    assert "check the port in the URL" in nobody.location


def test_another_directory_leaves_keys_unknown(
    primary: Slapd, foreign: Slapd, replica: Slapd, password_file: Path
) -> None:
    """A foreign directory proves no absence; the next replica does."""
    (unknown,) = verify(settings(password_file, primary.url, foreign.url), [key("nobody")])
    (gone,) = verify(settings(password_file, primary.url, foreign.url, replica.url), [key("nobody")])

    assert unknown.presence is Presence.UNKNOWN
    assert f"is not the one that was read from {primary.url}" in unknown.location
    assert gone.presence is Presence.GONE


def test_a_rebuilt_directory_leaves_keys_unknown(foreign: Slapd, password_file: Path) -> None:
    """The server got another directory between read and verification."""
    assert presences(verify(settings(password_file, foreign.url), [key("ada")])) == [Presence.UNKNOWN]


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
def test_an_error_leaves_keys_unknown(primary: Slapd, password_file: Path, more: dict[str, Any], said: str) -> None:
    """Every key is unknown; the reason has the server and the remedy."""
    keys = [key("nobody"), key("ada"), key("many1"), key("many2")]
    checks = verify(settings(password_file, primary.url, **more), keys)

    assert presences(checks) == [Presence.UNKNOWN] * len(keys)
    (reason,) = {sighting.location for sighting in checks}
    assert reason.startswith(f"{primary.url}: ")
    assert any(part in reason for part in said.split("|")), reason


def test_an_error_on_the_first_server_is_final(replica: Slapd, password_file: Path) -> None:
    """The replica alone does not prove an absence."""
    source = settings(password_file, f"ldap://127.0.0.1:{dead_port()}", replica.url)

    assert presences(verify(source, [key("nobody")])) == [Presence.UNKNOWN]


@pytest.mark.parametrize("page_size", [7, 1000])
def test_many_keys_are_searched_in_batches(primary: Slapd, password_file: Path, page_size: int) -> None:
    """1,200 present and 1,200 absent keys; a response may have many pages."""
    keys = [key(f"{name}{number}") for number in range(MANY) for name in ("many", "nobody")]
    with Proxy(primary.port) as proxy:
        checks = verify(settings(password_file, proxy.url, page_size=page_size), keys)

        assert proxy.connections == 1
    assert presences(checks) == [Presence.PRESENT, Presence.GONE] * MANY
    assert checks[2].location == f"uid=many1,{PEOPLE}"


@pytest.mark.parametrize("then", ["cut", "reset", "stall"])
def test_a_connection_lost_between_batches(primary: Slapd, password_file: Path, then: Any) -> None:
    """The first batch of 200 keys has results, all later keys are unknown."""
    keys = [key(f"nobody{number}") for number in range(500)]
    with Proxy(primary.port, then, max_searches=3) as proxy:
        checks = verify(settings(password_file, proxy.url, read_timeout="5s" if then == "stall" else "30s"), keys)

    answered = (
        0 if then == "reset" and checks[0].presence is Presence.UNKNOWN else 200
    )  # a reset may overtake an answer
    assert presences(checks) == [Presence.GONE] * answered + [Presence.UNKNOWN] * (500 - answered)
    assert proxy.url in checks[-1].location


@pytest.mark.parametrize("searches", [1, 2, 3, 4])
def test_a_connection_lost_at_any_search(primary: Slapd, password_file: Path, searches: int) -> None:
    """A batch needs both of its searches; otherwise its keys are unknown."""
    with Proxy(primary.port, "cut", max_searches=searches) as proxy:
        checks = verify(settings(password_file, proxy.url), [key("ada"), key("nobody")])

    expected = [Presence.PRESENT, Presence.GONE] if searches == 4 else [Presence.UNKNOWN, Presence.UNKNOWN]
    assert presences(checks) == expected


def test_a_slow_server_ends_at_the_deadline(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """Single bytes never exceed read_timeout; the deadline covers all servers together."""
    began = time.monotonic()
    with Proxy(primary.port, "drip", max_searches=2, interval=0.05) as proxy:
        checks = verify(settings(password_file, proxy.url, replica.url, deadline="3s"), [key("nobody")])

    assert presences(checks) == [Presence.UNKNOWN]
    assert "deadline" in checks[0].location
    assert time.monotonic() - began < 60


def test_special_characters_in_a_configured_key(primary: Slapd, password_file: Path) -> None:
    """Brackets, stars, backslashes and umlauts are escaped."""
    checks = verify(settings(password_file, primary.url, key="employeeType"), SPECIAL, key_attribute="employeetype")

    assert [(one.presence, one.location) for one in checks] == [
        (Presence.PRESENT, f"uid=special{number},{PEOPLE}") for number in range(len(SPECIAL))
    ]


@pytest.mark.parametrize("text", ["*", "a*", "a(b)c)(uid=*", "\\2a", "\0", "a\0b", "()", "", " ", "ä" * 3000])
def test_an_unknown_key_is_gone(primary: Slapd, password_file: Path, text: str) -> None:
    """Characters with a meaning in filters are escaped."""
    source = settings(password_file, primary.url, key="employeeType")

    assert presences(verify(source, [text], key_attribute="employeetype")) == [Presence.GONE]


GUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
AD_BASE = search_entry(PEOPLE, {"objectGUID": [uuid.UUID(int=1).bytes_le]})
AD_ROOT = search_entry("", {"namingContexts": [b"CN=Schema,DC=example,DC=com", b"DC=Example, DC=com"]})


def searches(server: ScriptedServer) -> list[bytes]:
    return [request for request in server.requests if operation(request) == 0x63]


def test_an_object_guid_is_searched_in_its_own_byte_order(password_file: Path) -> None:
    """The first three fields are little-endian, the search covers the naming context; other keys are unknown."""
    ada = search_entry(f"CN=Ada,{PEOPLE}", {"objectGUID": [GUID.bytes_le]})
    script = [[AD_ROOT, search_done(cookie=None)], [ada, AD_BASE, search_done()], [search_done()]]
    with ScriptedServer(*script, base=[AD_BASE, search_done(cookie=None)]) as server:
        checks = verify(
            settings(password_file, server.url), [str(GUID), "no guid"],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    whole_tree, own = searches(server)[2:]
    assert checks == [
        PresenceCheck(str(GUID), Presence.ELSEWHERE, f"CN=Ada,{PEOPLE}"),
        PresenceCheck("no guid", Presence.UNKNOWN, "'no guid' is no objectguid, so it cannot be searched for"),
    ]
    assert GUID.bytes_le in whole_tree
    assert GUID.bytes_le in own
    assert b"DC=Example, DC=com" in whole_tree
    assert PEOPLE.encode() in own


@pytest.mark.parametrize("root", [[search_done(50, None)], [search_done(cookie=None)]], ids=["refused", "empty"])
def test_without_a_naming_context_the_base_is_searched(password_file: Path, root: list[bytes]) -> None:
    """Without access to the root DSE only the base is searched."""
    with ScriptedServer(root, [AD_BASE, search_done()], base=[AD_BASE, search_done(cookie=None)]) as server:
        checks = verify(
            settings(password_file, server.url), [str(GUID)],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    assert presences(checks) == [Presence.GONE]
    assert PEOPLE.encode() in searches(server)[2]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([search_done()], "does not find the base"),
        ([AD_BASE, search_done(cookie=None)], "without the paging control"),
        ([AD_BASE, search_done(80)], "80 other"),
        ([AD_BASE, search_done(cookie=b"x"), AD_BASE, search_done()], "no LDAP message"),
        ([b"\x30\x03abc"], "no LDAP message"),
    ],
    ids=["an index that was never filled", "no control", "code", "two answers", "no LDAP"],
)
def test_an_inconclusive_response(password_file: Path, answer: list[bytes], said: str) -> None:
    """Every batch includes the base; a server that does not find it proves nothing."""
    script = [[AD_ROOT, search_done(cookie=None)], answer]
    with ScriptedServer(*script, base=[AD_BASE, search_done(cookie=None)]) as server:
        (check,) = verify(
            settings(password_file, server.url), [str(GUID)],
            key_attribute="objectguid", directory=str(uuid.UUID(int=1)),
        )  # fmt: skip

    assert check.presence is Presence.UNKNOWN
    assert said in check.location


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
def test_search_finds_a_person(primary: Slapd, password_file: Path, text: str, keys: list[str]) -> None:
    """By a mapped value, a full name, the key, or a stored key; with the values of a read."""
    result = search(settings(password_file, primary.url), text, *keys)

    assert result.error == ""
    ((item, server, outside),) = result.matches
    assert isinstance(item, Record)
    assert (item.key, item.location, server, outside) == (key("ada"), f"uid=ada,{PEOPLE}", primary.url, "")
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
def test_search_explains_exclusion(
    primary: Slapd, password_file: Path, text: str, more: dict[str, Any], outside: str
) -> None:
    """The sentence names base and scope, or the filter."""
    (match,) = search(settings(password_file, primary.url, **more), text).matches

    assert match.excluded_reason == outside


def test_search_finds_rejects(primary: Slapd, password_file: Path) -> None:
    """With its reason, and with or without a key."""
    (photo,) = search(settings(password_file, primary.url), "photo@example.com").matches
    (moved,) = search(settings(password_file, primary.url, key="employeeNumber"), "moved@example.com").matches

    assert isinstance(photo.item, Reject)
    assert (photo.item.key, photo.excluded_reason) == (key("photo"), "")
    assert "jpegphoto is not UTF-8" in photo.item.reason
    assert isinstance(moved.item, Reject)
    assert (moved.item.key, moved.excluded_reason) == (None, f"it is at uid=moved,{FORMER}, outside the base {PEOPLE}")


@pytest.mark.parametrize("text", ["*", "a*", "(", "\\", "x)(uid=*", "\0", "", "  ", "no one at all", "\udcff"])
def test_search_without_a_match(primary: Slapd, password_file: Path, text: str) -> None:
    """The result is empty and has no error."""
    assert search(settings(password_file, primary.url), text) == SearchResult()


def test_search_returns_at_most_fifty_entries(primary: Slapd, password_file: Path) -> None:
    """The text matches more than a thousand people."""
    result = search(settings(password_file, primary.url), "Person")

    assert (len(result.matches), result.error) == (50, "")


def test_search_reports_a_server_limit(primary: Slapd, password_file: Path) -> None:
    """The missing entries may be the relevant ones."""
    result = search(settings(password_file, primary.url, account="limited"), "Person")

    assert len(result.matches) == 2
    assert "4 sizeLimitExceeded" in result.error


def test_search_uses_the_first_server_that_answers(primary: Slapd, replica: Slapd, password_file: Path) -> None:
    """Unreachable ones are skipped, later ones are not contacted."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    with Proxy(primary.port, "cut", max_searches=1) as cut:
        result = search(settings(password_file, dead, cut.url, replica.url, primary.url), "late1@example.com")

    assert (rdns(result), result.matches[0].server, result.error) == (["uid=late1"], replica.url, "")


@pytest.mark.parametrize("account", ["reader", "nobody"])
def test_search_without_any_server(primary: Slapd, password_file: Path, account: str) -> None:
    """The error names each server that was tried; nothing is raised."""
    dead = f"ldap://127.0.0.1:{dead_port()}"
    urls = [dead] if account == "reader" else [dead, primary.url]
    result = search(settings(password_file, *urls, account=account), "Person")

    assert result.matches == ()
    assert all(f"{url}: " in result.error for url in urls)
    assert ("49 invalidCredentials" in result.error) == (account == "nobody")

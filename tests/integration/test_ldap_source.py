"""The LDAP source on a real slapd: what a complete read is, and each way in which one falls short."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, Recognition, Record, Reject
from syncd.demo.servers import Slapd
from syncd.drill.proxy import Proxy, dead_port
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory

PEOPLE = 600
WANTED = frozenset({"cn", "sn", "givenname", "mail", "telephonenumber"})
PASSWORD = "the-password-of-a-test"

ACCOUNTS = ("reader", "limited", "total", "nopages", "blind")
EXTRA = """
limits dn.exact="cn=reader,dc=example,dc=com" size=unlimited size.prtotal=unlimited
limits dn.exact="cn=limited,dc=example,dc=com" size.soft=100 size.hard=100
limits dn.exact="cn=total,dc=example,dc=com" size=unlimited size.prtotal=250
limits dn.exact="cn=nopages,dc=example,dc=com" size=unlimited size.prtotal=disabled
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="dc=example,dc=com" by dn.exact="cn=blind,dc=example,dc=com" none by * read
"""

SPECIAL = [
    ("ümlaut", "Jürgen Müller"),
    ("star", "Asterisk * Person"),
    ("paren", "Bracket (Round) Person"),
    ("backslash", "Back\\\\slash Person"),
    ("comma", 'Comma, "Quoted" Person'),
]


def ldif() -> str:
    parts = [
        "dn: dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example",
        "dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people",
        "dn: ou=special,dc=example,dc=com\nobjectClass: organizationalUnit\nou: special",
        "dn: ou=abroad,dc=example,dc=com\nobjectClass: organizationalUnit\nou: abroad",
        "dn: ou=moved,dc=example,dc=com\nobjectClass: referral\nobjectClass: extensibleObject\nou: moved\n"
        "ref: ldap://elsewhere.example.com/ou=moved,dc=example,dc=com",
        "dn: ou=part,ou=abroad,dc=example,dc=com\nobjectClass: referral\nobjectClass: extensibleObject\nou: part\n"
        "ref: ldap://elsewhere.example.com/ou=part,dc=example,dc=com",
        person("uid=one,ou=abroad,dc=example,dc=com", "one", "One Abroad"),
    ]
    parts += [
        f"dn: cn={name},dc=example,dc=com\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: {name}\nuserPassword: {PASSWORD}"
        for name in ACCOUNTS
    ]
    parts += [person(f"uid=u{n},ou=people,dc=example,dc=com", f"u{n}", f"Person {n}") for n in range(PEOPLE)]
    parts += [person(f"uid={uid},ou=special,dc=example,dc=com", uid, cn) for uid, cn in SPECIAL]
    return "\n\n".join(parts) + "\n"


def person(dn: str, uid: str, cn: str) -> str:
    return (
        f"dn: {dn}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {cn}\nsn: Person\n"
        f"mail: {uid.encode('ascii', 'ignore').decode()}@example.com\ntelephoneNumber: +49 30 1234"
    )


@pytest.fixture(scope="module")
def slapd(server_folder: Path) -> Iterator[Slapd]:
    server = Slapd(server_folder / "ldap-source", extra=EXTRA)
    server.create(ldif())
    server.start()
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
        "bind_dn": f"cn={account},dc=example,dc=com", "bind_password_file": str(password_file),
        "base": "ou=people,dc=example,dc=com", "page_size": 100, "connect_timeout": "60s", "read_timeout": "60s",
        **more,
    }  # fmt: skip
    return LdapSource.model_validate(given)


def read(source: LdapSource, known: Recognition | None = None) -> tuple[list[Record | Reject], Evidence]:
    """Read as a run does: on to the next server while the fault is one of the server, nothing kept of a broken read."""
    for attempt in LdapDirectory(source, WANTED).attempts():
        stream = attempt.read(known or Recognition(b"s" * 16, set()))
        records = []
        while True:
            try:
                records.append(next(stream))
            except StopIteration as end:
                evidence = end.value
                break
        if evidence.complete or not evidence.elsewhere:
            break
    return records, evidence


def shortfall(evidence: Evidence) -> str:
    """The one reason why a read is not complete; its sentence has to say where, and never holds the password."""
    (only,) = evidence.shortfalls
    assert not evidence.complete
    assert evidence.server in only.sentence
    assert PASSWORD not in repr(evidence)
    return only.code


def test_a_complete_read(slapd: Slapd, password_file: Path) -> None:
    """Every person comes once with all wanted attributes, and the evidence says how that is known."""
    records, evidence = read(settings(password_file, slapd.url))

    assert evidence.complete
    assert evidence.why == ""
    assert (evidence.server, evidence.identity) == (slapd.url, "cn=reader,dc=example,dc=com")
    assert (evidence.key_attribute, evidence.entries, evidence.references) == ("entryuuid", PEOPLE, 0)
    assert (evidence.pages, evidence.result_codes) == (6, {0: 6})
    assert len({record.key for record in records}) == PEOPLE
    assert {record.values["cn"][0] for record in records} == {f"Person {n}" for n in range(PEOPLE)}
    one = next(record for record in records if record.place == "uid=u7,ou=people,dc=example,dc=com")
    assert one.values == {
        "cn": ["Person 7"], "sn": ["Person"], "mail": ["u7@example.com"], "telephonenumber": ["+49 30 1234"],
    }  # fmt: skip


@pytest.mark.parametrize("page_size", [1, 7, 599, 600, 601, 1000])
def test_the_page_size_does_not_matter(slapd: Slapd, password_file: Path, page_size: int) -> None:
    """The result is the same with pages of one entry, with an exact fit and with room to spare."""
    records, evidence = read(settings(password_file, slapd.url, page_size=page_size))

    assert evidence.complete
    assert len({record.key for record in records}) == PEOPLE


def test_what_is_known_is_passed_over(slapd: Slapd, password_file: Path) -> None:
    """A second read hands out only what is not recognised, counts everything, and crosses off what it met."""
    source = settings(password_file, slapd.url)
    records, _ = read(source)
    forgotten, gone = records[5], b"digest of no one"
    known = Recognition(b"s" * 16, {record.digest for record in records} - {forgotten.digest} | {gone})

    again, evidence = read(source, known)

    assert again == [forgotten]
    assert known.unseen == {gone}
    assert (evidence.complete, evidence.entries) == (True, PEOPLE)


def test_another_seal_recognises_nothing(slapd: Slapd, password_file: Path) -> None:
    """Digests are bound to the seal: with another map or version every entry is handed out again."""
    source = settings(password_file, slapd.url)
    records, _ = read(source)

    again, _ = read(source, Recognition(b"t" * 16, {record.digest for record in records}))

    assert len(again) == PEOPLE


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("(cn=Jürgen*)", 1),
        (r"(cn=*\2a*)", 1),
        (r"(cn=Bracket \28Round\29 Person)", 1),
        (r"(cn=Back\5cslash*)", 0),
        (r"(cn=Back\5c\5cslash*)", 1),
        ('(cn=Comma, "Quoted" Person)', 1),
        (r"(cn=J\c3\bcrgen*)", 1),
        ("(&(objectClass=inetOrgPerson)(!(cn=Jürgen*)))", len(SPECIAL) - 1),
        (r"(cn=no\00one)", 0),
    ],
)
def test_filters_find_exactly_what_they_say(slapd: Slapd, password_file: Path, text: str, count: int) -> None:
    """Umlauts, stars, brackets, backslashes, quotes and NUL in a filter mean what RFC 4515 says."""
    records, evidence = read(
        settings(password_file, slapd.url, base="ou=special,dc=example,dc=com", filter=text)
    )  # fmt: skip

    assert evidence.complete
    assert len(records) == count


@pytest.mark.parametrize(("scope", "count"), [("onelevel", PEOPLE), ("base", 0), ("subtree", PEOPLE)])
def test_the_scope_is_kept(slapd: Slapd, password_file: Path, scope: str, count: int) -> None:
    """The three scopes of a search."""
    records, evidence = read(settings(password_file, slapd.url, scope=scope))

    assert evidence.complete
    assert len(records) == count


def test_a_configured_key_identifies(slapd: Slapd, password_file: Path) -> None:
    """A key named in the settings is used, whatever its case, and told in lower case."""
    records, evidence = read(settings(password_file, slapd.url, key="UID"))

    assert evidence.key_attribute == "uid"
    assert {record.key for record in records} == {f"u{n}" for n in range(PEOPLE)}


def test_entries_without_the_key_are_rejects_of_a_complete_read(slapd: Slapd, password_file: Path) -> None:
    """A missing key is the entry's fault: the read stays complete, each entry is named with its reason."""
    records, evidence = read(settings(password_file, slapd.url, key="employeeNumber"))

    assert evidence.complete
    assert len(records) == PEOPLE
    assert all(isinstance(record, Reject) and "employeenumber has no value" in record.reason for record in records)


@pytest.mark.parametrize(
    ("account", "code", "entries"), [("limited", "size-limit", 100), ("total", "size-limit", 250)]
)  # fmt: skip
def test_a_limit_of_the_server_is_no_end(
    slapd: Slapd, password_file: Path, account: str, code: str, entries: int
) -> None:
    """A size limit, and a limit over all pages: less came than there is, so the read is not complete."""
    _, evidence = read(settings(password_file, slapd.url, account=account))

    assert shortfall(evidence) == code
    assert not evidence.elsewhere
    assert 0 < evidence.entries <= entries
    assert evidence.result_codes[4] == 1


def test_a_server_that_may_not_page(slapd: Slapd, password_file: Path) -> None:
    """Paging forbidden by the server: refused with its reason, and nothing was read."""
    records, evidence = read(settings(password_file, slapd.url, account="nopages"))

    assert shortfall(evidence) in {"admin-limit", "paging-control"}
    assert records == []


@pytest.mark.parametrize(
    ("base", "account"),
    [("ou=nowhere,dc=example,dc=com", "reader"), ("ou=people,dc=example,dc=com", "blind"), ("no dn", "reader")],
    ids=["missing", "hidden", "no-dn"],
)
def test_a_base_that_is_not_there(slapd: Slapd, password_file: Path, base: str, account: str) -> None:
    """A base that is missing, or that the account may not see, is never an empty directory."""
    records, evidence = read(settings(password_file, slapd.url, base=base, account=account))

    assert shortfall(evidence) == "base"
    assert (records, evidence.elsewhere) == ([], False)


def test_a_wrong_password(slapd: Slapd, tmp_path: Path) -> None:
    """A refused bind ends the read: nothing is searched as nobody, although this server would allow it."""
    path = tmp_path / "password"
    path.write_text("wrong")
    path.chmod(0o600)

    records, evidence = read(settings(path, slapd.url))

    assert shortfall(evidence) == "bind"
    assert "49 invalidCredentials" in evidence.why
    assert (records, evidence.elsewhere, evidence.identity) == ([], False, "")


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8"), (None, "cannot read")]
)  # fmt: skip
def test_a_password_file_that_went_bad(slapd: Slapd, password_file: Path, content: bytes | None, said: str) -> None:
    """Emptied, damaged or removed after the settings were read: no bind is tried, least of all an anonymous one."""
    source = settings(password_file, slapd.url)
    if content is None:
        password_file.unlink()
    else:
        password_file.write_bytes(content)

    records, evidence = read(source)

    assert shortfall(evidence) == "bind"
    assert said in evidence.why
    assert records == []


def test_an_anonymous_bind_is_possible_when_asked_for(slapd: Slapd, password_file: Path) -> None:
    """Anonymous is a choice of the settings, and the evidence says so."""
    _, evidence = read(settings(password_file, slapd.url, bind="anonymous"))

    assert evidence.complete
    assert (evidence.identity, evidence.entries) == ("anonymous", PEOPLE)


def test_external_over_a_local_socket(slapd: Slapd, password_file: Path) -> None:
    """ldapi with SASL EXTERNAL: the server knows us by our user id."""
    url = f"ldapi://{slapd.socket}"
    _, evidence = read(settings(password_file, url, bind="external"))

    assert evidence.complete
    assert "cn=peercred,cn=external,cn=auth" in evidence.identity


def test_a_referral_at_the_base(slapd: Slapd, password_file: Path) -> None:
    """The base is on another server: not followed, not complete, and the sentence says where to."""
    _, evidence = read(settings(password_file, slapd.url, base="ou=moved,dc=example,dc=com"))

    assert shortfall(evidence) == "referral"
    assert "ldap://elsewhere.example.com/" in evidence.why


def test_a_reference_inside_the_tree(slapd: Slapd, password_file: Path) -> None:
    """Part of the tree is on another server: what is here is handed out, and the read is not complete."""
    records, evidence = read(settings(password_file, slapd.url, base="ou=abroad,dc=example,dc=com"))

    assert shortfall(evidence) == "reference"
    assert (len(records), evidence.references) == (1, 1)
    assert "ldap://elsewhere.example.com/ou=part" in evidence.why


def test_a_bad_filter_is_told_without_asking_a_server(password_file: Path) -> None:
    """A filter that cannot be sent is the operator's to correct, even while the server is down."""
    _, evidence = read(settings(password_file, f"ldap://127.0.0.1:{dead_port()}", filter="(cn=a)(sn=b"[:10] + ")"))

    assert shortfall(evidence) == "filter"
    assert not evidence.elsewhere


@pytest.mark.parametrize("then", ["cut", "reset"])
def test_a_connection_cut_in_page_3(slapd: Slapd, password_file: Path, then: Any) -> None:
    """Closed or reset after two pages: not complete, and another server may do better."""
    with Proxy(slapd.port, then, searches=4) as proxy:
        records, evidence = read(settings(password_file, proxy.url))

    assert shortfall(evidence) == "cut"
    assert evidence.elsewhere
    # a reset may throw away what has arrived but was not read yet
    assert 100 <= len(records) < PEOPLE
    assert f"after {evidence.pages} pages with {evidence.entries} entries" in evidence.why
    assert evidence.pages == 3 or (then == "reset" and evidence.pages == 2)


@pytest.mark.parametrize("bytes_", [0, 3, 14, 40, 90, 300, 700, 5000, 20_000, 60_000])
@pytest.mark.parametrize("then", ["cut", "stall"])
def test_no_offset_of_a_cut_looks_like_an_end(slapd: Slapd, password_file: Path, bytes_: int, then: Any) -> None:
    """Wherever the answers end, in the bind, between messages or inside one, the read is not complete."""
    # a bind answer is 14 bytes, and up to WhoAmI the time for connecting counts
    expected = "cut" if then == "cut" else "connect" if bytes_ <= 40 else "stall"
    # only the limit that is to end the read is short, so that a slow machine runs into no other
    short = {"connect": {"connect_timeout": "1s"}, "stall": {"read_timeout": "1s"}}.get(expected, {})
    with Proxy(slapd.port, then, bytes_=bytes_) as proxy:
        _, evidence = read(settings(password_file, proxy.url, **short))

    assert shortfall(evidence) == expected
    assert evidence.elsewhere
    assert evidence.seconds < 30


def test_a_stalled_server(slapd: Slapd, password_file: Path) -> None:
    """A server that goes silent in the middle is given up after read_timeout."""
    with Proxy(slapd.port, "stall", searches=3) as proxy:
        _, evidence = read(settings(password_file, proxy.url, read_timeout="1s"))

    assert shortfall(evidence) == "stall"
    assert evidence.elsewhere
    assert 0.9 < evidence.seconds < 30


def test_a_stopped_server(slapd: Slapd, password_file: Path) -> None:
    """A process that hangs still accepts connections: connect_timeout covers the bind as well."""
    import signal

    slapd.send(signal.SIGSTOP)
    try:
        _, evidence = read(settings(password_file, slapd.url, connect_timeout="1s"))
    finally:
        slapd.send(signal.SIGCONT)

    assert shortfall(evidence) == "connect"
    assert 0.9 < evidence.seconds < 30


def test_a_dripping_server(slapd: Slapd, password_file: Path) -> None:
    """One byte at a time never trips read_timeout; the deadline of the run ends it."""
    with Proxy(slapd.port, "drip", searches=2, interval=0.02) as proxy:
        started = time.monotonic()
        _, evidence = read(settings(password_file, proxy.url, read_timeout="4s", deadline="6s"))

    assert shortfall(evidence) == "deadline"
    assert not evidence.elsewhere
    assert 5.9 < time.monotonic() - started < 60  # the rest of the page would take ten minutes


def test_a_server_that_drips_from_the_start(slapd: Slapd, password_file: Path) -> None:
    """A bind that trickles in is given up after connect_timeout, long before the deadline of the run."""
    with Proxy(slapd.port, "drip", bytes_=0, interval=0.2) as proxy:
        _, evidence = read(settings(password_file, proxy.url, connect_timeout="1s"))

    assert shortfall(evidence) == "connect"
    assert evidence.seconds < 30


def test_the_next_server_is_asked_when_one_is_dead(slapd: Slapd, password_file: Path) -> None:
    """Failover before the first page."""
    records, evidence = read(settings(password_file, f"ldap://127.0.0.1:{dead_port()}", slapd.url))

    assert (evidence.complete, evidence.server, len(records)) == (True, slapd.url, PEOPLE)


def test_a_server_that_dies_in_page_3_leaves_nothing(slapd: Slapd, password_file: Path) -> None:
    """The read starts again at page one elsewhere, and equals a clean read of that server."""
    clean, _ = read(settings(password_file, slapd.url))
    with Proxy(slapd.port, "cut", searches=4) as proxy:
        records, evidence = read(settings(password_file, proxy.url, slapd.url))

    assert records == clean
    assert (evidence.complete, evidence.server, evidence.pages) == (True, slapd.url, 6)


def test_all_servers_share_one_deadline(slapd: Slapd, password_file: Path) -> None:
    """When the first server has used up the run's time, the second is not even tried."""
    with Proxy(slapd.port, "drip", searches=2, interval=0.02) as first, Proxy(slapd.port) as second:
        attempts = LdapDirectory(settings(password_file, first.url, second.url, deadline="1s"), WANTED).attempts()
        list(next(attempts).read(Recognition(b"s" * 16, set())))

        assert list(attempts) == []
        assert second.connections == 0


def test_a_consumer_that_stops_leaves_no_connection(slapd: Slapd, password_file: Path) -> None:
    """A run that breaks off closes its connection; an open socket would be a warning and fail this test."""
    stream = next(LdapDirectory(settings(password_file, slapd.url), WANTED).attempts()).read(Recognition(b"s", set()))
    next(stream)
    stream.close()


def test_the_password_is_nowhere(
    slapd: Slapd, password_file: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the evidence nor any log line nor the output holds the password, at any level, after any fault."""
    caplog.set_level("DEBUG")
    found = []
    with Proxy(slapd.port, "cut", bytes_=20) as cut, Proxy(slapd.port, "stall", searches=1) as stalled:
        for url in (cut.url, stalled.url, slapd.url):
            found += read(settings(password_file, url, read_timeout="1s"))
    out, err = capfd.readouterr()

    assert PASSWORD not in repr(found) + caplog.text + out + err

"""The LDAP source on a real slapd: complete reads, and every reason of an incomplete one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, KnownDigests, Record, Reject
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


def read(source: LdapSource, known: KnownDigests | None = None) -> tuple[list[Record | Reject], Evidence]:
    """Read like a run: with failover, and without the records of failed attempts."""
    for attempt in LdapDirectory(source, WANTED).attempts():
        stream = attempt.read(known or KnownDigests(b"s" * 16, set()))
        records = []
        while True:
            try:
                records.append(next(stream))
            except StopIteration as end:
                evidence = end.value
                break
        if evidence.complete or not evidence.retry_other_server:
            break
    return records, evidence


def incomplete_code(evidence: Evidence) -> str:
    """Return the code of the only reason; its sentence has the server and never the password."""
    (only,) = evidence.incomplete_reasons
    assert not evidence.complete
    assert evidence.server in only.sentence
    assert PASSWORD not in repr(evidence)
    return only.code


def test_a_complete_read(slapd: Slapd, password_file: Path) -> None:
    """Every person is yielded once with all requested attributes; the evidence has the counts."""
    records, evidence = read(settings(password_file, slapd.url))

    assert evidence.complete
    assert evidence.reason == ""
    assert (evidence.server, evidence.identity) == (slapd.url, "cn=reader,dc=example,dc=com")
    assert (evidence.key_attribute, evidence.entries, evidence.references) == ("entryuuid", PEOPLE, 0)
    assert (evidence.pages, evidence.result_codes) == (6, {0: 6})
    assert len({record.key for record in records}) == PEOPLE
    assert {record.values["cn"][0] for record in records} == {f"Person {n}" for n in range(PEOPLE)}
    one = next(record for record in records if record.location == "uid=u7,ou=people,dc=example,dc=com")
    assert one.values == {
        "cn": ["Person 7"], "sn": ["Person"], "mail": ["u7@example.com"], "telephonenumber": ["+49 30 1234"],
    }  # fmt: skip


@pytest.mark.parametrize("page_size", [1, 7, 599, 600, 601, 1000])
def test_the_page_size_does_not_matter(slapd: Slapd, password_file: Path, page_size: int) -> None:
    """The result is the same with pages of one entry, with an exact fit and with room to spare."""
    records, evidence = read(settings(password_file, slapd.url, page_size=page_size))

    assert evidence.complete
    assert len({record.key for record in records}) == PEOPLE


def test_known_digests_are_skipped(slapd: Slapd, password_file: Path) -> None:
    """A second read yields unknown entries only, counts all, and removes the digests of known ones."""
    source = settings(password_file, slapd.url)
    records = [item for item in read(source)[0] if isinstance(item, Record)]
    forgotten, gone = records[5], b"digest of no one"
    known = KnownDigests(b"s" * 16, {record.digest for record in records} - {forgotten.digest} | {gone})

    again, evidence = read(source, known)

    assert again == [forgotten]
    assert known.remaining == {gone}
    assert (evidence.complete, evidence.entries) == (True, PEOPLE)


def test_another_fingerprint_invalidates_known_digests(slapd: Slapd, password_file: Path) -> None:
    """With another map or version every entry is yielded again."""
    source = settings(password_file, slapd.url)
    records = [item for item in read(source)[0] if isinstance(item, Record)]

    again, _ = read(source, KnownDigests(b"t" * 16, {record.digest for record in records}))

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
def test_filters_match_as_rfc_4515_defines(slapd: Slapd, password_file: Path, text: str, count: int) -> None:
    """Umlauts, stars, brackets, backslashes, quotes and NUL in a filter mean what RFC 4515 says."""
    records, evidence = read(
        settings(password_file, slapd.url, base="ou=special,dc=example,dc=com", filter=text)
    )  # fmt: skip

    assert evidence.complete
    assert len(records) == count


@pytest.mark.parametrize(("scope", "count"), [("onelevel", PEOPLE), ("base", 0), ("subtree", PEOPLE)])
def test_the_scope_is_respected(slapd: Slapd, password_file: Path, scope: str, count: int) -> None:
    """The three scopes of a search."""
    records, evidence = read(settings(password_file, slapd.url, scope=scope))

    assert evidence.complete
    assert len(records) == count


def test_a_configured_key_identifies(slapd: Slapd, password_file: Path) -> None:
    """A key in the settings is used regardless of its case; the evidence has it in lower case."""
    records, evidence = read(settings(password_file, slapd.url, key="UID"))

    assert evidence.key_attribute == "uid"
    assert {record.key for record in records} == {f"u{n}" for n in range(PEOPLE)}


def test_entries_without_the_key_are_rejects_of_a_complete_read(slapd: Slapd, password_file: Path) -> None:
    """The read is complete; every entry is a reject with its reason."""
    records, evidence = read(settings(password_file, slapd.url, key="employeeNumber"))

    assert evidence.complete
    assert len(records) == PEOPLE
    assert all(isinstance(record, Reject) and "employeenumber has no value" in record.reason for record in records)


@pytest.mark.parametrize(
    ("account", "code", "entries"), [("limited", "size-limit", 100), ("total", "size-limit", 250)]
)  # fmt: skip
def test_a_server_limit_makes_the_read_incomplete(
    slapd: Slapd, password_file: Path, account: str, code: str, entries: int
) -> None:
    """A size limit per search, and one over all pages."""
    _, evidence = read(settings(password_file, slapd.url, account=account))

    assert incomplete_code(evidence) == code
    assert not evidence.retry_other_server
    assert 0 < evidence.entries <= entries
    assert evidence.result_codes[4] == 1


def test_a_server_that_forbids_paging(slapd: Slapd, password_file: Path) -> None:
    """The read fails with a reason and no entry."""
    records, evidence = read(settings(password_file, slapd.url, account="nopages"))

    assert incomplete_code(evidence) in {"admin-limit", "paging-control"}
    assert records == []


@pytest.mark.parametrize(
    ("base", "account"),
    [("ou=nowhere,dc=example,dc=com", "reader"), ("ou=people,dc=example,dc=com", "blind"), ("no dn", "reader")],
    ids=["missing", "hidden", "no-dn"],
)
def test_an_unreadable_base(slapd: Slapd, password_file: Path, base: str, account: str) -> None:
    """A missing or hidden base is not an empty directory."""
    records, evidence = read(settings(password_file, slapd.url, base=base, account=account))

    assert incomplete_code(evidence) == "base"
    assert (records, evidence.retry_other_server) == ([], False)


def test_a_wrong_password(slapd: Slapd, tmp_path: Path) -> None:
    """A refused bind ends the read; there is no anonymous search, although this server allows it."""
    path = tmp_path / "password"
    path.write_text("wrong")
    path.chmod(0o600)

    records, evidence = read(settings(path, slapd.url))

    assert incomplete_code(evidence) == "bind"
    assert "49 invalidCredentials" in evidence.reason
    assert (records, evidence.retry_other_server, evidence.identity) == ([], False, "")


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8"), (None, "cannot read")]
)  # fmt: skip
def test_an_unusable_password_file(slapd: Slapd, password_file: Path, content: bytes | None, said: str) -> None:
    """With an empty, damaged or removed file no bind is tried."""
    source = settings(password_file, slapd.url)
    if content is None:
        password_file.unlink()
    else:
        password_file.write_bytes(content)

    records, evidence = read(source)

    assert incomplete_code(evidence) == "bind"
    assert said in evidence.reason
    assert records == []


def test_an_anonymous_bind_by_setting(slapd: Slapd, password_file: Path) -> None:
    """The evidence has the identity `anonymous`."""
    _, evidence = read(settings(password_file, slapd.url, bind="anonymous"))

    assert evidence.complete
    assert (evidence.identity, evidence.entries) == ("anonymous", PEOPLE)


def test_external_over_a_local_socket(slapd: Slapd, password_file: Path) -> None:
    """ldapi with SASL EXTERNAL: the identity is the user id of the process."""
    url = f"ldapi://{slapd.socket}"
    _, evidence = read(settings(password_file, url, bind="external"))

    assert evidence.complete
    assert "cn=peercred,cn=external,cn=auth" in evidence.identity


def test_a_referral_at_the_base(slapd: Slapd, password_file: Path) -> None:
    """The referral is not followed; the sentence has its URL."""
    _, evidence = read(settings(password_file, slapd.url, base="ou=moved,dc=example,dc=com"))

    assert incomplete_code(evidence) == "referral"
    assert "ldap://elsewhere.example.com/" in evidence.reason


def test_a_reference_inside_the_tree(slapd: Slapd, password_file: Path) -> None:
    """The local entries are yielded, and the read is incomplete."""
    records, evidence = read(settings(password_file, slapd.url, base="ou=abroad,dc=example,dc=com"))

    assert incomplete_code(evidence) == "reference"
    assert (len(records), evidence.references) == (1, 1)
    assert "ldap://elsewhere.example.com/ou=part" in evidence.reason


def test_a_bad_filter_is_reported_without_a_server(password_file: Path) -> None:
    """The filter is validated before the connection is opened."""
    _, evidence = read(settings(password_file, f"ldap://127.0.0.1:{dead_port()}", filter="(cn=a)(sn=b"[:10] + ")"))

    assert incomplete_code(evidence) == "filter"
    assert not evidence.retry_other_server


@pytest.mark.parametrize("then", ["cut", "reset"])
def test_a_connection_cut_in_page_3(slapd: Slapd, password_file: Path, then: Any) -> None:
    """Closed or reset after two pages: incomplete, and the next server is tried."""
    with Proxy(slapd.port, then, max_searches=4) as proxy:
        records, evidence = read(settings(password_file, proxy.url))

    assert incomplete_code(evidence) == "cut"
    assert evidence.retry_other_server
    # a reset may throw away what has arrived but was not read yet
    assert 100 <= len(records) < PEOPLE
    assert f"after {evidence.pages} pages with {evidence.entries} entries" in evidence.reason
    assert evidence.pages == 3 or (then == "reset" and evidence.pages == 2)


@pytest.mark.parametrize("bytes_", [0, 3, 14, 40, 90, 300, 700, 5000, 20_000, 60_000])
@pytest.mark.parametrize("then", ["cut", "stall"])
def test_a_cut_at_any_offset_is_incomplete(slapd: Slapd, password_file: Path, bytes_: int, then: Any) -> None:
    """During the bind, between messages or within one."""
    # a bind answer is 14 bytes, and up to WhoAmI the time for connecting counts
    expected = "cut" if then == "cut" else "connect" if bytes_ <= 40 else "stall"
    # only the limit that is to end the read is short, so that a slow machine runs into no other
    short = {"connect": {"connect_timeout": "1s"}, "stall": {"read_timeout": "1s"}}.get(expected, {})
    with Proxy(slapd.port, then, max_bytes=bytes_) as proxy:
        _, evidence = read(settings(password_file, proxy.url, **short))

    assert incomplete_code(evidence) == expected
    assert evidence.retry_other_server
    assert evidence.seconds < 30


def test_a_stalled_server(slapd: Slapd, password_file: Path) -> None:
    """A server without further responses times out after read_timeout."""
    with Proxy(slapd.port, "stall", max_searches=3) as proxy:
        _, evidence = read(settings(password_file, proxy.url, read_timeout="1s"))

    assert incomplete_code(evidence) == "stall"
    assert evidence.retry_other_server
    assert 0.9 < evidence.seconds < 30


def test_a_suspended_server(slapd: Slapd, password_file: Path) -> None:
    """The kernel accepts connections of a suspended process: connect_timeout covers the bind as well."""
    import signal

    slapd.send_signal(signal.SIGSTOP)
    try:
        _, evidence = read(settings(password_file, slapd.url, connect_timeout="1s"))
    finally:
        slapd.send_signal(signal.SIGCONT)

    assert incomplete_code(evidence) == "connect"
    assert 0.9 < evidence.seconds < 30


def test_a_slow_server_ends_at_the_deadline(slapd: Slapd, password_file: Path) -> None:
    """Single bytes never exceed read_timeout; the deadline of the run ends the read."""
    with Proxy(slapd.port, "drip", max_searches=2, interval=0.02) as proxy:
        started = time.monotonic()
        _, evidence = read(settings(password_file, proxy.url, read_timeout="4s", deadline="6s"))

    assert incomplete_code(evidence) == "deadline"
    assert not evidence.retry_other_server
    assert 5.9 < time.monotonic() - started < 60  # the rest of the page would take ten minutes


def test_a_slow_bind_ends_at_the_connect_timeout(slapd: Slapd, password_file: Path) -> None:
    """A slow bind response times out after connect_timeout, long before the deadline of the run."""
    with Proxy(slapd.port, "drip", max_bytes=0, interval=0.2) as proxy:
        _, evidence = read(settings(password_file, proxy.url, connect_timeout="1s"))

    assert incomplete_code(evidence) == "connect"
    assert evidence.seconds < 30


def test_failover_to_the_next_server(slapd: Slapd, password_file: Path) -> None:
    """Failover before the first page."""
    records, evidence = read(settings(password_file, f"ldap://127.0.0.1:{dead_port()}", slapd.url))

    assert (evidence.complete, evidence.server, len(records)) == (True, slapd.url, PEOPLE)


def test_failover_in_page_3_starts_again(slapd: Slapd, password_file: Path) -> None:
    """The read restarts at page one on the next server and equals a read of that server alone."""
    clean, _ = read(settings(password_file, slapd.url))
    with Proxy(slapd.port, "cut", max_searches=4) as proxy:
        records, evidence = read(settings(password_file, proxy.url, slapd.url))

    assert records == clean
    assert (evidence.complete, evidence.server, evidence.pages) == (True, slapd.url, 6)


def test_all_servers_share_one_deadline(slapd: Slapd, password_file: Path) -> None:
    """After the deadline the second server is not tried."""
    with Proxy(slapd.port, "drip", max_searches=2, interval=0.02) as first, Proxy(slapd.port) as second:
        attempts = LdapDirectory(settings(password_file, first.url, second.url, deadline="1s"), WANTED).attempts()
        list(next(attempts).read(KnownDigests(b"s" * 16, set())))

        assert list(attempts) == []
        assert second.connections == 0


def test_a_stopped_consumer_closes_the_connection(slapd: Slapd, password_file: Path) -> None:
    """An open socket would be a ResourceWarning, which fails this test."""
    stream = next(LdapDirectory(settings(password_file, slapd.url), WANTED).attempts()).read(KnownDigests(b"s", set()))
    next(stream)
    stream.close()


def test_the_password_is_never_shown(
    slapd: Slapd, password_file: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither evidence nor log nor output contain the password, at any level, after any fault."""
    caplog.set_level("DEBUG")
    outcomes: list[Any] = []
    with Proxy(slapd.port, "cut", max_bytes=20) as cut, Proxy(slapd.port, "stall", max_searches=1) as stalled:
        for url in (cut.url, stalled.url, slapd.url):
            outcomes += read(settings(password_file, url, read_timeout="1s"))
    out, err = capfd.readouterr()

    assert PASSWORD not in repr(outcomes) + caplog.text + out + err

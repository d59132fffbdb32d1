"""What slapd does not do: breaking the protocol, turning in circles, sending values in pieces; played by a script."""

from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, Recognition, Record, Reject
from syncd.drill.messages import done, entry, message_id, operation, result, tlv
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory
from tests.scripted_ldap import ScriptedServer

NOTICE = "1.3.6.1.4.1.1466.20036"
INTERMEDIATE = tlv(0x79, tlv(0x80, b"1.3.6.1.4.1.4203.1.9.1.4"))


def person(number: int, **more: list[bytes]) -> bytes:
    uuid = f"00000000-0000-0000-0000-{number:012}".encode()
    return entry(f"uid={number},dc=example,dc=com", {"entryUUID": [uuid], "cn": [f"P{number}".encode()], **more})


def unsolicited(oid: str, code: int = 52, message: str = "") -> bytes:
    """A message with number 0."""
    return tlv(0x30, tlv(0x02, b"\x00"), result(0x78, code, tlv(0x8A, oid.encode()), message=message))


def read(tmp_path: Path, server: ScriptedServer, **more: Any) -> tuple[list[Record | Reject], Evidence]:
    password = tmp_path / "password"
    password.write_text("the-password-of-a-test")
    password.chmod(0o600)
    given = {
        "kind": "ldap", "name": "people", "type": "User", "schedule": {"every": "15m"}, "urls": [server.url],
        "tls": "none", "bind_dn": "cn=reader,dc=example,dc=com", "bind_password_file": str(password),
        "base": "dc=example,dc=com", "connect_timeout": "60s", "read_timeout": "60s", "deadline": "2m", **more,
    }  # fmt: skip
    settings = LdapSource.model_validate(given)
    wanted = frozenset({"cn", "member"})
    stream = next(LdapDirectory(settings, wanted).attempts()).read(Recognition(b"s" * 16, set()))
    records = []
    while True:
        try:
            records.append(next(stream))
        except StopIteration as end:
            return records, end.value


def codes(evidence: Evidence) -> list[str]:
    return [shortfall.code for shortfall in evidence.shortfalls]


def test_where_who_am_i_is_unknown_the_bind_dn_is_the_identity(tmp_path: Path) -> None:
    """A server without RFC 4532 is read all the same."""
    with ScriptedServer([person(1), done()]) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert (evidence.identity, len(records)) == ("cn=reader,dc=example,dc=com", 1)


class Nobody(ScriptedServer):
    """Accepts every bind, and then holds us for anonymous."""

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        if operation(request) == 0x77:
            client.sendall(tlv(0x30, message_id(request), result(0x78)))
        else:
            super()._answer(client, request, searches)


def test_a_bind_that_makes_us_nobody_is_no_bind(tmp_path: Path) -> None:
    """Success with an anonymous identity is what an empty password brings; it does not count as bound."""
    with Nobody([person(1), done()]) as server:
        records, evidence = read(tmp_path, server)

    assert codes(evidence) == ["bind"]
    assert records == []


def test_every_page_is_asked_for_with_a_critical_paging_control(tmp_path: Path) -> None:
    """Criticality is what makes a server that cannot page say so."""
    with ScriptedServer([person(1), done(cookie=b"a")], [person(2), done()]) as server:
        _, evidence = read(tmp_path, server)

    pages = [request for request in server.requests if operation(request) == 0x63][1:]
    critical = tlv(0x04, b"1.2.840.113556.1.4.319") + tlv(0x01, b"\xff")
    assert evidence.complete
    assert [critical in page for page in pages] == [True, True]
    assert [b"\x04\x01a" in page for page in pages] == [False, True]


def test_a_page_without_the_paging_control(tmp_path: Path) -> None:
    """Without the control nothing says that this was all, even though the result code is 0."""
    with ScriptedServer([person(1), done(cookie=b"a")], [person(2), done(cookie=None)]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["paging-control"]
    assert not evidence.elsewhere


def test_a_server_that_repeats_a_page_is_stopped(tmp_path: Path) -> None:
    """The same cookie and the same entries again: no progress, so the loop ends with a shortfall."""
    page = [person(1), person(2), done(cookie=b"a")]
    with ScriptedServer(*[page] * 50) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]
    assert evidence.pages == 2


def test_a_server_that_goes_in_a_wider_circle_is_stopped(tmp_path: Path) -> None:
    """Cookies that change, pages that come round again."""
    circle = [[person(n), done(cookie=b"%d" % n)] for n in range(3)]
    with ScriptedServer(*circle * 20) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]
    assert evidence.pages == 4


def test_empty_pages_with_the_same_cookie_are_stopped(tmp_path: Path) -> None:
    """Nothing comes and nothing changes: no progress."""
    with ScriptedServer([person(1), done(cookie=b"a")], *[[done(cookie=b"a")]] * 50) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]


def test_a_cookie_that_stays_while_entries_change_is_progress(tmp_path: Path) -> None:
    """389-ds sends the number of the search as the cookie of each of its pages."""
    with ScriptedServer(*[[person(n), done(cookie=b"0")] for n in range(5)], [person(9), done()]) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert (evidence.pages, len(records)) == (6, 6)


def test_an_empty_page_in_between_is_no_end(tmp_path: Path) -> None:
    """A page may be empty although more follow; only an empty cookie ends the result."""
    script = [[person(1), done(cookie=b"a")], [done(cookie=b"b")], [person(2), done()]]
    with ScriptedServer(*script) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert len(records) == 2


@pytest.mark.parametrize(
    ("code", "expected", "elsewhere"),
    [
        (1, "result", False),
        (3, "time-limit", False),
        (4, "size-limit", False),
        (10, "referral", False),
        (11, "admin-limit", False),
        (12, "paging-control", False),
        (32, "base", False),
        (50, "result", False),
        (51, "result", True),
        (52, "result", True),
        (113, "result", False),
    ],
)
def test_every_result_code_but_0_is_a_shortfall(tmp_path: Path, code: int, expected: str, elsewhere: bool) -> None:
    """Even with the paging control and an empty cookie; a code that nobody knows is told as it is."""
    with ScriptedServer([person(1), done(cookie=b"a")], [person(2), done(code, message="so it is")]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == [expected]
    assert evidence.elsewhere is elsewhere
    assert evidence.result_codes == {0: 1, code: 1}
    assert f"code {code} " in evidence.why
    assert "so it is" in evidence.why


def test_a_notice_of_disconnection(tmp_path: Path) -> None:
    """A server that shuts down says so; its words are in the sentence."""
    with ScriptedServer([person(1), unsolicited(NOTICE, message="shutting down"), done()]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cut"]
    assert "shutting down" in evidence.why
    assert evidence.elsewhere


def test_other_notices_and_intermediate_messages_are_passed_over(tmp_path: Path) -> None:
    """RFC 4511 sections 4.4 and 4.13: what we do not know there is to be ignored."""
    script = [INTERMEDIATE, person(1), unsolicited("1.2.3.4"), INTERMEDIATE, person(2), done()]
    with ScriptedServer(script) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert len(records) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        tlv(0x30, tlv(0x02, b"\x7f\x7f"), person(2)),
        tlv(0x30, tlv(0x02, b"\x00"), person(2)),
        b"\x30\x03\x02\x01\x05",
        b"\x30\x80\x02\x01\x05\x00\x00",
        b"0HTTP/1.1 400 Bad Request\r\n\r\n",
        result(0x61),
        tlv(0x64, tlv(0x04, b"dn"), b"\x30\x10"),
        tlv(0x65, tlv(0x0A, b"\x00")),
        tlv(0x73, b"\x04\x20x"),
    ],
    ids=["another-number", "entry-as-notice", "no-operation", "indefinite", "http", "bind-answer", "entry-too-long",
         "short-result", "reference-too-long"],
)  # fmt: skip
def test_what_is_no_answer_ends_the_read(tmp_path: Path, wrong: bytes) -> None:
    """Malformed or misplaced messages are a clean fault of this server."""
    with ScriptedServer([person(1), wrong, done()]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["malformed"]
    assert evidence.elsewhere


def test_a_paging_control_that_cannot_be_read(tmp_path: Path) -> None:
    """A cookie that cannot be read is no empty cookie."""
    control = tlv(0xA0, tlv(0x30, tlv(0x04, b"1.2.840.113556.1.4.319"), tlv(0x04, b"\x30\x09\x02")))
    with ScriptedServer([person(1), result(0x65) + control]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["malformed"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"entryUUID": [b"e"], "nsUniqueId": [b"n"], "objectGUID": [b"0123456789abcdef"]}, "objectguid"),
        ({"entryUUID": [b"e"], "nsUniqueId": [b"n"]}, "nsuniqueid"),
        ({"ENTRYuuid": [b"e"]}, "entryuuid"),
    ],
)
def test_the_key_is_the_most_server_specific_attribute_of_the_base(
    tmp_path: Path, attributes: dict[str, list[bytes]], expected: str
) -> None:
    """Found by itself, and asked for together with the mapped attributes."""
    base = [entry("dc=example,dc=com", attributes), done(cookie=None)]
    with ScriptedServer([done()], base=base) as server:
        _, evidence = read(tmp_path, server)

    assert (evidence.complete, evidence.key_attribute) == (True, expected)
    assert expected.encode() in server.requests[-2]


def test_a_base_without_any_key(tmp_path: Path) -> None:
    """Without a key nothing can be told apart: the read ends with what to do."""
    with ScriptedServer([person(1), done()], base=[entry("dc=x", {}), done(cookie=None)]) as server:
        records, evidence = read(tmp_path, server)

    assert codes(evidence) == ["key"]
    assert records == []


def test_a_base_that_is_there_but_not_shown(tmp_path: Path) -> None:
    """Success without an entry, as some servers answer for what an account may not see."""
    with ScriptedServer([done()], base=[done(cookie=None)]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["base"]


def test_values_in_pieces_are_fetched_from_the_server(tmp_path: Path) -> None:
    """Active Directory's ranges: the pieces are asked for between the pages and come out as one attribute."""
    script = [
        [person(1, **{"member": [], "member;range=0-1": [b"a", b"b"]}), person(2), done(cookie=b"x")],
        [entry("uid=1,dc=example,dc=com", {"member;range=2-2": [b"c"]}), done(cookie=None)],
        [entry("uid=1,dc=example,dc=com", {"member;range=3-*": [b"d"]}), done(cookie=None)],
        [person(3), done()],
    ]
    with ScriptedServer(*script) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete, evidence.why
    assert [record.values.get("member") for record in records] == [["a", "b", "c", "d"], None, None]
    assert (evidence.pages, evidence.entries) == (2, 3)


def test_pieces_that_cannot_be_fetched_are_a_shortfall(tmp_path: Path) -> None:
    """A refusal on the way through the pieces: part of the values is worse than none."""
    script = [[person(1, **{"member;range=0-1": [b"a", b"b"]}), done()], [done(50, cookie=None)]]
    with ScriptedServer(*script) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["range"]
    assert "50 insufficientAccessRights" in evidence.why


def test_an_object_guid_is_read_from_the_wire(tmp_path: Path) -> None:
    """Sixteen raw bytes, of which not one has to be UTF-8."""
    base = [entry("dc=x", {"objectGUID": [bytes(16)]}), done(cookie=None)]
    raw = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0")
    with ScriptedServer([entry("cn=a", {"objectGUID": [raw], "cn": [b"A"]}), done()], base=base) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert records[0].key == "fcfdfeff-fafb-f8f9-f7f6-f5f4f3f2f1f0"


def test_an_entry_larger_than_a_chunk_is_read(tmp_path: Path) -> None:
    """An entry that arrives in many pieces is put together, whatever its size."""
    large = b"x" * 3_000_000
    with ScriptedServer([person(1), person(2, member=[large]), person(3), done()]) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert records[1].values["member"] == [large.decode()]

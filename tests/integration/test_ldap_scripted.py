"""Behaviour that slapd does not have, from a scripted server: protocol errors, paging loops, ranged values."""

from pathlib import Path
from typing import Any

import pytest

from syncd.core.sync.record import Evidence, KnownDigests, Record, Reject
from syncd.drill.messages import ldap_result, message_id, operation, search_done, search_entry, tlv
from syncd.settings import LdapSource
from syncd.sources.ldap import LdapDirectory
from tests.scripted_ldap import ScriptedServer

NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"
INTERMEDIATE = tlv(0x79, tlv(0x80, b"1.3.6.1.4.1.4203.1.9.1.4"))


def person(number: int, **more: list[bytes]) -> bytes:
    uuid = f"00000000-0000-0000-0000-{number:012}".encode()
    return search_entry(f"uid={number},dc=example,dc=com", {"entryUUID": [uuid], "cn": [f"P{number}".encode()], **more})


def unsolicited(oid: str, code: int = 52, message: str = "") -> bytes:
    """An unsolicited notification, with message id 0."""
    return tlv(0x30, tlv(0x02, b"\x00"), ldap_result(0x78, code, tlv(0x8A, oid.encode()), message=message))


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
    stream = next(LdapDirectory(settings, wanted).attempts()).read(KnownDigests(b"s" * 16, set()))
    records = []
    while True:
        try:
            records.append(next(stream))
        except StopIteration as end:
            return records, end.value


def codes(evidence: Evidence) -> list[str]:
    return [shortfall.code for shortfall in evidence.incomplete_reasons]


def test_without_who_am_i_the_bind_dn_is_the_identity(tmp_path: Path) -> None:
    """The read does not need RFC 4532."""
    with ScriptedServer([person(1), search_done()]) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert (evidence.identity, len(records)) == ("cn=reader,dc=example,dc=com", 1)


class AnonymousAfterBind(ScriptedServer):
    """Accepts every bind and reports an anonymous identity afterwards."""

    def _answer(self, client: Any, request: bytes, searches: Any) -> None:
        if operation(request) == 0x77:
            client.sendall(tlv(0x30, message_id(request), ldap_result(0x78)))
        else:
            super()._answer(client, request, searches)


def test_an_anonymous_session_after_a_bind_is_refused(tmp_path: Path) -> None:
    """An empty password has this effect; the session does not count as bound."""
    with AnonymousAfterBind([person(1), search_done()]) as server:
        records, evidence = read(tmp_path, server)

    assert codes(evidence) == ["bind"]
    assert records == []


def test_every_request_has_a_critical_paging_control(tmp_path: Path) -> None:
    """A server without paging has to refuse a critical control."""
    with ScriptedServer([person(1), search_done(cookie=b"a")], [person(2), search_done()]) as server:
        _, evidence = read(tmp_path, server)

    pages = [request for request in server.requests if operation(request) == 0x63][1:]
    critical = tlv(0x04, b"1.2.840.113556.1.4.319") + tlv(0x01, b"\xff")
    assert evidence.complete
    assert [critical in page for page in pages] == [True, True]
    assert [b"\x04\x01a" in page for page in pages] == [False, True]


def test_a_page_without_the_paging_control(tmp_path: Path) -> None:
    """Without the control a result code of 0 does not prove completeness."""
    with ScriptedServer([person(1), search_done(cookie=b"a")], [person(2), search_done(cookie=None)]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["paging-control"]
    assert not evidence.retry_other_server


def test_a_repeated_page_ends_the_read(tmp_path: Path) -> None:
    """The same cookie and the same entries again."""
    page = [person(1), person(2), search_done(cookie=b"a")]
    with ScriptedServer(*[page] * 50) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]
    assert evidence.pages == 2


def test_a_loop_over_several_pages_ends_the_read(tmp_path: Path) -> None:
    """The cookies change, the pages repeat."""
    circle = [[person(n), search_done(cookie=b"%d" % n)] for n in range(3)]
    with ScriptedServer(*circle * 20) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]
    assert evidence.pages == 4


def test_empty_pages_with_the_same_cookie_end_the_read(tmp_path: Path) -> None:
    """No entry, and no new cookie."""
    with ScriptedServer([person(1), search_done(cookie=b"a")], *[[search_done(cookie=b"a")]] * 50) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cookie"]


def test_a_constant_cookie_with_new_entries_is_progress(tmp_path: Path) -> None:
    """389-ds sends the number of the search as the cookie of every page."""
    with ScriptedServer(
        *[[person(n), search_done(cookie=b"0")] for n in range(5)], [person(9), search_done()]
    ) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert (evidence.pages, len(records)) == (6, 6)


def test_an_empty_page_does_not_end_the_read(tmp_path: Path) -> None:
    """A page may be empty although more follow; only an empty cookie ends the result."""
    script = [[person(1), search_done(cookie=b"a")], [search_done(cookie=b"b")], [person(2), search_done()]]
    with ScriptedServer(*script) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert len(records) == 2


@pytest.mark.parametrize(
    ("code", "expected", "retry"),
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
def test_every_result_code_but_0_is_incomplete(tmp_path: Path, code: int, expected: str, retry: bool) -> None:
    """Also with the paging control and an empty cookie, and for unknown codes."""
    with ScriptedServer(
        [person(1), search_done(cookie=b"a")], [person(2), search_done(code, message="so it is")]
    ) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == [expected]
    assert evidence.retry_other_server is retry
    assert evidence.result_codes == {0: 1, code: 1}
    assert f"code {code} " in evidence.reason
    assert "so it is" in evidence.reason


def test_a_notice_of_disconnection(tmp_path: Path) -> None:
    """The sentence contains the message of the server."""
    with ScriptedServer(
        [person(1), unsolicited(NOTICE_OF_DISCONNECTION, message="shutting down"), search_done()]
    ) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["cut"]
    assert "shutting down" in evidence.reason
    assert evidence.retry_other_server


def test_other_notifications_and_intermediate_responses_are_ignored(tmp_path: Path) -> None:
    """RFC 4511 sections 4.4 and 4.13: unknown ones are to be ignored."""
    script = [INTERMEDIATE, person(1), unsolicited("1.2.3.4"), INTERMEDIATE, person(2), search_done()]
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
        ldap_result(0x61),
        tlv(0x64, tlv(0x04, b"dn"), b"\x30\x10"),
        tlv(0x65, tlv(0x0A, b"\x00")),
        tlv(0x73, b"\x04\x20x"),
    ],
    ids=["another-number", "entry-as-notice", "no-operation", "indefinite", "http", "bind-answer", "entry-too-long",
         "short-result", "reference-too-long"],
)  # fmt: skip
def test_an_invalid_response_ends_the_read(tmp_path: Path, wrong: bytes) -> None:
    """Malformed or misplaced messages are a clean fault of this server."""
    with ScriptedServer([person(1), wrong, search_done()]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["malformed"]
    assert evidence.retry_other_server


def test_a_malformed_paging_control(tmp_path: Path) -> None:
    """A malformed cookie is not an empty one."""
    control = tlv(0xA0, tlv(0x30, tlv(0x04, b"1.2.840.113556.1.4.319"), tlv(0x04, b"\x30\x09\x02")))
    with ScriptedServer([person(1), ldap_result(0x65) + control]) as server:
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
    """It is detected, and requested together with the mapped attributes."""
    base = [search_entry("dc=example,dc=com", attributes), search_done(cookie=None)]
    with ScriptedServer([search_done()], base=base) as server:
        _, evidence = read(tmp_path, server)

    assert (evidence.complete, evidence.key_attribute) == (True, expected)
    assert expected.encode() in server.requests[-2]


def test_a_base_without_any_key(tmp_path: Path) -> None:
    """Entries cannot be identified without a key."""
    with ScriptedServer(
        [person(1), search_done()], base=[search_entry("dc=x", {}), search_done(cookie=None)]
    ) as server:
        records, evidence = read(tmp_path, server)

    assert codes(evidence) == ["key"]
    assert records == []


def test_a_base_that_is_not_shown(tmp_path: Path) -> None:
    """Success without an entry: the response of some servers to a lack of access rights."""
    with ScriptedServer([search_done()], base=[search_done(cookie=None)]) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["base"]


def test_ranged_values_are_fetched(tmp_path: Path) -> None:
    """Ranges of Active Directory are fetched between the pages and merged into one attribute."""
    script = [
        [person(1, **{"member": [], "member;range=0-1": [b"a", b"b"]}), person(2), search_done(cookie=b"x")],
        [search_entry("uid=1,dc=example,dc=com", {"member;range=2-2": [b"c"]}), search_done(cookie=None)],
        [search_entry("uid=1,dc=example,dc=com", {"member;range=3-*": [b"d"]}), search_done(cookie=None)],
        [person(3), search_done()],
    ]
    with ScriptedServer(*script) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete, evidence.reason
    assert [record.values.get("member") for record in records] == [["a", "b", "c", "d"], None, None]
    assert (evidence.pages, evidence.entries) == (2, 3)


def test_ranged_values_that_cannot_be_fetched(tmp_path: Path) -> None:
    """A failed fetch makes the read incomplete."""
    script = [[person(1, **{"member;range=0-1": [b"a", b"b"]}), search_done()], [search_done(50, cookie=None)]]
    with ScriptedServer(*script) as server:
        _, evidence = read(tmp_path, server)

    assert codes(evidence) == ["range"]
    assert "50 insufficientAccessRights" in evidence.reason


def test_an_object_guid_is_decoded(tmp_path: Path) -> None:
    """The value has sixteen bytes and is not UTF-8."""
    base = [search_entry("dc=x", {"objectGUID": [bytes(16)]}), search_done(cookie=None)]
    raw = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0")
    with ScriptedServer(
        [search_entry("cn=a", {"objectGUID": [raw], "cn": [b"A"]}), search_done()], base=base
    ) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert records[0].key == "fcfdfeff-fafb-f8f9-f7f6-f5f4f3f2f1f0"


def test_a_large_entry_is_read(tmp_path: Path) -> None:
    """The entry arrives in many chunks."""
    large = b"x" * 3_000_000
    with ScriptedServer([person(1), person(2, member=[large]), person(3), search_done()]) as server:
        records, evidence = read(tmp_path, server)

    assert evidence.complete
    assert records[1].values["member"] == [large.decode()]

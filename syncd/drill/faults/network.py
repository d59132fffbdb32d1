"""Faults between syncd and the server: broken connections and changed responses."""

from functools import partial

from syncd.drill.messages import message_id, search_done, tlv, with_message_id
from syncd.drill.people import POPULATION
from syncd.drill.proxy import BreakMode, ConnectionBreak, ServerMessage, Tamper, dead_port
from syncd.drill.scenario import Fault, Scenario

PAGES = POPULATION // 10


def _break_connection(scenario: Scenario, mode: BreakMode, page: int = 2, **changes: str) -> None:
    """Break the connection in the middle of an entry of this page."""

    def tamper(message: ServerMessage) -> bytes | ConnectionBreak:
        if (message.page, message.entry) == (page, 4):
            return ConnectionBreak(mode, after_bytes=len(message.data) // 2)
        return message.data

    _sync_through(scenario, tamper, **changes)


def _sync_through(scenario: Scenario, tamper: Tamper, **changes: str) -> None:
    # a drip of one byte per 4 ms exceeds any deadline, and still ends where no deadline is enforced
    with scenario.open_proxy(tamper, interval=0.004) as proxy:
        scenario.sync(urls=[proxy.url], **changes)


def _refuse_connection(scenario: Scenario) -> None:
    scenario.sync(urls=[f"ldap://127.0.0.1:{dead_port()}"])


def _end_page_early(scenario: Scenario, done: bytes) -> None:
    """End the second page after three entries with this SearchResultDone."""

    def tamper(message: ServerMessage) -> bytes:
        if message.page == 2 and message.ends_page:
            return tlv(0x30, message_id(message.data), done)
        return b"" if message.page == 2 and message.entry > 3 else message.data

    _sync_through(scenario, tamper)


class _RepeatFirstPage:
    """Replaces the later pages by the first one, with the cookie of the first page or with their own."""

    def __init__(self, *, repeat_cookie: bool) -> None:
        self._repeat_cookie = repeat_cookie
        self._first_page: list[bytes] = []

    def __call__(self, message: ServerMessage) -> bytes | ConnectionBreak:
        if message.page == 1:
            self._first_page.append(message.data)
        if message.page < 2:
            return message.data
        if not message.ends_page:
            return b""
        id_ = message_id(message.data)
        entries = [with_message_id(data, id_) for data in self._first_page[:-1]]
        done = with_message_id(self._first_page[-1], id_) if self._repeat_cookie else message.data
        return b"".join([*entries, done])


FAULTS = (
    *(
        Fault(
            f"cut-page-{page}",
            f"the connection closes in page {page}",
            partial(_break_connection, mode="cut", page=page),
            "incomplete",
            "the connection broke",
        )
        for page in range(1, PAGES + 1)
    ),
    Fault(
        "reset",
        "the connection is reset in page 2",
        partial(_break_connection, mode="reset"),
        "incomplete",
        "the connection broke",
    ),
    Fault(
        "stall",
        "the server sends nothing more in page 2",
        partial(_break_connection, mode="stall", read_timeout="1s", deadline="20s"),
        "incomplete",
        "sent nothing for",
    ),
    Fault(
        "drip",
        "the response arrives byte by byte",
        partial(_break_connection, mode="drip", deadline="4s"),
        "incomplete",
        "deadline",
    ),
    Fault("server-away", "the server refuses connections", _refuse_connection, "incomplete", "cannot connect"),
    Fault(
        "time-limit",
        "the server ends page 2 early, with code 3",
        partial(_end_page_early, done=search_done(3)),
        "incomplete",
        "code 3 ",
    ),
    Fault(
        "wrong-result-code",
        "the server ends page 2 early, with code 80",
        partial(_end_page_early, done=search_done(80)),
        "incomplete",
        "code 80 ",
    ),
    Fault(
        "no-paging-control",
        "page 2 ends early, and without the paging control",
        partial(_end_page_early, done=search_done(cookie=None)),
        "incomplete",
        "without the paging control",
    ),
    Fault(
        "repeated-cookie",
        "page 1 is sent again with its cookie",
        lambda scenario: _sync_through(scenario, _RepeatFirstPage(repeat_cookie=True), deadline="20s"),
        "incomplete",
        "the same page again",
    ),
    Fault(
        "repeated-page",
        "page 1 is sent again in place of the others",
        lambda scenario: _sync_through(scenario, _RepeatFirstPage(repeat_cookie=False)),
        "incomplete",
        "the same page again",
    ),
)

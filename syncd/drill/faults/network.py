"""What happens between us and the server: connections that break, and answers that are not what the server said."""

from functools import partial

from syncd.drill.messages import done, message_id, renumbered, tlv
from syncd.drill.people import POPULATION
from syncd.drill.proxy import Answer, Break, How, Meddle, dead_port
from syncd.drill.scenario import Fault, Stage

PAGES = POPULATION // 10


def _broken(stage: Stage, how: How, page: int = 2, **changes: str) -> None:
    """The connection breaks in the middle of an entry of this page."""

    def meddle(answer: Answer) -> bytes | Break:
        if (answer.page, answer.entry) == (page, 4):
            return Break(how, after=len(answer.message) // 2)
        return answer.message

    _through(stage, meddle, **changes)


def _through(stage: Stage, meddle: Meddle, **changes: str) -> None:
    # a drip is slow enough to pass any deadline, and would come to its end all the same if nobody kept one
    with stage.through(meddle, interval=0.004) as proxy:
        stage.sync(urls=[proxy.url], **changes)


def _no_connection(stage: Stage) -> None:
    stage.sync(urls=[f"ldap://127.0.0.1:{dead_port()}"])


def _cut_short(stage: Stage, end: bytes) -> None:
    """The second page ends early, in a SearchResultDone of our making."""

    def meddle(answer: Answer) -> bytes | Break:
        if answer.page == 2 and answer.ends_page:
            return tlv(0x30, message_id(answer.message), end)
        return b"" if answer.page == 2 and answer.entry > 3 else answer.message

    _through(stage, meddle)


class _Again:
    """The first page comes again in place of the later ones, with its own cookie or with theirs."""

    def __init__(self, *, cookies: bool) -> None:
        self._cookies = cookies
        self._first: list[bytes] = []

    def __call__(self, answer: Answer) -> bytes | Break:
        if answer.page == 1:
            self._first.append(answer.message)
        if answer.page < 2:
            return answer.message
        if not answer.ends_page:
            return b""
        number = message_id(answer.message)
        entries = [renumbered(message, number) for message in self._first[:-1]]
        last = renumbered(self._first[-1], number) if self._cookies else answer.message
        return b"".join([*entries, last])


FAULTS = (
    *(
        Fault(
            f"cut-page-{page}",
            f"the connection closes in page {page}",
            partial(_broken, how="cut", page=page),
            "incomplete",
            "the connection broke",
        )
        for page in range(1, PAGES + 1)
    ),
    Fault(
        "reset",
        "the connection is reset in page 2",
        partial(_broken, how="reset"),
        "incomplete",
        "the connection broke",
    ),
    Fault(
        "stall",
        "the server falls silent in page 2",
        partial(_broken, how="stall", read_timeout="1s", deadline="20s"),
        "incomplete",
        "sent nothing for",
    ),
    Fault(
        "drip", "the answer drips, byte by byte", partial(_broken, how="drip", deadline="4s"), "incomplete", "deadline"
    ),
    Fault("server-away", "nobody listens at the server's port", _no_connection, "incomplete", "cannot connect"),
    Fault(
        "time-limit",
        "the server ends page 2 early, with code 3",
        partial(_cut_short, end=done(3)),
        "incomplete",
        "code 3 ",
    ),
    Fault(
        "wrong-result-code",
        "the server ends page 2 early, with code 80",
        partial(_cut_short, end=done(80)),
        "incomplete",
        "code 80 ",
    ),
    Fault(
        "no-paging-control",
        "page 2 ends early, and without the paging control",
        partial(_cut_short, end=done(cookie=None)),
        "incomplete",
        "without the paging control",
    ),
    Fault(
        "repeated-cookie",
        "page 1 comes again with its cookie",
        lambda stage: _through(stage, _Again(cookies=True), deadline="20s"),
        "incomplete",
        "the same page again",
    ),
    Fault(
        "repeated-page",
        "page 1 comes again in place of the others",
        lambda stage: _through(stage, _Again(cookies=False)),
        "incomplete",
        "the same page again",
    ),
)

"""What is remembered of sign-ins: for how long, for whom, and what happens while nobody can be asked."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from syncd.app import password_cache
from syncd.app.password_cache import SignIns
from syncd.core.contacts.models import SignedIn
from syncd.errors import SignInUnavailable, WrongPassword

ADA = SignedIn("ada", "admin")


class Server:
    """A directory server as far as memory is concerned: passwords that may change, and a line that may break."""

    def __init__(self) -> None:
        self.passwords = {"ada": "right"}
        self.there = True
        self.asked = 0

    def ask(self, name: str, password: str) -> SignedIn:
        self.asked += 1
        if not self.there:
            raise SignInUnavailable("no line")
        if self.passwords.get(name) != password:
            raise WrongPassword("no", known=name in self.passwords)
        return ADA


def told(story: Callable[[SignIns, Server], Awaitable[None]], remember: float = 60, outage: float = 60) -> None:
    """Play a story with a server of its own."""

    async def play() -> None:
        server = Server()
        sign_ins = SignIns(server.ask, remember, outage)
        try:
            await story(sign_ins, server)
        finally:
            sign_ins.close()

    asyncio.run(play())


def test_a_right_answer_is_remembered_for_exactly_that_password() -> None:
    """Nothing but the same name and password gets it, and no name and password run into each other."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        assert sign_ins.recall("ada", "right") is None
        assert await sign_ins.check("ada", "right") == (ADA, False)
        assert sign_ins.recall("ada", "right") == ADA
        for name, password in (("ada", "wrong"), ("ad", "aright"), ("adar", "ight"), ("Ada", "right"), ("ada", "")):
            assert sign_ins.recall(name, password) is None
            assert not sign_ins.was_right(name, password)
        assert server.asked == 1

    told(story)


def test_an_answer_is_believed_for_its_time_only() -> None:
    """After that it has to be asked anew, though it is known not to be a guess."""

    async def story(sign_ins: SignIns, _: Server) -> None:
        await sign_ins.check("ada", "right")
        with pytest.raises(WrongPassword):
            await sign_ins.check("ada", "wrong")
        assert sign_ins.recall("ada", "right") is None
        assert sign_ins.was_right("ada", "right")
        assert sign_ins.was_wrong("ada", "wrong") == 0
        assert sign_ins.was_wrong("ada", "other") is None

    told(story, remember=0)


def test_a_changed_password_ends_the_old_one() -> None:
    """The old one is forgotten when it is refused, and as soon as the new one is used."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        await sign_ins.check("ada", "right")
        server.passwords["ada"] = "new"
        assert await sign_ins.check("ada", "new") == (ADA, False)
        assert sign_ins.recall("ada", "right") is None
        with pytest.raises(WrongPassword):
            await sign_ins.check("ada", "right")
        assert sign_ins.recall("ada", "new") == ADA
        server.passwords["ada"] = "newer"
        with pytest.raises(WrongPassword):
            await sign_ins.check("ada", "new")
        assert not sign_ins.was_right("ada", "new")

    told(story)


def test_a_refusal_is_remembered_until_it_is_none() -> None:
    """Who has been refused is told when it is asked about again, and a password that became right is right."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        with pytest.raises(WrongPassword):
            await sign_ins.check("ada", "new")
        left = sign_ins.was_wrong("ada", "new")
        assert left is not None
        assert 0 < left <= 60
        server.passwords["ada"] = "new"
        assert await sign_ins.check("ada", "new") == (ADA, False)
        assert sign_ins.was_wrong("ada", "new") is None

    told(story)


def test_while_nobody_can_be_asked() -> None:
    """Who was right not long ago gets in and is told; nobody else does; and the server is not asked all the time."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        await sign_ins.check("ada", "right")
        server.there = False
        for _ in range(10):
            assert await sign_ins.check("ada", "right") == (ADA, True)
            with pytest.raises(SignInUnavailable) as caught:
                await sign_ins.check("ada", "wrong")
            assert caught.value.why == "no line"
        assert server.asked == 2

    told(story)


def test_an_outage_is_bridged_for_its_time_only() -> None:
    """With 0 not at all."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        await sign_ins.check("ada", "right")
        server.there = False
        with pytest.raises(SignInUnavailable):
            await sign_ins.check("ada", "right")

    told(story, outage=0)


def test_a_server_that_is_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause somebody asks it again, and then everybody may."""
    monkeypatch.setattr(password_cache, "_PAUSE", 0.0)

    async def story(sign_ins: SignIns, server: Server) -> None:
        server.there = False
        with pytest.raises(SignInUnavailable):
            await sign_ins.check("ada", "right")
        server.there = True
        assert await sign_ins.check("ada", "right") == (ADA, False)
        assert await sign_ins.check("ada", "right") == (ADA, False)

    told(story)


def test_a_question_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that hangs is no reason to let people wait for ever."""
    monkeypatch.setattr(password_cache, "_PATIENCE", 0.05)
    go_on = threading.Event()

    def hang(name: str, password: str) -> SignedIn:
        go_on.wait(60)
        return ADA

    async def play() -> None:
        sign_ins = SignIns(hang, 60, 60)
        try:
            with pytest.raises(SignInUnavailable) as caught:
                await sign_ins.check("ada", "right")
            assert "0.05 s" in caught.value.why
        finally:
            go_on.set()
            sign_ins.close()

    asyncio.run(play())


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers that were not needed for longest are forgotten, the right ones and the wrong ones."""
    monkeypatch.setattr(password_cache, "_MOST", 3)

    async def story(sign_ins: SignIns, server: Server) -> None:
        server.passwords = dict.fromkeys("abcd", "right")
        for name in "abc":
            await sign_ins.check(name, "right")
        assert sign_ins.recall("a", "right")
        await sign_ins.check("d", "right")
        assert [name for name in "abcd" if sign_ins.recall(name, "right")] == ["a", "c", "d"]
        for number in range(9):
            with pytest.raises(WrongPassword):
                await sign_ins.check("a", str(number))
        assert [number for number in range(9) if sign_ins.was_wrong("a", str(number)) is not None] == [6, 7, 8]

    told(story)


def test_nothing_that_is_kept_holds_a_password() -> None:
    """Neither does its text, nor that of the errors."""

    async def story(sign_ins: SignIns, server: Server) -> None:
        server.passwords["ada"] = "hunter2-right"
        await sign_ins.check("ada", "hunter2-right")
        with pytest.raises(WrongPassword) as caught:
            await sign_ins.check("ada", "hunter2-wrong")
        assert "hunter2" not in repr(vars(sign_ins)) + repr(caught.value) + str(caught.value)

    told(story)

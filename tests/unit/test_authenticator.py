"""The door: many at once are no more guesses than one after the other, and nobody pays for somebody else's."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from syncd.app.authenticator import Door
from syncd.app.password_cache import AT_ONCE, SignIns
from syncd.core.contacts.models import Admission, Caller, SignedIn
from syncd.core.operations.login_throttle import FREE
from syncd.errors import NotAllowed, NotAuthenticated, SignInUnavailable, SyncdError, TooManyFailures
from syncd.errors import WrongPassword as Wrong
from syncd.settings import Database
from syncd.store.admin.token_cache import Callers
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import async_engine


class Server:
    """What a directory server answers, and how often it was asked about whom."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def ask(self, name: str, password: str) -> SignedIn:
        self.asked[name] += 1
        time.sleep(0.002)
        if password != "right":
            raise Wrong("no", known=True)
        return SignedIn(name.strip().lower(), None if name == "outsider" else "agent")


def told(story: Callable[[Door, Server], Awaitable[None]]) -> None:
    """Play a story at a door of its own; its database is never asked."""

    async def play() -> None:
        server = Server()
        sign_ins = SignIns(server.ask, 60, 60)
        engine = async_engine(Database(url="postgresql://nobody@localhost/nothing"), Role.API)
        try:
            await story(Door(Callers(engine), sign_ins), server)
        finally:
            sign_ins.close()
            await engine.dispose()

    asyncio.run(play())


async def outcomes(*tries: Awaitable[Admission]) -> Counter[str]:
    """What became of attempts that were made at the same moment."""
    found = await asyncio.gather(*tries, return_exceptions=True)
    return Counter(type(one).__name__ for one in found)


def test_the_same_right_password_many_times_at_once_is_one_question() -> None:
    async def story(door: Door, server: Server) -> None:
        assert await outcomes(*(door.by_password("ada", "right", "1.1.1.1") for _ in range(50))) == {"Admission": 50}
        assert server.asked == {"ada": 1}

    told(story)


def test_the_same_wrong_password_many_times_at_once_is_one_question() -> None:
    async def story(door: Door, server: Server) -> None:
        found = await outcomes(*(door.by_password("ada", "wrong", "1.1.1.1") for _ in range(50)))
        assert found == {"WrongPassword": 1, "TooManyFailures": 49}
        assert server.asked == {"ada": 1}
        assert await door.by_password("ada", "right", "1.1.1.1") == Admission(Caller("ada", "agent"))

    told(story)


def test_many_guesses_at_once_are_as_few_questions_as_one_after_the_other() -> None:
    """Spelling the name otherwise, or coming from elsewhere, makes no other account."""

    async def story(door: Door, server: Server) -> None:
        names = ["ada", "ADA", " ada", "ada ", "Àdà"]
        tries = (door.by_password(names[n % 5], f"guess {n}", f"1.1.{n}.1") for n in range(60))
        found = await outcomes(*tries)
        assert found == {"WrongPassword": FREE, "TooManyFailures": 60 - FREE}
        assert server.asked.total() == FREE

    told(story)


def test_many_names_at_once_from_one_address() -> None:
    """No more are asked about than were under way when the third one failed; with IPv6 a network is one address."""

    async def story(door: Door, server: Server) -> None:
        found = await outcomes(*(door.by_password(f"n{n}", "x", f"2001:db8::{n:x}") for n in range(100)))
        assert set(found) == {"WrongPassword", "TooManyFailures"}
        assert server.asked.total() < FREE + AT_ONCE
        assert await outcomes(door.by_password("other", "x", "2001:db8:0:1::1")) == {"WrongPassword": 1}

    told(story)


def test_one_account_does_not_slow_the_others_at_its_address() -> None:
    """Who is slowed already counts against the address no further, and who gets in makes up for one who mistyped."""

    async def story(door: Door, server: Server) -> None:
        for number in range(FREE):
            with pytest.raises(Wrong):
                await door.by_password("ada", str(number), "1.1.1.1")
        with pytest.raises(TooManyFailures):
            await door.by_password("bob", "right", "1.1.1.1")
        await asyncio.sleep(1.05)
        assert (await door.by_password("bob", "right", "1.1.1.1")).caller.name == "bob"
        assert (await door.by_password("carl", "right", "1.1.1.1")).caller.name == "carl"

    told(story)


def test_who_is_in_no_group_is_no_guess() -> None:
    async def story(door: Door, server: Server) -> None:
        for _ in range(10):
            with pytest.raises(NotAllowed, match="none of the groups"):
                await door.by_password("outsider", "right", "1.1.1.1")
        assert server.asked == {"outsider": 1}

    told(story)


def test_too_many_who_wait_are_sent_away() -> None:
    """A flood is refused, and no question is put for it; whoever signed in before does not notice."""

    async def story(door: Door, server: Server) -> None:
        await door.by_password("ada", "right", "1.1.1.1")
        flood = [asyncio.create_task(door.by_password(f"n{n}", "right", f"1.1.{n}.1")) for n in range(250)]
        await asyncio.sleep(0)
        assert (await door.by_password("ada", "right", "1.1.1.1")).caller.name == "ada"
        found = Counter(type(one).__name__ for one in await asyncio.gather(*flood, return_exceptions=True))
        assert found == {"Admission": 200, "SignInUnavailable": 50}

    told(story)


def test_without_sign_in() -> None:
    async def play() -> None:
        engine = async_engine(Database(url="postgresql://nobody@localhost/nothing"), Role.API)
        try:
            with pytest.raises(NotAuthenticated, match="send a token"):
                await Door(Callers(engine), None).by_password("ada", "right", "1.1.1.1")
        finally:
            await engine.dispose()

    asyncio.run(play())


@pytest.mark.parametrize("error", [Wrong("why", known=True), TooManyFailures(3.2), SignInUnavailable("why")])
def test_the_errors_can_be_sent_to_another_process(error: SyncdError) -> None:
    import pickle

    sent = pickle.loads(pickle.dumps(error))
    assert (str(sent), vars(sent)) == (str(error), vars(error))

"""Authenticator: concurrent attempts allow no more guesses, and one account does not throttle another."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from syncd.app.authenticator import Authenticator
from syncd.app.password_cache import MAX_CONCURRENT, PasswordChecker
from syncd.core.contacts.models import AuthResult, Caller, Identity
from syncd.core.operations.login_throttle import FREE_ATTEMPTS
from syncd.errors import AuthenticationUnavailable, Forbidden, NotAuthenticated, SyncdError, Throttled
from syncd.errors import WrongPassword as Wrong
from syncd.settings import Database
from syncd.store.admin.token_cache import TokenCache
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import open_async_engine


class Server:
    """Fake LDAP authentication that counts its calls per name."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def bind(self, name: str, password: str) -> Identity:
        self.calls[name] += 1
        time.sleep(0.002)
        if password != "right":
            raise Wrong("no", known=True)
        return Identity(name.strip().lower(), None if name == "outsider" else "agent")


def run_with_authenticator(scenario: Callable[[Authenticator, Server], Awaitable[None]]) -> None:
    """Run a scenario with its own authenticator; the database is never connected."""

    async def main() -> None:
        server = Server()
        checker = PasswordChecker(server.bind, 60, 60)
        engine = open_async_engine(Database(url="postgresql://nobody@localhost/nothing"), Role.API)
        try:
            await scenario(Authenticator(TokenCache(engine), checker), server)
        finally:
            checker.close()
            await engine.dispose()

    asyncio.run(main())


async def count_outcomes(*attempts: Awaitable[AuthResult]) -> Counter[str]:
    """Await concurrent attempts and count the type names of their results."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    return Counter(type(result).__name__ for result in results)


def test_concurrent_checks_of_one_right_password_are_one_bind() -> None:
    async def scenario(authenticator: Authenticator, server: Server) -> None:
        assert await count_outcomes(
            *(authenticator.authenticate_password("ada", "right", "1.1.1.1") for _ in range(50))
        ) == {"AuthResult": 50}
        assert server.calls == {"ada": 1}

    run_with_authenticator(scenario)


def test_concurrent_checks_of_one_wrong_password_are_one_bind() -> None:
    async def scenario(authenticator: Authenticator, server: Server) -> None:
        counts = await count_outcomes(
            *(authenticator.authenticate_password("ada", "wrong", "1.1.1.1") for _ in range(50))
        )
        assert counts == {"WrongPassword": 1, "Throttled": 49}
        assert server.calls == {"ada": 1}
        assert await authenticator.authenticate_password("ada", "right", "1.1.1.1") == AuthResult(
            Caller("ada", "agent")
        )

    run_with_authenticator(scenario)


def test_concurrent_guesses_are_throttled_like_sequential_ones() -> None:
    """Other spellings of a name, and other addresses, count for the same account."""

    async def scenario(authenticator: Authenticator, server: Server) -> None:
        names = ["ada", "ADA", " ada", "ada ", "Àdà"]
        attempts = (authenticator.authenticate_password(names[n % 5], f"guess {n}", f"1.1.{n}.1") for n in range(60))
        counts = await count_outcomes(*attempts)
        assert counts == {"WrongPassword": FREE_ATTEMPTS, "Throttled": 60 - FREE_ATTEMPTS}
        assert server.calls.total() == FREE_ATTEMPTS

    run_with_authenticator(scenario)


def test_many_names_from_one_address_are_throttled() -> None:
    """Only checks under way when the third one failed reach the server; an IPv6 /64 network counts as one address."""

    async def scenario(authenticator: Authenticator, server: Server) -> None:
        counts = await count_outcomes(
            *(authenticator.authenticate_password(f"n{n}", "x", f"2001:db8::{n:x}") for n in range(100))
        )
        assert set(counts) == {"WrongPassword", "Throttled"}
        assert server.calls.total() < FREE_ATTEMPTS + MAX_CONCURRENT
        assert await count_outcomes(authenticator.authenticate_password("other", "x", "2001:db8:0:1::1")) == {
            "WrongPassword": 1
        }

    run_with_authenticator(scenario)


def test_a_throttled_account_does_not_throttle_its_address() -> None:
    """Further failures of a throttled account do not count for its address; a success forgives one failure."""

    async def scenario(authenticator: Authenticator, server: Server) -> None:
        for number in range(FREE_ATTEMPTS):
            with pytest.raises(Wrong):
                await authenticator.authenticate_password("ada", str(number), "1.1.1.1")
        with pytest.raises(Throttled):
            await authenticator.authenticate_password("bob", "right", "1.1.1.1")
        await asyncio.sleep(1.05)
        assert (await authenticator.authenticate_password("bob", "right", "1.1.1.1")).caller.name == "bob"
        assert (await authenticator.authenticate_password("carl", "right", "1.1.1.1")).caller.name == "carl"

    run_with_authenticator(scenario)


def test_an_account_in_no_group_is_not_a_guess() -> None:
    async def scenario(authenticator: Authenticator, server: Server) -> None:
        for _ in range(10):
            with pytest.raises(Forbidden, match="none of the groups"):
                await authenticator.authenticate_password("outsider", "right", "1.1.1.1")
        assert server.calls == {"outsider": 1}

    run_with_authenticator(scenario)


def test_attempts_above_the_waiting_limit_are_refused() -> None:
    """A flood is refused without binds, and cached accounts are not affected."""

    async def scenario(authenticator: Authenticator, server: Server) -> None:
        await authenticator.authenticate_password("ada", "right", "1.1.1.1")
        flood = [
            asyncio.create_task(authenticator.authenticate_password(f"n{n}", "right", f"1.1.{n}.1")) for n in range(250)
        ]
        await asyncio.sleep(0)
        assert (await authenticator.authenticate_password("ada", "right", "1.1.1.1")).caller.name == "ada"
        counts = await count_outcomes(*flood)
        assert counts == {"AuthResult": 200, "AuthenticationUnavailable": 50}

    run_with_authenticator(scenario)


def test_passwords_are_refused_without_a_checker() -> None:
    async def main() -> None:
        engine = open_async_engine(Database(url="postgresql://nobody@localhost/nothing"), Role.API)
        try:
            with pytest.raises(NotAuthenticated, match="send a token"):
                await Authenticator(TokenCache(engine), None).authenticate_password("ada", "right", "1.1.1.1")
        finally:
            await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("error", [Wrong("why", known=True), Throttled(3.2), AuthenticationUnavailable("why")])
def test_the_errors_can_be_sent_to_another_process(error: SyncdError) -> None:
    import pickle

    sent = pickle.loads(pickle.dumps(error))
    assert (str(sent), vars(sent)) == (str(error), vars(error))

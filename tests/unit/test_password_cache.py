"""Password cache: validity of accepted and rejected passwords, and behaviour during an outage of the server."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from syncd.app import password_cache
from syncd.app.password_cache import PasswordChecker
from syncd.core.contacts.models import Identity
from syncd.errors import AuthenticationUnavailable, WrongPassword

ADA = Identity("ada", "admin")


class Server:
    """Fake LDAP authentication with changeable passwords, which can be unreachable."""

    def __init__(self) -> None:
        self.passwords = {"ada": "right"}
        self.reachable = True
        self.calls = 0

    def bind(self, name: str, password: str) -> Identity:
        self.calls += 1
        if not self.reachable:
            raise AuthenticationUnavailable("no line")
        if self.passwords.get(name) != password:
            raise WrongPassword("no", known=name in self.passwords)
        return ADA


def run_with_checker(
    scenario: Callable[[PasswordChecker, Server], Awaitable[None]], cache_ttl: float = 60, offline_ttl: float = 60
) -> None:
    """Run a scenario with its own server and checker."""

    async def main() -> None:
        server = Server()
        checker = PasswordChecker(server.bind, cache_ttl, offline_ttl)
        try:
            await scenario(checker, server)
        finally:
            checker.close()

    asyncio.run(main())


def test_an_accepted_password_is_cached_for_exactly_that_name_and_password() -> None:
    """Only the same name and password match, even when another pair concatenates to the same text."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        assert checker.find_cached("ada", "right") is None
        assert await checker.check("ada", "right") == (ADA, False)
        assert checker.find_cached("ada", "right") == ADA
        for name, password in (("ada", "wrong"), ("ad", "aright"), ("adar", "ight"), ("Ada", "right"), ("ada", "")):
            assert checker.find_cached(name, password) is None
            assert not checker.recently_accepted(name, password)
        assert server.calls == 1

    run_with_checker(scenario)


def test_a_result_expires_after_the_ttl() -> None:
    """After it the server is asked again, although the password is known not to be a guess."""

    async def scenario(checker: PasswordChecker, _: Server) -> None:
        await checker.check("ada", "right")
        with pytest.raises(WrongPassword):
            await checker.check("ada", "wrong")
        assert checker.find_cached("ada", "right") is None
        assert checker.recently_accepted("ada", "right")
        assert checker.recently_rejected("ada", "wrong") == 0
        assert checker.recently_rejected("ada", "other") is None

    run_with_checker(scenario, cache_ttl=0)


def test_a_changed_password_invalidates_the_old_one() -> None:
    """The old one is dropped when the server rejects it, and as soon as the new one is accepted."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        await checker.check("ada", "right")
        server.passwords["ada"] = "new"
        assert await checker.check("ada", "new") == (ADA, False)
        assert checker.find_cached("ada", "right") is None
        with pytest.raises(WrongPassword):
            await checker.check("ada", "right")
        assert checker.find_cached("ada", "new") == ADA
        server.passwords["ada"] = "newer"
        with pytest.raises(WrongPassword):
            await checker.check("ada", "new")
        assert not checker.recently_accepted("ada", "new")

    run_with_checker(scenario)


def test_a_rejection_is_cached_until_the_password_is_accepted() -> None:
    """The remaining seconds are returned, and a password that became right is accepted."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        with pytest.raises(WrongPassword):
            await checker.check("ada", "new")
        seconds = checker.recently_rejected("ada", "new")
        assert seconds is not None
        assert 0 < seconds <= 60
        server.passwords["ada"] = "new"
        assert await checker.check("ada", "new") == (ADA, False)
        assert checker.recently_rejected("ada", "new") is None

    run_with_checker(scenario)


def test_an_accepted_password_is_valid_while_the_server_is_unreachable() -> None:
    """It is marked as offline; other passwords are refused, and the server is not contacted each time."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        await checker.check("ada", "right")
        server.reachable = False
        for _ in range(10):
            assert await checker.check("ada", "right") == (ADA, True)
            with pytest.raises(AuthenticationUnavailable) as caught:
                await checker.check("ada", "wrong")
            assert caught.value.reason == "no line"
        assert server.calls == 2

    run_with_checker(scenario)


def test_an_accepted_password_expires_offline_after_the_offline_ttl() -> None:
    """With 0 there is no offline use at all."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        await checker.check("ada", "right")
        server.reachable = False
        with pytest.raises(AuthenticationUnavailable):
            await checker.check("ada", "right")

    run_with_checker(scenario, offline_ttl=0)


def test_a_returned_server_is_used_after_the_retry_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first check after the delay contacts the server, and then every check may."""
    monkeypatch.setattr(password_cache, "_RETRY_DELAY", 0.0)

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        server.reachable = False
        with pytest.raises(AuthenticationUnavailable):
            await checker.check("ada", "right")
        server.reachable = True
        assert await checker.check("ada", "right") == (ADA, False)
        assert await checker.check("ada", "right") == (ADA, False)

    run_with_checker(scenario)


def test_a_check_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name resolution that hangs does not block a check for longer than the timeout."""
    monkeypatch.setattr(password_cache, "_CHECK_TIMEOUT", 0.05)
    go_on = threading.Event()

    def hang(name: str, password: str) -> Identity:
        go_on.wait(60)
        return ADA

    async def main() -> None:
        checker = PasswordChecker(hang, 60, 60)
        try:
            with pytest.raises(AuthenticationUnavailable) as caught:
                await checker.check("ada", "right")
            assert "0.05 s" in caught.value.reason
        finally:
            go_on.set()
            checker.close()

    asyncio.run(main())


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used acceptances and rejections are dropped."""
    monkeypatch.setattr(password_cache, "_MAX_ENTRIES", 3)

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        server.passwords = dict.fromkeys("abcd", "right")
        for name in "abc":
            await checker.check(name, "right")
        assert checker.find_cached("a", "right")
        await checker.check("d", "right")
        assert [name for name in "abcd" if checker.find_cached(name, "right")] == ["a", "c", "d"]
        for number in range(9):
            with pytest.raises(WrongPassword):
                await checker.check("a", str(number))
        assert [number for number in range(9) if checker.recently_rejected("a", str(number)) is not None] == [6, 7, 8]

    run_with_checker(scenario)


def test_no_password_is_stored() -> None:
    """Neither the checker nor its errors contain a password."""

    async def scenario(checker: PasswordChecker, server: Server) -> None:
        server.passwords["ada"] = "hunter2-right"
        await checker.check("ada", "hunter2-right")
        with pytest.raises(WrongPassword) as caught:
            await checker.check("ada", "hunter2-wrong")
        assert "hunter2" not in repr(vars(checker)) + repr(caught.value) + str(caught.value)

    run_with_checker(scenario)

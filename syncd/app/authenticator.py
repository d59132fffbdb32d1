"""Authentication of callers by token or by name and password, throttled after failures."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from syncd.app.password_cache import MAX_CONCURRENT, PasswordChecker
from syncd.core.contacts.models import AuthResult, Caller, Identity
from syncd.core.contacts.text import clean, fold
from syncd.core.operations.client_address import throttle_unit
from syncd.core.operations.login_throttle import FailureRecord, FailureThrottle, backoff_seconds
from syncd.errors import AuthenticationUnavailable, Forbidden, NotAuthenticated, Throttled, WrongPassword
from syncd.observability import log, metrics
from syncd.store.admin.token_cache import TokenCache

_MAX_WAITING = 200
"""Password checks that wait for their lock; one more is refused as unavailable."""


class Authenticator:
    """Authenticates callers by token, and by password if there is a `checker`.

    Throttling applies to new guesses: wrong passwords that were not rejected before. A repeated wrong password is no
    new guess: it does not reach the LDAP server and does not lock out the account, so a desktop client with an outdated
    password is harmless. A valid token, and a password that was accepted before, are never throttled.
    """

    def __init__(self, callers: TokenCache, checker: PasswordChecker | None) -> None:
        self._callers = callers
        self._checker = checker
        self._accounts = FailureThrottle()
        self._origins = FailureThrottle()
        self._token_origins = FailureThrottle()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0

    def reconfigure(self, checker: PasswordChecker | None) -> None:
        """Use another checker for new requests; checks under way end with the old one, failures stay counted."""
        self._checker = checker

    async def authenticate_token(self, token: str, address: str, access: int) -> AuthResult:
        """Return the owner of the token.

        `address` is the IP address of the client, `access` the version of the stored tokens (see `token_cache`).
        Raises NotAuthenticated with the same text for unknown, revoked and expired tokens, Throttled,
        StoreUnavailable.
        """
        caller = await self._callers.find_caller(token, access)
        if caller is not None:
            return AuthResult(caller)
        origin, now = throttle_unit(address), time.monotonic()
        _raise_if_throttled(self._token_origins.check_wait(origin, now))
        mark = self._token_origins.record_failure(origin, now)
        log.emit(
            log.AUTH_FAILED, kind="token", client=address, client_failures=mark.failures,
            unchecked=mark.rejected, seconds=backoff_seconds(mark.failures),
            why="no such token, or revoked, or expired",
        )  # fmt: skip
        raise _refusal("refused", NotAuthenticated("this token is not valid"))

    async def authenticate_password(self, name: str, password: str, address: str) -> AuthResult:
        """Return the caller with this name and password.

        `address` is the IP address of the client. Raises WrongPassword, Throttled, Forbidden when the account is
        in none of the groups, AuthenticationUnavailable, and NotAuthenticated when the settings allow only tokens.
        """
        checker = self._checker
        if checker is None:
            raise NotAuthenticated("authentication by name and password is not configured; send a token")
        identity = checker.find_cached(name, password)
        if identity is not None:
            return _to_result(identity, "remembered")
        account = fold(clean(name))
        async with self._account_turn(account):
            identity = checker.find_cached(name, password)  # from the check that held the lock before
            if identity is not None:
                return _to_result(identity, "remembered")
            return await self._check(checker, account, name, password, address)

    @asynccontextmanager
    async def _account_turn(self, account: str) -> AsyncIterator[None]:
        """Wait until a check for this account may begin: one per account and MAX_CONCURRENT in total.

        Concurrent checks would allow many guesses before the first has failed. Raises AuthenticationUnavailable.
        """
        if self._waiting >= _MAX_WAITING:
            raise _refusal(
                "unavailable", AuthenticationUnavailable("too many password checks are waiting for their turn")
            )
        lock = self._locks.setdefault(account, asyncio.Lock())
        self._waiting += 1
        try:
            async with lock, self._slots:
                yield
        finally:
            self._waiting -= 1

    async def _check(
        self, checker: PasswordChecker, account: str, name: str, password: str, address: str
    ) -> AuthResult:
        """Check a password that is not cached, unless its account or address is throttled."""
        origin, now = throttle_unit(address), time.monotonic()
        retry_after = checker.recently_rejected(name, password)
        if retry_after:
            raise _refusal("repeated", Throttled(retry_after))
        if retry_after is None and not checker.recently_accepted(name, password):
            _raise_if_throttled(max(self._accounts.check_wait(account, now), self._origins.check_wait(origin, now)))
        try:
            identity, unreachable = await checker.check(name, password)
        except WrongPassword as error:
            if retry_after is None:
                self._count_failure(error, account, name, address)
            raise _refusal("refused", error) from None
        except AuthenticationUnavailable as error:
            raise _refusal("unavailable", error) from None
        self._accounts.clear(account)
        self._origins.forgive_one(origin)
        if identity.role is None and not unreachable:
            log.emit(log.AUTH_FAILED, kind="group", account=identity.name, client=address, why="in none of the groups")
        return _to_result(identity, "unreachable" if unreachable else "accepted", unreachable)

    def _count_failure(self, error: WrongPassword, account: str, name: str, address: str) -> None:
        """Count and log a wrong guess; for a throttled account the failure does not count against the address."""
        origin, now = throttle_unit(address), time.monotonic()
        slowed = self._accounts.is_slowed(account, now)
        mark = self._accounts.record_failure(account, now)
        origin_mark = FailureRecord() if slowed else self._origins.record_failure(origin, now)
        log.emit(
            log.AUTH_FAILED, kind="password", account=name if error.known else None, client=address,
            failures=mark.failures, client_failures=origin_mark.failures or None,
            unchecked=mark.rejected + origin_mark.rejected,
            seconds=max(backoff_seconds(mark.failures), backoff_seconds(origin_mark.failures)), why=error.reason,
        )  # fmt: skip


def _raise_if_throttled(seconds: float) -> None:
    """Raise Throttled unless the waiting time is 0."""
    if seconds:
        raise _refusal("slowed", Throttled(seconds))


def _refusal(outcome: str, error: Exception) -> Exception:
    """Count an attempt with this outcome and return the error to raise."""
    metrics.AUTH_ATTEMPTS.labels(outcome).inc()
    return error


def _to_result(identity: Identity, outcome: str, unreachable: bool = False) -> AuthResult:
    if identity.role is None:
        raise _refusal(
            "no_role",
            Forbidden(
                "the password is right, but you are in none of the groups that may use the directory; "
                "ask its administrator to add you to one"
            ),
        )
    metrics.AUTH_ATTEMPTS.labels(outcome).inc()
    return AuthResult(Caller(identity.name, identity.role), unreachable)

"""The door: who gets in with a token or with name and password, and how long whoever guesses has to wait."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from syncd.app.password_cache import AT_ONCE, SignIns
from syncd.core.contacts.models import Admission, Caller, SignedIn
from syncd.core.contacts.text import clean, fold
from syncd.core.operations.login_throttle import Mark, Patience, pause
from syncd.errors import NotAllowed, NotAuthenticated, SignInUnavailable, TooManyFailures, WrongPassword
from syncd.observability import log, metrics
from syncd.store.admin.token_cache import Callers

_MOST_WAITING = 200
"""Sign-ins that wait for their turn; one more is told to come back later."""


class Door:
    """Lets callers in. Without `sign_ins` there are only tokens.

    Slowed are guesses: names and passwords that are wrong and were not before. The same wrong ones again are no new
    guess, so a desktop with an old password neither asks the directory server nor shuts out who has the new one. A good
    token is never slowed, nor is who signed in before with the same password.
    """

    def __init__(self, callers: Callers, sign_ins: SignIns | None) -> None:
        self._callers = callers
        self._sign_ins = sign_ins
        self._accounts = Patience()
        self._origins = Patience()
        self._token_origins = Patience()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0

    def follow(self, sign_ins: SignIns | None) -> None:
        """Other sign-ins from now on; who waits for an answer of the former ones gets it. Failures are remembered."""
        self._sign_ins = sign_ins

    async def by_token(self, token: str, address: str, access: int) -> Admission:
        """The caller whose token this is. Raises NotAuthenticated, without telling which tokens there ever were."""
        caller = await self._callers.caller(token, access)
        if caller is not None:
            return Admission(caller)
        origin, now = _origin(address), time.monotonic()
        _let_wait(self._token_origins.wait(origin, now))
        mark = self._token_origins.fail(origin, now)
        log.emit(
            log.ACCESS_REFUSED, kind="token", client=address, client_failures=mark.failures,
            unchecked=mark.refused, seconds=pause(mark.failures), why="no such token, or revoked, or expired",
        )  # fmt: skip
        raise _refusal("refused", NotAuthenticated("this token is not valid"))

    async def by_password(self, name: str, password: str, address: str) -> Admission:
        """Who has this name and password. Raises NotAuthenticated, NotAllowed, SignInUnavailable."""
        sign_ins = self._sign_ins
        if sign_ins is None:
            raise NotAuthenticated("nobody can sign in with name and password here; send a token")
        answer = sign_ins.recall(name, password)
        if answer is not None:
            return _admitted(answer, "remembered")
        account = fold(clean(name))
        async with self._turn(account):
            answer = sign_ins.recall(name, password)  # what the one before us was told
            if answer is not None:
                return _admitted(answer, "remembered")
            return await self._checked(sign_ins, account, name, password, address)

    @asynccontextmanager
    async def _turn(self, account: str) -> AsyncIterator[None]:
        """One at a time for each account, a few in all: many at once were many guesses before the first has failed."""
        if self._waiting >= _MOST_WAITING:
            raise _refusal("unavailable", SignInUnavailable("too many sign-ins wait for their turn"))
        turn = self._turns.setdefault(account, asyncio.Lock())
        self._waiting += 1
        try:
            async with turn, self._room:
                yield
        finally:
            self._waiting -= 1

    async def _checked(self, sign_ins: SignIns, account: str, name: str, password: str, address: str) -> Admission:
        origin, now = _origin(address), time.monotonic()
        again = sign_ins.was_wrong(name, password)
        if again:
            raise _refusal("repeated", TooManyFailures(again))
        if again is None and not sign_ins.was_right(name, password):
            _let_wait(max(self._accounts.wait(account, now), self._origins.wait(origin, now)))
        try:
            answer, unreachable = await sign_ins.check(name, password)
        except WrongPassword as error:
            if again is None:
                self._count(error, account, name, address)
            raise _refusal("refused", error) from None
        except SignInUnavailable as error:
            raise _refusal("unavailable", error) from None
        self._accounts.succeed(account)
        self._origins.forgive(origin)
        if answer.role is None and not unreachable:
            log.emit(log.ACCESS_REFUSED, kind="group", account=answer.name, client=address, why="in none of the groups")
        return _admitted(answer, "unreachable" if unreachable else "accepted", unreachable)

    def _count(self, error: WrongPassword, account: str, name: str, address: str) -> None:
        """A wrong guess. One account that is slowed already slows the others at the same address no further."""
        origin, now = _origin(address), time.monotonic()
        slowed = self._accounts.slowed(account, now)
        mark = self._accounts.fail(account, now)
        origin_mark = Mark() if slowed else self._origins.fail(origin, now)
        log.emit(
            log.ACCESS_REFUSED, kind="password", account=name if error.known else None, client=address,
            failures=mark.failures, client_failures=origin_mark.failures or None,
            unchecked=mark.refused + origin_mark.refused,
            seconds=max(pause(mark.failures), pause(origin_mark.failures)), why=error.why,
        )  # fmt: skip


def _let_wait(seconds: float) -> None:
    if seconds:
        raise _refusal("slowed", TooManyFailures(seconds))


def _refusal(outcome: str, error: Exception) -> Exception:
    metrics.SIGN_INS.labels(outcome).inc()
    return error


def _admitted(answer: SignedIn, outcome: str, unreachable: bool = False) -> Admission:
    if answer.role is None:
        raise _refusal(
            "no_role",
            NotAllowed(
                "the password is right, but you are in none of the groups that may use the directory; "
                "ask whoever looks after it to add you to one"
            ),
        )
    metrics.SIGN_INS.labels(outcome).inc()
    return Admission(Caller(answer.name, answer.role), unreachable)


def _origin(address: str) -> str:
    """Whom an address belongs to: with IPv6 everybody has a whole network of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))

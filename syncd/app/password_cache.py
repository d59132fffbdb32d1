"""Sign-ins: the slow question of the directory server, asked in threads of its own, and what is remembered of answers.

Nothing that is remembered lets anybody learn a password: only keyed hashes are kept, with a key that ends with us.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from syncd.core.contacts.models import SignedIn
from syncd.errors import SignInUnavailable, WrongPassword
from syncd.observability import log

AT_ONCE = 8
"""Questions that the directory server may be asked at the same moment; whoever calls `check` keeps to it."""
_PATIENCE = 20.0
"""Seconds for an answer. The question itself ends sooner; only a name service that hangs takes longer."""
_PAUSE = 5.0
"""Seconds in which nobody asks a server again that could not be reached: all others would wait in vain."""
_ABOUT = "sign-in"
_MOST = 10_000
"""Answers that are remembered; beyond that the ones that were not needed for longest are forgotten."""


class _Kept(NamedTuple):
    digest: bytes
    answer: SignedIn
    at: float


class SignIns:
    """Names and passwords, checked by `ask`, which blocks; see `sources.ldap.signin.Passwords.check`.

    `remember` and `outage` are seconds: how long an answer is believed, and how long after it a password that was right
    still counts while nobody can be asked.
    """

    def __init__(self, ask: Callable[[str, str], SignedIn], remember: float, outage: float) -> None:
        self._ask = ask
        self._remember = remember
        self._outage = outage
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[str, _Kept] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sign-in")
        self._lost: str | None = None
        self._next = 0.0

    def close(self) -> None:
        """Ask nothing more; questions under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def recall(self, name: str, password: str) -> SignedIn | None:
        """The answer to the same name and password, as long as it is believed without asking again."""
        kept = self._last(name, password)
        return kept.answer if kept and time.monotonic() - kept.at < self._remember else None

    def was_right(self, name: str, password: str) -> bool:
        """Whether these were right when they were asked about last: they are no guess, whatever they are now."""
        return self._last(name, password) is not None

    def was_wrong(self, name: str, password: str) -> float | None:
        """The seconds until these are asked about again; None when they were not wrong when they were asked about."""
        at = self._wrong.get(self._digest(name, password))
        return None if at is None else max(0.0, at + self._remember - time.monotonic())

    async def check(self, name: str, password: str) -> tuple[SignedIn, bool]:
        """Who this is, and whether that rests on memory because nobody could be asked.

        Raises WrongPassword, and SignInUnavailable when nobody could be asked and memory does not help.
        """
        try:
            answer = await self._question(name, password)
        except WrongPassword:
            self._keep_wrong(name, password)
            raise
        except SignInUnavailable:
            kept = self._last(name, password)
            if kept is None or time.monotonic() - kept.at > self._outage:
                raise
            return kept.answer, True
        self._keep_right(name, password, answer)
        return answer, False

    async def _question(self, name: str, password: str) -> SignedIn:
        now = time.monotonic()
        if self._lost is not None and now < self._next:
            raise SignInUnavailable(self._lost)
        # while one finds out whether the server is back, nobody else waits for that
        self._next = now + _PATIENCE
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._ask, name, password)
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await asked
        except WrongPassword:
            self._reached()
            raise
        except SignInUnavailable as error:
            self._lose(error.why)
            raise
        except TimeoutError:
            self._lose(why := f"no answer within {_PATIENCE:g} s")
            raise SignInUnavailable(why) from None
        self._reached()
        for group in answer.missing:
            log.trouble(log.SIGN_IN_GROUP_MISSING, f"group {group}", "", group=group)
        return answer

    def _lose(self, why: str) -> None:
        log.trouble(log.SIGN_IN_LOST, _ABOUT, why)
        self._lost, self._next = why, time.monotonic() + _PAUSE

    def _reached(self) -> None:
        self._lost = None
        ended = log.over(_ABOUT)
        if ended is not None:
            log.emit(log.SIGN_IN_BACK, seconds=round(ended.seconds, 1))

    def _digest(self, name: str, password: str) -> bytes:
        given = f"{len(name)}:{name}{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(given, key=self._key, digest_size=32).digest()

    def _last(self, name: str, password: str) -> _Kept | None:
        kept = self._right.get(name)
        if kept is None or not hmac.compare_digest(kept.digest, self._digest(name, password)):
            return None
        self._right.move_to_end(name)
        return kept

    def _keep_right(self, name: str, password: str, answer: SignedIn) -> None:
        """One password for each name: who has a new one has no other."""
        digest = self._digest(name, password)
        self._wrong.pop(digest, None)
        self._right[name] = _Kept(digest, answer, time.monotonic())
        self._right.move_to_end(name)
        if len(self._right) > _MOST:
            self._right.popitem(last=False)

    def _keep_wrong(self, name: str, password: str) -> None:
        digest = self._digest(name, password)
        if self._last(name, password) is not None:
            del self._right[name]
        self._wrong[digest] = time.monotonic()
        self._wrong.move_to_end(digest)
        if len(self._wrong) > _MOST:
            self._wrong.popitem(last=False)

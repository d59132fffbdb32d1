"""Every error that syncd raises on purpose, drawn once.

What belongs here: classes whose name tells who is at fault and whose message is a sentence with the next step.
Exit statuses are decided in `cli`, HTTP statuses in `web`; nothing here knows either.

    SyncdError
    ├─ SettingsError         the operator's: carries every problem found
    ├─ SourceBusy            another run holds the source
    ├─ KeyChanged            the attribute that identifies records is not the one the stored rows were made with
    ├─ PlanMoved             what a plan file says is no longer what a run would do
    ├─ PlanUnusable          a plan file that cannot be read
    ├─ NothingToUndo         a run that changed nothing, or is not there
    ├─ NoticeFailed          a message to people could not be sent
    ├─ SignInUnavailable     the directory server that checks passwords cannot be asked
    ├─ StoreError
    │  ├─ StoreUnavailable   the database does not answer
    │  ├─ StoreBusy          the database has too much to do for this request
    │  ├─ SchemaMismatch     the database has another schema than this version needs
    │  └─ MissingPrivilege   a database administrator has to grant something first; carries the SQL
    └─ RequestError          the caller's
       ├─ MissingParameter
       ├─ InvalidParameter
       │  ├─ UnsupportedMedia
       │  └─ TooLarge
       ├─ ReadOnly
       ├─ NotAllowed
       ├─ NotFound
       ├─ NotNow
       ├─ Gone
       ├─ Changed
       └─ NotAuthenticated
          ├─ WrongPassword
          └─ TooManyFailures
"""

import math
from collections.abc import Callable, Sequence


class SyncdError(Exception):
    """Base of all errors raised on purpose; its text is fit for an operator or a caller to read."""


class SettingsError(SyncdError):
    """Settings that cannot be used. `problems` holds one sentence for each, with file and key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[Sequence[str]]]:  # across processes
        return SettingsError, (self.problems,)


class SourceBusy(SyncdError):
    """Another run, on this or another host, holds the source's lock."""


class KeyChanged(SyncdError):
    """The key attribute differs from the pinned one: going on would make every contact a new one."""


class PlanMoved(SyncdError):
    """A run would not make the changes that were planned. `differences` holds one sentence for each contact."""

    SHOWN = 20

    def __init__(self, source: str, differences: Sequence[str]) -> None:
        more = [f"and {len(differences) - self.SHOWN} more"] if len(differences) > self.SHOWN else []
        lines = "\n".join(f"  {line}" for line in [*differences[: self.SHOWN], *more])
        super().__init__(
            f"{source}: the source or the directory has moved since it was planned, so nothing was written; "
            f"plan again. What moved:\n{lines}"
        )
        self.source = source
        self.differences = tuple(differences)

    def __reduce__(self) -> tuple[type["PlanMoved"], tuple[str, Sequence[str]]]:  # across processes
        return PlanMoved, (self.source, self.differences)


class NothingToUndo(SyncdError):
    """A run that cannot be taken back: it is not there, or it changed nothing that could be."""


class PlanUnusable(SyncdError):
    """A plan file that is none, is damaged or was made by another version."""


class SignInUnavailable(SyncdError):
    """The directory server that checks passwords cannot be asked. `why` is for the log: it names servers."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "the directory server that checks passwords cannot be reached at the moment; tokens still work, "
            "and a sign-in that worked before may work again in a few seconds"
        )
        self.why = why

    def __reduce__(self) -> tuple[type["SignInUnavailable"], tuple[str]]:  # across processes
        return SignInUnavailable, (self.why,)


class NoticeFailed(SyncdError):
    """A webhook or a mail server did not take a message."""


class StoreError(SyncdError):
    """Something between us and the database is not as it must be."""


class StoreUnavailable(StoreError):
    """The database cannot be reached or went away; the same call may succeed later."""


class StoreBusy(StoreError):
    """A request that was given up because it, or all the others, take the database too long; fit for the caller."""


class SchemaMismatch(StoreError):
    """The database's schema is not the one this version needs."""


class MissingPrivilege(StoreError):
    """The database user may not do what a migration needs. `sql` is what an administrator has to run."""

    def __init__(self, message: str, sql: str) -> None:
        super().__init__(message)
        self.sql = sql

    def __reduce__(self) -> tuple[type["MissingPrivilege"], tuple[str, str]]:  # across processes
        return MissingPrivilege, (str(self), self.sql)


class RequestError(SyncdError):
    """A request that is refused; nothing was changed."""


class MissingParameter(RequestError):
    """A required parameter, member or body is not there."""


class InvalidParameter(RequestError):
    """A parameter, member or body that cannot be understood or is not allowed."""


class UnsupportedMedia(InvalidParameter):
    """A body in another media type than JSON."""


class TooLarge(InvalidParameter):
    """A body or URL over the limit."""


class ReadOnly(RequestError):
    """A write to a synced contact or to a member that cannot be written."""


class NotAllowed(RequestError):
    """The caller is known, but its role is not sufficient."""


class NotFound(RequestError):
    """No contact has this id."""


class NotNow(RequestError):
    """What cannot be had at the moment and may be later. `seconds` is when it is worth asking again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type["NotNow"], tuple[str, int]]:  # across processes
        return NotNow, (str(self), self.seconds)


class Gone(RequestError):
    """A position in the past that nobody remembers any longer."""


class Changed(RequestError):
    """The contact is no longer the one that the caller has read."""


class NotAuthenticated(RequestError):
    """No credentials, or wrong ones."""


class WrongPassword(NotAuthenticated):
    """A name and a password that do not belong together, or a name that nobody has; the caller is not told which.

    `why` is for the log; `known` tells whether the directory server has the name, so that it may be logged: what
    somebody types into the wrong field is often a password.
    """

    def __init__(self, why: str, *, known: bool) -> None:
        super().__init__("this name and password are not valid")
        self.why = why
        self.known = known

    def __reduce__(self) -> tuple[Callable[[str, bool], "WrongPassword"], tuple[str, bool]]:  # across processes
        return _wrong_password, (self.why, self.known)


def _wrong_password(why: str, known: bool) -> WrongPassword:
    return WrongPassword(why, known=known)


class TooManyFailures(NotAuthenticated):
    """Credentials that were not looked at, because these or too many others were wrong before.

    `seconds` is when they will be.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(
            f"these credentials were not checked, because wrong ones came before; try again in {self.seconds} s"
        )

    def __reduce__(self) -> tuple[type["TooManyFailures"], tuple[float]]:  # across processes
        return TooManyFailures, (self.seconds,)

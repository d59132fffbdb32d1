"""Exceptions that syncd raises on purpose. The message is a sentence for an operator or caller, with the next step.

SyncdError
├─ SettingsError
├─ SourceBusy
├─ KeyChanged
├─ PlanOutdated
├─ PlanUnusable
├─ NothingToUndo
├─ AlertDeliveryFailed
├─ AuthenticationUnavailable
├─ StoreError
│  ├─ StoreUnavailable
│  ├─ StoreBusy
│  ├─ DatabaseUnsuitable
│  ├─ SchemaMismatch
│  └─ MissingPrivilege
└─ RequestError
   ├─ MissingParameter
   ├─ InvalidParameter
   │  ├─ UnsupportedMedia
   │  └─ TooLarge
   ├─ ReadOnly
   ├─ Forbidden
   ├─ NotFound
   ├─ Gone
   ├─ PreconditionFailed
   ├─ RetryLater
   │  └─ TooStale
   └─ NotAuthenticated
      ├─ WrongPassword
      └─ Throttled

`cli.main` and `cli.runs` map errors to exit statuses, `web.responses` maps them to HTTP statuses. Unless its docstring
says otherwise, an error ends a command with status 1.
"""

import math
from collections.abc import Callable, Sequence


class SyncdError(Exception):
    """Base of all errors that are raised on purpose."""


class SettingsError(SyncdError):
    """Settings are unusable. `problems` has one sentence per problem, with file and key. Exit status 78."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[Sequence[str]]]:  # across processes
        return SettingsError, (self.problems,)


class SourceBusy(SyncdError):
    """Another run, on this or another host, holds the lock of the source. Exit status 75; the daemon skips the run."""


class KeyChanged(SyncdError):
    """The key attribute differs from the pinned one, so that every contact would become a new one.

    The run ends with the outcome `failed`.
    """


class PlanOutdated(SyncdError):
    """A run would make other changes than the plan says. `differences` has one sentence per contact.

    The run ends with the outcome `failed` and writes no contact.
    """

    MAX_SHOWN = 20

    def __init__(self, source: str, differences: Sequence[str]) -> None:
        more = [f"and {len(differences) - self.MAX_SHOWN} more"] if len(differences) > self.MAX_SHOWN else []
        lines = "\n".join(f"  {line}" for line in [*differences[: self.MAX_SHOWN], *more])
        super().__init__(
            f"{source}: the source or the directory has changed since it was planned, so nothing was written; "
            f"plan again. Differences:\n{lines}"
        )
        self.source = source
        self.differences = tuple(differences)

    def __reduce__(self) -> tuple[type["PlanOutdated"], tuple[str, Sequence[str]]]:  # across processes
        return PlanOutdated, (self.source, self.differences)


class PlanUnusable(SyncdError):
    """A plan file is missing, damaged, of another version, or for a source that the settings do not have."""


class NothingToUndo(SyncdError):
    """The run to undo does not exist, changed no contact, or was a purge. A run ends with the outcome `failed`."""


class AlertDeliveryFailed(SyncdError):
    """A webhook or mail server does not accept an alert. The daemon tries again later."""


class AuthenticationUnavailable(SyncdError):
    """No LDAP server can check a password. HTTP 503. `reason` is for the log only, because it names servers."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "the directory server that checks passwords cannot be reached at the moment; tokens still work, "
            "and a sign-in that worked before may work again in a few seconds"
        )
        self.reason = reason

    def __reduce__(self) -> tuple[type["AuthenticationUnavailable"], tuple[str]]:  # across processes
        return AuthenticationUnavailable, (self.reason,)


class StoreError(SyncdError):
    """The database cannot be used. HTTP 503 with a general message; the text is for operators."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or the connection broke; the same call can succeed later."""


class StoreBusy(StoreError):
    """A request exceeded its time limit in the database, or a queue is full. HTTP 503 with this text."""


class DatabaseUnsuitable(StoreError):
    """Version, encoding or session state are not as required, or the run has lost its lock; an operator must act."""


class SchemaMismatch(StoreError):
    """The schema of the database is not the one that this version needs; `syncd migrate` brings it up to date."""


class MissingPrivilege(StoreError):
    """The database user lacks a privilege that a migration needs. `sql` is the statement for an administrator."""

    def __init__(self, message: str, sql: str) -> None:
        super().__init__(message)
        self.sql = sql

    def __reduce__(self) -> tuple[type["MissingPrivilege"], tuple[str, str]]:  # across processes
        return MissingPrivilege, (str(self), self.sql)


class RequestError(SyncdError):
    """A request is rejected, and nothing was changed."""


class MissingParameter(RequestError):
    """A required parameter, member or body is missing. HTTP 400, statusCode 1."""


class InvalidParameter(RequestError):
    """A parameter, member or body is malformed or not allowed. HTTP 400, statusCode 2."""


class UnsupportedMedia(InvalidParameter):
    """The body has a media type or content coding that is not supported. HTTP 415."""


class TooLarge(InvalidParameter):
    """The body is over the limit of bytes or entries. HTTP 413."""


class ReadOnly(RequestError):
    """A write to a synced contact or to a read-only member. HTTP 403, statusCode 3."""


class Forbidden(RequestError):
    """The role of the caller is not sufficient. HTTP 403, statusCode 5."""


class NotFound(RequestError):
    """No contact or run has this id. HTTP 404."""


class Gone(RequestError):
    """The changes after this position of the change feed are no longer stored. HTTP 410."""


class PreconditionFailed(RequestError):
    """The contact differs from the one that the caller has read (If-Match). HTTP 412."""


class RetryLater(RequestError):
    """The response is not available now. HTTP 503 with Retry-After: `seconds`."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type["RetryLater"], tuple[str, int]]:  # across processes
        return type(self), (str(self), self.seconds)


class TooStale(RetryLater):
    """A source is older than the caller allows. HTTP 503 with Retry-After."""


class NotAuthenticated(RequestError):
    """Credentials are missing or invalid. HTTP 401."""


class WrongPassword(NotAuthenticated):
    """The account is unknown or the password is wrong; the message does not tell which. HTTP 401.

    `reason` is for the log. `known`: the LDAP server has an entry with this login, so that the login may be logged;
    an unknown login is often a password in the wrong field.
    """

    def __init__(self, reason: str, *, known: bool) -> None:
        super().__init__("this name and password are not valid")
        self.reason = reason
        self.known = known

    def __reduce__(self) -> tuple[Callable[[str, bool], "WrongPassword"], tuple[str, bool]]:  # across processes
        return _make_wrong_password, (self.reason, self.known)


def _make_wrong_password(reason: str, known: bool) -> WrongPassword:
    return WrongPassword(reason, known=known)


class Throttled(NotAuthenticated):
    """The credentials were not checked, because of earlier failures. HTTP 401 with Retry-After: `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(
            f"these credentials were not checked, because of earlier failures; try again in {self.seconds} s"
        )

    def __reduce__(self) -> tuple[type["Throttled"], tuple[float]]:  # across processes
        return Throttled, (self.seconds,)

"""API tokens: create, list, revoke. Only hashes are stored; `store.admin.token_cache` looks them up."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from syncd.core.contacts.models import ROLES, Role
from syncd.errors import SyncdError
from syncd.store.connection.engine import translated
from syncd.store.schema.tables import directory, token

# every replica looks at this number before it believes what it knows of a token
_CHANGED = update(directory).values(access=directory.c.access + 1)


class TokenRow(NamedTuple):
    """One token as it is listed; the token itself is shown only once, when it is made."""

    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    used_at: datetime | None
    """To the minute, more or less."""


def create(engine: Engine, name: str, role: str, lasts: timedelta | None = None) -> str:
    """Make a token that lasts so long, or until it is revoked, and return it. The engine needs Role.API.

    Raises SyncdError when the name is taken.
    """
    if not name.strip():
        raise SyncdError("a token needs a name that tells who uses it; give one with --name")
    if role not in ROLES:
        raise SyncdError(f"{role!r} is no role; there are {' and '.join(ROLES)}")
    secret = "syncd_" + secrets.token_urlsafe(32)
    # 256 random bits need no slow hash: there is nothing to guess
    row = {"name": name, "role": role, "hash": hashlib.sha256(secret.encode()).digest()}
    ends = None if lasts is None else func.now() + lasts
    try:
        with translated(), engine.begin() as connection:
            connection.execute(insert(token).values(expires_at=ends), row)
            connection.execute(_CHANGED)
    except IntegrityError as error:
        raise SyncdError(
            f"there has been a token {name!r} already; choose another name (`syncd token list` shows them)"
        ) from error
    return secret


def listing(engine: Engine) -> list[TokenRow]:
    """Every token by name, the revoked ones too."""
    statement = select(*(token.c[member] for member in TokenRow._fields)).order_by(token.c.name)
    with translated(), engine.connect() as connection:
        return [TokenRow(*row) for row in connection.execute(statement)]


def revoke(engine: Engine, name: str) -> bool:
    """End a token; it is refused from the next request on. False when no such token was valid."""
    statement = update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=func.now())
    with translated(), engine.begin() as connection:
        revoked = connection.execute(statement).rowcount > 0
        connection.execute(_CHANGED)
    return revoked

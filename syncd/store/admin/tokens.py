"""Creation, listing and revocation of API tokens. Only hashes are stored; `store.admin.token_cache` looks them up."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from syncd.core.contacts.models import ROLES, Role
from syncd.errors import SyncdError
from syncd.store.connection.engine import mapped_errors
from syncd.store.schema.tables import directory, token

# every replica compares this counter before it uses its token cache
_RAISE_ACCESS = update(directory).values(access=directory.c.access + 1)


class TokenRow(NamedTuple):
    """Token as it is listed, without its secret, which is returned by `create` only."""

    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    used_at: datetime | None
    """Accurate to about a minute."""


def create(engine: Engine, name: str, role: str, lifetime: timedelta | None = None) -> str:
    """Create a token that is valid for `lifetime` (None: until it is revoked) and return it. The engine needs Role.API.

    Raises SyncdError when the name is empty or taken or the role unknown, and StoreUnavailable.
    """
    if not name.strip():
        raise SyncdError("a token needs a name that says who uses it; give one with --name")
    if role not in ROLES:
        raise SyncdError(f"{role!r} is no role; there are {' and '.join(ROLES)}")
    secret = "syncd_" + secrets.token_urlsafe(32)
    # a fast hash suffices, because 256 random bits cannot be guessed
    row = {"name": name, "role": role, "hash": hashlib.sha256(secret.encode()).digest()}
    expires_at = None if lifetime is None else func.now() + lifetime
    try:
        with mapped_errors(), engine.begin() as connection:
            connection.execute(insert(token).values(expires_at=expires_at), row)
            connection.execute(_RAISE_ACCESS)
    except IntegrityError as error:
        raise SyncdError(
            f"there has been a token {name!r} already; choose another name (`syncd token list` shows them)"
        ) from error
    return secret


def list_tokens(engine: Engine) -> list[TokenRow]:
    """Return all tokens, revoked ones included, ordered by name. Raises StoreUnavailable."""
    statement = select(*(token.c[member] for member in TokenRow._fields)).order_by(token.c.name)
    with mapped_errors(), engine.connect() as connection:
        return [TokenRow(*row) for row in connection.execute(statement)]


def revoke(engine: Engine, name: str) -> bool:
    """Revoke a token from the next request on; return False when there is no unrevoked token of this name.

    Raises StoreUnavailable.
    """
    statement = update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=func.now())
    with mapped_errors(), engine.begin() as connection:
        revoked = connection.execute(statement).rowcount > 0
        connection.execute(_RAISE_ACCESS)
    return revoked

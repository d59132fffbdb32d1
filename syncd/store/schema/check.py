"""Database part of `syncd check`: findings from the connection to the privileges of the roles."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from syncd.core.operations.check import Chain, Finding, Result, Verdict, split_remedy
from syncd.errors import StoreError, StoreUnavailable
from syncd.settings import Database
from syncd.store.connection.engine import Role, mapped_errors, open_engine, open_unchecked_engine
from syncd.store.connection.pool import open_async_engine
from syncd.store.connection.session import check_encoding, check_version
from syncd.store.connection.transactions import Sessions
from syncd.store.schema.version import check_schema

_REMEDIES = {
    "permission denied to set role": f"run as a database administrator: GRANT {', '.join(Role)} TO the user of the URL",
    "password": "correct the file that database.password_file names",
    "no pg_hba.conf entry": "let pg_hba.conf of the server allow this user, database and address",
    'role "': "correct the user in database.url, or create it: createuser --createrole --pwprompt NAME",
    'database "': "correct the database in database.url, or create it: createdb -O USER NAME",
    "translate host name": "correct the host in database.url, or the name service of this machine",
    "resolve host": "correct the host in database.url, or the name service of this machine",
    "refused": "start PostgreSQL, let it listen on this address, or correct host and port in database.url",
    "timeout": "look at the firewall and the network in between, or raise database.connect_timeout",
    "too many clients": "raise max_connections of the server, or make database.pool_size smaller",
    "remaining connection slots": "raise max_connections of the server, or make database.pool_size smaller",
    "certificate": "correct sslrootcert in database.url, or the certificate of the server",
}
"""Part of a driver message -> remedy; the first match counts."""
_SELECT_SERVER = text("""
    SELECT current_setting('server_version'), pg_is_in_recovery(), current_database(), session_user,
           host(inet_server_addr()), inet_server_port(),
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
""")
_SELECT_PRIVILEGES = text("""
    SELECT has_table_privilege('contact_user', 'INSERT'), has_table_privilege('contact_custom', 'INSERT'),
           has_database_privilege(current_database(), 'TEMP')
""")
_WRITE_PRIVILEGES = {Role.SYNC: (True, False), Role.API: (False, True)}
"""Role -> may it write (users, Custom contacts)."""


def check_database(settings: Database) -> Iterator[Finding]:
    """Check the database from the connection to the privileges of the roles; yield a finding for each step."""
    chain = Chain("database", "", ("connection", "server", "encoding", "session", "roles", "schema", "rights"))
    with _reported_failure(chain) as failure:
        with mapped_errors(), open_unchecked_engine(settings).connect() as connection:
            yield from _check_server(chain, connection)
        with mapped_errors(), open_engine(settings, None).connect():
            yield chain.ok("session", "start-up options are applied")
        for role in Role:
            with mapped_errors(), open_engine(settings, role).connect():
                yield chain.ok("roles", f"the user may be {role}")
        yield chain.ok("schema", f"{check_schema(open_engine(settings, Role.API))}, as this version needs it")
        for role in Role:
            with mapped_errors(), open_engine(settings, role).connect() as connection:
                yield chain.report("rights", _check_privileges(connection, role))
    yield from failure


def check_pooler(settings: Database) -> Iterator[Finding]:
    """Check that requests are served by database.url, if database.direct_url is used for everything else."""
    if settings.direct_url is None:
        return
    chain = Chain("database", "url", ("requests",))
    with _reported_failure(chain) as failure:
        asyncio.run(_read_as_request(settings))
        yield chain.ok("requests", "served by database.url, everything else by database.direct_url")
    yield from failure


async def _read_as_request(settings: Database) -> None:
    engine = open_async_engine(settings, Role.API)
    try:
        async with Sessions(engine).autocommit() as connection:
            await connection.execute(text("SELECT revision FROM directory"))
    finally:
        await engine.dispose()


@contextmanager
def _reported_failure(chain: Chain) -> Iterator[list[Finding]]:
    """Catch a StoreError; the yielded list then holds the findings of the failed step and those after it."""
    findings: list[Finding] = []
    try:
        yield findings
    except StoreError as error:
        what, remedy = split_remedy(str(error))
        if isinstance(error, StoreUnavailable):
            remedy = next((step for part, step in _REMEDIES.items() if part in what), remedy)
        findings += chain.fail(what, remedy)


def _check_server(chain: Chain, connection: Connection) -> Iterator[Finding]:
    version, standby, database, user, host, port, encrypted = connection.execute(_SELECT_SERVER).one()
    address = f"{host} port {port}" if host else "a local socket"
    yield chain.ok("connection", f"{address}, database {database} as {user}")
    info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # psycopg's, which has it
    check_version(info)
    if standby:
        remedy = "add target_session_attrs=read-write to database.url and name the primary there too"
        yield chain.report("server", Verdict(Result.FAILED, "a standby, which is read-only", remedy))
    elif host and not encrypted and not host.startswith(("127.", "::1")):
        remedy = "add sslmode=verify-full and sslrootcert to database.url"
        yield chain.report("server", Verdict(Result.WARNING, "contacts cross the network in clear", remedy))
    else:
        yield chain.ok("server", f"PostgreSQL {version}{', encrypted' if encrypted else ''}")
    check_encoding(info)
    yield chain.ok("encoding", "UTF-8")


def _check_privileges(connection: Connection, role: Role) -> Verdict:
    """Check that the role may write the tables that it owns and no others."""
    users, custom, staging = connection.execute(_SELECT_PRIVILEGES).one()
    if (users, custom) != _WRITE_PRIVILEGES[role]:
        what = f"{role} may {_negate(users)}write users and may {_negate(custom)}write Custom contacts"
        owned = "users" if role is Role.SYNC else "Custom contacts"
        return Verdict(Result.FAILED, what, f"grant and revoke as the migrations did: {role} may write {owned} only")
    if role is Role.SYNC and not staging:
        what, remedy = f"{role} may make no temporary tables", f"GRANT TEMPORARY ON DATABASE … TO {role}"
        return Verdict(Result.FAILED, what, remedy)
    return Verdict(Result.OK, f"{role} may write what it owns and nothing else")


def _negate(allowed: bool) -> str:
    return "" if allowed else "not "

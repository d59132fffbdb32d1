"""Every step from the database's URL to the rights of our roles, tried one by one and told as findings."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from syncd.core.operations.check import Chain, Finding, Result, Verdict, parted
from syncd.errors import StoreError, StoreUnavailable
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine, translated
from syncd.store.schema.version import check

_OLDEST = 15
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
"""A part of what the driver says -> the next step, first match first."""
_SERVER = text("""
    SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
           current_database(), session_user, host(inet_server_addr()), inet_server_port(),
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
""")
_RIGHTS = text("""
    SELECT has_table_privilege('contact_user', 'INSERT'), has_table_privilege('contact_custom', 'INSERT'),
           has_database_privilege(current_database(), 'TEMP')
""")
_OWN = {Role.SYNC: (True, False), Role.API: (False, True)}
"""Whether a role may write users, and Custom contacts."""


def examine(settings: Database) -> Iterator[Finding]:
    """What each step finds."""
    chain = Chain("database", "", ("connection", "server", "roles", "schema", "rights"))
    try:
        with translated(), open_engine(settings, None).connect() as connection:
            yield from _server(chain, connection)
        for role in Role:
            with translated(), open_engine(settings, role).connect():
                yield chain.fine("roles", f"the user may be {role}")
        yield chain.fine("schema", f"{check(open_engine(settings, Role.API))}, as this version needs it")
        for role in Role:
            with translated(), open_engine(settings, role).connect() as connection:
                yield chain.tell("rights", _rights(connection, role))
    except StoreError as error:
        what, remedy = parted(str(error))
        if isinstance(error, StoreUnavailable):
            remedy = next((step for part, step in _REMEDIES.items() if part in what), remedy)
        yield from chain.broken(what, remedy)


def _server(chain: Chain, connection: Connection) -> Iterator[Finding]:
    version, major, standby, database, user, host, port, encrypted = connection.execute(_SERVER).one()
    at = f"{host} port {port}" if host else "a local socket"
    yield chain.fine("connection", f"{at}, database {database} as {user}")
    if major < _OLDEST:
        old = Verdict(Result.FAILED, f"PostgreSQL {version}", f"update it to {_OLDEST} or newer")
        yield chain.tell("server", old)
    elif standby:
        remedy = "add target_session_attrs=read-write to database.url and name the primary there too"
        yield chain.tell("server", Verdict(Result.FAILED, "a standby, which nobody can write to", remedy))
    elif host and not encrypted and not host.startswith(("127.", "::1")):
        remedy = "add sslmode=verify-full and sslrootcert to database.url"
        yield chain.tell("server", Verdict(Result.WARNING, "contacts cross the network in clear", remedy))
    else:
        yield chain.fine("server", f"PostgreSQL {version}{', encrypted' if encrypted else ''}")


def _rights(connection: Connection, role: Role) -> Verdict:
    """Whether the role may write what it owns and nothing else."""
    users, custom, staging = connection.execute(_RIGHTS).one()
    if (users, custom) != _OWN[role]:
        what = f"{role} may {_not(users)}write users and may {_not(custom)}write Custom contacts"
        may = " and ".join(name for name, own in zip(("users", "Custom contacts"), _OWN[role], strict=True) if own)
        return Verdict(Result.FAILED, what, f"grant and revoke as the migrations did: {role} may write {may} only")
    if role is Role.SYNC and not staging:
        what, remedy = f"{role} may make no temporary tables", f"GRANT TEMPORARY ON DATABASE … TO {role}"
        return Verdict(Result.FAILED, what, remedy)
    return Verdict(Result.OK, f"{role} may write what it owns and nothing else")


def _not(allowed: bool) -> str:
    return "" if allowed else "not "

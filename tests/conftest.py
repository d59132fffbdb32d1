"""Fixtures for all tests: real servers, started once for each test process."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from syncd.demo.servers import Postgres, Slapd
from tests.certificate_authority import CertificateAuthority
from tests.environment import LDIF, SLAPD_RULES, Branch, Environment
from tests.http_daemon import create_template
from tests.pgbouncer import LOGIN, PgBouncer, StartPooler

# a slow machine is no failure, neither of the tested code nor of generating examples
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@contextmanager
def open_folder() -> Iterator[Path]:
    """Create a folder that the unprivileged user of the servers can reach; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_folder() -> Iterator[Path]:
    """A folder for the lifetime of this test process."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def server_folder() -> Iterator[Path]:
    """A folder for the servers of one module, which a test process may return to after others."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(shared_folder: Path) -> Iterator[Postgres]:
    """A private PostgreSQL server, without a database of ours."""
    server = Postgres(shared_folder / "postgres")
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> str:
    """The name of a database with the schema, which tests copy and never write to."""
    return create_template(postgres, "syncd_template")


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    """The URL of a fresh database with the schema, for one test; the user is the superuser."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def login_url(postgres: Postgres, database_url: str) -> str:
    """The URL of the same database for a login that owns nothing and may only change into the roles."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {LOGIN}")
        connection.execute(f"CREATE ROLE {LOGIN} LOGIN NOINHERIT IN ROLE syncd_sync, syncd_api")
    return postgres.url(database_url.rpartition("/")[2], LOGIN)


@pytest.fixture
def start_pooler(login_url: str, server_folder: Path) -> Iterator[StartPooler]:
    """Poolers in front of the same database, for that login."""
    poolers: list[PgBouncer] = []

    def start(**options: str) -> PgBouncer:
        pooler = PgBouncer(server_folder / f"pgbouncer-{uuid.uuid4().hex}", login_url, **options)
        poolers.append(pooler)
        pooler.start()
        return pooler

    yield start
    for pooler in poolers:
        pooler.stop()


@pytest.fixture(scope="session")
def slapd(shared_folder: Path) -> Iterator[Slapd]:
    """A private slapd in which each test has a branch of its own."""
    server = Slapd(shared_folder / "slapd", extra=SLAPD_RULES)
    server.create(LDIF)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def authority(shared_folder: Path) -> CertificateAuthority:
    """A certificate authority that has issued a server certificate for this machine and a client certificate."""
    authority = CertificateAuthority(shared_folder / "tls")
    authority.issue("server", "/CN=localhost", "DNS:localhost,IP:127.0.0.1")
    authority.issue("client", "/CN=reader/O=Example", "email:reader@example.com")
    authority.make_readable()
    return authority


@pytest.fixture
def env(slapd: Slapd, database_url: str, tmp_path: Path) -> Iterator[Environment]:
    """An environment for one test: an empty branch, an empty queue file, an empty directory."""
    branch = Branch(slapd)
    yield Environment(tmp_path, database_url, branch)
    branch.close()

"""Fixtures that every storey of the tests shares: real servers, started once for each test process."""

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
from tests import environment
from tests.certificate_authority import Authority
from tests.http_daemon import new_template

# a busy machine is no failure, neither of what is tested nor of making examples
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the unprivileged user of the servers can reach; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_folder() -> Iterator[Path]:
    """For what lives as long as this test process."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def server_folder() -> Iterator[Path]:
    """For the servers of one module, which a test process may come back to after others."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(shared_folder: Path) -> Iterator[Postgres]:
    """A private PostgreSQL without any database of ours yet."""
    server = Postgres(shared_folder / "postgres")
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with our schema, which tests copy as a template and never write to."""
    return new_template(postgres, "syncd_template")


@pytest.fixture
def database_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    """The URL of a fresh database of our schema, for one test; the user is the superuser."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}")
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def slapd(shared_folder: Path) -> Iterator[Slapd]:
    """A private slapd in which each test makes a branch of its own."""
    server = Slapd(shared_folder / "slapd", extra=environment.LIMITS)
    server.create(environment.LDIF)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def authority(shared_folder: Path) -> Authority:
    """An authority with a certificate for servers on this machine, and one for a client."""
    made = Authority(shared_folder / "tls")
    made.issue("server", "/CN=localhost", "DNS:localhost,IP:127.0.0.1")
    made.issue("client", "/CN=reader/O=Example", "email:reader@example.com")
    made.open()
    return made


@pytest.fixture
def site(slapd: Slapd, database_url: str, tmp_path: Path) -> Iterator[environment.Premises]:
    """Premises of one test's own: an empty branch, an empty queue file, an empty directory."""
    branch = environment.Branch(slapd)
    yield environment.Premises(tmp_path, database_url, branch)
    branch.close()

"""Fixtures of the acceptance tests: real `syncd run` processes, each on a database of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.demo.servers import Postgres
from tests.daemon_process import Running
from tests.environment import Premises
from tests.http_daemon import CUSTOM, PEOPLE, Daemon, Office, new_database, run


@pytest.fixture
def daemon(tmp_path: Path, database_url: str) -> Iterator[Daemon]:
    """A daemon of one test's own, its directory empty."""
    yield from run(tmp_path, database_url)


@pytest.fixture(scope="module")
def desk(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that the tests of a module share for writing; each looks only at what it has written itself."""
    yield from run(tmp_path_factory.mktemp("desk"), new_database(postgres, migrated))


@pytest.fixture(scope="module")
def office(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A daemon that the tests of a module share, with the people and queues below. They only read from it."""
    for daemon in run(tmp_path_factory.mktemp("office"), new_database(postgres, migrated)):
        ids = {contact.user_name or f"{contact.name} queue": daemon.insert(type_, contact) for type_, contact in PEOPLE}
        with daemon.client() as client:
            for contact_name, number in CUSTOM:
                answer = client.post("/api/v2/contacts", json={"name": contact_name, "phoneNumber": number})
                ids[contact_name] = answer.json()["id"]
        with daemon.client() as admin, daemon.client("agent") as agent:
            yield Office(daemon, ids, admin, agent)


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL of one test's own, so that it can be stopped."""
    server = Postgres(server_folder / f"postgres-{os.getpid()}-{time.monotonic_ns()}")
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def running(site: Premises) -> Iterator[Running]:
    """A daemon that is not started yet; killed at the end if the test did not stop it."""
    daemon = Running(site)
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()

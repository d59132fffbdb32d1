"""Fixtures of the acceptance tests: real `syncd run` processes, each on a database of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.demo.servers import Postgres, Slapd
from tests.daemon_process import DaemonProcess
from tests.environment import Environment
from tests.http_daemon import (
    CUSTOM,
    PEOPLE,
    DaemonWithRuns,
    HttpDaemon,
    SampleDirectory,
    create_database,
    run_daemon,
    run_daemon_with_runs,
)


@pytest.fixture
def daemon(tmp_path: Path, database_url: str) -> Iterator[HttpDaemon]:
    """A daemon for one test, with an empty directory."""
    with run_daemon(tmp_path, database_url) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared_daemon(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpDaemon]:
    """A daemon that the tests of a module share for writing; each test reads only contacts of its own."""
    with run_daemon(tmp_path_factory.mktemp("shared"), create_database(postgres, template_database)) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def directory(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SampleDirectory]:
    """A daemon with sample contacts that the tests of a module share for reading."""
    with run_daemon(tmp_path_factory.mktemp("directory"), create_database(postgres, template_database)) as daemon:
        ids = {contact.user_name or f"{contact.name} queue": daemon.insert(type_, contact) for type_, contact in PEOPLE}
        with daemon.client() as admin, daemon.client("agent") as agent:
            for name, number in CUSTOM:
                answer = admin.post("/api/v2/contacts", json={"name": name, "phoneNumber": number})
                ids[name] = answer.json()["id"]
            yield SampleDirectory(daemon, ids, admin, agent)


@pytest.fixture(scope="module")
def daemon_with_runs(
    slapd: Slapd, postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonWithRuns]:
    """A daemon with a history of runs that the tests of a module share for reading."""
    url = create_database(postgres, template_database)
    with run_daemon_with_runs(slapd, url, tmp_path_factory.mktemp("runs")) as daemon:
        yield daemon


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server for one test, which may stop it."""
    server = Postgres(server_folder / f"postgres-{os.getpid()}-{time.monotonic_ns()}")
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def env_daemon(env: Environment) -> Iterator[DaemonProcess]:
    """A daemon with the settings of `env`, not started yet; killed at the end if it still runs."""
    daemon = DaemonProcess.with_settings_of(env)
    yield daemon
    daemon.kill()

"""Fixtures that every storey of the tests shares: real servers, started once for each test process."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.demo.servers import Postgres


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the unprivileged user of the servers can reach; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[Postgres]:
    """A private PostgreSQL without any database of ours yet."""
    server = Postgres(server_folder / "postgres")
    server.create()
    server.start()
    yield server
    server.stop()

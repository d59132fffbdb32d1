"""Databases in another encoding or of an old PostgreSQL: every command refuses them with the remedy."""

import json
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg import ConnectionInfo

from syncd.demo.servers import Postgres
from syncd.errors import DatabaseUnsuitable
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.connection.session import check_version
from tests.environment import Environment

COMMANDS = [
    ["run"], ["sync"], ["plan"], ["migrate"], ["migrate", "--plan"], ["migrate", "--check"], ["status"], ["held"],
    ["approve", "1"], ["reject", "1"], ["rejects"], ["undo", "1"], ["explain", "Ada"], ["purge"], ["export"],
    ["token", "list"], ["token", "create", "--role", "agent", "--name", "n"], ["check"],
]  # fmt: skip


@pytest.fixture(scope="module", params=["SQL_ASCII", "LATIN1"])
def other_encoding(postgres: Postgres, template_database: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URL of a database that is not encoded in UTF-8, and the name of its encoding."""
    encoding: str = request.param
    name = f"other_{encoding.lower()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    return postgres.url(name), encoding


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_refuses_another_encoding(
    env: Environment, other_encoding: tuple[str, str], words: list[str]
) -> None:
    """With status 1, the encoding and the remedy, and without a traceback."""
    url, encoding = other_encoding
    env.branch.add("u1", "Łucja", "Ωmega")
    env.configure(database=url)

    result = env.run_command(*words)

    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    assert "Traceback" not in output
    text = " ".join(output.replace("│", " ").split())
    assert encoding in text
    assert "createdb -E UTF8 -T template0" in text
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('contact')").fetchone() == (None,)


def test_the_encoding_is_a_step_of_check(env: Environment, other_encoding: tuple[str, str]) -> None:
    url, _ = other_encoding
    env.configure(database=url)

    steps = json.loads(env.run_command("check", "--json").stdout)["steps"]

    results = {step["step"]: step["result"] for step in steps if step["of"] == "database"}
    assert results == {
        "connection": "ok", "server": "ok", "encoding": "failed", "session": "not reached", "roles": "not reached",
        "schema": "not reached", "rights": "not reached",
    }  # fmt: skip


@pytest.mark.parametrize("parameter", ["?client_encoding=LATIN1", "?options=-c%20client_encoding%3DLATIN1", ""])
def test_the_session_is_encoded_in_utf_8(database_url: str, monkeypatch: pytest.MonkeyPatch, parameter: str) -> None:
    """Whatever the URL, the environment or the login ask for."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with open_engine(Database(url=database_url + parameter), Role.API).connect() as connection:
        assert connection.exec_driver_sql("SHOW client_encoding").scalar_one() == "UTF8"
        assert connection.exec_driver_sql("SELECT 'Łucja Ω'").scalar_one() == "Łucja Ω"


@pytest.mark.parametrize(("number", "is_supported"), [(130_023, False), (149_999, False), (150_000, True)])
def test_the_version_is_compared(number: int, is_supported: bool) -> None:
    reported: dict[str, Any] = {"server_version": f"{number // 10_000}.{number % 10_000}"}
    info = cast("ConnectionInfo", SimpleNamespace(server_version=number, parameter_status=reported.get))

    if is_supported:
        check_version(info)
    else:
        with pytest.raises(DatabaseUnsuitable, match=r"PostgreSQL 1[34].* is not supported; update it to 15 or newer"):
            check_version(info)

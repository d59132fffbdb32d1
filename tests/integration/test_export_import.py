"""`syncd export` and `syncd import`: real commands on a real database."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from syncd.core.contacts.contact import Contact, Number
from tests.http_daemon import CUSTOM, INSERT, PEOPLE, row

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def syncd(database_url: str, tmp_path: Path) -> Run:
    """The command, with settings that lead to the database."""
    (tmp_path / "syncd.toml").write_text(f'[database]\nurl = "{database_url}"\n')
    command = [sys.executable, "-m", "syncd", "--config", str(tmp_path / "syncd.toml")]

    def run(*words: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*command, *words], input=text.encode(), capture_output=True, check=False, timeout=120)

    return run


def out(done: subprocess.CompletedProcess[bytes], status: int = 0) -> str:
    assert done.returncode == status, done.stderr.decode()
    return done.stdout.decode()


def table(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.fixture(autouse=True)
def people(database_url: str) -> None:
    """The users and queues of the office."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for type_, contact in PEOPLE:
            connection.execute(INSERT, row(type_, contact))


def test_a_directory_is_exported_as_it_is_found(syncd: Run, tmp_path: Path) -> None:
    """By filters of the API, in each form; into a file wholly, for its owner only."""
    found = table(out(syncd("export", "--type", "user", "--query", "roles=ROLE_AGENT&sortBy=userName")))
    assert [line["userName"] for line in found] == ["jhalpert", "jmorrison"]
    assert found[0]["phoneNumber"] == "'+1 570 555-0101"
    assert found[0]["roles"] == "ROLE_AGENT, ROLE_SALES"

    document = json.loads(out(syncd("export", "--format", "json", "--query", "type=Queue&limit=1")))
    id_ = document["contacts"][0]["id"]
    assert document == {
        "statusCode": 0,
        "totalCount": 3,
        "contacts": [{"id": id_, "name": "jhalpert", "type": "Queue", "path": f"/contacts/{id_}"}],
    }

    path = tmp_path / "all.vcf"
    out(syncd("export", "--query", "format=vcard&fields=name", "--out", str(path)))
    assert path.read_bytes().count(b"BEGIN:VCARD\r\n") == len(PEOPLE)
    assert path.stat().st_mode & 0o777 == 0o600

    wrong = syncd("export", "--query", "nmae=Jim", "--out", str(tmp_path / "none"))
    assert wrong.returncode == 1
    assert "did you mean 'name'?" in wrong.stderr.decode()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("form", ["csv", "vcard"])
def test_what_was_exported_is_imported_as_it_was(syncd: Run, database_url: str, form: str) -> None:
    """Nothing changes, users and queues are refused; contacts that were changed are what they were."""
    lines = "\r\n".join(["name,phoneNumbers", *(f'"{name}","{number}, desk: =1+1"' for name, number in CUSTOM)])
    assert "3 created" in out(syncd("import", "-", "--apply", text=lines))
    custom, everybody = (
        out(syncd("export", "--format", form, "--type", "Custom")),
        out(syncd("export", "--format", form)),
    )

    again = out(syncd("import", "-", "--apply", text=custom))
    assert "0 created, 0 changed, 3 unchanged, 0 rejected" in again
    refused = out(syncd("import", "-", "--apply", text=everybody), 1)
    assert f"0 created, 0 changed, 3 unchanged, {len(PEOPLE)} rejected" in refused
    assert "is a User: the synchronization keeps it" in refused

    with psycopg.connect(database_url, autocommit=True) as connection:
        was = connection.execute("SELECT name, numbers FROM contact_custom ORDER BY name").fetchall()
        connection.execute("UPDATE contact_custom SET name = 'x', numbers = '[]'")
        assert "0 created, 3 changed" in out(syncd("import", "-", "--apply", text=custom))
        assert connection.execute("SELECT name, numbers FROM contact_custom ORDER BY name").fetchall() == was
    assert was[0][1] == [{"phoneNumber": CUSTOM[0][1]}, {"phoneNumber": "=1+1", "description": "desk"}]


def test_an_import_is_shown_first(syncd: Run, database_url: str, tmp_path: Path) -> None:
    """Line by line, and nothing is written; --apply writes the good rows, with the name of who did it."""
    path = tmp_path / "new.csv"
    path.write_text("name;phoneNumber\nAnn;1\nBob;\nAnn;1\n")
    shown = syncd("import", str(path))

    assert "nothing is written yet; --apply does it" in shown.stderr.decode()
    lines = out(shown, 1).splitlines()
    assert [line.split()[:4] for line in lines if "│" in line or "┃" in line][1:]
    assert any("2" in line and "create" in line and "Ann" in line for line in lines)
    assert any("3" in line and "reject" in line and "phoneNumber is empty" in line for line in lines)
    assert lines[-1] == "1 would be created, 0 would be changed, 1 unchanged, 1 rejected"
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM contact_custom").fetchone() == (0,)

        document = json.loads(out(syncd("import", str(path), "--apply", "--json"), 1))
        assert {name: document[name] for name in ("applied", "created", "rejected")} == {
            "applied": True, "created": 1, "rejected": 1,
        }  # fmt: skip
        assert [line["line"] for line in document["rows"]] == [2, 3, 4]
        caller = connection.execute("SELECT caller FROM change").fetchone()
    assert caller is not None
    assert "@" in caller[0]


def test_a_file_that_cannot_be_read_is_refused(syncd: Run) -> None:
    """With a sentence and without a traceback."""
    for text, sentence in [
        ("", "the file holds no contact"),
        ("Name,Phone\nA,1", "line 1: a contact has no member 'Name'"),
        ("x" * (5 * 1024 * 1024 + 1), "the file is larger than"),
    ]:
        done = syncd("import", "-", text=text)

        assert done.returncode == 1
        assert sentence in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_large_directory_is_exported(syncd: Run, database_url: str, tmp_path: Path) -> None:
    """Row after row of a cursor; every contact once."""
    contact = row("User", Contact("Person", (Number("1"),)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(INSERT, contact)
        connection.execute(
            "INSERT INTO contact (type, name, name_folded, search, source, source_key) "
            "SELECT 'User', 'P ' || n, 'p ' || n, 'p', 'tests', n::text FROM generate_series(1, 30000) n"
        )
    path = tmp_path / "all.csv"
    out(syncd("export", "--out", str(path)))

    found = table(path.read_bytes().decode())
    assert len({line["id"] for line in found}) == len(found) == 30_001 + len(PEOPLE)

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

from syncd.core.contacts.contact import Contact, PhoneNumber
from tests.http_daemon import CUSTOM, INSERT_CONTACT, PEOPLE, insert_values

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def syncd(database_url: str, tmp_path: Path) -> Run:
    """The command with settings for the database."""
    (tmp_path / "syncd.toml").write_text(f'[database]\nurl = "{database_url}"\n')
    command = [sys.executable, "-m", "syncd", "--config", str(tmp_path / "syncd.toml")]

    def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *arguments], input=text.encode(), capture_output=True, check=False, timeout=120
        )

    return run


def stdout(result: subprocess.CompletedProcess[bytes], status: int = 0) -> str:
    assert result.returncode == status, result.stderr.decode()
    return result.stdout.decode()


def parse_csv(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.fixture(autouse=True)
def people(database_url: str) -> None:
    """Users and queues."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for type_, contact in PEOPLE:
            connection.execute(INSERT_CONTACT, insert_values(type_, contact))


def test_contacts_are_exported(syncd: Run, tmp_path: Path) -> None:
    """With filters of the API, in each format; a file is written atomically and readable by its owner only."""
    rows = parse_csv(stdout(syncd("export", "--type", "user", "--query", "roles=ROLE_AGENT&sortBy=userName")))
    assert [line["userName"] for line in rows] == ["jhalpert", "jmorrison"]
    assert rows[0]["phoneNumber"] == "'+1 570 555-0101"
    assert rows[0]["roles"] == "ROLE_AGENT, ROLE_SALES"

    document = json.loads(stdout(syncd("export", "--format", "json", "--query", "type=Queue&limit=1")))
    id_ = document["contacts"][0]["id"]
    assert document == {
        "statusCode": 0,
        "totalCount": 3,
        "contacts": [{"id": id_, "name": "jhalpert", "type": "Queue", "path": f"/contacts/{id_}"}],
    }

    path = tmp_path / "all.vcf"
    stdout(syncd("export", "--query", "format=vcard&fields=name", "--out", str(path)))
    assert path.read_bytes().count(b"BEGIN:VCARD\r\n") == len(PEOPLE)
    assert path.stat().st_mode & 0o777 == 0o600

    wrong = syncd("export", "--query", "nmae=Jim", "--out", str(tmp_path / "none"))
    assert wrong.returncode == 1
    assert "did you mean 'name'?" in wrong.stderr.decode()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("form", ["csv", "vcard"])
def test_an_export_is_imported_unchanged(syncd: Run, database_url: str, form: str) -> None:
    """Unchanged contacts stay, users and queues are rejected, changed contacts are restored."""
    lines = "\r\n".join(["name,phoneNumbers", *(f'"{name}","{number}, desk: =1+1"' for name, number in CUSTOM)])
    assert "3 created" in stdout(syncd("import", "-", "--apply", text=lines))
    custom, everybody = (
        stdout(syncd("export", "--format", form, "--type", "Custom")),
        stdout(syncd("export", "--format", form)),
    )

    again = stdout(syncd("import", "-", "--apply", text=custom))
    assert "0 created, 0 changed, 3 unchanged, 0 rejected" in again
    refused = stdout(syncd("import", "-", "--apply", text=everybody), 1)
    assert f"0 created, 0 changed, 3 unchanged, {len(PEOPLE)} rejected" in refused
    assert "is a User: the synchronization keeps it" in refused

    with psycopg.connect(database_url, autocommit=True) as connection:
        was = connection.execute("SELECT name, numbers FROM contact_custom ORDER BY name").fetchall()
        connection.execute("UPDATE contact_custom SET name = 'x', numbers = '[]'")
        assert "0 created, 3 changed" in stdout(syncd("import", "-", "--apply", text=custom))
        assert connection.execute("SELECT name, numbers FROM contact_custom ORDER BY name").fetchall() == was
    assert was[0][1] == [{"phoneNumber": CUSTOM[0][1]}, {"phoneNumber": "=1+1", "description": "desk"}]


def test_an_import_is_previewed(syncd: Run, database_url: str, tmp_path: Path) -> None:
    """The preview writes nothing; --apply writes the valid rows with the name of the operator."""
    path = tmp_path / "new.csv"
    path.write_text("name;phoneNumber\nAnn;1\nBob;\nAnn;1\n")
    preview = syncd("import", str(path))

    assert "nothing is written yet; --apply does it" in preview.stderr.decode()
    lines = stdout(preview, 1).splitlines()
    assert [line.split()[:4] for line in lines if "│" in line or "┃" in line][1:]
    assert any("2" in line and "create" in line and "Ann" in line for line in lines)
    assert any("3" in line and "reject" in line and "phoneNumber is empty" in line for line in lines)
    assert lines[-1] == "1 would be created, 0 would be changed, 1 unchanged, 1 rejected"
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM contact_custom").fetchone() == (0,)

        document = json.loads(stdout(syncd("import", str(path), "--apply", "--json"), 1))
        assert {name: document[name] for name in ("applied", "created", "rejected")} == {
            "applied": True, "created": 1, "rejected": 1,
        }  # fmt: skip
        assert [line["line"] for line in document["rows"]] == [2, 3, 4]
        caller = connection.execute("SELECT caller FROM change").fetchone()
    assert caller is not None
    assert "@" in caller[0]


def test_an_invalid_file_is_refused(syncd: Run) -> None:
    """With a message and without a traceback."""
    for text, sentence in [
        ("", "the file holds no contact"),
        ("Name,Phone\nA,1", "line 1: a contact has no member 'Name'"),
        ("x" * (5 * 1024 * 1024 + 1), "the file is larger than"),
    ]:
        result = syncd("import", "-", text=text)

        assert result.returncode == 1
        assert sentence in result.stderr.decode()
        assert "Traceback" not in result.stderr.decode()


def test_a_large_directory_is_exported(syncd: Run, database_url: str, tmp_path: Path) -> None:
    """Every contact is exported once."""
    contact = insert_values("User", Contact("Person", (PhoneNumber("1"),)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(INSERT_CONTACT, contact)
        connection.execute(
            "INSERT INTO contact (type, name, name_folded, search, source, source_key) "
            "SELECT 'User', 'P ' || n, 'p ' || n, 'p', 'tests', n::text FROM generate_series(1, 30000) n"
        )
    path = tmp_path / "all.csv"
    stdout(syncd("export", "--out", str(path)))

    rows = parse_csv(path.read_bytes().decode())
    assert len({line["id"] for line in rows}) == len(rows) == 30_001 + len(PEOPLE)

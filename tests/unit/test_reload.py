"""A reload: what is in force afterwards, and the names of what has changed."""

from pathlib import Path

import pytest

from syncd.app.reload import Reload, reload
from syncd.settings import Settings, load

BASE = """
[database]
url = "postgresql://syncd@localhost/syncd"

[http]
listen = "127.0.0.1:8080"

[[source]]
name = "acd"
type = "Queue"
kind = "file"
path = "queues.toml"
schedule = { every = "1h" }
"""
SECOND = "[[source]]" + BASE.partition("[[source]]")[2].replace("acd", "second")


def settings(folder: Path, text: str) -> Settings:
    path = folder / "syncd.toml"
    path.write_text(text)
    return load(path)


def reloaded(folder: Path, before: str, after: str) -> Reload:
    return reload(settings(folder, before), settings(folder, after))


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("", "", ()),
        ('every = "1h"', 'every = "2h"', ("source.acd.schedule.every",)),
        ('every = "1h"', 'cron = "0 6 * * *"', ("source.acd.schedule.every", "source.acd.schedule.cron")),
        ('path = "queues.toml"', 'path = "other.toml"', ("source.acd.path",)),
        ('"acd"', '"lines"', ("source.acd", "source.lines")),
        ("[http]", "[http]\npublic_url = 'https://x.example'", ("http.public_url",)),
        ("[http]", '[log]\nlevel = "debug"\n[http]', ("log.level",)),
        (BASE, BASE + SECOND, ("source.second",)),
        (BASE, BASE + "[source.guard]\nsmall_removals = 7\n", ("source.acd.guard.small_removals",)),
    ],
)
def test_what_can_change_is_in_force(tmp_path: Path, old: str, new: str, changed: tuple[str, ...]) -> None:
    """All of it, and each key that differs is named once."""
    after = BASE.replace(old, new) if old else BASE
    found = reloaded(tmp_path, BASE, after)

    assert found.changed == changed
    assert found.needs_restart == ()
    assert found.settings == settings(tmp_path, after)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("@localhost", "@db.example", "database.url"),
        ("[http]", "[http] # x", None),
        ('/syncd"', '/syncd"\npool_size = 3', "database.pool_size"),
        ("127.0.0.1:8080", "127.0.0.1:8081", "http.listen"),
        ("[http]", "[http]\nmax_connections = 7", "http.max_connections"),
    ],
)
def test_what_only_a_restart_changes_stays_and_is_named(tmp_path: Path, old: str, new: str, named: str | None) -> None:
    """The rest of the same file is in force all the same."""
    before = settings(tmp_path, BASE)
    found = reload(before, settings(tmp_path, BASE.replace(old, new).replace('"1h"', '"2h"')))

    assert found.needs_restart == ((named,) if named else ())
    assert found.changed == ("source.acd.schedule.every",)
    assert found.settings.database == before.database
    assert found.settings.http == before.http

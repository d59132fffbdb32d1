"""Reload: the settings in force afterwards, and the keys that changed or need a restart."""

from pathlib import Path

import pytest

from syncd.app.reload import Reload, merge_reloaded
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


def merge_texts(folder: Path, before: str, after: str) -> Reload:
    return merge_reloaded(settings(folder, before), settings(folder, after))


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
        (BASE, BASE + "[source.guard]\nsmall_source_allowance = 7\n", ("source.acd.guard.small_source_allowance",)),
    ],
)
def test_changed_keys_are_in_force(tmp_path: Path, old: str, new: str, changed: tuple[str, ...]) -> None:
    """All new values are in force, and each changed key is listed once."""
    after = BASE.replace(old, new) if old else BASE
    merged = merge_texts(tmp_path, BASE, after)

    assert merged.changed == changed
    assert merged.needs_restart == ()
    assert merged.settings == settings(tmp_path, after)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("@localhost", "@db.example", "database.url"),
        ("[http]", "[http] # x", None),
        ('/syncd"', '/syncd"\npool_size = 3', "database.pool_size"),
        ("127.0.0.1:8080", "127.0.0.1:8081", "http.listen"),
        ("[http]", "[http]\nmax_connections = 7", "http.max_connections"),
    ],
)
def test_keys_that_need_a_restart_keep_their_value(tmp_path: Path, old: str, new: str, key: str | None) -> None:
    """They are listed, and the other changes of the same file are in force."""
    before = settings(tmp_path, BASE)
    merged = merge_reloaded(before, settings(tmp_path, BASE.replace(old, new).replace('"1h"', '"2h"')))

    assert merged.needs_restart == ((key,) if key else ())
    assert merged.changed == ("source.acd.schedule.every",)
    assert merged.settings.database == before.database
    assert merged.settings.http == before.http

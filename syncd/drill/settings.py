"""The settings of the drill: one file for the daemon and for healthy runs, one for each faulty run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syncd.drill.people import base, reader

NEVER = {"cron": "0 0 29 2 *"}
"""The drill says itself when a source is read."""

_LOOSE: Mapping[str, Any] = {
    "max_removals": 10_000,
    "max_removals_day": 10_000,
    "max_removals_week": 10_000,
    "max_attribute_loss": "100%",
    "max_rejects": "100%",
}
"""All limits open and no grace: a fault is met by the guard that it is meant for, or by none."""

_AT_ONCE: Mapping[str, Any] = {"grace": "0s", "grace_runs": 1}


def people_source(name: str, url: str, password: Path, **changes: Any) -> dict[str, Any]:
    """The source of one branch."""
    return {
        "name": name, "type": "User", "kind": "ldap", "urls": [url], "tls": "none", "bind_dn": reader(name),
        "bind_password_file": str(password), "base": base(name), "page_size": 10, "connect_timeout": "60s",
        "read_timeout": "60s", "schedule": NEVER, **_with_tables(changes),
    }  # fmt: skip


def queue_source(name: str, path: Path, **changes: Any) -> dict[str, Any]:
    """The source of one queue file, which the daemon reads at its start and whenever it changes."""
    return {
        "name": name, "type": "Queue", "kind": "file", "path": str(path), "schedule": {"every": "12h"},
        **_with_tables(changes),
    }  # fmt: skip


def _with_tables(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes; those of `guard` and `lifecycle` replace single keys of the drill's own."""
    guard = {**_LOOSE, **changes.get("guard", {})}
    return {**changes, "guard": guard, "lifecycle": {**_AT_ONCE, **changes.get("lifecycle", {})}}


def write(path: Path, database: str, port: int, sources: Iterable[Mapping[str, Any]]) -> Path:
    """Write a settings file."""
    http = {"listen": f"127.0.0.1:{port}", "stop_within": "5s"}
    tables: list[tuple[str, Mapping[str, Any]]] = [
        ("[database]", {"url": database}),
        ("[http]", http),
        ("[log]", {"format": "json"}),
    ]
    tables += [("[[source]]", source) for source in sources]
    lines = [line for title, table in tables for line in (title, *_lines(table), "")]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    """A value in TOML, which is JSON but for the equals sign of a table."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_lines(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)

"""The settings files of the drill: one for the daemon, one for runs without faults, one for each run with a fault."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syncd.drill.people import reader_dn, subtree_base

NEVER = {"cron": "0 0 29 2 *"}
"""Schedule without a run during the drill, which starts each run itself."""

_OPEN_LIMITS: Mapping[str, Any] = {
    "max_removals": 10_000,
    "max_removals_day": 10_000,
    "max_removals_week": 10_000,
    "max_attribute_loss": "100%",
    "max_rejects": "100%",
}
"""Guard limits that never hold. With them and no grace, only the guard that a fault is meant for can hold its run."""

_NO_GRACE: Mapping[str, Any] = {"grace": "0s", "grace_runs": 1}


def subtree_source(name: str, url: str, password: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of the LDAP source of one subtree, with changes."""
    return {
        "name": name, "type": "User", "kind": "ldap", "urls": [url], "tls": "none", "bind_dn": reader_dn(name),
        "bind_password_file": str(password), "base": subtree_base(name), "page_size": 10, "connect_timeout": "60s",
        "read_timeout": "60s", "schedule": NEVER, **_with_defaults(changes),
    }  # fmt: skip


def queue_source(name: str, path: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of the source of one queue file, with changes.

    The daemon reads the file at its start and after every change.
    """
    return {
        "name": name, "type": "Queue", "kind": "file", "path": str(path), "schedule": {"every": "12h"},
        **_with_defaults(changes),
    }  # fmt: skip


def _with_defaults(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes with the defaults of `guard` and `lifecycle`, key by key."""
    guard = {**_OPEN_LIMITS, **changes.get("guard", {})}
    return {**changes, "guard": guard, "lifecycle": {**_NO_GRACE, **changes.get("lifecycle", {})}}


def write_settings(path: Path, database: str, port: int, sources: Iterable[Mapping[str, Any]]) -> Path:
    """Write a settings file and return its path. `database` is a URL, `port` that of the daemon."""
    tables: list[tuple[str, Mapping[str, Any]]] = [
        ("[database]", {"url": database}),
        ("[http]", {"listen": f"127.0.0.1:{port}", "shutdown_timeout": "5s"}),
        ("[log]", {"format": "json"}),
    ]
    tables += [("[[source]]", source) for source in sources]
    lines = [line for title, table in tables for line in (title, *_format_table(table), "")]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _format_table(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_format_value(value)}" for key, value in table.items()]


def _format_value(value: Any) -> str:
    """Format a value as TOML; scalars are as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_format_table(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)

"""Reload of the settings: the merged settings, the changed keys, and the keys that need a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.settings import AnySource, Settings, Table

RESTART_ONLY_HTTP = ("listen", "max_connections")
"""Keys of `http` that need a restart, as all of `database` does, because sockets are opened with them."""


@dataclass(frozen=True, slots=True)
class Reload:
    """Result of a reload; keys are written as `http.public_url` or `source.corp.base`."""

    settings: Settings
    """Settings in force: the new values, and the old ones of keys that need a restart."""
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def merge_reloaded(old: Settings, new: Settings) -> Reload:
    """Merge new, valid settings into the current ones."""
    merged = new.model_copy(
        update={
            "database": old.database,
            "http": new.http.model_copy(update={key: getattr(old.http, key) for key in RESTART_ONLY_HTTP}),
        }
    )
    return Reload(merged, tuple(_changed_keys(old, merged)), tuple(_changed_keys(merged, new)))


def _changed_keys(old: Settings, new: Settings) -> Iterator[str]:
    """Yield the keys whose values differ; values may be secret and are never part of it."""
    for table in Settings.model_fields:
        if table != "source":
            yield from _changed_keys_of(table, getattr(old, table), getattr(new, table))
    yield from _changed_source_keys(
        {source.name: source for source in old.source}, {source.name: source for source in new.source}
    )


def _changed_source_keys(old: Mapping[str, AnySource], new: Mapping[str, AnySource]) -> Iterator[str]:
    for name in {**old, **new}:
        yield from _changed_keys_of(f"source.{name}", old.get(name), new.get(name))


def _changed_keys_of(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if not (isinstance(old, Table) and type(old) is type(new)):
        yield path
        return
    for key in type(old).model_fields:
        yield from _changed_keys_of(f"{path}.{key}", getattr(old, key), getattr(new, key))

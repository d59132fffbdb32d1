"""A reload: which settings are in force afterwards, what has changed, and what only a restart changes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.settings import AnySource, Part, Settings

LASTING = ("listen", "max_connections")
"""Keys of `http` that stand until a restart, as all of `database` does: sockets are made with them."""


@dataclass(frozen=True, slots=True)
class Reload:
    """What becomes of settings that were read anew. Names are those of keys: `http.public_url`, `source.corp.base`."""

    settings: Settings
    """In force from now on: the new ones, with the old ones where only a restart changes them."""
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def reload(old: Settings, new: Settings) -> Reload:
    """Compare the settings in force with those that were read, which are good."""
    force = new.model_copy(
        update={
            "database": old.database,
            "http": new.http.model_copy(update={key: getattr(old.http, key) for key in LASTING}),
        }
    )
    return Reload(force, tuple(_differences(old, force)), tuple(_differences(force, new)))


def _differences(old: Settings, new: Settings) -> Iterator[str]:
    """The keys that differ; values are never told."""
    for table in Settings.model_fields:
        if table != "source":
            yield from _within(table, getattr(old, table), getattr(new, table))
    yield from _of_sources({one.name: one for one in old.source}, {one.name: one for one in new.source})


def _of_sources(old: Mapping[str, AnySource], new: Mapping[str, AnySource]) -> Iterator[str]:
    for name in {**old, **new}:
        yield from _within(f"source.{name}", old.get(name), new.get(name))


def _within(place: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if not (isinstance(old, Part) and type(old) is type(new)):
        yield place
        return
    for key in type(old).model_fields:
        yield from _within(f"{place}.{key}", getattr(old, key), getattr(new, key))

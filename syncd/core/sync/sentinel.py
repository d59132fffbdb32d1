"""Sentinels: contacts that must be there for a read to be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sentinel:
    """At least so many contacts of a source with all of these members; without members, so many at all."""

    members: Mapping[str, str] = field(default_factory=dict)
    """Member by its wire name -> the value it must have; of several values one must be it."""
    at_least: int = 1

    def __str__(self) -> str:
        """As an operator knows it from the settings."""
        return ", ".join(f'{name} = "{value}"' for name, value in self.members.items()) or "count of contacts"

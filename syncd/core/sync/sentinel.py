"""Sentinels: contacts that must exist, or a read is not trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sentinel:
    """Minimum number of contacts of a source with these members; without members, of any contacts."""

    members: Mapping[str, str] = field(default_factory=dict)
    """JSON name of a member -> required value; of a multi-valued member, one value must match."""
    at_least: int = 1

    def __str__(self) -> str:
        """Return the condition as the settings have it."""
        return ", ".join(f'{name} = "{value}"' for name, value in self.members.items()) or "count of contacts"

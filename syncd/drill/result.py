"""One row of the table: a fault, what the run said to it, and what became of the directory."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Said(NamedTuple):
    """How a run ended and why, in its own words."""

    outcome: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.why}" if self.why else self.outcome


@dataclass(slots=True)
class Row:
    """What came of one fault."""

    fault: str
    what: str
    said: Said = field(default=Said(""))
    lost: int = 0
    """Contacts that were not served any more at any time, or not as before."""
    custom: int = 0
    """Custom contacts that are not stored byte for byte as before."""
    served: str = "yes"
    wrong: list[str] = field(default_factory=list)
    """Everything that is not as promised, one sentence each."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True when all is as promised."""
        return not (self.wrong or self.lost or self.custom)

    def facts(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return {
            "fault": self.fault,
            "what": self.what,
            "outcome": self.said.outcome,
            "why": self.said.why,
            "contactsLost": self.lost,
            "customChanged": self.custom,
            "served": self.served,
            "passed": self.passed,
            "wrong": self.wrong,
            "seconds": round(self.seconds, 1),
        }

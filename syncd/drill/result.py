"""The result of one fault: how the run ended and how the directory changed."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class RunResult(NamedTuple):
    """Outcome of a run and its reason, as stored or logged by syncd."""

    outcome: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}" if self.reason else self.outcome


@dataclass(slots=True)
class FaultResult:
    """Result of one fault: one row of the table."""

    fault: str
    description: str
    run_result: RunResult = field(default=RunResult(""))
    contacts_lost: int = 0
    """Contacts that were at any time not served, or not as before the fault."""
    custom_changed: int = 0
    """Custom contacts whose stored row differs from the one before the fault."""
    served: str = "yes"
    problems: list[str] = field(default_factory=list)
    """Deviations from the expected result, one sentence each."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True without problems, lost contacts and changed Custom contacts."""
        return not (self.problems or self.contacts_lost or self.custom_changed)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON values; the names are those of `syncd drill --json`."""
        return {
            "fault": self.fault,
            "what": self.description,
            "outcome": self.run_result.outcome,
            "why": self.run_result.reason,
            "contactsLost": self.contacts_lost,
            "customChanged": self.custom_changed,
            "served": self.served,
            "passed": self.passed,
            "wrong": self.problems,
            "seconds": round(self.seconds, 1),
        }

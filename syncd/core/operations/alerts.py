"""Alerts: assessment of the state, and selection of the messages to send.

There is no queue: due messages are the difference between the sent alerts and the current problems. A message that
could not be sent is therefore due again, unless its problem is over, and a restart sends no message twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from syncd.core.operations.health import DirectoryState, ExpectedSource, SourceState, check_certificate
from syncd.core.sync.history import rfc3339
from syncd.core.sync.plan import PROVEN, Outcome


class Problem(NamedTuple):
    """Problem that operators should know of."""

    title: str
    """Constant as long as the problem lasts."""
    why: str
    """Reason and next step."""
    size: int = 0
    """Number of affected items; 0 for a problem that cannot grow."""


class SentAlert(NamedTuple):
    """Problem for which an alert was sent."""

    problem: Problem
    since: datetime


@dataclass(frozen=True, slots=True)
class Assessment:
    """Problems at a moment. A key is `kind:source`, or `database`."""

    problems: Mapping[str, Problem]
    unclear: frozenset[str] = frozenset()
    """Keys that cannot be assessed at this moment."""


class AlertMessage(NamedTuple):
    """Message: a new problem, one that has doubled, or one that is over."""

    kind: Literal["problem", "worse", "recovery"]
    key: str
    problem: Problem
    since: datetime

    @property
    def subject(self) -> str:
        """Subject line."""
        return f"syncd: {'over: ' if self.kind == 'recovery' else ''}{self.problem.title}"

    @property
    def text(self) -> str:
        """Body as plain text."""
        if self.kind == "recovery":
            return f"Over: {self.problem.title}, since {rfc3339(self.since)}. Nothing is to be done.\n"
        return f"{self.problem.title}, since {rfc3339(self.since)}.\n\n{self.problem.why}\n"

    def to_json(self) -> dict[str, Any]:
        """Return the message as JSON values; chats show the member `text`."""
        return {
            "text": f"{self.subject}\n{self.text}",
            "kind": self.kind,
            "about": self.key,
            "title": self.problem.title,
            "why": self.problem.why,
            "size": self.problem.size,
            "since": rfc3339(self.since),
        }


def assess(
    expected: Iterable[ExpectedSource], state: DirectoryState, now: datetime, started: datetime, outage: str
) -> Assessment:
    """Assess the state. `outage` is why the database does not answer, or empty; in an outage all sources are unclear.

    `started` is the start of the daemon: a source is not reported as stale before the daemon has run for `stale_after`,
    so that a start after a weekend, or the very first one, sends no alert.
    """
    if outage:
        unclear = frozenset(f"{kind}:{source.name}" for source in expected for kind in _CHECKS)
        problem = Problem(
            "the directory's database does not answer",
            f"{outage}. Requests get 503 until it does, and nothing is synced.",
        )
        return Assessment({"database": problem}, unclear)
    problems, unclear_keys = {}, set()
    for source in expected:
        source_state = state.sources.get(source.name, SourceState(source.name))
        for kind, check in _CHECKS.items():
            results = check(source, source_state, now, started)
            if results is None:
                unclear_keys.add(f"{kind}:{source.name}")
            for problem in results or ():
                problems[f"{kind}:{source.name}"] = problem
    return Assessment(problems, frozenset(unclear_keys))


def keep_unclear(before: Assessment, current: Assessment) -> Assessment:
    """Return the current assessment, with the former result for keys that are unclear now."""
    kept = {key: before.problems[key] for key in current.unclear if key in before.problems}
    return Assessment({**current.problems, **kept}, current.unclear & before.unclear)


# Each check takes a source, its state, the time and the start of the daemon, and returns the problems; None if unclear.


def _check_read(source: ExpectedSource, state: SourceState, now: datetime, started: datetime) -> list[Problem]:
    title = f"{source.name} cannot be read"
    effect = "The directory is served as it was; `syncd status` shows more."
    if state.outcome in {Outcome.INCOMPLETE, Outcome.FAILED, Outcome.CRASHED}:
        return [Problem(title, f"Its last run was {state.outcome}: {_first_line(state.reason)}\n{effect}")]
    if now - max(state.last_success or started, started) > source.stale_after:
        last = rfc3339(state.last_success) or "never"
        return [Problem(title, f"Its last complete run was {last}. {effect}")]
    return []


def _check_held(source: ExpectedSource, state: SourceState, _now: datetime, _started: datetime) -> list[Problem]:
    size = state.held + len(state.attributes)
    why = (
        f"{state.held} removals and the loss of {len(state.attributes)} attributes are held. "
        f"{_first_line(state.reason)}\n"
        f"`syncd held {source.name}` lists them; `syncd approve` or `syncd reject` decides."
    )
    return [Problem(f"removals of {source.name} wait for a decision", why, size)] if size else []


def _check_rejects(
    source: ExpectedSource, state: SourceState, _now: datetime, _started: datetime
) -> list[Problem] | None:
    if state.outcome not in PROVEN:
        return None
    why = f"It is {state.rejected} now. Their contacts stay as they were. `syncd rejects {source.name}` tells why."
    return [Problem(f"records of {source.name} cannot be mapped", why, state.rejected)] if state.rejected else []


def _check_certificate(source: ExpectedSource, state: SourceState, now: datetime, _started: datetime) -> list[Problem]:
    title = f"the certificate of {source.name}'s server is near its end"
    return [Problem(title, f"{sentence}.") for sentence in check_certificate(state, now)]


_CHECKS = {"read": _check_read, "held": _check_held, "rejected": _check_rejects, "certificate": _check_certificate}


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def cleared_since(
    before: Mapping[str, datetime], sent: Iterable[str], current: Assessment, now: datetime
) -> dict[str, datetime]:
    """Return key of a sent alert -> time since when its problem is gone; unclear keys keep the time of `before`."""
    gone = {key: before.get(key, now) for key in sent if key not in current.problems and key not in current.unclear}
    return gone | {key: at for key, at in before.items() if key in current.unclear}


def due_messages(
    sent: Mapping[str, SentAlert],
    current: Assessment,
    cleared: Mapping[str, datetime],
    now: datetime,
    resolve_after: timedelta,
) -> Iterator[AlertMessage]:
    """Yield the messages to send.

    A recovery is due when the problem has been gone for `resolve_after`, so that a flapping problem is reported once. A
    problem that grows is reported again when it has doubled.
    """
    for key, problem in current.problems.items():
        alert = sent.get(key)
        if alert is None:
            yield AlertMessage("problem", key, problem, now)
        elif problem.size >= 2 * alert.problem.size > 0:
            yield AlertMessage("worse", key, problem, alert.since)
    for key, since in cleared.items():
        if key in sent and now - since >= resolve_after:
            yield AlertMessage("recovery", key, sent[key].problem, sent[key].since)


def record_sent(sent: Mapping[str, SentAlert], message: AlertMessage) -> dict[str, SentAlert]:
    """Return the sent alerts after this message."""
    others = {key: alert for key, alert in sent.items() if key != message.key}
    return others if message.kind == "recovery" else others | {message.key: SentAlert(message.problem, message.since)}

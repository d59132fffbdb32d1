"""Notices: what of the state is worth a message to people, and which messages are due.

Nothing is queued: what was told is compared with what is, and the difference is due. So a message that could not be
sent is due again, unless it has become untrue, and a restart tells nothing twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from syncd.core.operations.health import DirectoryState, Expected, SourceState, certificate_reason
from syncd.core.sync.history import moment
from syncd.core.sync.plan import PROVEN, Outcome


class Problem(NamedTuple):
    """Something that people should know of."""

    title: str
    """What, without anything that changes while it lasts."""
    why: str
    """The reason and the next step."""
    size: int = 0
    """How many it concerns, where that can grow."""


class Told(NamedTuple):
    """A problem of which people know."""

    problem: Problem
    since: datetime


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is wrong at a moment, by a key that names what it is about."""

    problems: Mapping[str, Problem]
    unclear: frozenset[str] = frozenset()
    """Keys of which nobody can say now whether there is a problem."""


class Message(NamedTuple):
    """One message: a problem that began, one that has doubled, or one that is over."""

    kind: Literal["problem", "worse", "recovery"]
    key: str
    problem: Problem
    since: datetime

    @property
    def subject(self) -> str:
        """One line."""
        return f"syncd: {'over: ' if self.kind == 'recovery' else ''}{self.problem.title}"

    @property
    def text(self) -> str:
        """All of it, for people."""
        if self.kind == "recovery":
            return f"Over: {self.problem.title}, since {moment(self.since)}. Nothing is to be done.\n"
        return f"{self.problem.title}, since {moment(self.since)}.\n\n{self.problem.why}\n"

    def facts(self) -> dict[str, Any]:
        """The same for machines, and in `text` for chats that show just that."""
        return {
            "text": f"{self.subject}\n{self.text}",
            "kind": self.kind,
            "about": self.key,
            "title": self.problem.title,
            "why": self.problem.why,
            "size": self.problem.size,
            "since": moment(self.since),
        }


def outlook(
    expected: Iterable[Expected], state: DirectoryState, now: datetime, started: datetime, lost: str
) -> Outlook:
    """What is wrong now. `lost` is why the database does not answer; of its sources nothing is known meanwhile.

    A source cannot be stale before the daemon has run for as long as it takes to become so: after a stop over the
    week-end, and before the very first run, nobody is called.
    """
    if lost:
        unclear = frozenset(f"{kind}:{one.name}" for one in expected for kind in _KINDS)
        problem = Problem(
            "the directory's database does not answer",
            f"{lost}. Requests get 503 until it does, and nothing is synced.",
        )
        return Outlook({"database": problem}, unclear)
    problems, unclear_keys = {}, set()
    for one in expected:
        known = state.sources.get(one.name, SourceState(one.name))
        for kind, problem_of in _KINDS.items():
            found = problem_of(one, known, now, started)
            if found is None:
                unclear_keys.add(f"{kind}:{one.name}")
            for problem in found or ():
                problems[f"{kind}:{one.name}"] = problem
    return Outlook(problems, frozenset(unclear_keys))


def continued(before: Outlook, seen: Outlook) -> Outlook:
    """What is seen now; what is unclear now is as it was before, be it a problem or none."""
    as_before = {key: before.problems[key] for key in seen.unclear if key in before.problems}
    return Outlook({**seen.problems, **as_before}, seen.unclear & before.unclear)


def _unread(one: Expected, known: SourceState, now: datetime, started: datetime) -> list[Problem]:
    title = f"{one.name} cannot be read"
    kept = "The directory is served as it was; `syncd status` shows more."
    if known.outcome in {Outcome.INCOMPLETE, Outcome.FAILED, Outcome.CRASHED}:
        return [Problem(title, f"Its last run was {known.outcome}: {_first_line(known.why)}\n{kept}")]
    if now - max(known.last_success or started, started) > one.stale_after:
        last = moment(known.last_success) or "never"
        return [Problem(title, f"Its last complete run was {last}. {kept}")]
    return []


def _held(one: Expected, known: SourceState, _now: datetime, _started: datetime) -> list[Problem]:
    size = known.held + len(known.attributes)
    why = (
        f"{known.held} removals and the loss of {len(known.attributes)} attributes are held. {_first_line(known.why)}\n"
        f"`syncd held {one.name}` lists them; `syncd approve` or `syncd reject` decides."
    )
    return [Problem(f"removals of {one.name} wait for a decision", why, size)] if size else []


def _rejected(one: Expected, known: SourceState, _now: datetime, _started: datetime) -> list[Problem] | None:
    if known.outcome not in PROVEN:
        return None
    why = f"It is {known.rejected} now. Their contacts stay as they were. `syncd rejects {one.name}` tells why."
    return [Problem(f"records of {one.name} cannot be mapped", why, known.rejected)] if known.rejected else []


def _certificate(one: Expected, known: SourceState, now: datetime, _started: datetime) -> list[Problem]:
    title = f"the certificate of {one.name}'s server is near its end"
    return [Problem(title, f"{sentence}.") for sentence in certificate_reason(known, now)]


_KINDS = {"read": _unread, "held": _held, "rejected": _rejected, "certificate": _certificate}


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def absences(before: Mapping[str, datetime], told: Iterable[str], seen: Outlook, now: datetime) -> dict[str, datetime]:
    """Since when each told problem is no more; what is unclear leaves that as it was."""
    gone = {key: before.get(key, now) for key in told if key not in seen.problems and key not in seen.unclear}
    return gone | {key: at for key, at in before.items() if key in seen.unclear}


def due(
    told: Mapping[str, Told], seen: Outlook, absent: Mapping[str, datetime], now: datetime, settle: timedelta
) -> Iterator[Message]:
    """The messages that are due. A recovery only when the problem has been gone for `settle`: one that comes and goes
    is one problem. One that grows is told again when it has doubled.
    """
    for key, problem in seen.problems.items():
        known = told.get(key)
        if known is None:
            yield Message("problem", key, problem, now)
        elif problem.size >= 2 * known.problem.size > 0:
            yield Message("worse", key, problem, known.since)
    for key, since in absent.items():
        if key in told and now - since >= settle:
            yield Message("recovery", key, told[key].problem, told[key].since)


def after(told: Mapping[str, Told], message: Message) -> dict[str, Told]:
    """What people know once they have the message."""
    others = {key: known for key, known in told.items() if key != message.key}
    return others if message.kind == "recovery" else others | {message.key: Told(message.problem, message.since)}

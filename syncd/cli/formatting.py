"""Words for people: a run in a line, a change as old and new values."""

from datetime import datetime
from typing import Any

from syncd.core.sync.plan import Change, Report

_SIGNS = {"add": "+", "change": "~", "return": "<", "miss": "?", "remove": "-", "purge": "x"}
"""What stands in front of a change; `!` when it is held."""


def summary(report: Report) -> str:
    """What a run did, or would do, and why not more."""
    done = report.applied
    text = (
        f"{report.source}: {report.outcome}: {report.entries} entries; {done.added} added, {done.changed} changed, "
        f"{done.missing} missing, {done.removed} removed, {report.held} held, {done.rejected} rejected "
        f"in {report.seconds:.1f} s"
    )
    return f"{text}\n  {report.why}" if report.why else text


def clock(at: datetime) -> str:
    """A moment by the clock of whoever reads it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def span(seconds: int) -> str:
    """A length of time as people say it: in the largest unit of which there are at least two."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def change_line(change: Change) -> str:
    """A change in one line: what happens, to whom, and what is different then."""
    who = f"{(change.new or change.old)['name']} ({change.key})"
    if change.held:
        return f"! {who}: {change.kind} is held: {change.held}"
    told = [who]
    if change.kind == "add":
        told += [", ".join(f"{member} {value(shown)}" for member, shown in change.new.items() if member != "name")]
    if change.kind in {"change", "return"}:
        told += [difference(change)]
    return f"{_SIGNS[change.kind]} {': '.join(filter(None, [*told, change.reason]))}"


def difference(change: Change) -> str:
    """Each member that differs, with its old and its new value."""
    members = [m for m in {**change.old, **change.new} if change.old.get(m) != change.new.get(m)]
    return "; ".join(f"{m} {_arrow(change.old.get(m), change.new.get(m))}" for m in members)


def _arrow(old: Any, new: Any) -> str:
    """Numbers without their descriptions, unless nothing else differs."""
    plain = value(old) != value(new)
    return f"{value(old, plain=plain)} -> {value(new, plain=plain)}"


def value(of_member: Any, *, plain: bool = True) -> str:
    """The value of a member as a person reads it; `plain` leaves out what numbers are called."""
    if of_member is None:
        return "(none)"
    if isinstance(of_member, list):
        return ", ".join(_number(one, plain=plain) if isinstance(one, dict) else str(one) for one in of_member)
    return repr(of_member)


def _number(number: dict[str, str], *, plain: bool) -> str:
    called = "" if plain else f" ({number.get('description', 'no description')})"
    return f"{number['phoneNumber']}{called}"

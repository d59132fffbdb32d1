"""Words for people: a run in a line, a change as old and new values."""

from typing import Any

from syncd.core.plan import Change, Report


def summary(report: Report) -> str:
    """What a run did, or would do, and why not more."""
    done = report.applied
    text = (
        f"{report.source}: {report.outcome}: {report.entries} entries; {done.added} added, {done.changed} changed, "
        f"{done.removed} removed, {report.held} held, {done.rejected} rejected "
        f"in {report.seconds:.1f} s"
    )
    return f"{text}\n  {report.why}" if report.why else text


def difference(change: Change) -> str:
    """Each member that differs, with its old and its new value."""
    members = [m for m in {**change.old, **change.new} if change.old.get(m) != change.new.get(m)]
    return "; ".join(f"{m} {value(change.old.get(m))} -> {value(change.new.get(m))}" for m in members)


def value(of_member: Any) -> str:
    """The value of a member as a person reads it."""
    if of_member is None:
        return "(none)"
    if isinstance(of_member, list):
        return ", ".join(v["phoneNumber"] if isinstance(v, dict) else str(v) for v in of_member)
    return repr(of_member)

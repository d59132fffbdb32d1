"""Cron expressions: validation and next times (crontab(5)). The only module that imports cronsim."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31",
    "month": "1 to 12, or jan to dec",
    "day-of-week": "0 to 7, or sun to sat; 0 and 7 are Sunday",
}
"""Name (as cronsim writes it) and range of each field, in their order."""
_DAY = 86_400
"""Seconds; no time zone changes its offset twice in a day."""


def check_expression(expression: str) -> str:
    """Return a cron expression of five fields unchanged. Raises ValueError if it is invalid or never due."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"{expression!r} is no cron expression: minute, hour, day of month, month, day of week")
    bad_field = _find_bad_field(expression)
    if bad_field == "day-of-month" and not _find_bad_field(f"0 0 {fields[2]} * *"):
        raise ValueError(f"{expression!r} is never due: none of its months has such a day")
    if bad_field:
        text = fields[list(_FIELDS).index(bad_field)]
        raise ValueError(f"{expression!r} is no cron expression: {text!r} is no {bad_field} ({_FIELDS[bad_field]})")
    return expression


def _find_bad_field(expression: str) -> str:
    """Return the name of the field that cronsim refuses, or that no day of 50 years satisfies; else an empty text."""
    try:
        next(_times(expression, datetime.now(UTC)))
    except CronSimError as error:
        return str(error).removeprefix("Bad ")
    except StopIteration:
        return "day-of-month"
    return ""


def next_time(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first time later than `after` (aware) at which a valid expression is due in a time zone, in UTC.

    As in Debian's cron: a fixed time that the clock skips is due when the clock has moved forward, one that the clock
    repeats is due once; an expression whose minute or hour begins with `*` follows the elapsed time.
    """
    start = after.astimezone(UTC).replace(microsecond=0)
    minute, hour, *_ = expression.split()
    if minute.startswith("*") or hour.startswith("*"):
        return _next_elapsed(expression, zone, start)
    times = (time.astimezone(UTC) for time in _times(expression, start.astimezone(zone)))
    return next(time for time in times if time > start)


def _next_elapsed(expression: str, zone: ZoneInfo, start: datetime) -> datetime:
    """Search day by day and up to each clock change: cronsim's steps of an hour miss changes of half an hour."""

    def offset_after(seconds: int) -> timedelta:
        return (start + timedelta(seconds=seconds)).astimezone(zone).utcoffset() or timedelta()

    while True:
        offset = offset_after(1)
        due = next(_times(expression, start + offset)) - offset
        step = min(int((due - start).total_seconds()), _DAY)
        if offset_after(step) != offset:
            step = bisect_left(range(1, step), True, key=lambda seconds: offset_after(seconds) != offset)
        elif due <= start + timedelta(seconds=_DAY):
            return due
        start += timedelta(seconds=step)


def _times(expression: str, start: datetime) -> Iterator[datetime]:
    minute, hour, day, month, weekday = expression.split()
    # a range of days may end with Sunday
    return CronSim(" ".join((minute, hour, day, month, weekday.lower().replace("-sun", "-7"))), start)

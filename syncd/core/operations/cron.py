"""A cron line as crontab(5) means it: five fields become five sets of numbers, or a sentence why they cannot. Pure."""

import re
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Cron(NamedTuple):
    """The times of a cron line, each field in order. Days of the week count from Sunday = 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    every_hour: bool
    """The hours are written with `*`: the line means a distance of time, not a time of day."""
    either_day: bool
    """Both kinds of day are restricted: a day is due when one of them fits, not only when both do."""


def parse(line: str) -> Cron:
    """Read a line of five fields. Raises ValueError with a sentence."""
    fields = line.lower().split()
    if len(fields) != 5:
        raise ValueError(f"{line!r} is no cron line: minute, hour, day of month, month, day of week")
    minute, hour, day, month, weekday = fields
    cron = Cron(
        minutes=_numbers("minute", minute, 0, 59),
        hours=_numbers("hour", hour, 0, 23),
        days=_numbers("day of month", day, 1, 31),
        months=_numbers("month", month, 1, 12, _MONTHS),
        weekdays=_weekdays(weekday),
        every_hour=hour.startswith("*"),
        either_day=not day.startswith("*") and not weekday.startswith("*"),
    )
    if min(cron.days) > max(_LONGEST[number - 1] for number in cron.months):
        raise ValueError(f"{line!r} never comes: no such month has a day {min(cron.days)}")
    return cron


def _weekdays(field: str) -> tuple[int, ...]:
    """Sunday is 0 and 7: at the end of a range it is the last day."""
    numbers = _numbers("day of week", field.replace("-sun", "-7"), 0, 7, _WEEKDAYS)
    return tuple(sorted({number % 7 for number in numbers}))


def _numbers(title: str, field: str, lowest: int, highest: int, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    """The numbers of one field: `*`, a number or name, a range, each with a step, and lists of these."""
    found: set[int] = set()
    for part in field.split(","):
        read = re.fullmatch(r"(?:\*|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]+))?", part)
        if read is None:
            raise ValueError(f"{part!r} is no {title} of a cron line")
        first, last, step = read.groups()
        start = lowest if first is None else _number(title, first, lowest, names)
        end = _number(title, last or first, lowest, names) if last or not (first is None or step) else highest
        if not lowest <= start <= end <= highest or (step and not int(step)):
            raise ValueError(f"{part!r} is no {title} of a cron line; it goes from {lowest} to {highest}")
        found.update(range(start, end + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(title: str, text: str, lowest: int, names: tuple[str, ...]) -> int:
    if text in names:
        return lowest + names.index(text)
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no {title} of a cron line")
    return int(text)

"""Cron expressions: which are valid, and their times over 400 days in 8 time zones against a second implementation."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.settings.cron import check_expression, next_time

ZONES = (
    "UTC",
    "Europe/Berlin",  # clock changes at 2:00 and 3:00
    "America/New_York",
    "Africa/Cairo",  # clock goes forward at midnight
    "America/Santiago",  # clock goes forward and back at midnight
    "America/Havana",
    "Australia/Lord_Howe",  # clock changes by 30 minutes
    "Asia/Kolkata",  # offset of 5:30, no clock change
)

# minutes, hours, days, months and weekdays are written out for the second implementation
ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS = range(1, 32), range(1, 13), range(7)
EXPRESSIONS: dict[str, tuple[object, ...]] = {
    "0 0 * * *": ([0], [0], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "30 0 * * *": ([30], [0], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "59 23 * * *": ([59], [23], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "30 1 * * *": ([30], [1], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "0 2 * * *": ([0], [2], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "30 2 * * *": ([30], [2], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "0 2,3 * * *": ([0], [2, 3], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "15 2-4 * * *": ([15], [2, 3, 4], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "0,30 0-3 * * *": ([0, 30], [0, 1, 2, 3], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "0 6 * * 0": ([0], [6], ALL_DAYS, ALL_MONTHS, [0]),
    "0 6 * * 7": ([0], [6], ALL_DAYS, ALL_MONTHS, [0]),
    "0 6 * * sun": ([0], [6], ALL_DAYS, ALL_MONTHS, [0]),
    "0 0 * * mon": ([0], [0], ALL_DAYS, ALL_MONTHS, [1]),
    "0 0 * * SUN": ([0], [0], ALL_DAYS, ALL_MONTHS, [0]),
    "0 0 * * fri": ([0], [0], ALL_DAYS, ALL_MONTHS, [5]),
    "0 7 * * mon-fri": ([0], [7], ALL_DAYS, ALL_MONTHS, [1, 2, 3, 4, 5]),
    "0 7 * * 1-5": ([0], [7], ALL_DAYS, ALL_MONTHS, [1, 2, 3, 4, 5]),
    "0 7 * * mon-fri/2": ([0], [7], ALL_DAYS, ALL_MONTHS, [1, 3, 5]),
    "0 7 * * fri-sun": ([0], [7], ALL_DAYS, ALL_MONTHS, [0, 5, 6]),
    "0 7 * * 5-7": ([0], [7], ALL_DAYS, ALL_MONTHS, [0, 5, 6]),
    "0 7 * * 6,7": ([0], [7], ALL_DAYS, ALL_MONTHS, [0, 6]),
    "0 7 * * */2": ([0], [7], ALL_DAYS, ALL_MONTHS, [0, 2, 4, 6]),
    "0 0 1 * *": ([0], [0], [1], ALL_MONTHS, ALL_WEEKDAYS),
    "5 0 1 * *": ([5], [0], [1], ALL_MONTHS, ALL_WEEKDAYS),
    "0 0 31 * *": ([0], [0], [31], ALL_MONTHS, ALL_WEEKDAYS),
    "0 3 29 2 *": ([0], [3], [29], [2], ALL_WEEKDAYS),
    "0 0 1 jan,apr,jul,oct *": ([0], [0], [1], [1, 4, 7, 10], ALL_WEEKDAYS),
    "0 0 1 */3 *": ([0], [0], [1], [1, 4, 7, 10], ALL_WEEKDAYS),
    "0 6 13 * fri": ([0], [6], [13], ALL_MONTHS, [5]),
    "0 6 1,15 * mon": ([0], [6], [1, 15], ALL_MONTHS, [1]),
    "0 6 */10 * fri": ([0], [6], [1, 11, 21, 31], ALL_MONTHS, [5]),
    "0 6 13 * */5": ([0], [6], [13], ALL_MONTHS, [0, 5]),
    "0 * * * *": ([0], range(24), ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "*/15 * * * *": ([0, 15, 30, 45], range(24), ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "*/20 1 * * *": ([0, 20, 40], [1], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "*/30 2 * * *": ([0, 30], [2], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "*/20 0-1 * * sun,fri": ([0, 20, 40], [0, 1], ALL_DAYS, ALL_MONTHS, [0, 5]),
    "0 */6 * * *": ([0], [0, 6, 12, 18], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
    "7 */2 * * sun": ([7], range(0, 24, 2), ALL_DAYS, ALL_MONTHS, [0]),
    "50/5 8 * * *": ([50, 55], [8], ALL_DAYS, ALL_MONTHS, ALL_WEEKDAYS),
}
START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
DAYS = 400


def times_by_code(expression: str, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the times from START on, in UTC."""
    due = START
    while True:
        due = next_time(expression, zone, due)
        yield due


def times_by_table(expression: str, zone: ZoneInfo) -> list[datetime]:
    """Return every time of DAYS days after START, in UTC, by trying each minute of the written-out fields."""
    minutes, hours, days, months, weekdays = EXPRESSIONS[expression]
    fields = expression.split()
    end = START + timedelta(days=DAYS)
    elapsed = fields[0].startswith("*") or fields[1].startswith("*")
    both = fields[2].startswith("*") or fields[4].startswith("*")
    times: set[datetime] = set()
    for number in range(-1, DAYS + 2):
        day = START.date() + timedelta(days=number)
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays  # type: ignore[operator]
        if day.month not in months or not (by_day and by_weekday if both else by_day or by_weekday):  # type: ignore[operator]
            continue
        for hour in hours:  # type: ignore[attr-defined]
            for minute in minutes:  # type: ignore[attr-defined]
                times.update(instants(day, hour, minute, zone, elapsed=elapsed))
    return sorted(due for due in times if START < due < end)


def instants(day: date, hour: int, minute: int, zone: ZoneInfo, *, elapsed: bool) -> list[datetime]:
    """Return the moments at which a clock shows this time: none, one or two if `elapsed`, else exactly one."""
    shown = datetime.combine(day, time(hour, minute))
    both = [shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = [moment for moment in both if moment.astimezone(zone).replace(tzinfo=None, fold=0) == shown]
    if elapsed:
        return real
    while not real:  # the clock skips this time: the first minute after the gap
        shown += timedelta(minutes=1)
        moment = shown.replace(tzinfo=zone).astimezone(UTC)
        real = [moment] if moment.astimezone(zone).replace(tzinfo=None, fold=0) == shown else []
    return real[:1]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_times_over_400_days(expression: str, zone: str) -> None:
    """Every time of 400 days, with all clock changes in them, is the one of the second implementation."""
    check_expression(expression)
    end = START + timedelta(days=DAYS)

    times = list(takewhile(lambda due: due < end, times_by_code(expression, ZoneInfo(zone))))

    assert times == times_by_table(expression, ZoneInfo(zone))


def test_the_first_of_april_is_due_in_berlin() -> None:
    """A day of the month after the clock change is not skipped."""
    after = datetime(2026, 3, 15, tzinfo=UTC)

    assert next_time("0 0 1 * *", ZoneInfo("Europe/Berlin"), after) == datetime(2026, 3, 31, 22, tzinfo=UTC)


def test_a_time_between_the_two_shown_ones_is_not_due_again() -> None:
    """After the clock went back, a fixed time that was already shown is due on the next day."""
    after = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 2:10, for the second time

    assert next_time("30 2 * * *", ZoneInfo("Europe/Berlin"), after) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "is no cron expression: minute, hour, day of month, month, day of week"),
        ("0 0 * * * *", "is no cron expression: minute"),
        ("@daily", "is no cron expression: minute"),
        ("", "is no cron expression: minute"),
        ("60 * * * *", "'60' is no minute (0 to 59)"),
        ("* 24 * * *", "is no hour ("),
        ("* * 0 * *", "is no day-of-month ("),
        ("* * 32 * *", "is no day-of-month ("),
        ("* * * 13 *", "is no month ("),
        ("* * * january *", "is no month ("),
        ("* * * * 8", "is no day-of-week ("),
        ("* * * * fri-mon", "is no day-of-week ("),
        ("* * * mon *", "is no month ("),
        ("20-10 * * * *", "is no minute ("),
        ("*/0 * * * *", "is no minute ("),
        ("1,,2 * * * *", "is no minute ("),
        ("-5 * * * *", "is no minute ("),
        ("² * * * *", "is no minute ("),
        ("* * * * ²L", "is no day-of-week ("),
        ("0 0 31 4,6 *", "is never due: none of its months has such a day"),
        ("0 0 30 2 *", "is never due"),
        ("0 0 * 2 mon#5", ""),
    ],
)
def test_an_invalid_expression_names_the_field(expression: str, message: str) -> None:
    """The message names the field and the values that it takes."""
    if not message:
        assert check_expression(expression) == expression
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        check_expression(expression)


@given(
    st.text("0123456789*/-,#Labcfjmnorstuw ²", max_size=25)
    | st.lists(st.text("0123456789*/-,#L", max_size=4), max_size=6).map(" ".join)
)
def test_any_text_is_valid_or_a_value_error(expression: str) -> None:
    """Whatever is typed, the answer is the expression with a next time, or ValueError and nothing else."""
    try:
        check_expression(expression)
    except ValueError:
        return
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert next_time(expression, ZoneInfo("Europe/Berlin"), now) > now

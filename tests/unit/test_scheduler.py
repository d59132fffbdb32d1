"""Schedules: when a source is due, also in odd nights, after a pause, and while its last run is still going."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger

from syncd.settings import Schedule
from syncd.system.scheduler import Scheduler, trigger

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday, the 2nd of a month."""


def schedule(**keys: str) -> Schedule:
    return Schedule.model_validate(keys)


def times(found: BaseTrigger, start: datetime, end: datetime) -> list[datetime]:
    """All times from start (included) to end, in UTC."""
    made: list[datetime] = []
    previous, now = None, start
    while (due := found.get_next_fire_time(previous, now)) is not None and due < end:
        made.append(due.astimezone(UTC))
        previous = now = due
    return made


def days(line: str) -> list[int]:
    """The days of two weeks from Monday the 2nd on which a cron line is due."""
    return [due.day for due in times(trigger(schedule(cron=line)), MONDAY, MONDAY + timedelta(days=14))]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("0", [8, 15]),
        ("7", [8, 15]),
        ("sun", [8, 15]),
        ("SUN", [8, 15]),
        ("1", [2, 9]),
        ("6", [7, 14]),
        ("1-5", [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]),
        ("mon-fri", [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]),
        ("mon-fri/2", [2, 4, 6, 9, 11, 13]),
        ("5-7", [6, 7, 8, 13, 14, 15]),
        ("fri-sun", [6, 7, 8, 13, 14, 15]),
        ("sat-sun", [7, 8, 14, 15]),
        ("0-2", [2, 3, 8, 9, 10, 15]),
        ("sun-tue", [2, 3, 8, 9, 10, 15]),
        ("0-7", list(range(2, 16))),
        ("*", list(range(2, 16))),
        ("*/2", [3, 5, 7, 8, 10, 12, 14, 15]),  # Sunday, Tuesday, Thursday, Saturday
        ("1,3,sat", [2, 4, 7, 9, 11, 14]),
        ("7,0", [8, 15]),
    ],
)
def test_days_of_the_week_count_from_sunday(field: str, expected: list[int]) -> None:
    """Numbers, names, ranges, steps and lists are those of crontab(5): 0 and 7 are Sunday."""
    assert days(f"0 6 * * {field}") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 6 3 * *", [3]),
        ("0 6 */5 * *", [6, 11]),
        ("0 6 3 4 *", []),
        ("0 6 3 feb-apr/2 *", []),
        ("0 6 3 mar *", [3]),
        ("0 6 3 * fri", [3, 6, 13]),  # both are restricted: either fits
        ("0 6 2-15 * fri", list(range(2, 16))),
        ("0 6 */2 * fri", [13]),  # a field that begins with * is no restriction of its own: both must fit
        ("0 6 13 * */5", [13]),
    ],
)
def test_days_of_the_month_and_of_the_week(line: str, expected: list[int]) -> None:
    """With both given a day is due when either fits, as crontab(5) says."""
    assert days(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*/15 6-7 * * *", [360, 375, 390, 405, 420, 435, 450, 465]),
        ("5 */8 * * *", [5, 485, 965]),
        ("0,30 0 * * *", [0, 30]),
        ("50/5 0 * * *", [50, 55]),
        ("10-20/10 0 * * *", [10, 20]),
        ("7 23 * * *", [1387]),
    ],
)
def test_minutes_and_hours(line: str, expected: list[int]) -> None:
    """The minutes of a day at which a line is due."""
    found = times(trigger(schedule(cron=line)), MONDAY, MONDAY + timedelta(days=1))

    assert [int((due - MONDAY).total_seconds() / 60) for due in found] == expected


def test_a_time_that_the_clock_skips_runs_once() -> None:
    """2:30 does not exist in the night of spring: the run comes when the clock has moved forward, at 3:00."""
    found = times(trigger(schedule(cron="30 2 * * *", timezone="Europe/Berlin")), *around(29, 3))

    assert found == [datetime(2026, 3, *time, tzinfo=UTC) for time in ((28, 1, 30), (29, 1, 0), (30, 0, 30))]


def test_a_time_that_the_clock_shows_twice_runs_once() -> None:
    """2:30 comes twice in the night of autumn; the run is the first."""
    found = times(trigger(schedule(cron="30 2 * * *", timezone="Europe/Berlin")), *around(25, 10))

    assert found == [datetime(2026, 10, day, 1 if day > 25 else 0, 30, tzinfo=UTC) for day in (24, 25, 26)]


def test_a_start_between_the_two_waits_for_the_next_day() -> None:
    """Between the first and the second 2:30 that day's run is over."""
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)

    due = trigger(schedule(cron="30 2 * * *", timezone="Europe/Berlin")).get_next_fire_time(None, between)

    assert due == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("night", [(29, 3), (25, 10)])
def test_a_distance_of_time_is_kept_through_the_night(night: tuple[int, int]) -> None:
    """`*/15 *` is a distance: it neither pauses nor doubles when the clock is set."""
    found = times(trigger(schedule(cron="*/15 * * * *", timezone="Europe/Berlin")), *around(*night))

    assert {later - sooner for sooner, later in pairwise(found)} == {timedelta(minutes=15)}


@pytest.mark.parametrize("night", [(29, 3), (25, 10)])
def test_an_interval_is_kept_through_the_night(night: tuple[int, int]) -> None:
    """An interval counts seconds, whatever the clock on the wall does."""
    due, end = (moment.astimezone(BERLIN) for moment in around(*night))
    every_hour = trigger(schedule(every="1h", timezone="Europe/Berlin"))
    while due < end:
        later = every_hour.get_next_fire_time(due, due)

        assert later.astimezone(UTC) - due.astimezone(UTC) == timedelta(hours=1)
        due = later


def around(day: int, month: int) -> tuple[datetime, datetime]:
    """Midnight before the day before, and three days later, in Berlin."""
    start = datetime(2026, month, day - 1, tzinfo=BERLIN)
    return start, datetime(2026, month, day + 2, tzinfo=BERLIN)


@pytest.mark.parametrize("keys", [{"every": "15m"}, {"cron": "*/15 * * * *"}])
def test_jitter_is_late_within_its_bounds(keys: dict[str, str]) -> None:
    """A run is never early and at most the jitter late, and not always the same."""
    found = trigger(schedule(jitter="30s", **keys))
    now = MONDAY + timedelta(minutes=15)

    late = [(found.get_next_fire_time(MONDAY, now) - now).total_seconds() for _ in range(200)]

    assert 0 <= min(late) < 10
    assert 20 < max(late) <= 30


class Ticks:
    """Callbacks that remember when they were called."""

    def __init__(self, work: Callable[[], Awaitable[None]] | None = None) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self._work = work

    async def tick(self, name: str) -> None:
        self.started.append(name)
        if self._work is not None:
            await self._work()
        self.ended.append(name)

    def skip(self, name: str, why: str) -> None:
        self.skipped.append((name, why))

    def scheduler(self) -> Scheduler:
        return Scheduler(self.tick, self.skip)


def ago(**distance: Any) -> datetime:
    return datetime.now(UTC) - timedelta(**distance)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the scheduler has no event to wait for
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("last_start", [None, ago(hours=2), ago(days=400)])
@pytest.mark.parametrize("key", ["every", "cron"])
def test_a_source_that_missed_ticks_runs_once_at_once(last_start: datetime | None, key: str) -> None:
    """Never run, or asleep over one tick or thousands: one run, now, however late, and no more."""

    async def scene() -> Ticks:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        now = datetime.now(UTC)
        # the next regular tick is half an hour away, at whatever minute this runs
        keys = {"every": "1h"} if key == "every" else {"cron": f"{(now.minute + 30) % 60} * * * *"}
        scheduler.add("corp", schedule(**keys), last_start, now)
        scheduler.start()
        await until(lambda: ticks.ended)
        await asyncio.sleep(0.1)
        scheduler.stop()
        return ticks

    ticks = asyncio.run(scene())

    assert (ticks.ended, ticks.skipped) == (["corp"], [])


def test_a_source_that_ran_lately_waits() -> None:
    """A restart is no reason to read a directory again."""

    async def scene() -> Ticks:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        scheduler.add("corp", schedule(every="1h"), ago(minutes=59), datetime.now(UTC))
        scheduler.start()
        await asyncio.sleep(0.1)
        scheduler.stop()
        return ticks

    assert asyncio.run(scene()).started == []


def test_a_restart_does_not_begin_the_interval_anew() -> None:
    """Due in a fraction of a second by its last run, not in an hour by the start; later ticks are the library's."""

    async def scene() -> Ticks:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        scheduler.add("corp", schedule(every="1h"), ago(minutes=59, seconds=59.8), datetime.now(UTC))
        scheduler.start()
        assert ticks.started == []
        await until(lambda: ticks.ended)
        scheduler.stop()
        return ticks

    assert asyncio.run(scene()).started == ["corp"]


def test_a_loop_that_slept_over_many_ticks_runs_once() -> None:
    """A machine that was suspended does not make up for every tick, and one that is late is not dropped."""

    async def scene() -> int:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        # due 150 seconds ago by a clock that stood still since: two more ticks have passed, and every grace
        scheduler.add("corp", schedule(every="1m"), ago(seconds=210), ago(seconds=150))
        scheduler.start()
        await until(lambda: ticks.ended)
        await asyncio.sleep(0.2)
        scheduler.stop()
        return len(ticks.started)

    assert asyncio.run(scene()) == 1


def test_a_tick_during_a_run_is_reported_and_not_run(caplog: pytest.LogCaptureFixture) -> None:
    """A run that takes longer than its interval is told as skipped; another source is not held up by it."""

    async def scene() -> Ticks:
        done = asyncio.Event()
        ticks = Ticks(lambda: asyncio.wait_for(done.wait(), 120))  # type: ignore[arg-type]  # the result is not used
        scheduler = ticks.scheduler()
        scheduler.add("corp", schedule(every="1s"), None, datetime.now(UTC))
        scheduler.add("acd", schedule(every="1h"), None, datetime.now(UTC))
        scheduler.start()
        await until(lambda: ticks.skipped)
        assert sorted(ticks.started) == ["acd", "corp"]
        done.set()
        await until(lambda: {"corp", "acd"} <= set(ticks.ended))
        scheduler.stop()
        return ticks

    ticks = asyncio.run(scene())

    # a tick each second, as long as it takes us to see the first
    assert set(ticks.skipped) == {("corp", "its last run is still going")}


def test_a_paused_scheduler_lets_runs_end_and_begins_none() -> None:
    """At the stop of the daemon what runs goes on, and nothing new begins."""

    async def scene(seconds: float) -> Ticks | None:
        """The pause comes these seconds before the other source is due; None when it came too late for that."""
        done = asyncio.Event()
        ticks = Ticks(lambda: asyncio.wait_for(done.wait(), 120))  # type: ignore[arg-type]  # the result is not used
        scheduler = ticks.scheduler()
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        scheduler.add("corp", schedule(every="1h"), None, datetime.now(UTC))
        scheduler.add("acd", schedule(every="1h"), due - timedelta(hours=1), datetime.now(UTC))
        scheduler.start()
        await until(lambda: ticks.started)
        scheduler.pause()
        late = datetime.now(UTC) >= due
        if not late:
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds() + 0.2)
        done.set()
        await until(lambda: ticks.ended)
        scheduler.stop()
        return None if late else ticks

    # a busy machine may sleep over the moment, but not if it has more time
    ticks = next(found for seconds in (0.5, 5, 30) if (found := asyncio.run(scene(seconds))) is not None)

    assert (ticks.started, ticks.ended) == (["corp"], ["corp"])


def test_a_run_that_raises_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """An error in one run is logged by the library and takes no later tick away."""

    async def scene() -> Ticks:
        async def fail() -> None:
            raise RuntimeError("the run broke")

        ticks = Ticks(fail)
        scheduler = ticks.scheduler()
        scheduler.add("corp", schedule(every="1s"), None, datetime.now(UTC))
        scheduler.start()
        await until(lambda: len(ticks.started) >= 2)
        scheduler.stop()
        return ticks

    asyncio.run(scene())

    assert "the run broke" in caplog.text


def test_schedules_that_are_arranged_anew_disturb_no_other() -> None:
    """Whose schedule is the same keeps its time; another one gets a new time; who is gone is never due again."""

    async def scene() -> tuple[Ticks, dict[str, datetime], dict[str, datetime]]:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        started = {name: ago(minutes=10) for name in ("same", "other", "gone")}
        hourly = schedule(every="1h")
        scheduler.reconfigure(dict.fromkeys(started, hourly), started, datetime.now(UTC))
        scheduler.start()
        before = scheduler.next_runs()
        later = {"same": hourly, "other": schedule(every="30m"), "new": hourly}
        scheduler.reconfigure(later, {name: ago(minutes=5) for name in started}, datetime.now(UTC))
        await until(lambda: ticks.ended)
        after = scheduler.next_runs()
        scheduler.pause()
        assert scheduler.next_runs() == {}
        scheduler.stop()
        return ticks, before, after

    ticks, before, after = asyncio.run(scene())

    assert ticks.started == ["new"]
    assert set(after) == {"same", "other", "new"}
    assert after["same"] == before["same"]
    assert timedelta(minutes=24) < after["other"] - datetime.now(UTC) <= timedelta(minutes=25)


def test_a_run_goes_on_while_its_schedule_is_exchanged_or_removed() -> None:
    """It ends as it began, and counts as the one that may run."""

    async def scene(later: dict[str, Schedule]) -> Ticks:
        gate = asyncio.Event()

        async def work() -> None:
            await gate.wait()

        ticks = Ticks(work)
        scheduler = ticks.scheduler()
        scheduler.reconfigure({"corp": schedule(every="1h")}, {}, datetime.now(UTC))
        scheduler.start()
        await until(lambda: ticks.started)
        scheduler.reconfigure(later, {}, datetime.now(UTC))
        await until(lambda: ticks.skipped or not later)
        gate.set()
        await until(lambda: ticks.ended)
        scheduler.stop()
        return ticks

    for later in ({}, {"corp": schedule(every="2h")}):
        ticks = asyncio.run(scene(later))
        assert (ticks.started, ticks.ended) == (["corp"], ["corp"])


def test_a_clock_that_was_put_forward_is_noticed() -> None:
    """The library sleeps by another clock; what is due shows that it oversleeps, and `wake` ends that."""

    async def scene() -> Ticks:
        ticks = Ticks()
        scheduler = ticks.scheduler()
        scheduler.reconfigure({"corp": schedule(every="3s")}, {"corp": datetime.now(UTC)}, datetime.now(UTC))
        scheduler.start()
        await asyncio.sleep(0.1)  # its first look at the clock
        scheduler._scheduler._stop_timer()  # what the jump of a clock makes of it
        await asyncio.sleep(3.5)
        assert (ticks.started, scheduler.next_runs()["corp"] < datetime.now(UTC)) == ([], True)
        scheduler.wake()
        await until(lambda: ticks.ended)
        scheduler.stop()
        return ticks

    assert asyncio.run(scene()).skipped == []

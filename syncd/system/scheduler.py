"""The schedules: when each source is due. The only home of APScheduler."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncd import settings
from syncd.core.operations import cron

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def trigger(schedule: settings.Schedule) -> BaseTrigger:
    """The times of one source's schedule, each late by a random part of its jitter."""
    jitter = int(schedule.jitter.total_seconds()) or None
    zone = ZoneInfo(schedule.timezone)
    if schedule.every is not None:
        return IntervalTrigger(seconds=int(schedule.every.total_seconds()), timezone=zone, jitter=jitter)
    return _CronLine(cron.parse(str(schedule.cron)), zone, jitter)


class _CronLine(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """A cron line as crontab(5) means it, which is not how the library reads one.

    The library counts the days of the week from Monday, wants both kinds of day to fit, and runs a time of day twice
    in the night in which the clock goes back.
    """

    def __init__(self, line: cron.Cron, zone: ZoneInfo, jitter: int | None) -> None:
        days = {"day": _listed(line.days)}
        weekdays = {"day_of_week": ",".join(_WEEKDAYS[number] for number in line.weekdays)}
        time = {"minute": _listed(line.minutes), "hour": _listed(line.hours), "month": _listed(line.months)}
        fitting = [days, weekdays] if line.either_day else [days | weekdays]
        self._times = OrTrigger([CronTrigger(timezone=zone, **time, **day) for day in fitting])
        self._every_hour = line.every_hour
        self._jitter = jitter

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The next time after the previous one, or from now on."""
        found: datetime | None = self._times.get_next_fire_time(previous, now)
        while found is not None and not self._every_hour and _repeated(found):
            found = self._times.get_next_fire_time(found, found)
        late: datetime | None = self._apply_jitter(found, self._jitter, now)
        return late


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _repeated(time: datetime) -> bool:
    """True when the clock was put back and shows this time again."""
    before, after = time.replace(fold=0).utcoffset(), time.utcoffset()
    return before is not None and after is not None and before > after


class Scheduler:
    """Calls back when a source is due: late rather than never, once for many missed ticks, never twice at a time."""

    def __init__(self, on_tick: Callable[[str], Awaitable[None]], on_skipped: Callable[[str, str], None]) -> None:
        self._on_tick = on_tick
        self._on_skipped = on_skipped
        # the library's own defaults drop a tick that is a second late, without a word
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(self._overlap, EVENT_JOB_MAX_INSTANCES)
        self._schedules: Mapping[str, settings.Schedule] = {}
        # its warning of the same says less than our event
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)

    def arrange(
        self, schedules: Mapping[str, settings.Schedule], last_starts: Mapping[str, datetime], now: datetime
    ) -> None:
        """Schedule these sources and no others. Whose schedule is as it was keeps its next time; what runs goes on."""
        for name in self._schedules.keys() - schedules.keys():
            self._scheduler.remove_job(name)
        for name, schedule in schedules.items():
            if schedule != self._schedules.get(name):
                self.add(name, schedule, last_starts.get(name), now)
        self._schedules = schedules

    def add(self, name: str, schedule: settings.Schedule, last_start: datetime | None, now: datetime) -> None:
        """Schedule a source. If it was never run, or a tick has passed since it was, it is due at once.

        Else it is due when it would have been without a restart: an interval does not begin anew.
        """
        times = trigger(schedule)
        due = now if last_start is None else max(now, times.get_next_fire_time(last_start, last_start))
        self._scheduler.add_job(
            self._on_tick, times, args=[name], id=name, name=name, next_run_time=due, replace_existing=True
        )

    def start(self) -> None:
        """Begin; the loop must be running."""
        self._scheduler.start()

    def due(self) -> dict[str, datetime]:
        """When each source is due next; nothing while there are no ticks."""
        if self._scheduler.state != STATE_RUNNING:
            return {}
        return {job.id: job.next_run_time for job in self._scheduler.get_jobs()}

    def wake(self) -> None:
        """Look at the clock now: it may have been put forward, which a timer does not notice."""
        self._scheduler.wakeup()

    def pause(self) -> None:
        """No further ticks; what is running goes on."""
        self._scheduler.pause()

    def stop(self) -> None:
        """The end: a callback that is still waiting for its run is cancelled."""
        self._scheduler.shutdown(wait=False)

    def _overlap(self, event: JobSubmissionEvent) -> None:
        self._on_skipped(event.job_id, "its last run is still going")

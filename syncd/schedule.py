"""The schedules: when each source is due. The only home of APScheduler."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncd import settings
from syncd.errors import SettingsError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


def trigger(name: str, schedule: settings.Schedule) -> BaseTrigger:
    """The times of one source's schedule. Raises SettingsError for a cron line that has none.

    A cron line means what crontab(5) says: days of the week count from Sunday = 0 (APScheduler counts from Monday).
    """
    jitter = int(schedule.jitter.total_seconds()) or None
    zone = ZoneInfo(schedule.timezone)
    if schedule.every is not None:
        return IntervalTrigger(seconds=int(schedule.every.total_seconds()), timezone=zone, jitter=jitter)
    minute, hour, day, month, weekday = str(schedule.cron).split()
    try:
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=zone, jitter=jitter
        )
    except ValueError as error:
        raise SettingsError([f"source {name!r}: schedule.cron: {schedule.cron!r} is no cron line: {error}"]) from error


def _weekdays(field: str) -> str:
    """Numbers and steps of crontab(5) as names of days, which both count alike."""
    return ",".join(dict.fromkeys(day for part in field.lower().split(",") for day in _days(part)))


def _days(part: str) -> list[str]:
    found = re.fullmatch(r"(?:(\*)|([0-7])(?:-([0-7]))?)(?:/([1-9]\d*))?", part)
    if found is None or part == "*":
        return [part]
    first = 0 if found[1] else int(found[2])
    last = 6 if found[1] or (found[4] and not found[3]) else int(found[3] or first)
    if first > last:
        return [part]  # refused by the library, as by cron
    return [_WEEKDAYS[day] for day in range(first, last + 1, int(found[4] or 1))]


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

    def add(self, name: str, schedule: settings.Schedule, last_start: datetime | None, now: datetime) -> None:
        """Schedule a source. If it was never run, or a tick has passed since it was, it is due at once."""
        times = trigger(name, schedule)
        due = None if last_start is None else times.get_next_fire_time(last_start, last_start)
        missed = last_start is None or (due is not None and due <= now)
        first = {"next_run_time": now} if missed else {}
        self._scheduler.add_job(self._on_tick, times, args=[name], id=name, name=name, **first)

    def start(self) -> None:
        """Begin; the loop must be running."""
        self._scheduler.start()

    def pause(self) -> None:
        """No further ticks; what is running goes on."""
        self._scheduler.pause()

    def stop(self) -> None:
        """The end: a callback that is still waiting for its run is cancelled."""
        self._scheduler.shutdown(wait=False)

    def _overlap(self, event: JobSubmissionEvent) -> None:
        self._on_skipped(event.job_id, "its last run is still going")

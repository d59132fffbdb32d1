"""Scheduler of sources: interval and cron. The only module that imports APScheduler."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncd import settings
from syncd.settings.cron import next_time


def trigger(schedule: settings.Schedule) -> BaseTrigger:
    """The times of one source's schedule, each late by a random part of its jitter."""
    jitter = int(schedule.jitter.total_seconds()) or None
    zone = ZoneInfo(schedule.timezone)
    if schedule.every is not None:
        return IntervalTrigger(seconds=int(schedule.every.total_seconds()), timezone=zone, jitter=jitter)
    return _CronTrigger(str(schedule.cron), zone, jitter)


class _CronTrigger(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Cron expression with the times of crontab(5), which differ from those of the library's own trigger."""

    def __init__(self, expression: str, zone: ZoneInfo, jitter: int | None) -> None:
        self._expression = expression
        self._zone = zone
        self._jitter = jitter

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the first time after the previous one, else the first from `now` on; the jitter is added."""
        due = next_time(self._expression, self._zone, previous or now - timedelta(microseconds=1))
        delayed: datetime | None = self._apply_jitter(due, self._jitter, now)
        return delayed


class Scheduler:
    """Calls back when a source is due: a missed tick is made up late, several at once, and ticks never overlap.

    `on_tick` gets the name of the source. `on_skipped` gets name and reason when the previous callback has not ended.
    """

    def __init__(self, on_tick: Callable[[str], Awaitable[None]], on_skipped: Callable[[str, str], None]) -> None:
        self._on_tick = on_tick
        self._on_skipped = on_skipped
        # the defaults of the library silently drop a tick that is a second late
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(self._report_overlap, EVENT_JOB_MAX_INSTANCES)
        self._schedules: Mapping[str, settings.Schedule] = {}
        # its warning about an overlap says less than the event sync.skipped
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)

    def reconfigure(
        self, schedules: Mapping[str, settings.Schedule], last_starts: Mapping[str, datetime], now: datetime
    ) -> None:
        """Schedule these sources and no others; a source whose schedule is unchanged keeps its next time.

        `last_starts` are the times of the last runs (aware), `now` is the current time. Running callbacks continue.
        """
        for name in self._schedules.keys() - schedules.keys():
            self._scheduler.remove_job(name)
        for name, schedule in schedules.items():
            if schedule != self._schedules.get(name):
                self.add(name, schedule, last_starts.get(name), now)
        self._schedules = schedules

    def add(self, name: str, schedule: settings.Schedule, last_start: datetime | None, now: datetime) -> None:
        """Schedule a source. It is due at once if it never ran, or if a tick has passed since its last start.

        Otherwise it is due when it would have been without a restart: an interval continues from the last start.
        """
        times = trigger(schedule)
        due = now if last_start is None else max(now, times.get_next_fire_time(last_start, last_start))
        self._scheduler.add_job(
            self._on_tick, times, args=[name], id=name, name=name, next_run_time=due, replace_existing=True
        )

    def start(self) -> None:
        """Start the ticks; the event loop must be running."""
        self._scheduler.start()

    def next_runs(self) -> dict[str, datetime]:
        """Return the next time of each source (aware, UTC or its zone); empty while paused or not started."""
        if self._scheduler.state != STATE_RUNNING:
            return {}
        return {job.id: job.next_run_time for job in self._scheduler.get_jobs()}

    def wake(self) -> None:
        """Check the clock now: its timer does not notice that the clock was put forward."""
        self._scheduler.wakeup()

    def pause(self) -> None:
        """Stop the ticks; running callbacks continue."""
        self._scheduler.pause()

    def stop(self) -> None:
        """Stop for good, and cancel callbacks that still wait for their run."""
        self._scheduler.shutdown(wait=False)

    def _report_overlap(self, event: JobSubmissionEvent) -> None:
        self._on_skipped(event.job_id, "its last run is still going")

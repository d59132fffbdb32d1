"""Rounds: a process that starts costs more than a run, so faults that need one share the command that makes it.

A round begins when every player waits for one or has left. It is two commands at a time, each with half of the sources.
"""

import threading
from collections.abc import Sequence
from typing import Any

from syncd.drill.environment import Site
from syncd.drill.processes import Ended

_AT_A_TIME = 2


class _Asked:
    """One source that waits for its run."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self.over = threading.Event()
        self.result: tuple[int, Ended] | BaseException | None = None


class Rounds:
    """The runs of so many players, each in a thread of its own. A player that is done has to leave."""

    def __init__(self, site: Site, players: int) -> None:
        self._site = site
        self._players = players
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._count = 0

    def run(self, source: dict[str, Any]) -> tuple[int, Ended]:
        """One run of this source: the process that made it, and how that ended."""
        asked = _Asked(source)
        with self._lock:
            self._waiting.append(asked)
            due = self._due()
        self._play(due)
        asked.over.wait()
        if asked.result is None or isinstance(asked.result, BaseException):
            raise asked.result or RuntimeError("a round ended without a result")
        return asked.result

    def leave(self) -> None:
        """A player needs no more runs."""
        with self._lock:
            self._players -= 1
            due = self._due()
        self._play(due)

    def _due(self) -> list[_Asked]:
        """Those of a round that can begin now."""
        if len(self._waiting) < self._players:
            return []
        due, self._waiting = self._waiting, []
        return due

    def _play(self, due: Sequence[_Asked]) -> None:
        """One round, carried out by whoever came last."""
        if not due:
            return
        self._count += 1
        parts = [due[number::_AT_A_TIME] for number in range(min(_AT_A_TIME, len(due)))]
        try:
            started = [(part, self._start(part, number)) for number, part in enumerate(parts)]
            for part, process in started:
                ended = self._site.processes.end(process)
                for asked in part:
                    asked.result = (process.pid, ended)
        except BaseException as error:
            for asked in due:
                asked.result = asked.result or error
            raise
        finally:
            for asked in due:
                asked.over.set()

    def _start(self, part: Sequence[_Asked], number: int) -> Any:
        settings = self._site.write_settings(f"round-{self._count}-{number}", [asked.source for asked in part])
        return self._site.processes.start(settings, "sync")

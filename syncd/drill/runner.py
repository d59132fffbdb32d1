"""The play: which faults, in which order and how many at a time."""

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from syncd.drill.batch_runner import Rounds
from syncd.drill.catalog import CATALOG
from syncd.drill.environment import Site, open_site
from syncd.drill.processes import DrillFailed, Stopped
from syncd.drill.result import Row
from syncd.drill.scenario import Fault, Stage

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(only: Sequence[str] = ()) -> list[Row]:
    """Play these faults (none named: all) and judge them. Raises SyncdError when they cannot be played."""
    faults = chosen(only)
    with _interruptible():
        return _played(faults)


def chosen(only: Sequence[str] = ()) -> list[Fault]:
    """The faults of these names, in the order of the table; none named: all. Raises DrillFailed for an unknown name."""
    known = {fault.name for fault in CATALOG}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise DrillFailed(f"there is no fault {unknown[0]!r}; `syncd drill --list` names them")
    return [fault for fault in CATALOG if not only or fault.name in only]


@contextmanager
def _interruptible() -> Iterator[None]:
    """All ways to be ended are Ctrl-C, and Ctrl-C it is even where a shell started us with SIGINT ignored."""

    def end(*_: object) -> None:
        for ending in _ENDINGS:
            signal.signal(ending, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave servers behind
        raise KeyboardInterrupt

    before = [signal.signal(ending, end) for ending in _ENDINGS]
    try:
        yield
    finally:
        for ending, handler in zip(_ENDINGS, before, strict=True):
            signal.signal(ending, handler)


def _played(faults: Sequence[Fault]) -> list[Row]:
    branches = {fault.name: fault.settings for fault in faults if fault.kind == "people"}
    files = {fault.name: fault.settings for fault in faults if fault.kind == "queues"}
    _say("starting private servers and a daemon")
    with open_site(branches, files) as site:
        _say(f"playing {len(faults)} faults")
        stages = _stages(site, [fault for fault in faults if not fault.alone])
        _play_beside(stages, site)
        for alone in _stages(site, [fault for fault in faults if fault.alone]):
            _play(alone)
            stages.append(alone)
        _say("reading every source in peace")
        site.processes.run(site.settings, "sync")
        return [stage.judge() for stage in stages]


def _stages(site: Site, faults: Sequence[Fault]) -> list[Stage]:
    rounds = Rounds(site, sum(fault.shares for fault in faults))
    return [Stage(site, fault, rounds) for fault in faults]


def _play_beside(stages: Sequence[Stage], site: Site) -> None:
    with ThreadPoolExecutor(max(1, len(stages))) as players:
        playing = [players.submit(_play, stage) for stage in stages]
        try:
            for one in playing:
                one.result()
        except BaseException:
            # whoever plays waits for processes, so these have to end first
            site.processes.stop()
            raise


def _play(stage: Stage) -> None:
    """Play a fault; one that cannot be played does not pass, and the others go on."""
    try:
        stage.play()
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of one fault
        place = traceback.extract_tb(error.__traceback__)[-1]
        stage.wrong(f"it could not be played: {type(error).__name__}: {error} ({place.name}, line {place.lineno})")


def _say(sentence: str) -> None:
    print(f"syncd drill: {sentence}", file=sys.stderr, flush=True)

"""The drill runner: selects faults, runs them concurrently or alone, and collects their results."""

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from syncd.drill.batch_runner import BatchRunner
from syncd.drill.catalog import CATALOG
from syncd.drill.environment import Environment, open_environment
from syncd.drill.processes import DrillFailed, DrillStopped
from syncd.drill.result import FaultResult
from syncd.drill.scenario import Fault, Scenario

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_drill(only: Sequence[str] = ()) -> list[FaultResult]:
    """Run the faults of these names, or all, and return their results in the order of the catalog, exclusive ones last.

    Raises: DrillFailed for an unknown name or a failed command, ServerUnavailable, KeyboardInterrupt on a signal.
    """
    faults = select_faults(only)
    with _interruptible():
        return _run_faults(faults)


def select_faults(only: Sequence[str] = ()) -> list[Fault]:
    """Select the faults of these names, or all, in catalog order. Raises: DrillFailed for an unknown name."""
    names = {fault.name for fault in CATALOG}
    unknown = [name for name in only if name not in names]
    if unknown:
        raise DrillFailed(f"there is no fault {unknown[0]!r}; `syncd drill --list` lists them")
    return [fault for fault in CATALOG if not only or fault.name in only]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the signals into KeyboardInterrupt, also if a shell started this process with SIGINT ignored."""

    def interrupt(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _run_faults(faults: Sequence[Fault]) -> list[FaultResult]:
    subtrees = {fault.name: fault.settings for fault in faults if fault.kind == "people"}
    files = {fault.name: fault.settings for fault in faults if fault.kind == "queues"}
    _print_progress("starting private servers and a daemon")
    with open_environment(subtrees, files) as environment:
        _print_progress(f"injecting {len(faults)} faults")
        scenarios = _make_scenarios(environment, [fault for fault in faults if not fault.exclusive])
        _run_concurrently(scenarios, environment)
        for scenario in _make_scenarios(environment, [fault for fault in faults if fault.exclusive]):
            _run_scenario(scenario)
            scenarios.append(scenario)
        _print_progress("running every source without faults")
        environment.processes.run(environment.settings, "sync")
        return [scenario.evaluate() for scenario in scenarios]


def _make_scenarios(environment: Environment, faults: Sequence[Fault]) -> list[Scenario]:
    batch_runner = BatchRunner(environment, sum(fault.uses_batches for fault in faults))
    return [Scenario(environment, fault, batch_runner) for fault in faults]


def _run_concurrently(scenarios: Sequence[Scenario], environment: Environment) -> None:
    with ThreadPoolExecutor(max(1, len(scenarios))) as executor:
        futures = [executor.submit(_run_scenario, scenario) for scenario in scenarios]
        try:
            for future in futures:
                future.result()
        except BaseException:
            # scenarios wait for processes, so these have to end before the executor can
            environment.processes.stop()
            raise


def _run_scenario(scenario: Scenario) -> None:
    """Run a scenario; an error in it is a problem of this fault and does not end the others."""
    try:
        scenario.run()
    except DrillStopped:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of one fault
        frame = traceback.extract_tb(error.__traceback__)[-1]
        location = f"{frame.name}, line {frame.lineno}"
        scenario.add_problem(f"the fault could not be injected: {type(error).__name__}: {error} ({location})")


def _print_progress(sentence: str) -> None:
    print(f"syncd drill: {sentence}", file=sys.stderr, flush=True)

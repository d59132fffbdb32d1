"""The progress bar of a read, on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from syncd.jobs.sync import Meter


class _Entries(ProgressColumn):
    """How many entries a read has met; looked up whenever the bar is drawn."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the signature is rich's
        return Text(f"{self._meter.entries():,} entries")


@contextmanager
def progress(name: str) -> Iterator[Meter]:
    """A progress bar on stderr while a source is read; nothing when stderr is no terminal."""
    meter = Meter()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Entries(meter), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        shown.add_task(name, total=None)
        yield meter

"""Progress bar of a read."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from syncd.jobs.sync import ReadProgress


class _EntryCountColumn(ProgressColumn):
    """Number of entries read, updated whenever the bar is drawn."""

    def __init__(self, read_progress: ReadProgress) -> None:
        super().__init__()
        self._read_progress = read_progress

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the signature is rich's
        return Text(f"{self._read_progress.count_entries():,} entries")


@contextmanager
def show_progress(name: str) -> Iterator[ReadProgress]:
    """Show a progress bar on stderr within the context, if stderr is a terminal; yields the progress to update."""
    read_progress = ReadProgress()
    console = Console(stderr=True)
    count = _EntryCountColumn(read_progress)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(name, total=None)
        yield read_progress

"""File watcher: reports writes in place, replacements by rename, deletions and changes of symbolic links.

It watches folders instead of files, because an editor that saves by rename leaves a watched file behind. An event of a
folder only triggers a comparison of `stat` results: it can concern another file, and a link can point elsewhere by now.
The comparison is also repeated every few seconds, for folders that do not exist yet and file systems without events.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

import watchfiles

_QUIET_TIME = 200
"""Milliseconds without an event after which a burst is over."""
_MAX_BURST = 1000
"""Milliseconds after which files are compared although a burst continues."""
_POLL_INTERVAL = 2000
"""Milliseconds between two comparisons without an event."""

_State: TypeAlias = tuple[int, ...] | None


async def watch(paths: Collection[Path]) -> AsyncGenerator[Path, None]:
    """Yield a path each time its file has changed, appeared or vanished, until the caller stops."""
    states = {path: _stat(path) for path in paths}
    while True:
        async with aclosing(_events(paths)) as events:
            async for _ in events:
                for path in paths:
                    state = _stat(path)
                    if state != states[path]:
                        states[path] = state
                        yield path


async def _events(paths: Collection[Path]) -> AsyncGenerator[None, None]:
    """Yield whenever files are to be compared; return when other folders have to be watched."""
    folders = _folder_states(paths)
    watched = [folder for folder, state in folders.items() if state is not None]
    try:
        if watched:
            stream = watchfiles.awatch(
                *watched,
                watch_filter=None,
                debounce=_MAX_BURST,
                step=_QUIET_TIME,
                rust_timeout=_POLL_INTERVAL,
                yield_on_timeout=True,
                recursive=False,
            )
            async with aclosing(stream):
                async for _ in stream:
                    yield
                    if _folder_states(paths) != folders:
                        return
    except (OSError, RuntimeError, ExceptionGroup):  # the last two: errors of watchfiles' Rust and task group
        pass  # the folder has vanished or is unreadable, or the system is out of watches: comparison still works
    await asyncio.sleep(_POLL_INTERVAL / 1000)
    yield


def _folder_states(paths: Collection[Path]) -> dict[Path, _State]:
    """Return device and inode of the folders of the paths and of the targets of links; None for a missing folder."""
    folders = {folder for path in paths for folder in (path.parent, path.resolve().parent)}
    return {folder: state and state[:2] for folder, state in ((folder, _stat(folder)) for folder in folders)}


def _stat(path: Path) -> _State:
    """Return device, inode, size and times, of which one differs after any change; None for a missing file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns

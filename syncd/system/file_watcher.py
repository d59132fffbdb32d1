"""Tells when a file changed: written in place, replaced by rename, deleted, or brought by a link that was turned.

The folders are watched, not the files, because an editor that saves by rename leaves a watched file behind. Which file
changed is then found by looking at it: a notice about a folder says too much (other files) and too little (a link in it
may lead elsewhere now). The look is repeated every few seconds, which also covers a folder that does not exist yet and
file systems that send no notices.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

import watchfiles

_QUIET = 200
"""Milliseconds without another notice before a burst counts as over."""
_PATIENCE = 1000
"""Milliseconds after which a burst that does not end is looked at."""
_LOOK = 2000
"""Milliseconds between two looks when no notice comes."""

_State: TypeAlias = tuple[int, ...] | None


async def changes(paths: Collection[Path]) -> AsyncGenerator[Path, None]:
    """Yield a path whenever what stands there has changed, until the caller stops."""
    seen = {path: _state(path) for path in paths}
    while True:
        async with aclosing(_notices(paths)) as notices:
            async for _ in notices:
                for path in paths:
                    now = _state(path)
                    if now != seen[path]:
                        seen[path] = now
                        yield path


async def _notices(paths: Collection[Path]) -> AsyncGenerator[None, None]:
    """A notice whenever it is time to look; the end when other folders have to be watched."""
    folders = _folders(paths)
    watched = [folder for folder, state in folders.items() if state is not None]
    try:
        if watched:
            stream = watchfiles.awatch(
                *watched,
                watch_filter=None,
                debounce=_PATIENCE,
                step=_QUIET,
                rust_timeout=_LOOK,
                yield_on_timeout=True,
                recursive=False,
            )
            async with aclosing(stream):
                async for _ in stream:
                    yield
                    if _folders(paths) != folders:
                        return
    except (OSError, RuntimeError, ExceptionGroup):  # the last two are the words of watchfiles' Rust and task group
        pass  # the folder went in between, is closed to us, or the system is out of watches: looking still works
    await asyncio.sleep(_LOOK / 1000)
    yield


def _folders(paths: Collection[Path]) -> dict[Path, _State]:
    """The folders in which a change of these paths shows: their own, and those that links lead to."""
    found = {folder for path in paths for folder in (path.parent, path.resolve().parent)}
    return {folder: state and state[:2] for folder, state in ((folder, _state(folder)) for folder in found)}


def _state(path: Path) -> _State:
    """What differs after every change, first what makes it another file or folder; None when absent."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

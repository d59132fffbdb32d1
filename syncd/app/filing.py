"""Files with people's data: written wholly or not at all, and readable for their owner only."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from syncd.errors import SyncdError


def write(path: Path, pieces: Iterable[str]) -> None:
    """Write a text in UTF-8, replacing what is there. Raises SyncdError, and whatever making the pieces raises."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise SyncdError(f"{path}: cannot be written: {error.strerror}") from error
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise SyncdError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)

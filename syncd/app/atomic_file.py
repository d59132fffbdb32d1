"""Files with people's data: written wholly or not at all, and readable for their owner only."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from syncd.errors import SyncdError


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A file to write a text in UTF-8 to; at the end, and only then, it replaces what is there. Raises SyncdError."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise SyncdError(f"{path}: cannot be written: {error.strerror}") from error
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise SyncdError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)

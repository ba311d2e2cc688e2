"""Files that are either whole or what they were."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MAX_NAME = 255  # bytes, on all usual file systems


def scratch_path(path: Path, use: str) -> Path:
    """A hidden file beside another one; a run that was killed leaves it, the next overwrites it."""
    name = f".{path.name}.{use}"
    if len(os.fsencode(name)) > _MAX_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{use}"
    return path.with_name(name)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write a file that takes its name at the end of the ``with`` block, if all is well.

    So no reader sees half a file, and neither an error, a killed process nor a power cut costs the
    earlier one: the file is on the disk before its name says so.

    Args:
        path: of the result; an existing file is replaced.

    Yields:
        A path in the same folder.

    Raises:
        OSError: the file can't be renamed.
    """
    part = scratch_path(path, "part")
    try:
        yield part
        _sync(part)
        part.rename(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the system knows how."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)

"""Files that are either whole or what they were."""

import hashlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .process import machine, started

_MAX_NAME = 255  # bytes, on all usual file systems
_AGAIN = 60.0  # seconds from one search for leftovers in a folder to the next
# Seconds without a change after which a scratch file of another machine is a leftover: that of a
# large image may wait for an hour until something is written into it.
_LEFT_AFTER = 24 * 3600.0
# Machine, number and start of the process, and a number in it, before what the file is for.
_OWNED = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-(\d+)-\d+\.(part|planes|canvas)")
_UNKNOWN = "0"  # start of a process, where the system doesn't tell
_numbers = itertools.count()
_searched: dict[Path, float] = {}


def scratch_path(path: Path, use: str) -> Path:
    """A hidden file, or folder, beside another file, for this call alone.

    So a run that was taken for dead and its heir never write into the same one. What killed
    processes have left in the folder is removed: those of this machine, and of others what nobody
    has changed for a day.

    Args:
        path: of the file beside it.
        use: what it is for: "part", "planes" or "canvas".
    """
    _remove_leftovers(path.parent)
    process = os.getpid()
    own = f"{_machine()}-{process}-{started(process) or _UNKNOWN}-{next(_numbers)}.{use}"
    name = f".{path.name}.{own}"
    if len(os.fsencode(name)) > _MAX_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{own}"
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


def _machine() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def _remove_leftovers(folder: Path) -> None:
    """Remove what is left of scratch files; not at every call, for folders may hold many files."""
    now = time.monotonic()
    if now - _searched.get(folder, -_AGAIN) < _AGAIN:
        return
    _searched[folder] = now
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (owned := _OWNED.fullmatch(entry.name)) and _is_left(entry, *owned.groups()):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _is_left(entry: os.DirEntry[str], where: str, process: str, start: str, _use: str) -> bool:
    """Whether nobody writes into a scratch file any more."""
    if where == _machine() and start != _UNKNOWN:
        return started(process) != start
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_AFTER


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the system knows how."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)

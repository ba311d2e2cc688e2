"""A sign of life that a run keeps in its output folder, for other runs that share the folder."""

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write
from ..files.process import machine, started

LEASE_SUFFIX = ".lease"  # of its file
BEAT = 5.0  # seconds from one sign of life to the next
DEAD_AFTER = 60.0  # seconds without one, after which a run of another machine counts as dead


class Lease:
    """The sign of life of one run: a file that tells whose it is, touched again and again.

    Args:
        path: of the file.
        process: number of the process that stands for the run.
        more: what else the file is to tell.

    Raises:
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, process: int, **more: Any) -> None:
        self.path = path
        self._text = json.dumps({**_owner(process), **more})
        self._write()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop the signs of life and remove the file."""
        self._ended.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                try:
                    os.utime(self.path)
                except FileNotFoundError:  # somebody has cleared .runs
                    self.path.parent.mkdir(exist_ok=True)
                    self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as part:
            part.write_text(self._text)


def read_lease(path: Path) -> dict[str, Any]:
    """What the file of a lease tells; empty where there is none."""
    try:
        lease = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return lease if isinstance(lease, dict) else {}


def is_alive(path: Path, now: float) -> bool:
    """Whether the run of a lease goes on.

    Of a run of this machine the process is looked for, of others the last sign of life tells.

    Args:
        path: of the lease.
        now: time of the last change of a file that was just written to the same file system,
            seconds, since the clocks of machines differ.
    """
    lease = read_lease(path)
    if lease.get("machine") == machine():
        began = started(lease.get("process"))
        return began is not None and lease.get("started") == began
    try:
        return now - path.stat().st_mtime < DEAD_AFTER
    except OSError:
        return False


def _owner(process: int) -> dict[str, Any]:
    """What tells a process apart from all that ever had its number, and where to look for it."""
    return {
        "machine": machine(),
        "host": socket.gethostname(),
        "process": process,
        "started": started(process),
    }

# mypy: allow-subclassing-any
"""A Dask worker that is killed as if by the machine, once in each kind of part."""

import os
import signal
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin


class WorkerKiller(WorkerPlugin):
    """Kills the process that begins the nth part of a kind.

    Args:
        kinds: names of functions, whose parts are counted in each process.
        nth: from 1.
        marks: folder with a file for each kind that has killed already; None kills again and again.
    """

    def __init__(self, kinds: list[str], nth: int, marks: Path | None) -> None:
        self.kinds, self.nth, self.marks = kinds, nth, marks
        self.begun = dict.fromkeys(kinds, 0)

    def setup(self, worker: Worker) -> None:
        """Of the worker that this copy is for."""
        self.begun = dict.fromkeys(self.kinds, 0)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Called by Dask whenever a part goes on."""
        kind = str(key).partition("-")[0]
        if finish != "executing" or kind not in self.begun:
            return
        self.begun[kind] += 1
        if self.begun[kind] == self.nth and self._is_first(kind):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self, kind: str) -> bool:
        if self.marks is None:
            return True
        try:
            (self.marks / kind).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

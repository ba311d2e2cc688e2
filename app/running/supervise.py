"""Work in a process of its own, so that no crash of it is the end of the run.

A broken file may crash a decoder, and a machine that runs out of memory kills whole processes.
The child is forked before anything large is imported, so this costs a millisecond.
"""

import contextlib
import ctypes
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from .console import flush, say
from .journal import FAILED, STARTED, SUSPECT, append_line, journal_path, latest, read_lines

_PR_SET_PDEATHSIG = 1  # from Linux' <sys/prctl.h>


def supervise(work: Callable[[bool], int], blame: Callable[[str], bool]) -> int:
    """Run ``work`` in a child, again after each crash.

    SIGINT and SIGTERM reach the work as KeyboardInterrupt. A child outlives this process by
    nothing, even if that is killed.

    Args:
        work: takes whether an earlier child has crashed; returns the exit status.
        blame: called after a crash with its cause; false if it is no use to go on.

    Returns:
        The exit status.
    """
    crashed = False
    while True:
        flush()
        child = os.fork()
        if not child:
            os._exit(_work_as_child(work, crashed))
        status = _wait(child)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        crashed = True
        if not blame(signal.Signals(os.WTERMSIG(status)).name):
            return 1


def blame_image(folder: Path, run: str, cause: str) -> bool:
    """Record which image has crashed the process, or which may have.

    Args:
        folder: the output folder.
        run: whose process it was; images of other runs are never blamed.
        cause: the signal's name.

    Returns:
        Whether it is of use to go on: false if none was at work.
    """
    journal = journal_path(folder, run)
    records = latest(read_lines(journal)[0])
    names = [name for name, record in records.items() if record["status"] == STARTED]
    if not names:
        say(f"error: the process was ended by {cause} before any image")
        return False
    if len(names) > 1:
        for name in names:
            append_line(journal, {"run": run, "image": name, "status": SUSPECT})
        say(f"{cause} at {' or '.join(names)}; going on one image at a time")
        return True
    hint = ", most likely for want of memory" if cause == "SIGKILL" else ""
    error = f"{names[0]}: ended the process ({cause}{hint}); the other images go on"
    append_line(journal, {"run": run, "image": names[0], "status": FAILED, "error": error})
    say(f"error: {error}")
    return True


def _work_as_child(work: Callable[[bool], int], crashed: bool) -> int:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before that took hold
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return work(crashed)
    except KeyboardInterrupt:
        return 130
    # Not to be raised: this is a copy of the parent, whose own work must not go on in it.
    except Exception:
        say(traceback.format_exc())
        return 1
    finally:
        flush()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Once: the terminal and the parent may both send it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _wait(child: int) -> int:
    """Wait for the child to end, passing signals on to it."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    earlier = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return os.waitpid(child, 0)[1]
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
